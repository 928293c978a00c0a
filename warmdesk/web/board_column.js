/* A column of the board: its own facts, its cards in order, and which of them stand in the page. */
import { computed, signal } from "./view.js";

/** About so many cards of a column stand in the page at first: twice as many as fill the screen. What each change
 * costs, and most of all to paint, grows with those that stand there.
 */
export const WINDOW = Math.max(30, Math.ceil(Math.max(globalThis.screen?.height ?? 0, globalThis.innerHeight ?? 0) / 32));
/** So many fewer, and twice as many more, while things happen: a card that comes or goes takes no other one with it
 * at the end.
 */
export const SLACK = Math.floor(0.4 * WINDOW);

/** The same array as long as it holds the same. */
function steady(get) {
  let last = [];
  return computed(() => {
    const next = get(last);
    if (next.length !== last.length || next.some((one, at) => one !== last[at])) last = next;
    return last;
  });
}

/** Of all, about `grown` from the start: to where they ended before, which one of the last three tells that is still
 * behind its neighbour.
 */
function windowed(all, grown, before) {
  if (all.length <= grown) return all;
  const [third, second, last] = before.slice(-3).map((id) => all.indexOf(id));
  const told = [last === second + 1 ? last : -1, second === third + 1 ? second : -1, last, second, third];
  const end = told.find((at) => at + 1 >= grown - SLACK && at + 1 <= grown + 2 * SLACK) ?? grown - 1;
  return all.slice(0, end + 1);
}

/** A column of a `BoardStore`; each of its parts is a signal. */
export class Column {
  #level = signal(0);
  #leveled = 0;

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
    this.window = steady((before) => {
      const anew = this.#leveled !== (this.#leveled = this.#level.value);
      return windowed(this.passed.value, this.grown.value, anew ? [] : before);
    });
    this.size = computed(() => {
      const own = this.view.value.length;
      return this.next.value ? this.counted.value + own - this.ids.value.length : own;
    });
  }

  /** How many more stand in the page than were wanted; negative: fewer. */
  get surplus() {
    return this.window.peek().length - Math.min(this.grown.peek(), this.passed.peek().length);
  }

  /** Lets as many stand in the page as were wanted. */
  level() {
    this.#level.value += 1;
  }
}
