/* The feed through gaps, doubles, resets and breaks of its line. */
import assert from "node:assert/strict";
import { afterEach, mock, test } from "node:test";
import { happens, random, sockets, turn } from "./browser.mjs";

const { Feed } = await import("../../../warmdesk/web/feed.js");
console.warn = () => {};

const event = (seq) => ({ type: "x", payload: {}, seq });
const hello = (seq, epoch = "e") => ({ type: "hello", payload: { seq, epoch } });

const settled = async () => {
  for (let n = 0; n < 5; n += 1) await new Promise((done) => setImmediate(done));
};

/** Time passes only by `pass(ms)` until the test is over. */
function ownClock(context) {
  mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  context.after(() => mock.timers.reset());
  return async (ms) => {
    mock.timers.tick(ms);
    await settled();
  };
}

// One that goes on keeps the process alive, also after a test that failed.
const feeds = [];
afterEach(() => {
  for (const feed of feeds.splice(0)) feed.stop();
});

async function opened(handlers = {}) {
  const seen = [];
  const feed = new Feed("demo", { event: (frame) => seen.push(frame.seq), ...handlers });
  feeds.push(feed);
  feed.start(10, "e");
  await settled();
  return { feed, seen, socket: sockets.at(-1) };
}

test("it connects with its place, as a browser must", async () => {
  const { feed, socket } = await opened();
  assert.equal(socket.address.pathname, "/api/v1/ws/demo");
  assert.deepEqual(Object.fromEntries(socket.address.searchParams), { presence: "changed", since: "10", epoch: "e" });
  assert.deepEqual(socket.protocols, ["warmdesk", "bearer.a token"]);
  feed.stop();
});

test("lost, doubled and swapped frames: each event once and in order", async (context) => {
  const pass = ownClock(context);
  for (let seed = 1; seed <= 200; seed += 1) {
    const pick = random(seed);
    const { feed, seen, socket } = await opened();
    socket.say(hello(10));
    let head = 10;
    let answered = 0;
    const replay = () => {
      for (; answered < socket.sent.length; answered += 1) {
        const { type, id, payload } = socket.sent[answered];
        if (type === "ping") socket.say({ type: "pong", payload: { seq: head } });
        if (type !== "sync") continue;
        for (let seq = payload.since + 1; seq <= head; seq += 1) if (pick() < 0.9) socket.say(event(seq));
        socket.say({ type: "ack", payload: { id } });
      }
    };
    for (let step = 0; step < 30; step += 1) {
      head += 1;
      const kind = pick();
      if (kind < 0.6) socket.say(event(head));
      else if (kind < 0.7) socket.say(event(Math.max(1, head - Math.floor(pick() * 5))));
      if (pick() < 0.5) feed.flush();
      if (pick() < 0.3) replay();
    }
    // Nobody says anything any more: what is missing is asked for by itself.
    for (let tries = 0; seen.length < head - 10 && tries < 200; tries += 1) {
      await pass(1000);
      replay();
    }
    assert.deepEqual(seen, Array.from({ length: head - 10 }, (_, at) => at + 11), `seed ${seed}`);
    feed.stop();
  }
});

test("it says how many changes it caught up, and only after a break", async () => {
  const states = [];
  const { feed, socket } = await opened({ reached: () => states.push(feed.state.peek().kind) });
  socket.say(hello(12));
  assert.deepEqual(states, []);
  socket.say(event(11));
  socket.say(event(12));
  feed.flush();
  assert.deepEqual(states, ["live"]);
  socket.end(1006);
  assert.equal(feed.state.peek().kind, "lost");
  feed.now();
  await turn();
  const next = sockets.at(-1);
  assert.equal(next.address.searchParams.get("since"), "12");
  next.say(hello(13));
  next.say(event(13));
  feed.flush();
  assert.deepEqual(feed.state.peek(), { kind: "caught", n: 1 });
  feed.stop();
});

/** A feed that was begun while the place of what is fetched is on its way, and what tells it. */
async function early(handlers = {}) {
  const seen = [];
  const place = {};
  const coming = new Promise((come, fail) => Object.assign(place, { come, fail }));
  const feed = new Feed("user", { event: (frame) => seen.push(frame.seq), ...handlers });
  feeds.push(feed);
  feed.startBefore(coming);
  await settled();
  const socket = sockets.at(-1);
  assert.equal(socket.address.searchParams.get("since"), null);
  return { feed, seen, socket, ...place };
}

const asked = (socket) => socket.sent.filter(({ type }) => type === "sync").map(({ payload }) => payload.since);

