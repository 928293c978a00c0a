/* A project while one of its pages shows: its store, its feed, and what stands around its pages. */
import { call } from "./api.js";
import { BoardStore } from "./board_store.js";
import { Feed } from "./feed.js";
import { Frame, Away, awayOf, awayTitle } from "./frame.js";
import { me } from "./identity.js";
import "./keys.js";
import { Pile, Skeleton } from "./ui.js";
import { user } from "./user_store.js";
import { computed, effect, html, live, renderEvery, signal } from "./view.js";
import { t } from "./words.js";

const KEPT_MS = 5000; // whoever went elsewhere is not here
const LOST_MS = 700; // what is mended sooner is not worth a word
const STORM = 200;
const SLOW_MS = 80;
const projects = new Map();

class Project {
  /** What stands in place of the pages: {kind}, or null. */
  away = signal(null);
  /** Whether the line has been gone for a moment. */
  late = signal(false);
  users = 0;

  constructor(slug) {
    this.slug = slug;
    this.store = new BoardStore(slug);
    this.feed = new Feed(slug, {
      hello: ({ role }) => this.#roleIs(role),
      event: (frame) => this.store.apply(frame),
      signal: (frame) => this.store.signal(frame),
      after: () => this.#pace(),
      reset: async () => {
        const fetched = await this.#fetch();
        this.store.load(fetched);
        return fetched;
      },
      ended: (code) => (this.away.value = { kind: code === 4404 ? "missing" : "removed" }),
    });
    this.store.reached = (seconds) => this.feed.caughtUp(seconds);
    this.watch = effect(() => {
      const { kind } = this.feed.state.value;
      const gone = kind === "lost" || kind === "away";
      if (!gone) {
        clearTimeout(this.lateTimer);
        this.lateTimer = null;
        this.late.value = false;
      } else this.lateTimer ??= setTimeout(() => (this.late.value = true), LOST_MS);
    });
    // What I did since is in this page alone.
    this.leaving = (event) => {
      const { asked, unsure } = this.store.intents;
      if (unsure.size || (asked.size && !this.feed.line.open)) event.preventDefault();
    };
    addEventListener("beforeunload", this.leaving);
    this.start = this.start.bind(this);
    this.start();
  }

  #fetch() {
    return call("GET", `/projects/${this.slug}?cards=brief`);
  }

  async start() {
    this.away.value = null;
    try {
      const fetched = await this.#fetch();
      if (this.over) return;
      this.store.load(fetched);
      this.feed.start(fetched.seq, fetched.epoch);
    } catch (error) {
      if (error.status !== 401) this.away.value = { kind: awayOf(error), error };
    }
  }

  #roleIs(role) {
    if (role && me.peek()?.global_role === "user") this.store.role.value = role;
  }

  /** In a storm the page is painted some twelve times a second, and is true at each of them. */
  #pace() {
    const now = performance.now();
    if (now - (this.measured ?? 0) < 250) return;
    const rate = (this.store.visible * 1000) / (now - (this.measured ?? now - 250));
    this.measured = now;
    this.store.visible = 0;
    this.storm(rate > STORM);
    clearTimeout(this.calm);
    if (rate > STORM) this.calm = setTimeout(() => this.storm(false), 500);
  }

  storm(on) {
    if (this.stormy === on) return;
    this.stormy = on;
    renderEvery(on ? SLOW_MS : 0);
    document.documentElement.toggleAttribute("data-storm", on);
  }

  /** What the state bar says; null when all is well. */
  bar = computed(() => {
    const state = this.feed.state.value;
    const act = () => this.feed.now();
    if (state.kind === "replaced") return { kind: "bad", text: t("frame.replaced"), label: t("frame.take_over"), act };
    if (state.kind === "offline") return { kind: "off", text: t("frame.offline") };
    if ((state.kind === "lost" || state.kind === "away") && this.late.value) {
      const text = state.kind === "away" ? t("project.busy") : t("frame.reconnecting");
      return { kind: "off", text, label: t("frame.now"), act };
    }
    if (state.kind === "caught") return { kind: "ok", text: t("project.caught", { n: state.n }) };
    const project = this.store.project.value;
    if (project?.is_archived) return { kind: "calm", text: t("project.archived") };
    if (project && this.store.role.value === "viewer") return { kind: "calm", text: t("project.viewer") };
    return null;
  });

  end() {
    if (this.over) return; // another one may have its place by now
    this.over = true;
    removeEventListener("beforeunload", this.leaving);
    this.watch();
    clearTimeout(this.lateTimer);
    this.storm(false);
    this.feed.stop();
    projects.delete(this.slug);
  }
}

