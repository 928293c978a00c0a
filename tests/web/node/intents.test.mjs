/* My wishes over a server that answers late, twice, or not at all, while others do things too: whatever the
 * order, nothing shows double or is lost, a wish never jumps back before it is refused, and at the end the
 * page shows what the server has.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { answerBy, random } from "./browser.mjs";

const { BoardStore } = await import("../../../warmdesk/web/board_store.js");
const { changeMany } = await import("../../../warmdesk/web/actions_many.js");
const { Unreached } = await import("../../../warmdesk/web/identity.js");
const { Intents, placeIn } = await import("../../../warmdesk/web/intents.js");

const COLUMNS = [1, 2, 3];

/** A server of one board: it does things at once, and tells of them in order. */
class Server {
  seq = 0;
  events = [];
  done = new Map(); // answers under their keys

  constructor(pick) {
    this.pick = pick;
    this.cards = new Map();
    this.lists = new Map(COLUMNS.map((id) => [id, []]));
    for (let id = 1; id <= 12; id += 1) this.put({ id, version: 1, closed: false, column_id: COLUMNS[id % 3] });
  }

  put(card) {
    this.cards.set(card.id, card);
    this.lists.get(card.column_id).push(card.id);
  }

  brief(card) {
    const position = 1000 * (this.lists.get(card.column_id).indexOf(card.id) + 1);
    return { id: card.id, card_number: card.id, column_id: card.column_id, title: `Card ${card.id}`, position, assignee_ids: [], label_ids: [], tags: [], version: card.version, ...(card.closed ? { closed: true } : {}) };
  }

  whole(card) {
    const { assignee_ids: _, label_ids: __, tags: ___, ...rest } = this.brief(card);
    return { ...rest, closed: card.closed, assignees: [], labels: [], tags: [], archived_at: null };
  }

  fetched() {
    const columns = COLUMNS.map((id) => {
      const cards = this.lists.get(id).map((each) => this.brief(this.cards.get(each)));
      return { id, name: `${id}`, position: id, card_count: cards.length, cards_more: false, cards_next: null, cards };
    });
    return { name: "Demo", key_prefix: "D", slug: "demo", columns, labels: [], members: [], members_more: false, member_count: 0, open_card_count: 0, my_role: "member", is_archived: false, seq: this.seq, epoch: "e" };
  }

  tell(type, payload, clientId) {
    this.seq += 1;
    this.events.push({ type, payload, seq: this.seq, ts: "", client_id: clientId });
  }

  respace(columnId, clientId) {
    const cards = this.lists.get(columnId).map((id, index) => ({ id, position: 1000 * (index + 1) }));
    this.tell("board.cards_reordered", { column_id: columnId, cards }, clientId);
  }

  move(id, to, clientId) {
    const card = this.cards.get(id);
    if (!card) return { refused: 404 };
    const list = this.lists.get(to.column_id).filter((one) => one !== id);
    const beside = to.before_card_id ?? to.after_card_id;
    if (beside !== undefined && !list.includes(beside)) return { refused: 422 };
    const at = placeIn(list, to);
    if (card.column_id === to.column_id && this.lists.get(to.column_id).indexOf(id) === at) return { version: card.version };
    const from = card.column_id;
    this.lists.set(from, this.lists.get(from).filter((one) => one !== id));
    this.lists.get(to.column_id).splice(at, 0, id);
    Object.assign(card, { column_id: to.column_id, version: card.version + 1 });
    this.tell("board.card_moved", { card_id: id, from_column_id: from, to_column_id: to.column_id, version: card.version, card: this.whole(card) }, clientId);
    for (const columnId of new Set([from, to.column_id])) this.respace(columnId, clientId);
    return { version: card.version };
  }

  change(id, fields, clientId) {
    const card = this.cards.get(id);
    if (!card) return { refused: 404 };
    if (card.closed === fields.closed) return { version: card.version };
    Object.assign(card, fields, { version: card.version + 1 });
    this.tell("board.card_updated", { ...this.whole(card), changes: ["closed"] }, clientId);
    return { version: card.version };
  }

