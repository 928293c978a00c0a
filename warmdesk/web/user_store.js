/* What is my own, wherever I am: notifications, conversations, projects. Fetched once, and true after
 * each event of my feed.
 */
import { call, callAll, nextPath, request } from "./api.js";
import { afterAll, conversationRules } from "./conversation_rules.js";
import { Feed } from "./feed.js";
import { me, meIs, nobody, signedOut } from "./identity.js";
import { isOfProject, projectRules } from "./project_rules.js";
import { batch, computed, signal } from "./view.js";
import { t } from "./words.js";

const KEPT = 500; // events that are applied again over what was fetched meanwhile
const PAGE = 50;
const AGAIN_MS = 200;
const CALM_MS = 1200; // the page that somebody waits for goes first

class UserStore {
  /** {items, more, state: "new" | "loading" | "ready" | "failed", error}: the newest first. */
  notifications = signal({ items: [], more: null, state: "new", error: null });
  unread = signal(0);
  /** All conversations, the last active first; null until they are here. */
  conversations = signal(null);
  conversationsError = signal(null);
  /** Projects that I am in, as `GET /projects` has them. `projectsState`: loading, ready, failed. */
  projects = signal([]);
  projectsState = signal("loading");
  projectsError = null;
  feed = null;

  #counted = signal(0); // by the server, until the conversations are here
  #listeners = new Set();
  #events = [];
  #unreadAt = -1;
  #began = Promise.resolve(0); // the event after which all are heard
  #run = 0;

  /** In how many conversations something is unread. */
  unreadConversations = computed(() => {
    const all = this.conversations.value;
    // One that was opened by itself is not all.
    return all && !this.conversationsError.value ? all.filter((one) => one.unread_count > 0).length : this.#counted.value;
  });

  /** What the state bar says of this feed, in `Bar`'s form; null when all is well. */
  bar = computed(() => {
    const state = this.#state.value;
    const act = () => this.feed?.now();
    if (state.kind === "offline") return { kind: "off", text: t("frame.offline") };
    if (state.kind === "lost" || state.kind === "away") {
      return { kind: "off", text: t("frame.reconnecting"), label: t("frame.now"), act };
    }
    if (state.kind === "replaced") return { kind: "bad", text: t("frame.replaced"), label: t("frame.take_over"), act };
    return null;
  });
  #feedSignal = signal(null);
  #state = computed(() => this.#feedSignal.value?.state.value ?? { kind: "connecting" });

