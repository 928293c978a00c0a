/* The browser's board and feed read every event as client_board.py does: the same file of examples. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { sockets, turn } from "./browser.mjs";

const { BoardStore } = await import("../../../warmdesk/web/board_store.js");
const { Feed } = await import("../../../warmdesk/web/feed.js");

const lines = readFileSync(new URL("../../data/feed_vectors.jsonl", import.meta.url), "utf8").trim().split("\n");
const [{ boards }, ...vectors] = lines.map((line) => JSON.parse(line));
console.warn = () => {};

for (const { name, of, steps, shown } of vectors) {
  test(name, async () => {
    const store = new BoardStore("demo");
    store.load(structuredClone(boards[of]));
    let resets = 0;
    const feed = new Feed("demo", {
      event: (frame) => store.apply(frame),
      signal: (frame) => store.signal(frame),
      reset: () => {
        resets += 1;
        return new Promise(() => {});
      },
    });
    feed.start(store.seq, store.epoch);
    await turn();
    const socket = sockets.at(-1);
    for (const { frame, then } of steps) {
      const [before, syncs] = [feed.seq, socket.sent.length];
      socket.say(frame);
      feed.flush();
      const asked = socket.sent.slice(syncs).filter((one) => one.type === "sync");
      if (then === "applied") assert.equal(feed.seq, before + 1);
      else assert.equal(feed.seq, before);
      assert.equal(asked.length, then === "gap" ? 1 : 0);
      if (then === "gap") assert.deepEqual(asked[0].payload, { since: before, epoch: store.epoch });
      assert.equal(resets, then === "reset" ? 1 : 0);
    }
    if (shown) assert.deepEqual(store.shown(), shown);
    feed.stop();
  });
}
