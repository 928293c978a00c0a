/* Who is signed in. The access token is in memory only; the refresh token is a cookie that no
 * script can read.
 */
import { signal } from "./view.js";

export const me = signal(null);
/** What the server said about itself and me at the start: `settings` of `/bootstrap`. */
export const settings = signal({});
/** Whether recovery codes are shown that nobody has kept yet: the page must not go away. */
export const enrolling = signal(false);

const MARGIN_MS = 30_000;
const AGAIN_MS = 10_000;
const SHORT_MS = 15_000;
const LEFT = "warmdesk.left";
let token = null;
let expires = 0;
let refreshing = null;
let eras = 0;

/** Changes whenever a session begins or ends here: what was asked before that is not answered any more. */
export const era = () => eras;

/** What a request gets whose asker is gone, or that nobody could ask. */
export const nobody = () => new Refused(401, { error: "nobody is signed in", code: "signed_out" });

/** A refusal of the server: its status, code, sentence, the fields it names, seconds to wait. */
export class Refused extends Error {
  constructor(status, body, wait) {
    super(body?.error ?? `${status}`);
    this.status = status;
    this.code = body?.code;
    this.fields = body?.fields ?? {};
    this.body = body;
    this.wait = wait;
  }
}

/** The server did not answer; whether it acted on the request is not known. */
export class Unreached extends Error {}

/** One request; the answer's JSON, or with `blob` its bytes, and headers. Throws `Refused`, or `Unreached` also
 * when the whole answer is not here after `ms`.
 */
export async function ask(method, path, { body, blob, headers = {}, signal: ended, ms } = {}) {
  const all = { Accept: blob ? "*/*" : "application/json", ...headers };
  let sent = body;
  if (body !== undefined && !(body instanceof FormData)) {
    all["Content-Type"] = "application/json";
    sent = JSON.stringify(body);
  }
  const stop = new AbortController();
  const end = () => stop.abort(ended?.reason);
  if (ended?.aborted) end();
  ended?.addEventListener("abort", end);
  const timer = ms ? setTimeout(end, ms) : 0;
  let answer;
  let data;
  try {
    answer = await fetch(`/api/v1${path}`, { method, headers: all, body: sent, signal: stop.signal });
    data = blob && answer.ok ? await answer.blob() : jsonOf(await answer.text());
  } catch (error) {
    if (ended?.aborted) throw error;
    throw new Unreached(String(error));
  } finally {
    clearTimeout(timer);
    ended?.removeEventListener("abort", end);
  }
  if (!answer.ok) {
    throw new Refused(answer.status, data, Number(answer.headers.get("Retry-After")) || 0);
  }
  return { data, headers: answer.headers, status: answer.status };
}

function jsonOf(text) {
  try {
    return text ? JSON.parse(text) : null;
  } catch {
    return { error: text.slice(0, 200) };
  }
}

// What I chose and the server has not answered, in its order, lies over what it told of me: that is older.
const choices = [];
let said = null;

function lay(before, told) {
  said = { ...before, ...told };
  me.value = Object.assign({ ...said }, ...choices.filter(({ id }) => id === said.id).map(({ changes }) => changes));
}

/** Takes in what the server tells of me; of who has left nothing. */
export function meIs(told) {
  const now = me.peek();
  if (now && (told.id ?? now.id) === now.id) lay(choices.some(({ id }) => id === now.id) ? said : now, told);
}

/** Shows at once what I chose. Gives the function that ends it: with what the server answered, or with nothing
 * when it refused.
 */
export function choose(changes) {
  meIs({});
  const one = { id: said.id, changes };
  choices.push(one);
  lay(said, {});
  return (told) => {
    choices.splice(choices.indexOf(one), 1);
    if (me.peek()?.id === one.id) lay(said, told);
  };
}

// The other tabs: whoever asked for a token tells them, and they need not ask.
const tabs = new BroadcastChannel("warmdesk-identity");
tabs.onmessage = ({ data }) => {
  if (data.signedOut === me.peek()?.id && data.signedOut) forget();
  if (data.id !== undefined && data.id === me.peek()?.id && data.expires > expires) {
    token = data.token;
    expires = data.expires;
  }
};

