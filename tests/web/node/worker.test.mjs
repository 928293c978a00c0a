/* The service worker: what a click on a notification of the system leads to. */
import assert from "node:assert/strict";
import { test } from "node:test";

const hears = new Map();
const pages = [];
const done = [];
globalThis.self = {
  location: new URL("http://warmdesk.test/worker.js"),
  addEventListener: (name, then) => hears.set(name, then),
  clients: {
    matchAll: async () => pages,
    openWindow: async (path) => done.push(["opened", path]),
  },
};
await import("../../../warmdesk/web/worker.js");

async function click(data) {
  done.length = 0;
  let job;
  const notification = { data, close: () => done.push(["closed"]) };
  hears.get("notificationclick")({ notification, waitUntil: (promise) => (job = promise) });
  await job;
  return done;
}

const page = (name, visibilityState, focus, path = "/p/demo") => ({
  url: `http://warmdesk.test${path}`,
  visibilityState,
  focus: async () => {
    done.push(["focused", name]);
    if (!focus) throw new TypeError("not allowed to");
  },
  postMessage: (told) => done.push([name, told]),
});

test("without a page one is opened, else what is open goes there", async () => {
  pages.push(page("Swagger UI", "visible", true, "/swagger/index.html"));
  assert.deepEqual(await click({ url: "/p/demo/c/D-1" }), [["closed"], ["opened", "/p/demo/c/D-1"]]);
  pages.push(page("hidden", "hidden", false));
  assert.deepEqual(await click({ url: "/messages/3" }), [["closed"], ["focused", "hidden"], ["hidden", { go: "/messages/3" }]]);
  pages.push(page("shown", "visible", true));
  assert.deepEqual(await click(null), [["closed"], ["focused", "shown"], ["shown", { go: "/" }]]);
});
