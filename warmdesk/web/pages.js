/* Lists that come page by page: what is here, what is on its way, what failed, the button for more. */
import { nextPath, request } from "./api.js";
import { wears } from "./sheets.js";
import { Button, Failed, Field, Skeleton, Tabs } from "./ui.js";
import { afterRender, html, live, signal } from "./view.js";
import { t } from "./words.js";

wears("pages.css");

const SKELETON_MS = 200;
const PAUSE_MS = 250; // between the last letter and the question

/** The pages of one list. `list` is a signal of {state: "first" | "loading" | "ready" | "failed", items, next, error}. */
export class Pages {
  constructor(path, { items = [], id = (one) => one.id } = {}) {
    this.path = path;
    this.id = id;
    this.list = signal({ state: "first", items, next: null });
    this.turn = 0;
  }

  get items() {
    return this.list.value.items;
  }

  /** Fetches the first page again; what is here stays until it is there. */
  again() {
    return this.#fetch(this.path, () => []);
  }

  /** Fetches the next page. */
  more() {
    const { next } = this.list.peek();
    return this.#fetch(next ?? this.path, () => (next ? this.list.peek().items : []));
  }

  async #fetch(path, before) {
    const turn = (this.turn += 1);
    this.isTouched = false;
    const slow = setTimeout(() => {
      if (turn === this.turn) this.list.value = { ...this.list.peek(), state: "loading" };
    }, SKELETON_MS);
    try {
      const { data, headers } = await request("GET", path);
      if (turn !== this.turn) return;
      if (this.isTouched) {
        // What changed meanwhile may not be in it.
        await this.#fetch(path, before);
        return;
      }
      const held = before();
      const known = new Set(held.map(this.id));
      const items = [...held, ...data.filter((one) => !known.has(this.id(one)))];
      this.list.value = { state: "ready", items, next: nextPath(headers) };
    } catch (error) {
      if (turn === this.turn) this.list.value = { ...this.list.peek(), state: "failed", error };
    } finally {
      clearTimeout(slow);
    }
  }

  /** Puts an item in the place of the one that has its id, else before all. */
  put(item) {
    const { items } = this.list.peek();
    const at = items.findIndex((one) => this.id(one) === this.id(item));
    this.set(at < 0 ? [item, ...items] : items.with(at, item));
  }

  /** Takes an item out by its id. */
  drop(id) {
    this.set(this.list.peek().items.filter((one) => this.id(one) !== id));
  }

  /** Other items in place of all that are here. */
  set(items) {
    this.isTouched = true;
    this.list.value = { ...this.list.peek(), items };
  }
}

/** The pages that a live component keeps under a name. Another path begins anew, and shows what was here
 * until its first page is.
 */
export function pages(self, name, path, options) {
  self.kept_pages ??= new Map();
  const held = self.kept_pages.get(name);
  if (held?.path === path) return held;
  const made = new Pages(path, { ...options, items: held?.list.peek().items });
  self.kept_pages.set(name, made);
  queueMicrotask(() => made.again());
  return made;
}

/** Shows pages: the children are a function of the items, `empty` is what stands there without any. */
export const PageList = live(({ of, lines = 4, empty, children }) => {
  const { state, items, next, error } = of.list.value;
  const show = [children].flat()[0];
  return html`
    ${items.length > 0 && show(items)}
    ${!items.length && state === "ready" && empty}
    ${state === "loading" && (!items.length || next) && html`<${Skeleton} lines=${items.length ? 2 : lines} />`}
    ${state === "failed" && html`<${Failed} error=${error} again=${() => of.more()} />`}
    ${next && state === "ready" && html`<p class="page-more"><${Button} onClick=${() => of.more()}>${t("ui.more")}<//></p>`}`;
});

/** A field to find things in a list by: what is typed stays in it, `find(text)` has it after a pause. */
export const Find = live(
  ({ label, find }, self) => {
    self.typed ??= signal("");
    const type = (text) => {
      self.typed.value = text;
      clearTimeout(self.writing);
      self.writing = setTimeout(() => find(text), PAUSE_MS);
    };
    return html`<${Field} kind="search" bare label=${label} placeholder=${label} value=${self.typed.value} onInput=${type} />`;
  },
  (self) => {
    self.end = () => clearTimeout(self.writing);
  },
);

/** The parts of a page as tabs: `parts` are their names, `now` is the present one; on a narrow page it is
 * brought into sight.
 */
export const PartTabs = live(({ label, parts, now, hrefOf, wordOf }, self) => {
  if (self.now !== now) {
    self.now = now;
    afterRender(() => self.nav?.querySelector("[aria-current]")?.scrollIntoView({ inline: "nearest", block: "nearest" }));
  }
  return html`<div class="page-tabs" ref=${(element) => (self.nav = element)}>
    <${Tabs} label=${label} items=${parts.map((one) => ({ href: hrefOf(one), label: wordOf(one), on: one === now }))} /></div>`;
});
