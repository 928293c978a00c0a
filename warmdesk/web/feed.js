/* One socket on a channel, by the client's rule: event n+1 is applied, events up to n are dropped,
 * anything else asks for what is missing. It comes back by itself, and goes on where it was.
 */
import { accessToken, distrust, refresh, signedOut, Unreached } from "./identity.js";
import { batch, signal } from "./view.js";

const PING_MS = 30_000;
const PONG_MS = 5000;
const BEHIND_MS = 2000;
const ANSWER_MS = 15_000;
const SYNC_MS = 10_000;
const CAUGHT_MS = 2500;
const EAGER_MS = 120_000; // people wait for the page in these first minutes
const TASK_MS = 10;
const HIDDEN_MS = 100;
const HELD = 20_000;
const LATER = new Set([4400, 4429, 1002, 1003, 1007, 1009]);

/** A command that the server refused: its `code` and sentence; after `wait` seconds it may come again. */
export class CommandRefused extends Error {
  constructor({ code, message, retry_after: wait }) {
    super(message);
    this.code = code;
    this.wait = wait;
  }
}

/** The feed of a place: a project's slug, or `user`. Handlers, each may be absent:
 *
 * - `event(frame)`: the next event. Throws if it cannot be understood: then all is fetched again.
 * - `signal(frame)`: what has no number.
 * - `hello(payload)`: connected; what was missed is still to come.
 * - `reached()`: all that was missed has been applied.
 * - `after()`: a frame's events have been applied.
 * - `reset(payload)`: fetch all again; resolves to its `{seq, epoch}` (nothing: those of the payload).
 * - `ended(code)`: 4403 or 4404, it is over.
 *
 * `state` says how it is: `{kind: connecting | live | caught (n) | lost (at, code) | away (at) |
 * offline | replaced | removed (code)}`.
 */
export class Feed {
  state = signal({ kind: "connecting" });
  seq = null;
  epoch = null;
  counts = { applied: 0, dropped: 0, gaps: 0, connections: 0 };

  constructor(place, handlers = {}) {
    this.place = place;
    this.handlers = handlers;
    this.queue = [];
    this.waiting = new Map();
    this.ids = 0;
    this.wanted = 0;
    this.tries = 0;
    this.stopped = false;
  }

  /** Connects; with the place of what was fetched, what came after it is told first. */
  start(seq = null, epoch = null) {
    this.seq = seq;
    this.epoch = epoch;
    this.wake = () => !document.hidden && this.#doubt();
    addEventListener("online", this.wake);
    addEventListener("focus", this.wake);
    addEventListener("pointerdown", this.wake);
    document.addEventListener("visibilitychange", this.wake);
    this.#open();
    return this;
  }

  /** Ends for good. */
  stop() {
    this.stopped = true;
    removeEventListener("online", this.wake);
    removeEventListener("focus", this.wake);
    removeEventListener("pointerdown", this.wake);
    document.removeEventListener("visibilitychange", this.wake);
    clearTimeout(this.again);
    clearTimeout(this.quiet);
    this.#close();
  }

  /** Tries at once, also where it was replaced by another page. */
  now() {
    if (this.stopped || this.socket || this.opening) return;
    clearTimeout(this.again);
    this.#open();
  }

