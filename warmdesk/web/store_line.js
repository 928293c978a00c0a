/* One socket to a place that stays: it comes back by itself after every break, with a token that is
 * good, and knows by pings whether it lives.
 */
import { accessToken, distrust, refresh, signedOut, Unreached } from "./identity.js";
import { signal } from "./view.js";

const PING_MS = 30_000;
const PONG_MS = 5000;
const OFFLINE_MS = 1500; // the browser says that there is no network: only a server on this machine still answers
const WAKES = ["online", "offline", "focus", "pointerdown"];
const ANSWER_MS = 15_000;
const HELLO_MS = 15_000;
const EAGER_MS = 120_000; // people wait for the page in these first minutes
const SLOW_MS = 30_000;
const LATER = new Set([4400, 4429, 1002, 1003, 1007, 1009]);

/** A command that the server refused: its `code` and sentence; after `wait` seconds it may come again. */
export class CommandRefused extends Error {
  constructor({ code, message, retry_after: wait }) {
    super(message);
    this.code = code;
    this.wait = wait;
  }
}

/** A line to a project's slug or to `user`. `query()` gives what is asked when it connects; frames go to
 * `heard(frame)`, its end for good to `ended(code)`.
 */
export class Line {
  state = signal({ kind: "connecting" });

  constructor(place, { query, heard, ended }) {
    Object.assign(this, { place, query, heard, ended });
    this.waiting = new Map();
    this.ids = 0;
    this.tries = 0;
    this.stopped = false;
    this.wake = ({ type }) => {
      if (type === "offline") this.#ping(OFFLINE_MS);
      else if (!document.hidden) this.#doubt(type === "online");
    };
  }

  start() {
    this.stopped = false;
    for (const name of WAKES) addEventListener(name, this.wake);
    document.addEventListener("visibilitychange", this.wake);
    this.#open();
  }

  /** Ends for good. */
  stop() {
    this.stopped = true;
    for (const name of WAKES) removeEventListener(name, this.wake);
    document.removeEventListener("visibilitychange", this.wake);
    clearTimeout(this.again);
    this.#close();
  }

  /** Tries at once, also where it was replaced by another page. */
  now() {
    if (this.stopped || this.socket || this.opening) return;
    clearTimeout(this.again);
    this.#open();
  }

  /** Whether something can be sent. */
  get open() {
    return this.socket?.readyState === 1;
  }

