/* The messages of a chat, a conversation or a topic: pages of them, true after each event. */
import { request } from "./api.js";
import { batch, signal } from "./view.js";

const PAGE = 100;
const FIRST = 50;
const KEPT = 1000; // events that are applied again over pages that were read before them
const MOST = 1500; // rows that are kept while nobody reads back
const LESS = 600;
const AGAIN_MS = 2000;
const SLOW_MS = 30_000;

/** Messages of `path`, oldest first. `kinds` maps the types of events to what they do: message, updated,
 * deleted, reactions. `mine(payload)` says whether an event is about this list; while `isBack`, somebody reads
 * rows that are far back, and they stay.
 */
export class MessageList {
  rows = signal([]);
  /** {state: "loading" | "ready" | "failed", error} */
  state = signal({ state: "loading", error: null });
  older = signal(false);
  newer = signal(false);
  isBack = false;

  constructor(path, kinds, { mine = () => true } = {}) {
    this.path = path;
    this.kinds = kinds;
    this.mine = mine;
    this.log = [];
  }

  // Pages

  async #page(query) {
    const { data, headers } = await request("GET", `${this.path}?${new URLSearchParams(query)}`);
    const link = headers.get("Link") ?? "";
    return { rows: data, at: Number(headers.get("Warmdesk-Seq") ?? 0), goesOn: /rel="next"/.test(link), goesBack: /rel="prev"/.test(link) };
  }

  #lay(page, keep) {
    const known = new Set(page.rows.map((one) => one.id));
    let rows = [...keep.filter((one) => !known.has(one.id)), ...page.rows].sort((one, other) => one.id - other.id);
    for (const frame of this.log) if (frame.seq > page.at) rows = this.#after(rows, frame);
    this.rows.value = rows;
  }

  /** Fetches the newest messages, or with `around` those around one of them. */
  async load({ around } = {}) {
    const turn = (this.turn = (this.turn ?? 0) + 1);
    this.state.value = { state: this.rows.peek().length ? "ready" : "loading", error: null };
    try {
      const page = await this.#page(around ? { around, limit: PAGE } : { limit: FIRST });
      if (turn !== this.turn) return;
      batch(() => {
        this.older.value = around ? page.goesBack : page.goesOn;
        this.newer.value = around ? page.goesOn : false;
        this.#lay(page, []);
        this.state.value = { state: "ready", error: null };
      });
    } catch (error) {
      if (turn === this.turn) this.state.value = { state: "failed", error };
    }
  }

  /** Takes in the first rows that came with something else; they go on behind the last. */
  lay(page) {
    this.turn = (this.turn ?? 0) + 1;
    batch(() => {
      this.newer.value = page.goesOn;
      this.#lay(page, []);
      this.state.value = { state: "ready", error: null };
    });
  }

  /** Fetches what stands before the first; resolves when it is here. */
  loadOlder() {
    return this.#more("older", () => ({ before: this.rows.peek()[0]?.id, limit: PAGE }));
  }

  /** Fetches what stands after the last. */
  loadNewer() {
    return this.#more("newer", () => ({ after: this.rows.peek().at(-1)?.id, limit: PAGE }));
  }

  #more(side, query) {
    if (!this[side].peek() || !this.rows.peek().length) return Promise.resolve();
    const under = `${side}Under`;
    const turn = this.turn;
    this[under] ??= this.#page(query())
      .then((page) => {
        if (turn !== this.turn) return;
        batch(() => {
          this[side].value = page.goesOn;
          this.#lay(page, this.rows.peek());
        });
      })
      .finally(() => (this[under] = null));
    return this[under];
  }

  /** Fetches all that is here anew, after a break that no event tells about; again until it is here. What is
   * here stays until then.
   */
  async reset() {
    this.log = [];
    const turn = (this.turn = (this.turn ?? 0) + 1);
    for (let tries = 0; turn === this.turn; tries += 1) {
      try {
        await this.#anew(turn);
        return;
      } catch (error) {
        if (turn !== this.turn) return;
        if ([401, 403, 404].includes(error.status)) {
          this.state.value = { state: "failed", error };
          return;
        }
        await new Promise((done) => setTimeout(done, Math.min(AGAIN_MS * 2 ** tries, SLOW_MS)));
      }
    }
  }

  /** Nobody looks any more: what is under way is for nothing. */
  stop() {
    this.turn = (this.turn ?? 0) + 1;
  }

  async #anew(turn) {
    const rows = this.rows.peek();
    if (!rows.length) return this.load();
    const all = [];
    let at = rows[0].id - 1;
    let page;
    do {
      page = await this.#page(at > 0 ? { after: at, limit: 200 } : { limit: 200 });
      if (turn !== this.turn) return undefined;
      all.push(page);
      at = page.rows.at(-1)?.id ?? at;
    } while (page.goesOn && all.length < 8);
    batch(() => {
      this.newer.value = page.goesOn;
      this.rows.value = [];
      for (const one of all) this.#lay(one, this.rows.peek());
    });
    return undefined;
  }

  // What happens

  /** Takes in an event of the feed; what is not about this list changes nothing. */
  apply(frame) {
    if (!(frame.type in this.kinds) || !this.mine(frame.payload)) return;
    if (frame.seq !== undefined) {
      this.log.push(frame);
      if (this.log.length > KEPT * 2) this.log = this.log.slice(-KEPT);
    }
    let rows = this.#after(this.rows.peek(), frame);
    if (rows.length > MOST && !this.newer.peek() && !this.isBack) {
      rows = rows.slice(-LESS);
      this.older.value = true;
    }
    this.rows.value = rows;
  }

  /** Keeps a message as an answer showed it, unless an event told since that it is gone. */
  keep(message) {
    if (this.log.some(({ type, payload }) => this.kinds[type] === "deleted" && payload.id === message.id)) return;
    this.rows.value = this.#put(this.rows.peek(), message);
  }

  /** Takes a message out. */
  drop(id) {
    this.rows.value = this.rows.peek().filter((one) => one.id !== id);
  }

  /** Somebody put an emoji under a message, or took it away: what an answer says of it, and no more. */
  mark(id, emoji, who, on) {
    this.rows.value = this.rows.peek().map((one) => {
      if (one.id !== id) return one;
      const had = one.reactions ?? [];
      const known = had.some((each) => each.emoji === emoji) ? had : [...had, { emoji, count: 0, user_ids: [] }];
      const reactions = known.map((each) => {
        if (each.emoji !== emoji) return each;
        const rest = each.user_ids.filter((user) => user !== who);
        const ids = on ? [...rest, who] : rest;
        return { ...each, count: ids.length, user_ids: ids };
      });
      return { ...one, reactions: reactions.filter((each) => each.count > 0) };
    });
  }

  /** Somebody has another name or picture. */
  rename(user) {
    const of = (one) => (one.sender ? "sender" : "user");
    this.rows.value = this.rows.peek().map((one) => (one[of(one)]?.id === user.id ? { ...one, [of(one)]: user } : one));
  }

  #put(rows, message) {
    const at = rows.findLastIndex((one) => one.id <= message.id);
    if (at >= 0 && rows[at].id === message.id) {
      // Of the same version what is here is younger: reactions make no other.
      return rows[at].version >= message.version ? rows : rows.with(at, message);
    }
    // What lies outside of the pages that are here comes with its own page.
    if (at === rows.length - 1 && this.newer.peek()) return rows;
    if (at < 0 && this.older.peek()) return rows;
    return at === rows.length - 1 ? [...rows, message] : [...rows.slice(0, at + 1), message, ...rows.slice(at + 1)];
  }

  #after(rows, { type, payload }) {
    const kind = this.kinds[type];
    if (kind === "message") return this.#put(rows, payload);
    if (kind === "updated") {
      return rows.map((one) => (one.id === payload.id && !(one.version > payload.version) ? payload : one));
    }
    if (kind === "deleted") return rows.filter((one) => one.id !== payload.id);
    if (kind === "reactions") {
      return rows.map((one) => (one.id === payload.message_id ? { ...one, reactions: payload.reactions } : one));
    }
    return rows;
  }
}
