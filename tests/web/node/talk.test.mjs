/* Lists of messages, conversations and topics through events, pages and breaks; Markdown; dates. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { answerBy, random } from "./browser.mjs";

const web = "../../../warmdesk/web/";
const { MessageList } = await import(`${web}message_store.js`);
const { TalkStore } = await import(`${web}talk_store.js`);
const { conversationRules } = await import(`${web}conversation_rules.js`);
const { OpenTopic, topicRules } = await import(`${web}topic_store.js`);
const { readTokens } = await import(`${web}markdown_tokens.js`);
const { hasMarks } = await import(`${web}markdown.js`);
const { day, duration, dateTime, time } = await import(`${web}format.js`);
const { me } = await import(`${web}identity.js`);

const KINDS = { said: "message", edited: "updated", deleted: "deleted", reacted: "reactions" };
const message = (id, version = 1, body = `text ${id}`) => ({ id, version, body, reactions: [], user: { id: 1 } });

/** A server's list of messages, with a page for each question and an event for each change. */
class Server {
  rows = new Map();
  seq = 0;
  ids = 0;
  events = [];

  tell(type, payload) {
    this.events.push({ type, payload: structuredClone(payload), seq: (this.seq += 1) });
  }

  change(pick) {
    const all = [...this.rows.values()];
    const kind = pick(5);
    if (kind < 2 || !all.length) {
      const made = message((this.ids += 1));
      this.rows.set(made.id, made);
      return this.tell("said", made);
    }
    const one = all[pick(all.length)];
    if (kind === 2) {
      const next = { ...one, version: one.version + 1, body: `${one.body}!` };
      this.rows.set(one.id, next);
      return this.tell("edited", next);
    }
    if (kind === 3) {
      this.rows.set(one.id, { ...one, reactions: [{ emoji: "x", count: pick(9), user_ids: [] }] });
      return this.tell("reacted", { message_id: one.id, reactions: this.rows.get(one.id).reactions });
    }
    this.rows.delete(one.id);
    return this.tell("deleted", { id: one.id });
  }

  page(path) {
    const asked = new URL(path, "http://x").searchParams;
    const limit = Number(asked.get("limit"));
    const all = [...this.rows.values()].sort((one, other) => one.id - other.id);
    const [before, after, around] = ["before", "after", "around"].map((name) => Number(asked.get(name)) || 0);
    let rows;
    let goesOn = false;
    let goesBack = false;
    if (after) {
      const rest = all.filter((one) => one.id > after);
      rows = rest.slice(0, limit);
      goesOn = rest.length > limit;
    } else if (around) {
      const at = all.findIndex((one) => one.id >= around);
      rows = all.slice(Math.max(0, at - limit / 2), at + limit / 2);
      goesBack = at - limit / 2 > 0;
      goesOn = at + limit / 2 < all.length;
    } else {
      const rest = before ? all.filter((one) => one.id < before) : all;
      rows = rest.slice(-limit);
      goesOn = rest.length > limit;
    }
    const links = [goesOn && '</x>; rel="next"', goesBack && '</x>; rel="prev"'].filter(Boolean).join(", ");
    return { data: structuredClone(rows), headers: { "Warmdesk-Seq": String(this.seq), Link: links } };
  }
}

test("whenever pages come and events arrive, the list is the server's at the end", async () => {
  for (let seed = 1; seed <= 150; seed += 1) {
    const next = random(seed);
    const pick = (n) => Math.floor(next() * n);
    const server = new Server();
    for (let n = 0; n < 150; n += 1) server.change(pick);
    const begun = server.seq;
    const list = new MessageList("/chat", KINDS);
    let told = begun;
    const held = [];
    answerBy(async ({ path }) => {
      const page = server.page(path);
      await new Promise((done) => held.push(done));
      return page;
    });
    const jobs = [];
    const tell = (most) => {
      for (let n = 0; n < most && told < server.seq; n += 1) list.apply(server.events[(told += 1) - 1]);
    };
    jobs.push(list.load(pick(2) ? {} : { around: 20 }));
    for (let n = 0; n < 60; n += 1) {
      const what = pick(6);
      if (what < 2) server.change(pick);
      else if (what === 2) tell(1 + pick(4));
      else if (what === 3) jobs.push(list.loadOlder());
      else if (what === 4) jobs.push(list.loadNewer());
      else held.splice(pick(held.length), 1)[0]?.();
      await new Promise((done) => setImmediate(done));
    }
    answerBy(({ path }) => server.page(path));
    for (const done of held) done();
    await Promise.all(jobs);
    tell(Infinity);
    while (list.older.peek()) await list.loadOlder();
    while (list.newer.peek()) await list.loadNewer();
    const all = [...server.rows.values()].sort((one, other) => one.id - other.id);
    assert.deepEqual(list.rows.peek(), all, `seed ${seed}`);
  }
});

