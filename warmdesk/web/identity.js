/* Who is signed in. The access token is in memory only; the refresh token is a cookie that no
 * script can read.
 */
import { signal } from "./view.js";

export const me = signal(null);
/** What the server said about itself and me at the start: `settings` of `/bootstrap`. */
export const settings = signal({});

const MARGIN_MS = 30_000;
let token = null;
let expires = 0;
let refreshing = null;

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

/** One request; the answer's JSON and headers. Throws `Refused` or `Unreached`. */
export async function ask(method, path, { body, headers = {}, signal: ended } = {}) {
  const all = { Accept: "application/json", ...headers };
  let sent = body;
  if (body !== undefined && !(body instanceof FormData)) {
    all["Content-Type"] = "application/json";
    sent = JSON.stringify(body);
  }
  let answer;
  let text;
  try {
    answer = await fetch(`/api/v1${path}`, { method, headers: all, body: sent, signal: ended });
    text = await answer.text();
  } catch (error) {
    if (ended?.aborted) throw error;
    throw new Unreached(String(error));
  }
  let data = null;
  try {
    if (text) data = JSON.parse(text);
  } catch {
    data = { error: text.slice(0, 200) };
  }
  if (!answer.ok) {
    throw new Refused(answer.status, data, Number(answer.headers.get("Retry-After")) || 0);
  }
  return { data, headers: answer.headers, status: answer.status };
}

// The other tabs: whoever asked for a token tells them, and they need not ask.
const tabs = new BroadcastChannel("warmdesk-identity");
tabs.onmessage = ({ data }) => {
  if (data.signedOut === me.peek()?.id && data.signedOut) signedOut();
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
    me.value = data.user;
    tabs.postMessage({ id: data.user.id, token, expires });
  }
  return data;
}

/** Keeps the tokens of an answer to login, register or a second factor. */
export const signedIn = (data) => keep(data);

/** Asks for a new access token, once for all who want one and for all tabs. Throws `Refused` 401
 * when the session is over; false when there never was one.
 */
export function refresh() {
  const trip = async () => {
    if (token && Date.now() < expires - MARGIN_MS) return true; // another tab was first
    const { data, status } = await ask("POST", "/auth/refresh", { body: { cookie: true } });
    if (status === 204) return false;
    keep(data);
    return true;
  };
  refreshing ??= (navigator.locks ? navigator.locks.request("warmdesk-refresh", trip) : trip()).finally(() => {
    refreshing = null;
  });
  return refreshing;
}

/** A token that is good for a while yet. */
export async function accessToken() {
  if (Date.now() > expires - MARGIN_MS) await refresh();
  return token;
}

/** The token is not taken any more, whatever its time says. */
export function distrust() {
  expires = 0;
}

/** Forgets who is signed in; the page then shows the sign-in. */
export function signedOut() {
  token = null;
  expires = 0;
  me.value = null;
}

/** Ends the session, here and in all tabs. Throws what kept the server from it: then it lives on there,
 * and this page has forgotten it all the same.
 */
export async function signOut() {
  const mine = me.peek()?.id;
  try {
    await ask("POST", "/auth/logout", { body: {} });
  } finally {
    if (mine) tabs.postMessage({ signedOut: mine });
    signedOut();
  }
}