  remove(id) {
    const card = this.cards.get(id);
    if (!card) return { refused: 404 };
    this.cards.delete(id);
    this.lists.set(card.column_id, this.lists.get(card.column_id).filter((one) => one !== id));
    this.tell("board.card_deleted", { card_id: id, column_id: card.column_id, key: `D-${id}` });
    this.respace(card.column_id);
    return {};
  }

  create(columnId, clientId) {
    const id = 100 + this.seq;
    const card = { id, version: 1, closed: false, column_id: columnId };
    this.put(card);
    this.tell("board.card_created", this.whole(card), clientId);
    return { id, version: 1 };
  }

  /** Once under a key, however often it is asked. */
  once(key, deed) {
    if (!this.done.has(key)) this.done.set(key, deed());
    return this.done.get(key);
  }
}

const settled = () => new Promise((done) => setImmediate(done));
let keys = 0;

async function run(seed, steps) {
  const pick = random(seed);
  const any = (list) => list[Math.floor(pick() * list.length)];
  const server = new Server(pick);
  const store = new BoardStore("demo");
  store.load(server.fetched());
  const pending = []; // what is on the line: deeds that run when their turn comes
  const removed = new Set(); // what I took away and was not refused: it never shows again
  let heard = 0;
  let waiting = [];
  const reached = () => new Promise((done) => waiting.push(done));

  function wish(fields, deed) {
    const one = store.intents.add(fields);
    const key = `${(keys += 1)}`;
    const ask = () =>
      new Promise((resolve, reject) => {
        pending.push(() => {
          if (pick() < 0.08) return reject(new Unreached("lost on the way there"));
          const answer = server.once(key, () => deed(one.client_id));
          if (pick() < 0.08) return reject(new Unreached("lost on the way back"));
          // The answer takes its time too.
          pending.push(() => (answer.refused ? reject(Object.assign(new Error("no"), { status: answer.refused })) : resolve(answer)));
          return undefined;
        });
      });
    const mine = (id) => store.cards.get(id)?.peek().version;
    if (one.kind === "remove") removed.add(one.card_id);
    store.intents.carryOut(one, ask, { mine, reached }).catch(() => {});
    return one;
  }

  function hear() {
    if (heard >= server.events.length) return;
    const frame = server.events[heard];
    heard += 1;
    store.apply(structuredClone(frame));
  }

  function check(when) {
    const shown = COLUMNS.flatMap((id) => store.cols.get(id).view.value);
    assert.equal(new Set(shown).size, shown.length, `seed ${seed}, ${when}: a card shows twice`);
    for (const id of store.cards.keys()) {
      assert.equal(shown.includes(id), !removed.has(id), `seed ${seed}, ${when}: card ${id} ${removed.has(id) ? "jumped back" : "is lost"}`);
    }
    // The last wish for a card is where it shows.
    for (const id of store.cards.keys()) {
      const last = store.intents.all.peek().findLast((one) => one.kind === "move" && one.card_id === id);
      if (last && !removed.has(id)) assert.ok(store.cols.get(last.column_id).view.value.includes(id), `seed ${seed}, ${when}: a wish does not show`);
    }
  }

  for (let step = 0; step < steps; step += 1) {
    const kind = pick();
    const id = any([...store.cards.keys(), 1].filter((one) => !removed.has(one)));
    const columnId = any(COLUMNS);
    const others = store.cols.get(columnId).view.peek().filter((one) => one !== id && one > 0);
    const to = { column_id: columnId };
    if (pick() < 0.6 && others.length) to[pick() < 0.5 ? "before_card_id" : "after_card_id"] = any(others);
    else if (pick() < 0.5) to.index = Math.floor(pick() * 5);
    if (kind < 0.2) wish({ kind: "move", card_id: id, ...to }, (client) => server.move(id, to, client));
    else if (kind < 0.27) {
      const closed = pick() < 0.5;
      wish({ kind: "change", card_id: id, fields: { closed } }, (client) => server.change(id, { closed }, client));
    } else if (kind < 0.3) wish({ kind: "remove", card_id: id }, () => server.remove(id) && {}); // or somebody else was first
    else if (kind < 0.34) wish({ kind: "create", card_id: -step - 1, column_id: columnId, card: { id: -step - 1 } }, (client) => server.create(columnId, client));
    else if (kind < 0.44) server.move(any([...server.cards.keys()]), { column_id: any(COLUMNS), index: Math.floor(pick() * 4) });
    else if (kind < 0.46) server.remove(any([...server.cards.keys(), 0]));
    else if (kind < 0.72 && pending.length) pending.splice(Math.floor(pick() * pending.length), 1)[0]();
    else if (kind < 0.98) hear();
    else {
      // The line broke: all is told again, or fetched.
      if (pick() < 0.3) {
        heard = server.events.length;
        store.load(server.fetched());
      } else while (heard < server.events.length) hear();
      const now = waiting;
      waiting = [];
      for (const done of now) done();
    }
    if (step % 3 === 0) await settled();
    check(`step ${step}`);
  }
  for (let round = 0; round < 400 && (pending.length || waiting.length || heard < server.events.length || store.intents.all.peek().length); round += 1) {
    while (pending.length) pending.shift()();
    while (heard < server.events.length) hear();
    const now = waiting;
    waiting = [];
    for (const done of now) done();
    await settled();
    check("at the end");
  }
  assert.deepEqual(store.intents.all.peek(), [], `seed ${seed}: a wish never ends`);
  const { columns } = store.shown();
  for (const column of columns) {
    assert.deepEqual(column.cards.map((card) => card.id), server.lists.get(column.id), `seed ${seed}: column ${column.id}`);
    assert.deepEqual(store.cols.get(column.id).view.value, server.lists.get(column.id));
  }
  for (const card of server.cards.values()) assert.equal(!!store.seen(card.id).closed, card.closed, `seed ${seed}: card ${card.id}`);
}

