/* Who is signed in: what the end of a session leaves to whoever comes next, which is nothing. */
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { answerBy, requests, sessionBy } from "./browser.mjs";

const { choose, era, finishLeaving, me, meIs, refresh, signedIn, signedOut, signOut, Unreached } = await import("../../../warmdesk/web/identity.js");
const { call, upload } = await import("../../../warmdesk/web/api.js");

const tokens = (id) => ({ access_token: `token of ${id}`, expires_in: 900, user: { id } });
const away = () => null;
const asked = (path) => requests.filter((one) => one.path === path);
const held = () => {
  let go;
  const answer = new Promise((done) => (go = done));
  return { answer, go };
};

beforeEach(() => {
  sessionBy(() => ({ status: 204 }));
  signedOut();
  requests.length = 0;
});

test("an answer that comes late is nobody's, and is not asked again as somebody else", async () => {
  signedIn(tokens(1));
  const first = held();
  answerBy(() => first.answer);
  const late = [call("GET", "/users/me"), call("POST", "/x", {}, { key: true }), call("PUT", "/x", {})];
  const ends = late.map((one) => assert.rejects(one, { status: 401, code: "signed_out" }));
  await new Promise((done) => setImmediate(done));
  signedOut();
  signedIn(tokens(2));
  first.go({ status: 401, data: { error: "no" } });
  await Promise.all(ends);
  assert.deepEqual(requests.filter((one) => one.headers.Authorization !== "Bearer token of 1"), []);
  assert.equal(me.peek().id, 2, "the end of the first is not that of the second");

  const second = held();
  answerBy(() => second.answer);
  const good = assert.rejects(call("GET", "/users/me"), { status: 401, code: "signed_out" });
  await new Promise((done) => setImmediate(done));
  signedOut();
  second.go({ data: { id: 2 } });
  await good;
});

test("what was fetched in vain for one person did not fail for the next", async (context) => {
  const { user } = await import("../../../warmdesk/web/user_store.js");
  context.after(() => user.stop());
  const begin = (id) => {
    signedIn(tokens(id));
    user.start(new Promise(() => {}));
  };
  begin(1);
  const late = held();
  answerBy(() => late.answer);
  const all = [user.fetchProjects(), user.fetchConversations(), user.fetchNotifications()];
  const ends = all.map((one) => assert.rejects(one, { status: 401 }));
  await new Promise((done) => setImmediate(done));
  signedOut();
  begin(2);
  late.go({ status: 500 });
  await Promise.all(ends);
  assert.deepEqual([user.projectsState.peek(), user.conversationsError.peek(), user.notifications.peek().state], ["loading", null, "new"]);
});

test("what is begun while nobody is here is not asked as who comes next", async () => {
  signedIn(tokens(1));
  signedOut();
  const late = held();
  sessionBy(() => late.answer);
  const end = assert.rejects(call("POST", "/read", {}), { status: 401 });
  await new Promise((done) => setImmediate(done));
  signedIn(tokens(2));
  late.go({ status: 204 });
  await end;
  assert.equal(me.peek().id, 2);
  assert.deepEqual(asked("/read"), []);
});

test("who is not signed in asks for nothing", async () => {
  await assert.rejects(call("GET", "/users/me"), { status: 401 });
  assert.deepEqual(asked("/users/me"), []);
});

test("another tab was told that the session is over: this one is told by the cookie that is gone", async () => {
  assert.equal(await refresh(), false, "nobody was here");
  signedIn({ ...tokens(1), expires_in: 0 });
  await assert.rejects(refresh(), { status: 401 });
  await assert.rejects(call("GET", "/users/me"), { status: 401 });
  assert.deepEqual([me.peek(), asked("/users/me")], [null, []]);
});

test("a token that comes when its owner has left is not kept", async () => {
  signedIn({ ...tokens(1), expires_in: 0 });
  const late = held();
  sessionBy(({ path }) => (path === "/auth/refresh" ? late.answer : { status: 204 }));
  const renewed = refresh();
  await new Promise((done) => setImmediate(done));
  await signOut();
  late.go({ data: tokens(1) });
  assert.equal(await renewed, false);
  assert.equal(me.peek(), null);
});

test("who left stays away, though the server does not know yet, until somebody signs in", async () => {
  signedIn(tokens(1));
  const before = era();
  sessionBy(away);
  await assert.rejects(signOut(), /connection lost/);
  assert.deepEqual([me.peek(), era() > before], [null, true]);
  // The cookie is still there, and good.
  sessionBy(({ path }) => (path === "/auth/refresh" ? { data: tokens(1) } : null));
  await assert.rejects(refresh());
  await assert.rejects(call("GET", "/users/me"));
  assert.equal(me.peek(), null);
  sessionBy(({ path }) => (path === "/auth/refresh" ? { data: tokens(1) } : { status: 503 }));
  await assert.rejects(finishLeaving(), { status: 503 });
  sessionBy(() => ({ status: 204 }));
  assert.equal(await refresh(), false);
  const told = asked("/auth/logout").length;
  assert.equal(await refresh(), false);
  assert.equal(asked("/auth/logout").length, told, "it has heard");

  signedIn(tokens(1));
  sessionBy(away);
  await assert.rejects(signOut());
  signedIn(tokens(2));
  sessionBy(() => ({ data: tokens(2) }));
  requests.length = 0;
  await finishLeaving();
  assert.equal(await refresh(), true);
  assert.deepEqual([me.peek().id, asked("/auth/logout")], [2, []]);
});

