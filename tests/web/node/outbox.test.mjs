/* Messages on their way: each comes once and as its author's, through breaks, reloads and other people. */
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import "./browser.mjs";

const stored = new Map();
globalThis.sessionStorage = {
  getItem: (name) => stored.get(name) ?? null,
  setItem: (name, text) => stored.set(name, text),
  removeItem: (name) => stored.delete(name),
};
const web = "../../../warmdesk/web/";
const { me, Refused, Unreached } = await import(`${web}identity.js`);

let loads = 0;
/** The page after a reload. What was before it goes on here: each test has a place of its own. */
const reloaded = async () => (await import(`${web}outbox.js?${(loads += 1)}`)).outboxOf;
const settled = () => new Promise((done) => setImmediate(done));
const states = (box) => box.items.peek().map((one) => [one.body, one.state]);

/** A server that answers as it is told: `fails` is what it throws. */
function server(box) {
  const one = { got: [], fails: null };
  box.send = async (body, { nonce, attachment_ids: files, time }) => {
    one.got.push({ body, nonce, files, time });
    if (one.fails) throw one.fails;
    return { id: one.got.length };
  };
  return one;
}

afterEach(() => {
  me.value = null;
  stored.clear();
});

test("what was on its way at a reload is sent again, under the same name", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  me.value = { id: 1 };
  const before = (await reloaded())("chat.1");
  const first = server(before);
  first.fails = new Unreached("lost");
  before.add("one", [{ id: 7, filename: "a.txt" }], { time: 5 });
  before.add("two");
  await settled();
  assert.deepEqual(states(before), [["one", "waiting"], ["two", "waiting"]]);

  const after = (await reloaded())("chat.1");
  assert.deepEqual(states(after), [["one", "waiting"], ["two", "waiting"]], "it shows before it is sent");
  const second = server(after);
  await settled();
  assert.deepEqual(second.got.map(({ body }) => body), ["one", "two"]);
  assert.deepEqual([first.got.length, second.got[0]], [1, first.got[0]]);
  assert.deepEqual([second.got[0].files, second.got[0].time], [[7], 5]);
  context.mock.timers.tick(100);
  assert.deepEqual(states(after), []);
  assert.deepEqual(states((await reloaded())("chat.1")), []);
});

test("what was refused is not sent again by itself", async () => {
  me.value = { id: 1 };
  const before = (await reloaded())("chat.2");
  server(before).fails = new Refused(422, { error: "no" });
  await before.add("one");
  const after = (await reloaded())("chat.2");
  const next = server(after);
  await settled();
  assert.deepEqual([states(after), next.got], [[["one", "refused"]], []]);
});

test("over the end of a session it waits for its author, and for nobody else", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  me.value = { id: 1 };
  const box = (await reloaded())("chat.3");
  const one = server(box);
  one.fails = new Refused(401, {});
  await box.add("mine");
  me.value = null;
  one.fails = null;
  assert.deepEqual(states(box), [["mine", "waiting"]]);
  box.again(box.items.peek()[0].nonce);
  await settled();
  context.mock.timers.tick(60_000);
  await settled();
  assert.equal(one.got.length, 1, "nobody is here");

  me.value = { id: 2 };
  const other = server(box);
  await settled();
  context.mock.timers.tick(60_000);
  await settled();
  assert.deepEqual([states(box), one.got.length, other.got], [[], 1, []]);
  other.fails = new Unreached("lost");
  await box.add("theirs");

  me.value = null;
  me.value = { id: 1 };
  const again = server(box);
  await settled();
  assert.deepEqual(again.got, one.got);

  again.fails = new Unreached("lost");
  await box.add("more");
  me.value = null;
  again.fails = null;
  me.value = { id: 1 };
  await settled();
  assert.deepEqual(again.got.map((each) => each.body), ["mine", "more", "more"]);
});

test("who was back before the session of before was refused has it sent", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  me.value = { id: 1 };
  const box = (await reloaded())("chat.5");
  const one = server(box);
  one.fails = new Refused(401, {});
  await box.add("mine");
  one.fails = null;
  context.mock.timers.tick(4000);
  assert.equal(one.got.length, 2);
});

test("what a server that is busy did not take is sent later", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  me.value = { id: 1 };
  const box = (await reloaded())("chat.4");
  const one = server(box);
  one.fails = new Refused(429, {}, 9);
  await box.add("one");
  one.fails = null;
  context.mock.timers.tick(8999);
  assert.equal(one.got.length, 1);
  context.mock.timers.tick(1);
  assert.equal(one.got.length, 2);
});

test("none overtakes one that waits, and all arrive in the order in which they were written", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  me.value = { id: 1 };
  const box = (await reloaded())("chat.6");
  const one = server(box);
  let letGo;
  box.send = async (body) => {
    one.got.push(body);
    if (body === "one" && one.got.length === 1) await new Promise((_, fail) => (letGo = () => fail(new Unreached("lost"))));
    if (body === "three") throw new Refused(422, { error: "no" });
    return { id: one.got.length };
  };
  box.add("one");
  box.add("two");
  await settled();
  assert.deepEqual([one.got, states(box)], [["one"], [["one", "sending"], ["two", "sending"]]]);
  letGo();
  await settled();
  box.add("three");
  box.add("four");
  await settled();
  assert.deepEqual(one.got, ["one"]);
  assert.deepEqual(new Set(states(box).map(([, state]) => state)), new Set(["waiting"]));
  context.mock.timers.tick(4000);
  for (let n = 0; n < 8; n += 1) await settled();
  assert.deepEqual(one.got, ["one", "one", "two", "three", "four"]);
  assert.deepEqual(states(box).find(([body]) => body === "three"), ["three", "refused"]);
});

test("one that an event tells of lets the next one go, before its answer", async () => {
  me.value = { id: 1 };
  const box = (await reloaded())("chat.7");
  const got = [];
  box.send = (body) => {
    got.push(body);
    return new Promise(() => {});
  };
  box.add("one");
  box.add("two");
  await settled();
  assert.deepEqual(got, ["one"]);
  box.hasCome(box.items.peek()[0].clientId);
  await settled();
  assert.deepEqual([got, states(box)], [["one", "two"], [["two", "sending"]]]);
});

test("those behind one that waits go on when an event tells of it", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  me.value = { id: 1 };
  const box = (await reloaded())("chat.8");
  const one = server(box);
  one.fails = new Unreached("the answer was lost");
  await box.add("one");
  box.add("two");
  one.fails = null;
  assert.deepEqual(states(box), [["one", "waiting"], ["two", "waiting"]]);
  box.hasCome(box.items.peek()[0].clientId);
  await settled();
  assert.deepEqual(one.got.map(({ body }) => body), ["one", "two"]);
});