test("wishes through late, lost, doubled and foreign events", async () => {
  for (let seed = 1; seed <= 200; seed += 1) await run(seed, 120);
});

test("an accepted move does not jump back before its event", async () => {
  const server = new Server(random(1));
  const store = new BoardStore("demo");
  store.load(server.fetched());
  const wish = store.intents.add({ kind: "move", card_id: 3, column_id: 2 });
  const before = store.cols.get(2).view.value;
  assert.equal(before.at(-1), 3);
  const answer = server.move(3, { column_id: 2 }, wish.client_id);
  await store.intents.carryOut(wish, async () => answer, { mine: (id) => store.cards.get(id)?.peek().version, reached: async () => {} });
  assert.deepEqual(store.cols.get(2).view.value, before, "it stays where I put it");
  for (const frame of server.events) store.apply(frame);
  assert.deepEqual(store.cols.get(2).view.value, before);
  assert.deepEqual(store.intents.all.peek(), []);
});

test("a wish whose answer was lost is done by its event", async () => {
  const server = new Server(random(1));
  const store = new BoardStore("demo");
  store.load(server.fetched());
  const wish = store.intents.add({ kind: "create", card_id: -1, column_id: 1, card: { id: -1 } });
  const asked = [];
  const ask = async () => {
    asked.push(server.create(1, wish.client_id));
    throw new Unreached("lost on the way back");
  };
  const reached = async () => {
    for (const frame of server.events) store.apply(frame);
  };
  assert.deepEqual(await store.intents.carryOut(wish, ask, { mine: () => undefined, reached }), { done: true });
  assert.equal(asked.length, 1);
});

