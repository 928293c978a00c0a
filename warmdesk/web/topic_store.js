/* A project's topics, and the one that is open, true after each event. */
import { call, nextPath, request } from "./api.js";
import { me } from "./identity.js";
import { MessageList } from "./message_store.js";
import { hasCome } from "./outbox.js";
import { batch, signal } from "./view.js";

const PAGE = 50;
const KEPT = 500;
const KINDS = { "topic.reply_created": "message", "topic.reply_updated": "updated", "topic.reply_deleted": "deleted" };
const stores = new WeakMap();

const placed = (one, other) => other.is_pinned - one.is_pinned || other.id - one.id;

/** The list after an event. What a topic shows already (`at`) is not counted again. */
export function topicRules(list, { type, payload, seq, ts }) {
  if (type === "topic.created") {
    return list.some((one) => one.id === payload.id) ? list : [...list, { ...payload, at: seq }].sort(placed);
  }
  if (type === "topic.updated") {
    return list
      .map((one) => {
        if (one.id !== payload.id || one.version > payload.version) return one;
        return { ...payload, reply_count: one.reply_count, last_activity_at: one.last_activity_at, at: one.at };
      })
      .sort(placed);
  }
  if (type === "topic.deleted") return list.filter((one) => one.id !== payload.id);
  const count = { "topic.reply_created": 1, "topic.reply_deleted": -1 }[type];
  if (!count) return list;
  return list.map((one) => {
    if (one.id !== payload.topic_id || seq <= one.at) return one;
    const last = count > 0 ? { last_activity_at: payload.created_at ?? ts } : {};
    return { ...one, ...last, reply_count: Math.max(0, one.reply_count + count), at: seq };
  });
}

class TopicStore {
  topics = signal([]);
  /** {state, error, more}: `more` is the path of the next page. */
  state = signal({ state: "new", error: null, more: null });

  constructor(store) {
    this.store = store;
    this.base = `/projects/${store.slug}/topics`;
    this.log = [];
    store.listen("topic.", (frame) => this.#hear(frame));
    store.listen("reset", () => {
      this.log = [];
      if (this.state.peek().state !== "new") this.load().catch(() => {});
    });
    store.listen("project.member_updated", ({ payload }) => {
      this.topics.value = this.topics.peek().map((one) => (one.user_id === payload.user_id ? { ...one, user: payload.user } : one));
    });
  }

  #hear(frame) {
    this.log.push(frame);
    if (this.log.length > KEPT * 2) this.log = this.log.slice(-KEPT);
    this.topics.value = topicRules(this.topics.peek(), frame);
  }

  /** Fetches the first topics, or with `more` those that follow. */
  async load({ more } = {}) {
    const now = this.state.peek();
    this.state.value = { ...now, state: now.state === "ready" ? "ready" : "loading", error: null };
    try {
      const { data, headers } = await request("GET", more && now.more ? now.more : `${this.base}?limit=${PAGE}`);
      const at = Number(headers.get("Warmdesk-Seq") ?? 0);
      let page = data.map((one) => ({ ...one, at }));
      for (const frame of this.log) if (frame.seq > at) page = topicRules(page, frame);
      const known = new Set(page.map((one) => one.id));
      batch(() => {
        const had = more ? this.topics.peek().filter((one) => !known.has(one.id)) : [];
        this.topics.value = [...had, ...page].sort(placed);
        this.state.value = { state: "ready", error: null, more: nextPath(headers) };
      });
    } catch (error) {
      this.state.value = { ...this.state.peek(), state: "failed", error };
      throw error;
    }
  }

  /** Begins a topic, once under this key. */
  async create(body, key) {
    const made = await call("POST", this.base, body, { key });
    if (this.log.some(({ type, payload }) => type === "topic.deleted" && payload.id === made.id)) return made;
    this.topics.value = topicRules(this.topics.peek(), { type: "topic.created", payload: made, seq: 0 });
    return made;
  }
}

/** The topics of a project's store, one list as long as the store lives. */
export function topicsOf(store) {
  if (!stores.has(store)) stores.set(store, new TopicStore(store));
  return stores.get(store);
}

