/* What happened on a project's cards, the latest first. */
import { nextPath, request } from "./api.js";
import { day, today } from "./format.js";
import { Fact } from "./history.js";
import { ProjectFrame, useProject } from "./project.js";
import { wears } from "./sheets.js";
import { Button, Empty, Failed, Skeleton } from "./ui.js";
import { html, live, signal } from "./view.js";
import { t } from "./words.js";

wears("board.css");

const PAGE = 50;
const LATER_MS = 1000;
const newest = (one, other) => other.id - one.id;

class Activity {
  facts = signal(null);
  next = signal(null);
  error = signal(null);

  constructor(store) {
    this.store = store;
    this.read = this.read.bind(this);
    this.stops = [store.listen("board.", () => this.#soon()), store.listen("reset", () => this.#soon())];
    this.read();
  }

  end() {
    for (const stop of this.stops) stop();
    clearTimeout(this.timer);
  }

  #soon() {
    this.timer ??= setTimeout(() => {
      this.timer = null;
      this.read();
    }, LATER_MS);
  }

  /** Reads the newest page, or the one at `next`. */
  async read(next) {
    const path = typeof next === "string" ? next : `${this.store.path}/activity?limit=${PAGE}`;
    try {
      const { data, headers } = await request("GET", path);
      const known = this.facts.peek() ?? [];
      const ids = new Set(data.map((one) => one.id));
      const touches = known.some((one) => ids.has(one.id));
      // What happened between is more than a page: the list begins anew.
      const rest = typeof next === "string" || touches ? known.filter((one) => !ids.has(one.id)) : [];
      this.facts.value = [...data, ...rest].sort(newest);
      if (typeof next === "string" || !touches) this.next.value = nextPath(headers);
      this.error.value = null;
    } catch (error) {
      if (!this.facts.peek() || typeof next === "string") this.error.value = error;
    }
  }
}

const List = live(
  ({ store }, self) => {
    const activity = (self.activity ??= new Activity(store));
    const facts = activity.facts.value;
    const error = activity.error.value;
    if (!facts) return error ? html`<${Failed} error=${error} again=${activity.read} />` : html`<${Skeleton} lines=${8} />`;
    if (!facts.length) {
      return html`<${Empty} icon="history" title=${t("activity.empty")} text=${t("activity.empty_text")}><a class="button main" href=${`/p/${store.slug}`}>${t("card.to_board")}</a><//>`;
    }
    const days = new Map();
    for (const fact of facts) {
      const date = today(new Date(fact.created_at));
      days.set(date, [...(days.get(date) ?? []), fact]);
    }
    const cardOf = ({ card }) => html`<a class="fact-card" href=${`/p/${store.slug}/c/${card.key}`}><b>${card.key}</b> <span dir="auto">${card.title}</span></a>`;
    return html`${[...days].map(([date, list]) => html`<section key=${date}><h2>${date === today() ? t("activity.today") : day(date, { weekday: "long" })}</h2>
        <ul class="facts">${list.map((fact) => html`<${Fact} key=${fact.id} fact=${fact} card=${cardOf(fact)} />`)}</ul></section>`)}
      ${error && html`<${Failed} error=${error} again=${() => activity.read(activity.next.peek())} />`}
      ${activity.next.value && html`<${Button} onClick=${() => activity.read(activity.next.peek())}>${t("ui.more")}<//>`}`;
  },
  (self) => {
    self.end = () => self.activity.end();
  },
);

export default live(({ slug }, self) => {
  const { store, away } = useProject(self, slug);
  return html`<${ProjectFrame} slug=${slug} tab="activity">${store.project.value && !away.value ? html`<div class="activity" tabindex="-1"><${List} store=${store} /></div>` : null}<//>`;
});
