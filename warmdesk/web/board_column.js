/* A column of the board: its own facts, its cards in order, and which of them stand in the page. */
import { computed, signal } from "./view.js";

export const WINDOW = 60;

/** The same array as long as it holds the same. */
function steady(get) {
  let last = [];
  return computed(() => {
    const next = get();
    if (next.length !== last.length || next.some((one, at) => one !== last[at])) last = next;
    return last;
  });
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
    this.window = steady(() => this.passed.value.slice(0, this.grown.value));
    this.size = computed(() => {
      const own = this.view.value.length;
      return this.next.value ? this.counted.value + own - this.ids.value.length : own;
    });
  }
}