/** What a deed comes to while time passes. */
async function inTime(context, deed) {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  let over = false;
  const all = deed().finally(() => (over = true));
  while (!over) {
    await settled();
    context.mock.timers.tick(1000);
  }
  context.mock.timers.reset();
  return all;
}

test("a change of many whose answer was lost shows until it is known, and is asked again under its key", async (context) => {
  const server = new Server(random(1));
  const store = new BoardStore("demo");
  store.load(server.fetched());
  const said = [];
  let waits = 0;
  store.reached = async () => (waits += 1);
  answerBy(({ headers }) => {
    said.push([headers["Idempotency-Key"], store.seen(3).closed]);
    return waits ? { data: { cards: [{ id: 3, version: 2 }, { id: 6, version: 2 }] } } : { status: 503 };
  });
  const answer = await inTime(context, () => changeMany(store, [3, 6], { closed: true }));
  assert.deepEqual(answer.map((one) => one.id), [3, 6]);
  assert.deepEqual(said, Array(said.length).fill([said[0][0], true]));
});

test("a change of many whose answer was lost is done by its events", async (context) => {
  const server = new Server(random(1));
  const store = new BoardStore("demo");
  store.load(server.fetched());
  let waits = 0;
  store.reached = async () => {
    waits += 1;
    for (const frame of server.events) store.apply(frame);
  };
  answerBy(({ headers }) => {
    assert.equal(waits, 0, "it was done, and is asked again");
    for (const id of [3, 6]) server.change(id, { closed: true }, headers["X-Client-Id"]);
    return null;
  });
  assert.deepEqual(await inTime(context, () => changeMany(store, [3, 6], { closed: true })), []);
  assert.deepEqual([waits, store.seen(3).closed, store.intents.all.peek()], [1, true, []]);
});

test("a change of many ends for those that were so before, and no event tells of", async (context) => {
  const server = new Server(random(1));
  const store = new BoardStore("demo");
  store.load(server.fetched());
  store.reached = async () => {
    for (const frame of server.events) store.apply(frame);
  };
  answerBy(({ headers }) => {
    server.change(3, { closed: true }, headers["X-Client-Id"]);
    return null;
  });
  assert.deepEqual(await inTime(context, () => changeMany(store, [3, 6], { closed: true })), []);
  assert.deepEqual([store.intents.all.peek(), store.seen(6).closed], [[], store.cards.get(6).peek().closed]);
});

test("what can never be known has failed, and is no wish any more", async () => {
  const intents = new Intents();
  const wish = intents.add({ kind: "change", card_id: 1, fields: {} });
  let end;
  const went = intents.carryOut(wish, async () => {
    throw new Unreached("lost");
  }, { mine: () => 1, reached: () => new Promise((_, fail) => (end = () => fail(new Unreached("ended")))) });
  await settled();
  assert.deepEqual([intents.asked.size, intents.unsure.size], [1, 1]);
  end();
  await assert.rejects(went, /ended/);
  assert.deepEqual([intents.asked.size, intents.unsure.size, intents.all.peek()], [0, 0, []]);
});

test("an order of columns that was wished for before all was fetched again is over", () => {
  const store = new BoardStore("demo");
  const server = new Server(random(1));
  store.load(server.fetched());
  store.wishedOrder.value = [3, 2, 1];
  store.load(server.fetched());
  assert.deepEqual(store.shownOrder.peek(), COLUMNS);
});

test("a card's wishes change its own signal alone", () => {
  const server = new Server(random(2));
  const store = new BoardStore("demo");
  store.load(server.fetched());
  const [one, other] = [store.intents.of(1), store.intents.of(2)];
  const quiet = other.peek();
  const wish = store.intents.add({ kind: "change", card_id: 1, fields: { closed: true } });
  assert.equal(one.peek().length, 1);
  assert.equal(other.peek(), quiet);
  assert.equal(store.seen(1).closed, true);
  store.intents.end(wish);
  assert.equal(store.seen(1).closed, undefined);
});