function keep(data) {
  const before = me.peek();
  if (before && data.user && before.id !== data.user.id) {
    // Somebody else signed in in another tab: nothing of the first may stay.
    location.reload();
    return data;
  }
  token = data.access_token;
  expires = Date.now() + data.expires_in * 1000;
  if (data.user) {
    if (before) meIs(data.user);
    else me.value = data.user;
    tabs.postMessage({ id: data.user.id, token, expires });
  }
  return data;
}

/** Keeps the tokens of an answer to login, register or a second factor. */
export function signedIn(data) {
  leftIs(false);
  eras += 1;
  return keep(data);
}

/** Does it in one tab after the other. */
const alone = (name, trip) => (navigator.locks ? navigator.locks.request(name, trip) : trip());

/** Asks for a new access token, once for all who want one and for all tabs. Throws `Refused` 401
 * when the session is over; false when there never was one, or when it was left.
 */
export function refresh() {
  const trip = async () => {
    if (hasLeft()) {
      await finishLeaving();
      return false;
    }
    if (token && Date.now() < expires - MARGIN_MS) return true; // another tab was first
    const mine = eras;
    const { data, status } = await ask("POST", "/auth/refresh", { body: { cookie: true }, ms: SHORT_MS });
    if (mine !== eras || hasLeft()) return false;
    if (status === 204) {
      if (me.peek()) throw nobody(); // another tab was told that it is over
      return false;
    }
    keep(data);
    return true;
  };
  refreshing ??= alone("warmdesk-refresh", trip).finally(() => {
    refreshing = null;
  });
  return refreshing;
}

/** A token that is good for a while yet. */
export async function accessToken() {
  if (Date.now() > expires - MARGIN_MS) await refresh();
  if (!token) throw nobody();
  return token;
}

/** The token is not taken any more, whatever its time says. */
export function distrust() {
  expires = 0;
}

function forget() {
  eras += 1;
  token = null;
  expires = 0;
  me.value = null;
}

/** Forgets who is signed in, here and in all tabs; the page then shows the sign-in. */
export function signedOut() {
  const mine = me.peek()?.id;
  if (mine) tabs.postMessage({ signedOut: mine });
  forget();
}

// Somebody left, and the server has not heard of it: its cookie is still good, and is not to be used. All
// tabs know, and also that somebody has signed in since; without a storage this page alone.
let left = false;
let leaving = null;
let later = 0;

function hasLeft() {
  try {
    return left || localStorage.getItem(LEFT) !== null;
  } catch {
    return left;
  }
}

function leftIs(now) {
  clearTimeout(later);
  left = false;
  try {
    if (now) localStorage.setItem(LEFT, "1");
    else localStorage.removeItem(LEFT);
  } catch {
    left = now; // it holds as long as this page
  }
}

/** Tells the server that somebody left, if it does not know yet. Throws what kept it from hearing. */
export function finishLeaving() {
  if (!hasLeft()) return Promise.resolve();
  clearTimeout(later);
  const tell = async () => {
    if (!hasLeft()) return; // another tab was first
    try {
      await ask("POST", "/auth/logout", { body: {}, ms: SHORT_MS });
    } catch (error) {
      if (error instanceof Unreached || error.status === 429 || error.status >= 500) {
        const ms = Math.max(AGAIN_MS, (error.wait ?? 0) * 1000);
        later = setTimeout(() => finishLeaving().catch(() => {}), ms);
        throw error;
      }
    }
    leftIs(false);
  };
  leaving ??= alone("warmdesk-leave", tell).finally(() => {
    leaving = null;
  });
  return leaving;
}

addEventListener("online", () => finishLeaving().catch(() => {}));

/** Ends the session, here and in all tabs, at once. Throws what kept the server from it: it is told again
 * until it has heard, and nobody is signed in by what it still takes for good.
 */
export function signOut() {
  leftIs(true);
  signedOut();
  return finishLeaving();
}
