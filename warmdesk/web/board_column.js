/* A column of the board: its own facts, its cards in order, and which of them stand in the page. */
import { computed, signal } from "./view.js";

/** About so many cards of a column stand in the page at first: twice as many as fill the screen. What each change
 * costs, and most of all to paint, grows with those that stand there.
 */
export const WINDOW = Math.max(30, Math.ceil(Math.max(globalThis.screen?.height ?? 0, globalThis.innerHeight ?? 0) / 32));
/** So many more or fewer: a card that comes or goes then takes no other one with it at the end. */
export const SLACK = 8;

/** The same array as long as it holds the same. */
function steady(get) {
  let last = [];
  return computed(() => {
    const next = get(last);
    if (next.length !== last.length || next.some((one, at) => one !== last[at])) last = next;
    return last;
  });
}

/** Of all, about `grown` from the start: to where they ended before, by one of the last three that stood there. */
function windowed(all, grown, before) {
  if (all.length <= grown) return all;
  const changed = (end) => Math.abs(end - before.length);
  const ends = before.slice(-3).map((id, at, last) => all.indexOf(id) + last.length - at);
  const near = ends.filter((end) => Math.abs(end - grown) <= SLACK).sort((one, other) => changed(one) - changed(other));
  return all.slice(0, near[0] ?? grown);
}

/** A column of a `BoardStore`; each of its parts is a signal. */
export class Column {
  constructor(store, column) {
    this.id = column.id;
    this.col = signal(column);
    this.ids = signal([]);
    this.next = signal(null);
    this.counted = signal(0);
    this.grown = signal(WINDOW);
    /** In order, with my wishes. */
    this.view = computed(() => store.intents.order(this.id, this.ids.value, (id) => store.cards.has(id)));
    /** Those of them that pass the filter. */
    this.passed = computed(() => {
      const test = store.filter.value;
      if (!test) return this.view.value;
      return this.view.value.filter((id) => {
        const card = store.seen(id);
        return card && test(card);
      });
    });
    /** Those of them that stand in the page. */
    this.window = steady((before) => windowed(this.passed.value, this.grown.value, before));
    this.size = computed(() => {
      const own = this.view.value.length;
      return this.next.value ? this.counted.value + own - this.ids.value.length : own;
    });
  }
}