test("what is told before it is known where all was fetched waits for that", async () => {
  const { feed, seen, socket, come } = await early();
  socket.say(hello(12));
  for (const seq of [13, 14]) socket.say(event(seq));
  feed.flush();
  assert.deepEqual(seen, []);
  come({ seq: 13, epoch: "e" });
  await settled();
  assert.deepEqual([seen, asked(socket)], [[14], []]);
  assert.equal(feed.state.peek().kind, "live");
});

test("what happened between all was fetched and the connection was made is asked for", async () => {
  for (const isFirst of [true, false]) {
    const { feed, seen, socket, come } = await early();
    const steps = [() => come({ seq: 10, epoch: "e" }), () => socket.say(hello(12))];
    for (const step of isFirst ? steps : steps.reverse()) {
      step();
      await settled();
    }
    assert.deepEqual(asked(socket), [10]);
    for (const seq of [11, 12]) socket.say(event(seq));
    feed.flush();
    assert.deepEqual(seen, [11, 12]);
    assert.equal(feed.state.peek().kind, "live");
  }
});

test("what was fetched in another history, or not at all, is fetched again", async () => {
  for (const isFirst of [true, false]) {
    for (const end of [({ come }) => come({ seq: 10, epoch: "before" }), ({ fail }) => fail(new Error("away")), ({ come }) => come({ seq: 0, epoch: null })]) {
      const again = [];
      const reset = async (payload) => {
        again.push(payload);
        return { seq: 12, epoch: "e" };
      };
      const it = await early({ reset });
      const steps = [() => end(it), () => it.socket.say(hello(12))];
      for (const step of isFirst ? steps : steps.reverse()) {
        step();
        await settled();
      }
      assert.equal(again.length, 1);
      it.socket.say(event(13));
      it.feed.flush();
      assert.deepEqual([it.seen, asked(it.socket)], [[13], []]);
    }
  }
});

test("a reset that comes before it is known where all was fetched is not forgotten", async () => {
  const resets = [];
  const reset = async ({ reason }) => {
    resets.push(reason);
    return { seq: 3, epoch: "f" };
  };
  const { feed, seen, socket, come } = await early({ reset });
  socket.say(hello(9));
  socket.say({ type: "sync.reset", payload: { seq: 3, epoch: "f", reason: "epoch" } });
  await settled();
  assert.deepEqual(resets, [], "it waits for what is on its way");
  come({ seq: 9, epoch: "e" });
  await settled();
  socket.say(event(4));
  await turn();
  assert.deepEqual([resets, seen, feed.epoch], [["epoch"], [4], "f"]);
});

test("what came when the page was just hidden comes by the clock", async () => {
  const { seen, socket } = await opened();
  socket.say(hello(10));
  const ask = globalThis.requestAnimationFrame;
  try {
    globalThis.requestAnimationFrame = () => {}; // as in a page that nobody sees
    socket.say(event(11));
    document.hidden = true;
    socket.say(event(12));
    for (let tries = 0; seen.length < 2 && tries < 100; tries += 1) await turn();
    assert.deepEqual(seen, [11, 12]);
  } finally {
    globalThis.requestAnimationFrame = ask;
    document.hidden = false;
  }
});

test("a reset is fetched again, and events wait for it", async () => {
  let fetched;
  const { feed, seen, socket } = await opened({ reset: () => new Promise((done) => (fetched = done)) });
  socket.say(hello(90, "f"));
  socket.say({ type: "sync.reset", payload: { seq: 90, epoch: "f", reason: "epoch" } });
  socket.say(event(91));
  socket.say(event(92));
  feed.flush();
  assert.deepEqual(seen, []);
  fetched({ seq: 91, epoch: "f" });
  await turn();
  assert.deepEqual(seen, [92]);
  assert.deepEqual([feed.seq, feed.epoch, feed.state.peek().kind], [92, "f", "live"]);
  feed.stop();
});

test("one bad event fetches all again and does not end the feed", async () => {
  const seen = [];
  let resets = 0;
  const { feed, socket } = await opened({
    event: (frame) => {
      if (frame.seq === 11) throw new Error("odd");
      seen.push(frame.seq);
    },
    reset: async () => ({ seq: 10 + (resets += 1), epoch: "e" }),
  });
  socket.say(hello(10));
  socket.say(event(11));
  feed.flush();
  await turn();
  socket.say(event(12));
  feed.flush();
  assert.deepEqual([resets, seen], [1, [12]]);
  feed.stop();
});