function hold(slug) {
  let one = projects.get(slug);
  if (!one) {
    one = new Project(slug);
    projects.set(slug, one);
  }
  one.users += 1;
  clearTimeout(one.timer);
  return one;
}

function letGo(one) {
  one.users -= 1;
  if (one.users > 0) return;
  const end = () => {
    // What I did and the server has not answered is not left behind.
    if (one.store.intents.asked.size) one.timer = setTimeout(end, KEPT_MS);
    else one.end();
  };
  one.timer = setTimeout(end, one.away.peek() ? 0 : KEPT_MS);
}

// Who signs out leaves nothing behind.
effect(() => {
  if (!me.value) for (const one of [...projects.values()]) one.end();
});

// Who is taken in again need not load the page again.
user.listen("project.joined", ({ payload }) => {
  const one = projects.get(payload.slug);
  if (one?.away.peek()) one.start();
});

/** The project of a page, {store, feed, away}: one for all its pages, kept while one of them shows and
 * some seconds longer, or until all that was done there is answered. The live component `self` holds it until it leaves the page.
 */
export function useProject(self, slug) {
  if (self.project?.slug === slug && !self.project.over) return self.project;
  if (self.project) letGo(self.project);
  else {
    const leave = self.componentWillUnmount;
    self.componentWillUnmount = function () {
      leave.call(this);
      letGo(this.project);
    };
  }
  self.project = hold(slug);
  return self.project;
}

const Here = live(({ store }) => {
  const all = store.here.value;
  if (!all.length) return null;
  return html`<${Pile} users=${all} max=${4} size=${24} count=${store.hereCount.value} label=${t("project.here")} />`;
});

const TABS = [
  ["board", "", "board"],
  ["chat", "/chat", "chat"],
  ["topics", "/topics", "topic"],
  ["activity", "/activity", "history"],
  ["settings", "/settings", "gear"],
];

/** The frame of a project's page: its name, its tabs, what state the line is in, and what stands there when
 * it is away. Without a project yet, a skeleton; children show when there is one.
 */
export const ProjectFrame = live(({ slug, tab, children, aside }, self) => {
  const project = useProject(self, slug);
  const { store, away } = project;
  const known = store.project.value;
  const late = (self.late ??= signal(false));
  const gone = away.value;
  const mine = user.projects.value.find((one) => one.slug === slug);
  const tabs = TABS.map(([name, path, icon]) => ({
    href: `/p/${slug}${path}`,
    label: t(`project.${name}`),
    icon,
    on: tab === name,
    ...(name === "chat" && tab !== "chat" && mine?.unread_count ? { n: mine.unread_count, says: t("frame.unread", { n: mine.unread_count }) } : {}),
  }));
  if (gone) {
    return html`<${Frame} title=${known?.name ?? awayTitle(gone.kind)} plain>
      <${Away} kind=${gone.kind} again=${gone.kind === "error" ? project.start : undefined} /><//>`;
  }
  return html`<${Frame} title=${known?.name ?? ""} mark=${known?.color} tabs=${tabs} plain
      bar=${project.bar.value ?? undefined} aside=${html`${aside}<${Here} store=${store} />`}>
    ${known ? children : late.value && html`<${Skeleton} lines=${8} />`}<//>`;
}, (self) => setTimeout(() => (self.late.value = true), 200));

/** The project of an address that shows now, or undefined. */
export const projectHere = (slug) => projects.get(slug);