/** One topic that is open, with its replies. */
export class OpenTopic {
  /** {state: "loading" | "ready" | "failed" | "deleted", topic, error} */
  shown = signal({ state: "loading", topic: null, error: null });

  constructor(store, id) {
    this.store = store;
    this.id = id;
    this.base = `/projects/${store.slug}/topics/${id}`;
    this.list = new MessageList(`${this.base}/replies`, KINDS, { mine: (payload) => payload.topic_id === id });
    this.send = async (body, { nonce, clientId }) => {
      const sent = await call("POST", `${this.base}/replies`, { body }, { key: nonce, clientId });
      // It stands at the end, which may not be here yet. A page that fails is behind the button that fetches the rest.
      await this.#toEnd().catch(() => {});
      this.list.keep(sent);
      return sent;
    };
    this.edit = async (reply, body, version) => this.list.keep(await call("PUT", `${this.base}/replies/${reply.id}`, { body, version }));
    this.remove = async (reply) => {
      await call("DELETE", `${this.base}/replies/${reply.id}`);
      this.list.drop(reply.id);
    };
    this.canRemove = (one) => one.user_id === me.peek()?.id || store.canManage.peek();
    this.moreAfter = () => this.list.loadNewer();
    this.nameOf = (who) => store.people.get(who)?.display_name;
    this.people = () => [...store.members.peek().values()].map((one) => one.user);
  }

  begin() {
    this.stops = [
      this.store.listen("topic.", (frame) => this.#hear(frame)),
      this.store.listen("reset", () => {
        this.list.log = []; // another history may count from below
        this.load({ anew: true });
      }),
      this.store.listen("project.member_updated", ({ payload }) => this.list.rename(payload.user)),
    ];
    this.load();
  }

  end() {
    this.over = true;
    for (const stop of this.stops ?? []) stop();
  }

  async #toEnd() {
    const { rows, newer } = this.list;
    while (!this.over && newer.peek() && rows.peek().length > 0) await this.list.loadNewer();
  }

  #hear(frame) {
    this.list.apply(frame);
    hasCome(frame.client_id);
    const { type, payload } = frame;
    const now = this.shown.peek();
    if (payload.id !== this.id) return;
    if (type === "topic.deleted") this.shown.value = { ...now, state: "deleted" };
    else if (type === "topic.updated" && now.topic && now.topic.version <= payload.version) {
      this.shown.value = { ...now, topic: { ...now.topic, ...payload } };
    }
  }

  /** Fetches it with its first replies; `anew`: nothing that is here counts. */
  async load({ anew = false } = {}) {
    const now = this.shown.peek();
    if (now.state === "deleted") return;
    this.shown.value = { ...now, state: now.topic ? now.state : "loading", error: null };
    try {
      const { data, headers } = await request("GET", this.base);
      const { replies, replies_more: more, topic } = data;
      batch(() => {
        const { state, topic: last } = this.shown.peek();
        if (state !== "deleted") {
          // An event may have told of a later version while the answer was on its way.
          this.shown.value = { state: "ready", topic: !anew && last?.version > topic.version ? last : topic, error: null };
        }
        this.list.lay({ rows: replies, at: Number(headers.get("Warmdesk-Seq") ?? 0), goesOn: more });
      });
    } catch (error) {
      if (this.shown.peek().state !== "deleted") this.shown.value = { ...this.shown.peek(), state: "failed", error };
    }
  }

  /** Fetches the replies up to one that is not here yet. */
  look(target) {
    if (!target) return;
    const { rows, newer } = this.list;
    const isBehind = () => !this.over && newer.peek() && rows.peek().length > 0 && rows.peek().at(-1).id < target;
    const go = async () => {
      while (isBehind()) await this.list.loadNewer();
    };
    // A page that failed is behind the button that fetches the rest.
    queueMicrotask(() => go().catch(() => {}));
  }

  /** Changes the topic; `version` is the one that was read. */
  async change(values, version) {
    const topic = await call("PUT", this.base, { ...values, version });
    const shown = this.shown.peek();
    if (!(shown.topic?.version > topic.version)) this.shown.value = { ...shown, topic }; // an event may have told more
    return topic;
  }

  delete() {
    return call("DELETE", this.base);
  }
}