test("a message that is told before the page that has it comes once", () => {
  const list = new MessageList("/chat", KINDS);
  list.lay({ rows: [message(1), message(2)], at: 5, goesOn: false });
  list.apply({ type: "said", payload: message(2), seq: 5 });
  list.apply({ type: "said", payload: message(3), seq: 6 });
  list.keep(message(3, 2));
  list.apply({ type: "said", payload: message(3), seq: 6 });
  assert.deepEqual(list.rows.peek().map((one) => [one.id, one.version]), [[1, 1], [2, 1], [3, 2]]);
});

test("a list that could not be fetched anew is asked for again, until it is here or nobody looks", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const server = new Server();
  for (let n = 0; n < 3; n += 1) server.tell("said", server.rows.set(n + 1, message(n + 1)).get(n + 1));
  answerBy(({ path }) => server.page(path));
  const list = new MessageList("/chat", KINDS);
  await list.load();
  let asked = 0;
  const fails = async (status, rounds) => {
    answerBy(() => {
      asked += 1;
      return { status };
    });
    for (let n = 0; n < rounds; n += 1) {
      for (let turns = 0; turns < 5; turns += 1) await new Promise((done) => setImmediate(done));
      context.mock.timers.tick(10_000);
    }
  };
  const reset = list.reset();
  await fails(503, 10);
  assert.ok(asked > 4, "it does not give up after the first round");
  server.rows.set(4, message(4));
  answerBy(({ path }) => server.page(path));
  let over = false;
  reset.then(() => (over = true));
  while (!over) {
    await new Promise((done) => setImmediate(done));
    context.mock.timers.tick(10_000);
  }
  assert.deepEqual(list.rows.peek().map((one) => one.id), [1, 2, 3, 4]);

  const gone = list.reset();
  await fails(404, 1);
  await gone;
  assert.equal(list.state.peek().state, "failed");

  const left = list.reset();
  await fails(503, 2);
  list.stop();
  await fails(503, 5);
  await left;
  asked = 0;
  await fails(503, 5);
  assert.equal(asked, 0);
});

test("how far I read is said also when I leave before the pause is over", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const said = [];
  answerBy(({ path, body }) => {
    said.push([path, body]);
    return { data: null };
  });
  const list = new MessageList("/chat", KINDS);
  class Store extends TalkStore {
    lastRead() {
      return 3;
    }
  }
  const talk = new Store("/chat", list);
  const tell = async () => {
    for (let turns = 0; turns < 5; turns += 1) await new Promise((done) => setImmediate(done));
    return said.splice(0).map(([path, body]) => `${path} ${body.message_id}`);
  };
  talk.seen(3);
  talk.hush();
  assert.deepEqual(await tell(), []);
  talk.seen(5);
  talk.seen(6);
  talk.hush();
  assert.deepEqual(await tell(), ["/chat/read 6"]);
  talk.sayRead();
  context.mock.timers.tick(1000);
  assert.deepEqual(await tell(), []);
  talk.seen(7);
  context.mock.timers.tick(1000);
  talk.hush();
  assert.deepEqual(await tell(), ["/chat/read 7"]);
});

