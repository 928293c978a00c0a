/* As much of a browser as the stores and the feed need: a page, frames, and sockets that a test holds the
 * other end of.
 */
const listeners = new EventTarget();
export const sockets = [];
export const requests = [];
let answer = () => ({ status: 404, data: { error: "not found" } });
let session = () => ({ data: { access_token: "a token", expires_in: 900 } });

globalThis.document = Object.assign(new EventTarget(), { hidden: false, documentElement: {}, querySelectorAll: () => [] });
globalThis.location = { pathname: "/", search: "", origin: "http://warmdesk.test" };
globalThis.addEventListener = (...args) => listeners.addEventListener(...args);
globalThis.removeEventListener = (...args) => listeners.removeEventListener(...args);
/** Tells the page that this happened to its window. */
export const happens = (name) => listeners.dispatchEvent(new Event(name));

globalThis.requestAnimationFrame = (then) => setTimeout(then, 0);
globalThis.cancelAnimationFrame = clearTimeout;
if (!globalThis.navigator) globalThis.navigator = { onLine: true };

// One tab is alone here; a channel of Node.js would keep the process alive.
globalThis.BroadcastChannel = class extends EventTarget {
  postMessage() {}

  close() {}
};

globalThis.WebSocket = class {
  readyState = 1;
  sent = [];

  constructor(address, protocols) {
    Object.assign(this, { address: new URL(address), protocols });
    sockets.push(this);
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  say(frame) {
    this.onmessage({ data: JSON.stringify(frame) });
  }

  end(code) {
    this.readyState = 3;
    this.onclose({ code });
  }

  close() {
    this.readyState = 3;
  }
};

/** From now on requests are answered by `then({method, path, headers, body})` → `{status, data, headers}`;
 * null is a lost connection.
 */
export function answerBy(then) {
  answer = then;
}

/** From now on `/auth/…` is answered by `then`, in the same way. */
export function sessionBy(then) {
  session = then;
}

globalThis.fetch = async (address, { method = "GET", headers = {}, body, signal } = {}) => {
  const asked = { method, path: String(address).replace("/api/v1", ""), headers, body: body && JSON.parse(body) };
  requests.push(asked);
  const ended = new Promise((_, reject) => signal?.addEventListener("abort", () => reject(signal.reason)));
  const told = await Promise.race([(asked.path.startsWith("/auth/") ? session : answer)(asked), ended]);
  if (told === null) throw new TypeError("connection lost");
  const { status = 200, data = null, headers: more = {} } = told;
  return new Response(data === null ? null : JSON.stringify(data), { status, headers: more });
};

/** Lets everything run that waits for nothing but its turn. */
export const turn = () => new Promise((done) => setTimeout(done, 5));

/** A random number of its own for a test that can be repeated. */
export function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