test("where somebody has signed in in another tab since, their session is not ended", async (context) => {
  const stored = new Map();
  globalThis.localStorage = {
    getItem: (name) => stored.get(name) ?? null,
    setItem: (name, text) => stored.set(name, text),
    removeItem: (name) => stored.delete(name),
  };
  context.after(() => delete globalThis.localStorage);
  context.mock.timers.enable({ apis: ["setTimeout"] });
  signedIn(tokens(1));
  sessionBy(away);
  await assert.rejects(signOut());
  assert.equal(stored.size, 1, "other tabs and the next start know");
  stored.clear();
  requests.length = 0;
  context.mock.timers.tick(10_000);
  await finishLeaving();
  assert.deepEqual(asked("/auth/logout"), []);
});

test("the server is told again by itself that somebody left", async (context) => {
  signedIn(tokens(1));
  context.mock.timers.enable({ apis: ["setTimeout"] });
  sessionBy(away);
  await assert.rejects(signOut());
  sessionBy(() => ({ status: 204 }));
  const told = asked("/auth/logout").length;
  for (let n = 0; n < 6; n += 1) {
    context.mock.timers.tick(10_000);
    await new Promise((done) => setImmediate(done));
  }
  assert.equal(asked("/auth/logout").length, told + 1);
  await finishLeaving();
  assert.equal(asked("/auth/logout").length, told + 1);
});

test("what is not answered at all is given up: a refresh soon, a page later, a deed never", async (context) => {
  signedIn({ ...tokens(1), expires_in: 0 });
  context.mock.timers.enable({ apis: ["setTimeout"] });
  sessionBy(() => new Promise(() => {}));
  const renewed = assert.rejects(refresh(), Unreached);
  await new Promise((done) => setImmediate(done));
  context.mock.timers.tick(15_000);
  await renewed;

  signedIn(tokens(1));
  const dead = held();
  let asks = 0;
  answerBy(({ method }) => {
    asks += 1;
    return method === "GET" && asks > 1 ? { data: "here" } : dead.answer;
  });
  const page = call("GET", "/projects/demo");
  for (let n = 0; n < 2; n += 1) {
    await new Promise((done) => setImmediate(done));
    context.mock.timers.tick(60_000);
  }
  assert.equal(await page, "here");
  const deed = call("PUT", "/x", {});
  await new Promise((done) => setImmediate(done));
  context.mock.timers.tick(600_000);
  dead.go({ data: "done" });
  assert.equal(await deed, "done");
});

test("an upload has another token where the first is not taken, and ends when it is told to", async () => {
  const sent = [];
  let statuses = [401, 201];
  globalThis.XMLHttpRequest = class {
    upload = {};
    headers = {};

    open() {}

    setRequestHeader(name, value) {
      this.headers[name] = value;
    }

    getResponseHeader() {
      return null;
    }

    send() {
      sent.push(this.headers);
      this.status = statuses.shift();
      this.response = { id: 7 };
      if (this.status) setImmediate(() => this.onload());
    }

    abort() {
      this.onabort();
    }
  };
  const file = Object.assign(new Blob(["text"]), { name: "a.txt" });
  signedIn(tokens(1));
  sessionBy(() => ({ data: { ...tokens(1), access_token: "another" } }));
  assert.deepEqual(await upload("/files", "file", file), { id: 7 });
  assert.deepEqual(sent.map((one) => one.Authorization), ["Bearer token of 1", "Bearer another"]);
  assert.equal(sent[0]["Idempotency-Key"], sent[1]["Idempotency-Key"]);

  const early = new AbortController();
  const never = assert.rejects(upload("/files", "file", file, { signal: early.signal }), { name: "AbortError" });
  early.abort(); // while it gets its token
  await never;
  assert.equal(sent.length, 2);

  statuses = [0];
  const late = new AbortController();
  const broken = assert.rejects(upload("/files", "file", file, { signal: late.signal }), { name: "AbortError" });
  await new Promise((done) => setImmediate(done));
  late.abort();
  await broken;

  statuses = [401, 401];
  await assert.rejects(upload("/files", "file", file), { status: 401 });
  assert.equal(me.peek(), null);
});

test("what I chose stays over what is told of earlier choices, and a refusal takes back only its own", () => {
  me.value = { id: 1, name: "Ann", theme: "light", accent: "blue" };
  const dark = choose({ theme: "dark" });
  const green = choose({ accent: "green" });
  meIs({ theme: "dark", accent: "blue" });
  assert.deepEqual(me.peek(), { id: 1, name: "Ann", theme: "dark", accent: "green" });
  dark({ id: 1, name: "Ann", theme: "dark", accent: "blue" });
  assert.equal(me.peek().accent, "green");
  const red = choose({ accent: "red" });
  green({});
  assert.equal(me.peek().accent, "red");
  red({});
  assert.equal(me.peek().accent, "blue", "what the server said last, and not what was refused before");
  meIs({ accent: "yellow", name: "Anna" });
  assert.deepEqual(me.peek(), { id: 1, name: "Anna", theme: "dark", accent: "yellow" });

  const late = choose({ theme: "light" });
  signedIn(tokens(1));
  assert.equal(me.peek().theme, "light", "a token that is renewed says what was");
  me.value = { id: 2, theme: "dark" };
  meIs({ id: 1, accent: "green" });
  meIs({ accent: "blue" });
  late({ id: 1, theme: "light" });
  assert.deepEqual(me.peek(), { id: 2, theme: "dark", accent: "blue" }, "a choice is nobody else's");
  me.value = null;
  meIs({ accent: "blue" });
  assert.equal(me.peek(), null, "nobody came");
});