test("what somebody reads far back stays, however much is said", () => {
  const list = new MessageList("/chat", KINDS);
  const talk = new TalkStore("/chat", list);
  list.lay({ rows: Array.from({ length: 1500 }, (_, at) => message(at + 1)), at: 20, goesOn: false });
  talk.back(true);
  list.apply({ type: "said", payload: message(2000), seq: 21 });
  assert.deepEqual([list.rows.peek().length, list.rows.peek()[0].id], [1501, 1]);
  talk.back(false);
  list.apply({ type: "said", payload: message(2001), seq: 22 });
  assert.ok(list.rows.peek().length < 1000, "nobody does any more");
  assert.equal(list.older.peek(), true);
});

test("what lies before the pages that are here waits for its own page", () => {
  const list = new MessageList("/chat", KINDS);
  list.lay({ rows: [message(10), message(11)], at: 20, goesOn: false });
  list.older.value = true;
  list.apply({ type: "said", payload: message(5), seq: 8 });
  assert.deepEqual(list.rows.peek().map((one) => one.id), [10, 11]);
});

const conversation = (id, values) => ({ id, at: 10, unread_count: 0, last_read_message_id: 1, updated_at: "2026-01-01", members: [], last_message: { id: 1 }, ...values });

test("conversations count each message of others once", () => {
  const list = [conversation(1), conversation(2, { at: 12 })];
  const said = (seq, conversation_id, sender_id) => ({ type: "dm.message", seq, payload: { id: seq, conversation_id, sender_id, created_at: `2026-01-${seq}` } });
  let now = conversationRules(list, said(11, 1, 7), 3).list;
  assert.equal(now.find((one) => one.id === 1).unread_count, 1);
  now = conversationRules(now, said(11, 1, 7), 3).list;
  assert.equal(now.find((one) => one.id === 1).unread_count, 1);
  now = conversationRules(now, said(12, 2, 7), 3).list; // it shows that already
  assert.equal(now.find((one) => one.id === 2).unread_count, 0);
  now = conversationRules(now, said(13, 1, 3), 3).list; // my own
  assert.equal(now.find((one) => one.id === 1).unread_count, 1);
  assert.deepEqual(now.map((one) => one.id), [1, 2]);
  now = conversationRules(now, { type: "dm.read", seq: 14, payload: { conversation_id: 1, message_id: 13 } }, 3).list;
  assert.equal(now[0].unread_count, 0);
  assert.equal(conversationRules(now, said(15, 9, 7), 3).ask, 9);
  assert.equal(conversationRules(now, { type: "dm.message_deleted", seq: 16, payload: { conversation_id: 1, id: 13 } }, 3).ask, 1);
  assert.deepEqual(conversationRules(now, { type: "dm.conversation_deleted", seq: 17, payload: { conversation_id: 1 } }, 3).list.map((one) => one.id), [2]);
});

test("topics count each reply once, and pinned ones stand first", () => {
  let list = [{ id: 2, is_pinned: false, reply_count: 0, version: 1, at: 5 }, { id: 1, is_pinned: false, reply_count: 4, version: 1, at: 5 }];
  const reply = { type: "topic.reply_created", seq: 6, payload: { id: 9, topic_id: 1, created_at: "x" } };
  list = topicRules(topicRules(list, reply), reply);
  assert.equal(list[1].reply_count, 5);
  list = topicRules(list, { type: "topic.updated", seq: 7, payload: { id: 1, is_pinned: true, version: 2, reply_count: 0 } });
  assert.deepEqual(list.map((one) => [one.id, one.reply_count]), [[1, 5], [2, 0]]);
});

const kinds = (tokens) => tokens.flatMap((one) => [one.kind, ...kinds(one.inside ?? []), ...(one.items ?? []).flatMap((item) => kinds(item.inside))]);
const texts = (tokens) => tokens.flatMap((one) => [one.text ?? "", ...texts(one.inside ?? []), ...(one.items ?? []).flatMap((item) => texts(item.inside))]).join("");

test("markdown becomes tokens, and HTML stays text", () => {
  assert.deepEqual(kinds(readTokens("**a** `b`")), ["paragraph", "strong", "text", "text", "codespan"]);
  const hostile = readTokens("<script>alert(1)</script>\n\nx <b>y</b> &amp; &lt;");
  assert.ok(kinds(hostile).every((kind) => ["block", "paragraph", "text"].includes(kind)));
  assert.match(texts(hostile), /<script>alert\(1\)<\/script>x <b>y<\/b> & </);
  assert.deepEqual(kinds(readTokens("![p](http://x/y.png)")), ["paragraph", "link", "text"]);
});

