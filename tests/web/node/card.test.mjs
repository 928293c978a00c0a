/* A card and a topic that are open: what answers show and what events tell, in whatever order they come. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { answerBy } from "./browser.mjs";

const web = "../../../warmdesk/web/";
const { CardStore } = await import(`${web}card_store.js`);
const { OpenTopic, topicsOf } = await import(`${web}topic_store.js`);
const { outboxOf } = await import(`${web}outbox.js`);
const { BoardStore } = await import(`${web}board_store.js`);
const { Unreached } = await import(`${web}identity.js`);

const settled = () => new Promise((done) => setTimeout(done, 20));
const ids = (signal) => signal.peek().map((one) => one.id);

/** A project's store as far as a card or a topic needs it; `tell` is what its feed does. */
function board() {
  const ends = [];
  return {
    path: "/projects/demo",
    slug: "demo",
    cards: new Map(),
    listen(prefix, then) {
      ends.push([prefix, then]);
      return () => {};
    },
    tell(frame) {
      for (const [prefix, then] of ends) if (frame.type.startsWith(prefix)) then(frame);
    },
  };
}

const shown = (more = {}) => ({
  data: { id: 7, version: 1, title: "Door", description: "", comments: [], checklist: [], attachments: [], links: [], watchers: [], assignees: [], labels: [], tags: [], ...more },
  headers: { "Warmdesk-Seq": "10" },
});
const told = (type, payload, seq, client) => ({ type: `board.${type}`, payload: { card_id: 7, ...payload }, seq, client_id: client });

async function opened(more) {
  const of = board();
  answerBy(() => shown(more));
  const card = new CardStore(of, 7);
  await settled();
  return { of, card };
}

test("a step is there once, whichever comes first, its event or its answer, or only the one", async () => {
  const { of, card } = await opened();
  const item = { id: 1, body: "Oil", position: 1000, card_id: 7 };
  let client;
  let go;
  const ask = (options) => {
    client = options.clientId;
    return new Promise((done, fail) => (go = { done, fail }));
  };
  const first = card.add("Oil", ask);
  assert.equal(card.coming.peek().length, 1);
  of.tell(told("checklist_item_created", item, 11, client));
  assert.deepEqual([ids(card.items), card.coming.peek()], [[1], []]);
  go.done(item);
  await first;
  assert.deepEqual(ids(card.items), [1]);

  const second = card.add("Test", ask);
  of.tell(told("checklist_item_created", { ...item, id: 2 }, 12, client));
  go.fail(new Unreached("lost on the way back"));
  await second; // it was done
  assert.deepEqual(ids(card.items), [1, 2]);
  const third = card.add("Paint", ask);
  go.fail(new Unreached("lost on the way there"));
  await assert.rejects(third);
  assert.deepEqual(card.coming.peek(), []);
});

test("a comment that is told is on its way no more", async () => {
  const { of, card } = await opened();
  const box = outboxOf("card.demo.7");
  let sent;
  box.send = (body, { clientId }) => {
    sent = clientId;
    return new Promise(() => {});
  };
  box.add("Hello");
  await settled();
  assert.equal(box.items.peek().length, 1);
  of.tell(told("comment_created", { id: 3, body: "Hello" }, 11, sent));
  assert.deepEqual([ids(card.comments), box.items.peek()], [[3], []]);
});

test("what an event took out no answer brings back", async () => {
  const { of, card } = await opened({ comments: [{ id: 5 }], comments_more: true });
  of.tell(told("comment_created", { id: 8 }, 11));
  of.tell(told("comment_deleted", { comment_id: 8 }, 12));
  card.keep("comments", { id: 8 });
  assert.deepEqual(ids(card.comments), [5]);

  let go;
  answerBy(() => new Promise((done) => (go = done)));
  const older = card.older();
  await settled();
  of.tell(told("comment_deleted", { comment_id: 2 }, 13));
  of.tell(told("comment_updated", { id: 3, body: "younger" }, 14));
  go({ data: [{ id: 2 }, { id: 3, body: "older" }], headers: { "Warmdesk-Seq": "12" } });
  await older;
  assert.deepEqual(card.comments.peek().map((one) => [one.id, one.body]), [[3, "younger"], [5, undefined]]);
});