  /** Begins, for who is signed in; `known` is a promise of the answer of `/bootstrap`, with its `seq` and `epoch`. */
  start(known) {
    this.stop();
    const mine = (this.#run += 1);
    this.feed = new Feed("user", {
      event: (frame) => this.apply(frame),
      signal: (frame) => this.hear(frame),
      hello: (payload) => this.#hello(payload),
      reset: () => this.#fetchAll(),
      ended: () => signedOut(),
    });
    this.#feedSignal.value = this.feed;
    this.#began = known.then(({ seq }) => seq, () => 0);
    this.feed.startBefore(known);
    this.#begin(known, mine);
  }

  async #begin(known, mine) {
    const first = await known.catch(() => mine === this.#run && this.fetchProjects().catch(() => {}));
    if (mine !== this.#run) return;
    if (first) this.#setProjects(first.projects, first.seq);
    if (first && this.#unreadAt < 0) {
      this.unread.value = first.unread_notifications;
      this.#counted.value = first.unread_conversations;
    }
    setTimeout(() => mine === this.#run && this.fetchConversations().catch(() => {}), CALM_MS);
  }

  /** Ends, and forgets everything. */
  stop() {
    this.#run += 1;
    this.feed?.stop();
    this.feed = null;
    this.#events = [];
    this.#unreadAt = -1;
    batch(() => {
      this.#feedSignal.value = null;
      this.notifications.value = { items: [], more: null, state: "new", error: null };
      this.unread.value = 0;
      this.#counted.value = 0;
      this.conversations.value = null;
      this.conversationsError.value = null;
      this.projects.value = [];
      this.projectsState.value = "loading";
    });
  }

  /** Calls `then` with each frame of my feed whose type begins with `prefix`; gives what ends it. */
  listen(prefix, then) {
    const one = { prefix, then };
    this.#listeners.add(one);
    return () => this.#listeners.delete(one);
  }

  #tell(frame) {
    for (const { prefix, then } of this.#listeners) if (frame.type.startsWith(prefix)) then(frame);
  }

  /** The events after that number. */
  after(seq) {
    return this.#events.filter((frame) => frame.seq > seq);
  }

  // Whether an answer is too old: what came between it and the first event that is heard, nobody told.
  async #isOld(seq, mine) {
    const old = seq < (await this.#began);
    if (old) await new Promise((done) => setTimeout(done, AGAIN_MS));
    if (mine !== this.#run) throw nobody();
    return old;
  }

  #hello(payload) {
    if (payload.unread_notifications !== undefined) {
      this.#unreadAt = payload.seq;
      this.unread.value = payload.unread_notifications;
    }
    if (payload.unread_conversations !== undefined) this.#counted.value = payload.unread_conversations;
    this.#tell({ type: "hello", payload });
  }

  /** Takes in the next event. */
  apply(frame) {
    const { type, payload, seq } = frame;
    this.#events.push(frame);
    if (this.#events.length > KEPT * 2) this.#events = this.#events.slice(-KEPT);
    if (type.startsWith("dm.")) this.#converse(frame);
    else if (type.startsWith("notification")) this.#notified(type, payload, seq);
    else if (isOfProject(type)) this.#project(frame);
    else if (type === "user.updated") meIs(payload);
    this.#tell(frame);
  }

  /** Takes in what has no number. */
  hear(frame) {
    if (frame.type === "project.activity") this.#project(frame);
    this.#tell(frame);
  }

  // Conversations

  #converse(frame) {
    const all = this.conversations.peek();
    if (!all) return;
    const next = conversationRules(all, frame, me.peek()?.id);
    if (next.list !== all) this.conversations.value = next.list;
    if (next.ask) this.fetchConversation(next.ask).catch(() => {});
  }

  /** Fetches all conversations anew and lays them under what was told since. */
  async fetchConversations() {
    const mine = this.#run;
    try {
      const first = await request("GET", "/conversations?limit=500");
      const next = nextPath(first.headers);
      const rest = next ? await callAll(next) : [];
      const at = Number(first.headers.get("Warmdesk-Seq"));
      if (await this.#isOld(at, mine)) return await this.fetchConversations();
      const known = new Set(first.data.map((one) => one.id));
      const all = [...first.data, ...rest.filter((one) => !known.has(one.id))].map((one) => ({ ...one, at }));
      const { list, asks } = afterAll(all, this.after(at), me.peek()?.id);
      batch(() => {
        this.conversations.value = list;
        this.conversationsError.value = null;
      });
      for (const id of asks) this.fetchConversation(id).catch(() => {});
    } catch (error) {
      if (mine === this.#run) this.conversationsError.value = error;
      throw error;
    }
  }

  /** Fetches one conversation, and puts it where it belongs. */
  async fetchConversation(id) {
    const { data, headers } = await request("GET", `/conversations/${id}`);
    this.keepConversation(data, Number(headers.get("Warmdesk-Seq")) || 0);
    return data;
  }

  /** Keeps a conversation as an answer showed it at `at`, a place of my feed. */
  keepConversation(data, at = this.feed?.seq ?? 0) {
    const rest = (this.conversations.peek() ?? []).filter((one) => one.id !== data.id);
    const { list, asks } = afterAll([{ ...data, at }], this.after(at), me.peek()?.id);
    if (list.length && asks.has(data.id)) this.fetchConversation(data.id).catch(() => {});
    this.conversations.value = [...list, ...rest].sort((one, other) => (one.updated_at < other.updated_at ? 1 : -1));
  }

  // Notifications

  #notified(type, payload, seq) {
    const now = this.notifications.peek();
    const counts = seq > this.#unreadAt;
    if (type === "notification") {
      if (counts) this.unread.value += 1;
      if (!now.items.some((one) => one.id === payload.id)) {
        this.notifications.value = { ...now, items: [payload, ...now.items] };
      }
      return;
    }
    if (counts) this.unread.value = payload.unread_count;
    const at = new Date().toISOString();
    const isRead = (one) => payload.all || one.id === payload.id;
    const items =
      type === "notification.read"
        ? now.items.map((one) => (isRead(one) && !one.read_at ? { ...one, read_at: at } : one))
        : now.items.filter((one) => !payload.ids.includes(one.id));
    this.notifications.value = { ...now, items };
  }

  /** Fetches the newest notifications, or with `older` those that follow the ones that are here. */
  async fetchNotifications({ older } = {}) {
    const mine = this.#run;
    const now = this.notifications.peek();
    this.notifications.value = { ...now, state: now.state === "ready" ? "ready" : "loading", error: null };
    try {
      const path = older && now.more ? now.more : `/notifications?limit=${PAGE}`;
      const { data, headers } = await request("GET", path);
      if (await this.#isOld(data.seq, mine)) return await this.fetchNotifications({ older });
      const more = nextPath(headers);
      const known = new Set(data.items.map((one) => one.id));
      const had = this.notifications.peek().items;
      const younger = had.filter((one) => !known.has(one.id) && (older || one.id > (data.items[0]?.id ?? 0)));
      batch(() => {
        this.notifications.value = { items: [...younger, ...data.items].sort((one, other) => other.id - one.id), more, state: "ready", error: null };
        this.unread.value = data.unread_count;
        this.#unreadAt = data.seq;
        for (const frame of this.after(data.seq)) if (frame.type.startsWith("notification")) this.#notified(frame.type, frame.payload, frame.seq);
      });
      return { seq: data.seq, epoch: data.epoch };
    } catch (error) {
      if (mine === this.#run) this.notifications.value = { ...this.notifications.peek(), state: "failed", error };
      throw error;
    }
  }

  // Projects

  // What was told since the list was asked for, at `at`, lies over it.
  #setProjects(list, at) {
    batch(() => {
      this.projects.value = list;
      this.projectsState.value = "ready";
      for (const frame of this.after(at)) if (isOfProject(frame.type)) this.#project(frame);
    });
  }

  /** Fetches the projects anew. */
  async fetchProjects() {
    const mine = this.#run;
    const at = this.feed?.seq ?? 0;
    try {
      const list = await callAll("/projects?include=here&limit=500");
      if (mine === this.#run) this.#setProjects(list, at);
    } catch (error) {
      this.projectsError = error;
      if (mine === this.#run && this.projectsState.peek() !== "ready") this.projectsState.value = "failed";
      throw error;
    }
  }

  #project(frame) {
    const next = projectRules(this.projects.peek(), frame);
    if (next) this.projects.value = next;
    else this.fetchProjects().catch(() => {});
  }

  // Another history: everything is fetched again.
  async #fetchAll() {
    this.#events = [];
    this.#unreadAt = -1;
    this.#began = Promise.resolve(0);
    const place = await this.fetchNotifications();
    const jobs = [this.fetchProjects(), call("GET", "/users/me").then(meIs)];
    if (this.conversations.peek()) jobs.push(this.fetchConversations());
    await Promise.all(jobs);
    this.#tell({ type: "reset", payload: place });
    return place;
  }
}

/** The one store of who is signed in. */
export const user = new UserStore();