test("a text has so many tokens and no more, and none of its words is lost", () => {
  for (const text of ["* word\n".repeat(25_000), "word\n\n".repeat(15_000), "**word** ".repeat(6000), `${"> ".repeat(100)}word`]) {
    const tokens = readTokens(text);
    assert.ok(kinds(tokens).length < 6500, `${kinds(tokens).length} tokens`);
    const wanted = text.match(/word/g).length;
    assert.equal(texts(tokens).match(/word/g).length, wanted);
  }
});

test("a text is looked through once, whatever it is made of", () => {
  for (const text of ["mail a@b.c", "-- a@x.example --", "x@y@z.org", "see\n- one", "    code", "title\n==="]) assert.ok(hasMarks(text), text);
  for (const text of ["@alice", "a @ b.c", "a@b", "@@@.x", "1.5", "a -- b"]) assert.ok(!hasMarks(text), text);
  for (const n of [20_000, 100_000]) {
    for (const piece of ["@", "a@", "a@b", "a@.", "a@ ", "=", "= ", " ", "-\t", ".", "w", "1", "\n "]) {
      const begun = process.cpuUsage();
      hasMarks(piece.repeat(n));
      hasMarks(`x@${piece.repeat(n)}`);
      hasMarks(`${piece.repeat(n)}x`);
      const { user } = process.cpuUsage(begun);
      assert.ok(user < 1_000_000, `${JSON.stringify(piece)} ${n} times: ${user / 1000} ms`);
    }
  }
});

test("a date is the day that it names, in every zone", () => {
  for (const timezone of ["Pacific/Kiritimati", "Pacific/Pago_Pago", "Europe/Amsterdam", "No/Such"]) {
    me.value = { id: 3, timezone, date_time_format: "DD.MM.YYYY HH:mm", time_notation: "hhmm" };
    assert.equal(day("2019-11-13"), "Nov 13, 2019");
  }
  me.value = { id: 3, timezone: "Pacific/Kiritimati", date_time_format: "DD.MM.YYYY HH:mm", time_notation: "hhmm" };
  assert.equal(dateTime("2026-04-04T10:00:00Z"), "05.04.2026 00:00");
  assert.equal(time("2026-04-04T10:05:00Z"), "00:05");
  assert.equal(duration(95), "1:35");
  me.value = { ...me.value, date_time_format: "MM/DD/YYYY hh:mm A", time_notation: "decimal" };
  assert.equal(dateTime("2026-04-04T10:00:00Z"), "04/05/2026 12:00 AM");
  assert.equal(time("2026-04-04T10:05:00Z"), "12:05 am");
  assert.equal(duration(90), "1.5");
  me.value = null;
});

test("what an answer shows of a message is no younger than reactions, and brings no deleted one back", () => {
  const list = new MessageList("/x", KINDS);
  list.apply({ type: "said", payload: message(1), seq: 1 });
  list.apply({ type: "reacted", payload: { message_id: 1, reactions: [{ emoji: "👍", count: 1, user_ids: [2] }] }, seq: 2 });
  list.keep(message(1));
  assert.equal(list.rows.peek()[0].reactions.length, 1);
  list.apply({ type: "deleted", payload: { id: 1 }, seq: 3 });
  list.keep(message(1, 2));
  assert.deepEqual(list.rows.peek(), []);
});

test("an answer that is older than what an event told of a topic is not shown", async () => {
  const open = new OpenTopic({ slug: "demo", listen: () => () => {} }, 4);
  for (const [version, shown] of [[5, 6], [7, 7]]) {
    open.shown.value = { state: "ready", topic: { id: 4, version: 6 }, error: null };
    answerBy(() => ({ data: { id: 4, version } }));
    assert.equal((await open.change({ title: "Door" }, 4)).version, version);
    assert.equal(open.shown.peek().topic.version, shown);
  }
});