  /** Sends a command; resolves to the payload of its ack. Throws `CommandRefused`, or `Unreached`. */
  send(type, payload = {}, { clientId } = {}) {
    if (this.socket?.readyState !== 1) return Promise.reject(new Unreached("not connected"));
    const id = `${(this.ids += 1)}`;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#settle(id, "reject", new Unreached("no answer")), ANSWER_MS);
      this.waiting.set(id, { resolve, reject, timer });
      this.#say({ type, payload, id, client_id: clientId });
    });
  }

  /** Says something that has no answer. */
  tell(type, payload = {}) {
    if (this.socket?.readyState === 1) this.#say({ type, payload });
  }

  #say(message) {
    this.socket.send(JSON.stringify(message));
  }

  #settle(id, how, value) {
    const one = this.waiting.get(id);
    if (!one) return;
    this.waiting.delete(id);
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
      if (error.status === 401) return signedOut();
      return this.#later(error.status === 503 ? "away" : "lost", error.wait);
    }
    this.opening = false;
    if (this.stopped) return;
    const asked = new URLSearchParams({ presence: "changed" });
    if (this.place === "user") asked.set("projects", "1");
    if (this.seq !== null) asked.set("since", this.seq);
    if (this.seq !== null && this.epoch) asked.set("epoch", this.epoch);
    const address = `${location.origin.replace(/^http/, "ws")}/api/v1/ws/${this.place}?${asked}`;
    const socket = new WebSocket(address, ["warmdesk", `bearer.${this.token}`]);
    this.socket = socket;
    socket.onmessage = (message) => this.socket === socket && this.hear(JSON.parse(message.data));
    socket.onclose = (event) => this.socket === socket && this.#lost(event.code);
  }

  #close() {
    const socket = this.socket;
    this.socket = null;
    clearInterval(this.pings);
    clearTimeout(this.silence);
    this.silence = 0;
    this.syncing = null;
    for (const id of [...this.waiting.keys()]) this.#settle(id, "reject", new Unreached("connection lost"));
    if (socket && socket.readyState < 2) socket.close();
  }

  #lost(code) {
    this.#close();
    if (this.stopped) return undefined;
    if (code === 4403 || code === 4404) {
      this.stop();
      this.state.value = { kind: "removed", code };
      return this.handlers.ended?.(code);
    }
    if (code === 4409) {
      this.state.value = { kind: "replaced" };
      return undefined;
    }
    if (code === 4401) return this.#renewed();
    return this.#later(code === 1013 ? "away" : "lost", this.wait, code);
  }

  async #renewed() {
    distrust();
    try {
      await refresh();
    } catch (error) {
      if (error.status === 401) return signedOut();
      return this.#later("lost");
    }
    // One that is refused again and again is not asked without a pause.
    return (this.tries += 1) > 1 ? this.#later("lost", 0, 4401) : this.#open();
  }

  #later(kind, seconds = 0, code = 0) {
    const { planned } = this;
    this.planned = null;
    this.wait = 0;
    this.since ??= performance.now();
    const most = performance.now() - this.since < EAGER_MS ? 5000 : 30_000;
    let ms = 100 + Math.random() * Math.min(most, 500 * 2 ** this.tries);
    if (planned) ms = planned.min_ms + Math.random() * (planned.max_ms - planned.min_ms);
    if (seconds) ms = seconds * 1000 * (1 + Math.random() / 2);
    if (!seconds && LATER.has(code)) ms = 30_000;
    this.tries += 1;
    if (navigator.onLine === false) this.state.value = { kind: "offline" };
    else this.state.value = { kind, at: Date.now() + ms, code };
    clearTimeout(this.again);
    this.again = setTimeout(() => this.#open(), ms);
  }

  /** Somebody looks: is the line alive? */
  #doubt() {
    if (this.socket?.readyState === 1) {
      if (performance.now() - (this.heard ?? 0) > PONG_MS) this.#ping();
    } else if (this.state.peek().kind !== "replaced" && performance.now() - this.tried > 1000) this.now();
  }

  #ping() {
    if (this.socket?.readyState !== 1 || this.silence) return;
    const { socket } = this;
    this.#say({ type: "ping" });
    this.silence = setTimeout(() => this.socket === socket && this.#lost(1006), PONG_MS);
  }

  /** Takes in a frame of the socket. */
  hear(frame) {
    this.heard = performance.now();
    const { type, payload } = frame;
    if (frame.seq !== undefined) return this.#hold(frame);
    if (type === "hello") return this.#hello(payload);
    if (type === "ack") return this.#settle(frame.id ?? payload.id, "resolve", payload);
    if (type === "error") {
      const id = frame.id ?? payload.id;
      if (id === undefined || id === null) this.wait = payload.retry_after ?? 0;
      return this.#settle(id, "reject", new CommandRefused(payload));
    }
    if (type === "pong") {
      clearTimeout(this.silence);
      this.silence = 0;
      const { epoch } = this;
      setTimeout(() => epoch === this.epoch && this.#missing(payload.seq), BEHIND_MS);
      return undefined;
    }
    if (type === "auth.expiring") return this.#renew();
    if (type === "reconnect") {
      this.planned = payload;
      return undefined;
    }
    if (type === "sync.reset") return this.reset(payload);
    return this.#hold(frame);
  }

  #hello(payload) {
    this.counts.connections += 1;
    this.tries = 0;
    this.since = null;
    this.wait = 0;
    this.pings = setInterval(() => this.#ping(), PING_MS);
    if (this.seq === null) {
      this.seq = payload.seq;
      this.epoch = payload.epoch;
    }
    // Of another history nothing follows but a reset.
    const same = payload.epoch === this.epoch;
    this.missed = same ? Math.max(0, payload.seq - this.seq) : 0;
    this.reach = same ? this.seq + this.missed : Infinity;
    this.reached = false;
    this.handlers.hello?.(payload);
    this.#reach();
  }

  /** Whether what was missed is here; says so once for each connection. */
  #reach() {
    if (this.reached || this.resetting || this.seq < this.reach) return;
    this.reached = true;
    const first = this.counts.connections === 1;
    this.state.value = this.missed && !first ? { kind: "caught", n: this.missed } : { kind: "live" };
    clearTimeout(this.quiet);
    this.quiet = setTimeout(() => {
      if (this.state.peek().kind === "caught") this.state.value = { kind: "live" };
    }, CAUGHT_MS);
    this.handlers.reached?.();
  }

  async #renew() {
    try {
      // Another socket may have renewed it already.
      if ((await accessToken()) === this.token) await refresh();
      this.token = await accessToken();
      await this.send("auth.refresh", { token: this.token });
    } catch (error) {
      if (error.status === 401) signedOut();
    }
  }

  #hold(frame) {
    if (this.queue.length < HELD) this.queue.push(frame);
    if (this.framed || this.resetting) return;
    this.framed = true;
    const flush = () => {
      this.framed = false;
      this.flush();
    };
    if (document.hidden) setTimeout(flush, HIDDEN_MS);
    else requestAnimationFrame(flush);
  }

  /** Applies what has come, in one batch, and leaves the rest of a long replay for the next frame. */
  flush() {
    if (this.resetting || this.stopped) return;
    const until = performance.now() + TASK_MS;
    const frames = this.queue;
    this.queue = [];
    let at = 0;
    batch(() => {
      for (; at < frames.length; at += 1) {
        if (at % 16 === 15 && performance.now() > until) break;
        if (!this.#take(frames[at])) return;
      }
    });
    if (this.resetting) return;
    for (const frame of frames.slice(at)) this.#hold(frame);
    this.handlers.after?.();
    this.#reach();
  }

  #take(frame) {
    if (frame.seq === undefined) {
      this.handlers.signal?.(frame);
      return true;
    }
    if (frame.seq <= this.seq) {
      this.counts.dropped += 1;
      return true;
    }
    if (frame.seq !== this.seq + 1) {
      this.counts.gaps += 1;
      this.#missing(frame.seq);
      return true;
    }
    try {
      this.handlers.event?.(frame);
    } catch (error) {
      console.warn(`event ${frame.seq}, ${frame.type}:`, error);
      this.reset({ seq: frame.seq, epoch: this.epoch, reason: "not_understood" });
      return false;
    }
    this.seq = frame.seq;
    this.counts.applied += 1;
    return true;
  }

  /** Asks for what is missing up to `head`, until it is here; not again while it is under way. */
  #missing(head) {
    this.wanted = Math.max(this.wanted, head);
    if (this.syncing || this.resetting || this.seq >= this.wanted) return;
    const mine = (this.syncing = {});
    const next = () => {
      if (this.syncing !== mine) return;
      this.flush();
      setTimeout(() => {
        if (this.syncing !== mine) return;
        this.syncing = null;
        this.#missing(0);
      }, BEHIND_MS);
      if (this.seq >= this.wanted) this.syncing = null;
    };
    const timer = setTimeout(next, SYNC_MS);
    this.send("sync", { since: this.seq, epoch: this.epoch })
      .then(next, next)
      .finally(() => clearTimeout(timer));
  }

  /** What was missed is not to be had: all is fetched again, and events wait for it. */
  async reset(payload) {
    if (this.resetting) return;
    const mine = (this.resetting = {});
    this.syncing = null;
    this.#forget();
    for (let tries = 0; !this.stopped; tries += 1) {
      try {
        const { seq, epoch } = (await this.handlers.reset?.(payload)) ?? payload;
        if (epoch !== payload.epoch) this.#forget();
        this.fetched(seq, epoch);
        return;
      } catch (error) {
        if (error.status === 403 || error.status === 404) {
          this.resetting = null;
          this.#lost(error.status === 403 ? 4403 : 4404);
          return;
        }
        if (error.status === 401) return;
        const ms = Math.min(10_000, 500 * 2 ** tries) * (0.5 + Math.random());
        await new Promise((done) => setTimeout(done, ms));
        if (this.resetting !== mine) return;
      }
    }
  }

  /** Events that wait may have numbers of another history. */
  #forget() {
    this.queue = this.queue.filter((frame) => frame.seq === undefined);
  }

  /** All was fetched, and is true for this place. */
  fetched(seq, epoch) {
    this.seq = seq;
    this.epoch = epoch;
    this.wanted = 0;
    this.reach = Math.min(this.reach ?? seq, seq);
    this.resetting = null;
    this.flush();
  }
}
