/* When what waits is rendered: in the next frame, and in a storm as often as was said. */
import assert from "node:assert/strict";
import { mock, test } from "node:test";
import "./browser.mjs";

const { inFrame, renderEvery, withRender, work } = await import("../../../warmdesk/web/view.js");

/** A clock by which frames come each 10 ms: `pass(ms)` gives when something was rendered meanwhile. */
function ownClock(context) {
  let now = 1000;
  let asked = [];
  mock.timers.enable({ apis: ["setTimeout"] });
  mock.method(performance, "now", () => now);
  mock.method(globalThis, "requestAnimationFrame", (then) => asked.push(then));
  context.after(() => {
    renderEvery(0);
    mock.timers.reset();
    mock.restoreAll();
  });
  return (ms, each = () => {}) => {
    const at = [];
    for (const end = now + ms; now < end; ) {
      now += 1;
      mock.timers.tick(1);
      if (now % 10) continue;
      const { frames } = work;
      const then = asked;
      asked = [];
      each();
      for (const one of then) one();
      if (work.frames > frames) at.push(now);
    }
    return at;
  };
}

const nothing = () => {};

test("what is asked for together is rendered once, in the next frame", (context) => {
  const pass = ownClock(context);
  const done = [];
  withRender(() => done.push(1));
  withRender(() => done.push(2));
  assert.deepEqual(pass(30), [1010]);
  assert.deepEqual(done, [1, 2]);
});

test("who changes something in a frame has it rendered there, and once", (context) => {
  const pass = ownClock(context);
  const { frames } = work;
  inFrame(() => withRender(nothing));
  assert.equal(work.frames, frames + 1);
  assert.deepEqual(pass(50), [], "no other frame was asked for");
  withRender(nothing);
  assert.deepEqual(pass(20).length, 1, "and the next one is again");
});

test("in a storm renders are so far apart as was said, whatever is asked for in between", (context) => {
  const pass = ownClock(context);
  pass(100);
  renderEvery(80);
  const at = pass(400, () => {
    inFrame(() => withRender(nothing));
  });
  const apart = at.slice(1).map((one, n) => one - at[n]);
  assert.ok(at.length >= 4 && apart.every((ms) => ms >= 60 && ms <= 80), `${apart}`);
});

test("a fault of one is heard of, and the others are rendered", (context) => {
  const faults = [];
  const done = [];
  context.mock.method(globalThis, "queueMicrotask", (then) => assert.throws(then, ({ message }) => faults.push(message) > 0));
  inFrame(() => {
    withRender(() => {
      throw new Error("a bug");
    });
    withRender(() => done.push(2));
  });
  assert.deepEqual([done, faults], [[2], ["a bug"]]);
});