test("what is told while it is fetched again is not lost when that fails, and it is fetched once more", async (context) => {
  const { of, card } = await opened({ description: "short" });
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const turn = async (ms) => {
    for (let n = 0; n < 20; n += 1) await new Promise((done) => setImmediate(done));
    context.mock.timers.tick(ms);
    for (let n = 0; n < 20; n += 1) await new Promise((done) => setImmediate(done));
  };
  answerBy(() => ({ status: 400, data: { error: "not now" } }));
  of.tell({ type: "board.card_updated", payload: { id: 7, version: 2, title: "Gate", description: "cu", description_cut: true, changes: ["title"] }, seq: 11 });
  assert.deepEqual([card.facts.peek().title, card.facts.peek().description], ["Gate", "short"]);
  of.tell(told("comment_created", { id: 3 }, 12));
  await turn(0);
  assert.deepEqual([card.state.peek(), ids(card.comments)], ["ready", [3]]);
  answerBy(() => shown({ description: "long", title: "Gate", version: 2, comments: [{ id: 3 }] }));
  await turn(6000);
  assert.equal(card.facts.peek().description, "long");
  card.end();
});

test("my reply stands at the end, though the pages before it are not here", async () => {
  const of = board();
  const replies = Array.from({ length: 6 }, (_, n) => ({ id: n + 1, version: 1, topic_id: 4 }));
  answerBy(({ method, path }) => {
    if (method === "POST") return { data: { id: 9, version: 1, topic_id: 4 } };
    if (!path.includes("replies")) return { data: { topic: { id: 4, version: 1 }, replies: replies.slice(0, 2), replies_more: true }, headers: { "Warmdesk-Seq": "5" } };
    const after = Number(/after=(\d+)/.exec(path)[1]);
    const rest = [...replies, { id: 9, version: 1, topic_id: 4 }].filter((one) => one.id > after);
    return { data: rest.slice(0, 3), headers: { "Warmdesk-Seq": "6", ...(rest.length > 3 ? { Link: '</x>; rel="next"' } : {}) } };
  });
  const topic = new OpenTopic(of, 4);
  topic.begin();
  await settled();
  assert.deepEqual(ids(topic.list.rows), [1, 2]);
  await topic.send("me too", { nonce: "a", clientId: "b" });
  assert.deepEqual(ids(topic.list.rows), [1, 2, 3, 4, 5, 6, 9]);

  // Another history, that counts from below: nothing of this one is laid over it.
  of.tell({ type: "topic.reply_deleted", payload: { topic_id: 4, id: 1 }, seq: 40 });
  answerBy(() => ({ data: { topic: { id: 4, version: 1, title: "of before" }, replies: replies.slice(0, 2), replies_more: false }, headers: { "Warmdesk-Seq": "3" } }));
  topic.shown.value = { ...topic.shown.peek(), topic: { id: 4, version: 9, title: "of now" } };
  of.tell({ type: "reset" });
  await settled();
  assert.deepEqual([ids(topic.list.rows), topic.shown.peek().topic.title], [[1, 2], "of before"]);
});

test("a topic that is told while more are fetched is there once, and a deleted one is not made again", async () => {
  const of = board();
  const topics = topicsOf(of);
  const one = (id) => ({ id, is_pinned: false, version: 1, reply_count: 0 });
  answerBy(() => ({ data: [one(5)], headers: { "Warmdesk-Seq": "10", Link: '</api/v1/more>; rel="next"' } }));
  await topics.load();
  let go;
  answerBy(() => new Promise((done) => (go = done)));
  const more = topics.load({ more: true });
  await settled();
  of.tell({ type: "topic.created", payload: one(9), seq: 11 });
  go({ data: [one(3)], headers: { "Warmdesk-Seq": "10" } });
  await more;
  assert.deepEqual(ids(topics.topics), [9, 5, 3]);

  const made = topics.create({ title: "T" }, "a key");
  await settled();
  of.tell({ type: "topic.created", payload: one(12), seq: 12 });
  of.tell({ type: "topic.deleted", payload: { id: 12 }, seq: 13 });
  go({ data: one(12) });
  await made;
  assert.deepEqual(ids(topics.topics), [9, 5, 3]);
});

test("what others do to a card that is not on the board does not end what I wish of it unsent", async () => {
  const store = new BoardStore("demo");
  const wish = store.intents.add({ kind: "change", card_id: 50, fields: { title: "mine" } });
  let asked = 0;
  const ask = async () => {
    asked += 1;
    if (asked === 1) throw new Unreached("lost on the way there");
    return { id: 50, version: 3 };
  };
  const reached = async () => store.intents.heard("somebody else", 50, null);
  assert.deepEqual(await store.intents.carryOut(wish, ask, { mine: () => undefined, reached }), { id: 50, version: 3 });
  assert.equal(asked, 2);
});

test("people are counted once, however often an event is carried out", () => {
  const store = new BoardStore("demo");
  store.project.value = {};
  const before = store.memberCount.peek();
  const payload = { user_id: 3, role: "member", user: { id: 3, display_name: "Mia" } };
  store.rules.counted("project.member_added", payload);
  for (let n = 0; n < 3; n += 1) store.rules.carryOut({ type: "project.member_added", payload });
  assert.equal(store.memberCount.peek() - before, 1);
});