  /** Sends a command; resolves to the payload of its ack. Throws `CommandRefused`, or `Unreached`. */
  send(type, payload = {}, { clientId } = {}) {
    if (!this.open) return Promise.reject(new Unreached("not connected"));
    const id = `${(this.ids += 1)}`;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#settle(id, "reject", new Unreached("no answer")), ANSWER_MS);
      this.waiting.set(id, { resolve, reject, timer });
      this.#say({ type, payload, id, client_id: clientId });
    });
  }

  /** Says something that has no answer. */
  tell(type, payload = {}) {
    if (this.open) this.#say({ type, payload });
  }

  #say(message) {
    this.socket.send(JSON.stringify(message));
  }

  #settle(id, how, value) {
    const one = this.waiting.get(`${id}`);
    if (!one) return;
    this.waiting.delete(`${id}`);
    clearTimeout(one.timer);
    one[how](value);
  }

  async #open() {
    if (this.stopped || this.socket || this.opening) return;
    this.opening = true;
    this.tried = performance.now();
    try {
      this.token = await accessToken();
    } catch (error) {
      this.opening = false;
      if (this.stopped) return undefined; // by now somebody else may be here
      if (error.status === 401) return signedOut();
      return this.#later(error.status === 503 ? "away" : "lost", { seconds: error.wait });
    }
    this.opening = false;
    if (this.stopped) return undefined;
    const query = new URLSearchParams({ presence: "changed", ...this.query() });
    const address = `${location.origin.replace(/^http/, "ws")}/api/v1/ws/${this.place}?${query}`;
    const socket = new WebSocket(address, ["warmdesk", `bearer.${this.token}`]);
    this.socket = socket;
    // One that is taken and then says nothing is given up: only a close is told by itself.
    this.greeting = setTimeout(() => this.socket === socket && this.#lost(1006), HELLO_MS);
    socket.onmessage = (message) => this.socket === socket && this.hear(JSON.parse(message.data));
    socket.onclose = (event) => this.socket === socket && this.#lost(event.code);
    return undefined;
  }

  #close() {
    const { socket } = this;
    this.socket = null;
    clearInterval(this.pings);
    clearTimeout(this.greeting);
    clearTimeout(this.silence);
    this.silence = 0;
    for (const id of [...this.waiting.keys()]) this.#settle(id, "reject", new Unreached("connection lost"));
    if (socket && socket.readyState < 2) socket.close();
  }

  #lost(code) {
    this.#close();
    if (this.stopped) return undefined;
    if (code === 4403 || code === 4404) return this.end(code);
    if (code === 4409) {
      this.state.value = { kind: "replaced" };
      return undefined;
    }
    if (code === 4401) return this.#renewed();
    return this.#later(code === 1013 ? "away" : "lost", { seconds: this.wait, code });
  }

  /** There is nothing here for me any more. */
  end(code) {
    this.stop();
    this.state.value = { kind: "removed", code };
    this.ended(code);
  }

  async #renewed() {
    distrust();
    try {
      await refresh();
    } catch (error) {
      if (this.stopped) return undefined;
      if (error.status === 401) return signedOut();
      return this.#later("lost");
    }
    // One that is refused again and again is not asked without a pause.
    if ((this.tries += 1) > 1) return this.#later("lost", { code: 4401 });
    return this.#open();
  }

  #later(kind, { seconds = 0, code = 0 } = {}) {
    const { planned } = this;
    this.planned = null;
    this.wait = 0;
    this.since ??= performance.now();
    const most = performance.now() - this.since < EAGER_MS ? 5000 : SLOW_MS;
    let ms = 100 + Math.random() * Math.min(most, 500 * 2 ** this.tries);
    if (planned) ms = planned.min_ms + Math.random() * (planned.max_ms - planned.min_ms);
    else if (seconds) ms = seconds * 1000 * (1 + Math.random() / 2);
    else if (LATER.has(code)) ms = SLOW_MS;
    this.tries += 1;
    if (navigator.onLine === false) this.state.value = { kind: "offline" };
    else this.state.value = { kind, at: Date.now() + ms, code };
    clearTimeout(this.again);
    this.again = setTimeout(() => this.#open(), ms);
  }

  /** Somebody looks, or the network is back: is the line alive? What was tried without a network says
   * nothing, however short ago that was.
   */
  #doubt(isBack) {
    if (isBack) this.tries = 0;
    if (this.socket) {
      if (performance.now() - (this.last ?? 0) > PONG_MS) this.#ping();
    } else if (this.state.peek().kind !== "replaced" && (isBack || performance.now() - this.tried > 1000)) this.now();
  }

  #ping(ms = PONG_MS) {
    if (!this.open || this.silence) return;
    const { socket } = this;
    this.#say({ type: "ping" });
    this.silence = setTimeout(() => this.socket === socket && this.#lost(1006), ms);
  }

  /** Takes in a frame of the socket. */
  hear(frame) {
    this.last = performance.now();
    const { type, payload } = frame;
    if (type === "ack") return this.#settle(frame.id ?? payload.id, "resolve", payload);
    if (type === "error") {
      const id = frame.id ?? payload.id;
      if (id === undefined || id === null) this.wait = payload.retry_after ?? 0;
      return this.#settle(id, "reject", new CommandRefused(payload));
    }
    if (type === "auth.expiring") return this.#renew();
    if (type === "reconnect") {
      this.planned = payload;
      return undefined;
    }
    if (type === "pong") {
      clearTimeout(this.silence);
      this.silence = 0;
    } else if (type === "hello") {
      clearTimeout(this.greeting);
      this.tries = 0;
      this.since = null;
      this.wait = 0;
      clearInterval(this.pings);
      this.pings = setInterval(() => this.#ping(), PING_MS);
    }
    return this.heard(frame);
  }

  async #renew() {
    try {
      // Another socket may have renewed it already.
      if ((await accessToken()) === this.token) await refresh();
      this.token = await accessToken();
      await this.send("auth.refresh", { token: this.token });
    } catch (error) {
      if (error.status === 401 && !this.stopped) signedOut();
    }
  }
}
