/* What is my own: fetched in any order, and nothing between is lost. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { answerBy, sockets } from "./browser.mjs";

const { user } = await import("../../../warmdesk/web/user_store.js");
const { me } = await import("../../../warmdesk/web/identity.js");

const settled = () => new Promise((done) => setTimeout(done, 20));
const told = (id) => ({ id, kind: "mention", read_at: null });

test("a list that was read before all is heard is read again", async (context) => {
  context.after(() => user.stop());
  me.value = { id: 1 };
  const lists = { "/notifications": 0, "/conversations": 0 };
  answerBy(({ path }) => {
    const name = path.split("?")[0];
    const seq = 5 + (lists[name] += 1); // the first of each is one event too old
    const headers = { "Warmdesk-Seq": String(seq), "Warmdesk-Epoch": "e" };
    if (name === "/notifications") return { data: { items: seq < 7 ? [] : [told(7)], unread_count: seq - 6, seq, epoch: "e" } };
    return { data: seq < 7 ? [] : [{ id: 3, updated_at: "2026-01-01" }], headers };
  });
  let come;
  user.start(new Promise((done) => (come = done)));
  const all = Promise.all([user.fetchNotifications(), user.fetchConversations()]);
  await settled();
  sockets.at(-1).say({ type: "hello", payload: { seq: 7, epoch: "e", unread_notifications: 1 } });
  come({ seq: 7, epoch: "e", projects: [], unread_notifications: 1, unread_conversations: 0 });
  await all;
  assert.deepEqual(user.notifications.peek().items.map((one) => one.id), [7]);
  assert.deepEqual(user.conversations.peek().map((one) => one.id), [3]);
  assert.deepEqual([user.unread.peek(), lists], [1, { "/notifications": 2, "/conversations": 2 }]);
});

test("what was told before the projects are here lies over them", async (context) => {
  context.after(() => user.stop());
  me.value = { id: 1 };
  answerBy(() => ({ data: [] }));
  let come;
  user.start(new Promise((done) => (come = done)));
  await settled();
  const socket = sockets.at(-1);
  socket.say({ type: "hello", payload: { seq: 7, epoch: "e" } });
  socket.say({ type: "project.left", payload: { slug: "left" }, seq: 8 });
  socket.say({ type: "chat.read", payload: { slug: "here", unread_count: 0, message_id: 4 }, seq: 9 });
  const projects = ["here", "left"].map((slug, id) => ({ id, slug, unread_count: 3 }));
  come({ seq: 7, epoch: "e", projects, unread_notifications: 0, unread_conversations: 0 });
  await settled();
  assert.deepEqual(user.projects.peek().map(({ slug, unread_count }) => [slug, unread_count]), [["here", 0]]);

  // An answer that was made before a star lies under it.
  let go;
  answerBy(() => new Promise((done) => (go = done)));
  const fetched = user.fetchProjects();
  await settled();
  socket.say({ type: "project.starred", payload: { slug: "here" }, seq: 10 });
  await settled();
  go({ data: [{ id: 0, slug: "here", starred: false, unread_count: 0 }] });
  await fetched;
  assert.equal(user.projects.peek()[0].starred, true);
});

test("what was fetched for one person is never the next one's", async (context) => {
  context.after(() => user.stop());
  me.value = { id: 1 };
  answerBy(() => ({ data: [{ id: 3, updated_at: "2026-01-01", name: "a secret" }], headers: { "Warmdesk-Seq": "9" } }));
  let fail;
  user.start(new Promise((_, reject) => (fail = reject)));
  const late = assert.rejects(user.fetchConversations(), { code: "signed_out" });
  await settled();
  user.stop();
  me.value = { id: 2 };
  user.start(new Promise(() => {}));
  fail(new Error("gone"));
  await late;
  assert.equal(user.conversations.peek(), null);
});

test("a conversation that begins while the list is fetched is fetched, too", async (context) => {
  context.after(() => user.stop());
  me.value = { id: 1 };
  let go;
  answerBy(({ path }) => {
    if (path === "/conversations/8") return { data: { id: 8, updated_at: "2026-01-02" }, headers: { "Warmdesk-Seq": "8" } };
    if (path.startsWith("/conversations")) return new Promise((done) => (go = done));
    return { data: [] };
  });
  user.start(Promise.resolve({ seq: 7, epoch: "e", projects: [], unread_notifications: 0, unread_conversations: 0 }));
  await settled();
  sockets.at(-1).say({ type: "hello", payload: { seq: 7, epoch: "e", unread_notifications: 0 } });
  const all = user.fetchConversations();
  await settled();
  sockets.at(-1).say({ type: "dm.message", payload: { id: 1, conversation_id: 8, sender_id: 2, created_at: "2026-01-02" }, seq: 8 });
  await settled();
  go({ data: [{ id: 3, updated_at: "2026-01-01" }], headers: { "Warmdesk-Seq": "7", "Warmdesk-Epoch": "e" } });
  await all;
  await settled();
  assert.deepEqual(user.conversations.peek().map((one) => one.id), [8, 3]);
});

test("a conversation that was opened by itself is not all of them", async (context) => {
  context.after(() => user.stop());
  me.value = { id: 1 };
  answerBy(({ path }) => (path.startsWith("/conversations/")
    ? { data: { id: 3, updated_at: "2026-01-01", unread_count: 0 }, headers: { "Warmdesk-Seq": "7" } }
    : { status: 429, data: { error: "too many", code: "rate_limited" } }));
  user.start(Promise.resolve({ seq: 7, epoch: "e", projects: [], unread_notifications: 0, unread_conversations: 5 }));
  await settled();
  await assert.rejects(user.fetchConversations());
  await user.fetchConversation(3);
  assert.deepEqual(user.conversations.peek().map((one) => one.id), [3]);
  assert.deepEqual([user.unreadConversations.peek(), user.conversationsError.peek().status], [5, 429]);
});

test("what a DELETE did whose answer was lost is done", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  me.value = { id: 1 };
  const { call, newKey } = await import("../../../warmdesk/web/api.js");
  let asked = 0;
  answerBy(() => ((asked += 1) === 1 ? null : { status: 404, data: { error: "no", code: "not_found" } }));
  const once = call("DELETE", "/projects/demo/columns/1", undefined, { key: newKey() });
  for (let n = 0; n < 20; n += 1) {
    await new Promise((done) => setImmediate(done));
    context.mock.timers.tick(1000);
  }
  assert.deepEqual([await once, asked], [null, 2]);
  await assert.rejects(call("DELETE", "/projects/demo/columns/2", undefined, { key: newKey() }), { status: 404 });
});