test("removed ends it, replaced waits for a hand, an ended token is renewed", async () => {
  const codes = [];
  const one = await opened({ ended: (code) => codes.push(code) });
  one.socket.end(4403);
  assert.deepEqual([codes, one.feed.state.peek()], [[4403], { kind: "removed", code: 4403 }]);

  const two = await opened();
  const before = sockets.length;
  two.socket.end(4409);
  assert.equal(two.feed.state.peek().kind, "replaced");
  await turn();
  assert.equal(sockets.length, before);
  two.feed.now();
  await turn();
  assert.equal(sockets.length, before + 1);
  sockets.at(-1).say(hello(10));
  sockets.at(-1).end(4401);
  await turn();
  assert.equal(sockets.length, before + 2);
  two.feed.stop();
});

test("a command has its answer, its refusal, or the connection was lost", async () => {
  const { feed, socket } = await opened();
  const good = feed.send("chat.send", { body: "hello" });
  const bad = feed.send("chat.send", { body: "" });
  const lost = feed.send("chat.send", { body: "late" });
  const [first, second] = socket.sent;
  socket.say({ type: "ack", payload: { id: first.id, message_id: 4 } });
  socket.say({ type: "error", payload: { id: second.id, code: "blank", message: "say something" } });
  socket.end(1006);
  assert.equal((await good).message_id, 4);
  await assert.rejects(bad, { code: "blank", message: "say something" });
  await assert.rejects(lost, /lost/);
  feed.stop();
});

test("who had no answer asks again: after a pause while the line stands, else when it is back", async (context) => {
  const pass = ownClock(context);
  const { feed, socket } = await opened();
  const told = [];
  const wait = (name, seconds) => feed.caughtUp(seconds).then(() => told.push(name));
  wait("early");
  await pass(10_000);
  assert.deepEqual(told, [], "nothing is known before hello");
  socket.say(hello(10));
  await settled();
  assert.deepEqual(told, ["early"]);
  wait("standing");
  wait("longer", 8);
  await pass(2000);
  assert.deepEqual(told, ["early"]);
  await pass(2000);
  assert.deepEqual(told, ["early", "standing"]);
  await pass(5000);
  assert.deepEqual(told, ["early", "standing", "longer"]);
  wait("broken");
  socket.end(1006);
  wait("away");
  feed.now();
  await settled();
  await pass(4000);
  assert.equal(told.length, 3, "the line is not back");
  sockets.at(-1).say(hello(11));
  await settled();
  assert.equal(told.length, 3, "what was missed is not here");
  sockets.at(-1).say(event(11));
  await pass(50);
  assert.deepEqual(told.slice(3), ["broken", "away"]);
  feed.stop();
});

test("a socket that never says hello is given up for another one", async (context) => {
  const pass = ownClock(context);
  const { feed, socket } = await opened();
  const before = sockets.length;
  await pass(14_000);
  assert.equal(sockets.length, before);
  await pass(1500);
  assert.equal(socket.readyState, 3);
  await pass(5000);
  assert.equal(sockets.length, before + 1);
  sockets.at(-1).say(hello(10));
  await pass(20_000);
  assert.equal(sockets.length, before + 1);
  assert.equal(feed.state.peek().kind, "live");
  feed.stop();
});

test("what is fetched while the line is away does not make it live", async () => {
  let fetched;
  const { feed, socket } = await opened({ reset: () => new Promise((done) => (fetched = done)) });
  socket.say(hello(90, "f"));
  socket.say({ type: "sync.reset", payload: { seq: 90, epoch: "f", reason: "epoch" } });
  socket.end(1006);
  fetched({ seq: 90, epoch: "f" });
  await settled();
  assert.equal(feed.state.peek().kind, "lost");
  feed.stop();
});

test("where the network is back it connects at once, however soon after the last try", async (context) => {
  ownClock(context);
  const { socket } = await opened();
  socket.say(hello(10));
  socket.end(1006);
  const before = sockets.length;
  happens("focus");
  await settled();
  assert.equal(sockets.length, before);
  happens("online");
  await settled();
  assert.equal(sockets.length, before + 1);
});

test("who waits for a feed that ends hears that it ended", async () => {
  const { feed, socket } = await opened();
  const one = feed.caughtUp();
  socket.say(hello(10));
  await one;
  const other = feed.caughtUp(60);
  feed.stop();
  await assert.rejects(other, /ended/);
  await assert.rejects(feed.caughtUp(), /ended/);

  const two = await opened();
  const waits = two.feed.caughtUp();
  two.feed.line.end(4403);
  await assert.rejects(waits, /ended/);
});

test("a feed that ended may begin again, from another place", async () => {
  const { feed, seen } = await opened();
  feed.line.end(4403);
  feed.start(20, "e");
  await settled();
  const socket = sockets.at(-1);
  assert.equal(socket.address.searchParams.get("since"), "20");
  socket.say(hello(20));
  socket.say(event(21));
  feed.flush();
  assert.deepEqual(seen, [21]);
});
