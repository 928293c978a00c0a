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
