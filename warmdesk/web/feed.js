/* What happens in a place, in order, by the client's rule: event n+1 is applied, events up to n are
 * dropped, anything else asks for what is missing.
 */
import { Unreached } from "./identity.js";
import { Line } from "./store_line.js";
import { batch, inFrame } from "./view.js";

const BEHIND_MS = 2000;
const SYNC_MS = 10_000;
const CAUGHT_MS = 2500;
const PAUSE_MS = 3000;
const TASK_MS = 10;
const HIDDEN_MS = 100;
const HELD = 20_000;

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
  /** The last event that was applied, and its history. */
  seq = null;
  epoch = null;
  connections = 0;

  constructor(place, handlers = {}) {
    this.handlers = handlers;
    this.queue = [];
    this.wanted = 0;
    this.waiting = new Map();
    this.line = new Line(place, {
      query: () => this.#from(place),
      heard: (frame) => this.hear(frame),
      ended: (code) => {
        this.#giveUp();
        this.handlers.ended?.(code);
      },
    });
    this.state = this.line.state;
  }

  /** Connects while what the events change is still on its way: they wait for it. `place` is a promise of
   * where it stands, `{seq, epoch}`; without it all is fetched again.
   */
  startBefore(place) {
    this.resetting = place;
    this.line.start();
    const goOn = (at) => {
      if (this.line.stopped) return;
      const { seq: head, epoch, resetting } = this; // of a connection that was made meanwhile
      this.resetting = null;
      if (resetting !== place) {
        this.reset(resetting); // it could not go on, and waited for this
        return;
      }
      if (!at?.epoch || (epoch !== null && epoch !== at.epoch)) {
        this.reset({ seq: head ?? 0, epoch, reason: "start" });
        return;
      }
      this.fetched(at.seq, at.epoch);
      if (head > at.seq) this.#missing(head);
    };
    place.then(goOn, () => goOn(null));
  }

  #from(place) {
    this.reached = null; // nothing is known of the new connection yet
    const query = place === "user" ? { projects: "1" } : {};
    if (this.seq !== null) query.since = this.seq;
    if (this.seq !== null && this.epoch) query.epoch = this.epoch;
    this.replays = this.seq !== null;
    return query;
  }

  /** Connects; with the place of what was fetched, what came after it is told first. */
  start(seq = null, epoch = null) {
    this.seq = seq;
    this.epoch = epoch;
    this.resetting = null;
    this.syncing = null;
    this.line.start();
    return this;
  }

  /** Ends for good. */
  stop() {
    clearTimeout(this.quiet);
    this.line.stop();
    this.#giveUp();
  }

  #giveUp() {
    const { waiting } = this;
    this.waiting = new Map();
    for (const fail of waiting.values()) fail(new Unreached("the feed ended"));
  }

  /** Tries to connect at once. */
  now() {
    this.line.now();
  }

  /** Resolves when all that was missed is here: with the next connection, or where this one stands, after
   * a pause of at least so many seconds. Whoever has had no answer may ask again then. Throws `Unreached` once the
   * feed has ended.
   */
  caughtUp(seconds = 0) {
    return new Promise((done, fail) => {
      const isHere = () => this.reached && this.line.open;
      this.waiting.set(done, fail);
      if (this.line.stopped) this.#giveUp();
      else if (isHere()) setTimeout(() => isHere() && this.waiting.delete(done) && done(), Math.max(PAUSE_MS, seconds * 1000));
    });
  }

  /** Sends a command; resolves to the payload of its ack. Throws `CommandRefused`, or `Unreached`. */
  send(type, payload, options) {
    return this.line.send(type, payload, options);
  }

  /** Says something that has no answer. */
  tell(type, payload) {
    this.line.tell(type, payload);
  }

  /** Takes in a frame. */
  hear(frame) {
    const { type, payload } = frame;
    if (type === "hello") this.#hello(payload);
    else if (type === "sync.reset") this.reset(payload);
    else if (type === "pong") {
      const { epoch } = this;
      // What it spoke of is on its way; later it is missing.
      setTimeout(() => epoch === this.epoch && this.#missing(payload.seq), BEHIND_MS);
    } else this.#hold(frame);
  }

  #hello(payload) {
    this.connections += 1;
    this.syncing = null;
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
    if (!this.replays && !same) this.reset({ seq: payload.seq, epoch: payload.epoch, reason: "epoch" });
    else if (!this.replays) this.#missing(payload.seq);
    this.#reach();
  }

  /** Whether what was missed is here; says so once for each connection. */
  #reach() {
    if (this.reached !== false || this.resetting || this.seq < this.reach || !this.line.open) return;
    this.reached = true;
    const back = this.missed && this.connections > 1;
    this.state.value = back ? { kind: "caught", n: this.missed } : { kind: "live" };
    clearTimeout(this.quiet);
    if (back) {
      this.quiet = setTimeout(() => {
        if (this.state.peek().kind === "caught") this.state.value = { kind: "live" };
      }, CAUGHT_MS);
    }
    const { waiting } = this;
    this.waiting = new Map();
    for (const done of waiting.keys()) done();
    this.handlers.reached?.();
  }

  #hold(frame) {
    if (this.queue.length < HELD) this.queue.push(frame);
    // A page that was hidden meanwhile has no frames: what was to come in one comes by the clock.
    const how = document.hidden ? "clock" : "frame";
    if (this.framed === how || this.framed === "clock" || this.resetting) return;
    this.framed = how;
    const flush = () => {
      this.framed = null;
      this.flush();
    };
    if (how === "clock") setTimeout(flush, HIDDEN_MS);
    else requestAnimationFrame(flush);
  }

  /** Applies what has come, in one batch, and leaves the rest of a long replay for the next frame. */
  flush() {
    if (!this.resetting && !this.line.stopped) inFrame(() => this.#apply());
  }

  #apply() {
    const until = performance.now() + TASK_MS;
    const frames = this.queue;
    this.queue = [];
    let at = 0;
    batch(() => {
      for (; at < frames.length && !this.resetting; at += 1) {
        if (at % 16 === 15 && performance.now() > until) break;
        this.#take(frames[at]);
      }
    });
    if (this.resetting) return;
    for (const frame of frames.slice(at)) this.#hold(frame);
    this.handlers.after?.();
    this.#reach();
  }

  #take(frame) {
    if (frame.seq !== undefined && frame.seq <= this.seq) return undefined;
    if (frame.seq !== undefined && frame.seq !== this.seq + 1) this.#missing(frame.seq);
    else {
      try {
        if (frame.seq === undefined) return this.handlers.signal?.(frame);
        this.handlers.event?.(frame);
        this.seq = frame.seq;
      } catch (error) {
        console.warn(`${frame.type} ${frame.seq ?? ""} cannot be understood:`, error);
        this.reset({ seq: this.seq, epoch: this.epoch, reason: "not_understood" });
      }
    }
    return undefined;
  }

  /** Asks for what is missing up to `head`, until it is here; not again while it is under way. */
  #missing(head) {
    this.wanted = Math.max(this.wanted, head);
    if (this.syncing || this.resetting || !this.line.open || this.seq >= this.wanted) return;
    const mine = (this.syncing = {});
    const next = () => {
      clearTimeout(timer);
      if (this.syncing !== mine) return;
      try {
        this.flush();
      } finally {
        this.syncing = null;
      }
      // With a pause: the server has nothing more than it sent just now.
      if (this.seq < this.wanted) setTimeout(() => this.#missing(0), BEHIND_MS);
    };
    // On the next connection it is replayed without being asked for.
    const timer = setTimeout(next, SYNC_MS);
    this.send("sync", { since: this.seq, epoch: this.epoch }).then(next, next);
  }

  /** What was missed is not to be had: all is fetched again, and events wait for it. */
  async reset(payload) {
    const under = this.resetting;
    this.resetting = payload;
    this.syncing = null;
    this.#forget();
    if (under) return; // what is under way begins again when it is done
    for (let tries = 0; !this.line.stopped; ) {
      const asked = this.resetting;
      let told;
      try {
        told = (await this.handlers.reset?.(asked)) ?? asked;
      } catch (error) {
        if (error.status === 401) return;
        if (error.status === 403 || error.status === 404) {
          this.line.end(error.status === 403 ? 4403 : 4404);
          return;
        }
        const ms = Math.min(10_000, 500 * 2 ** tries) * (0.5 + Math.random());
        tries += 1;
        await new Promise((done) => setTimeout(done, ms));
        continue;
      }
      if (this.resetting !== asked) continue;
      if (told.epoch !== asked.epoch) this.#forget();
      this.fetched(told.seq, told.epoch);
      return;
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
