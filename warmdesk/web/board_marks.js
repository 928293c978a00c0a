/* What is true of a card in this page alone: that it is held, or chosen. A signal for each card, so that one
 * that changes lets all others be.
 */
import { batch, signal } from "./view.js";

/** The marks of a board. */
export class Marks {
  constructor() {
    this.each = new Map();
    /** The ids of the chosen cards. */
    this.chosen = signal(new Set());
    /** The card that is held: {id, by: "pointer" | "keys"}, or null. */
    this.held = signal(null);
  }

  /** "", "chosen", "held pointer" …: what a card's tile is marked with. */
  of(id) {
    let one = this.each.get(id);
    if (!one) {
      one = signal(this.#say(id));
      this.each.set(id, one);
    }
    return one;
  }

  #say(id) {
    const held = this.held.peek();
    const words = [];
    if (this.chosen.peek().has(id)) words.push("chosen");
    if (held?.id === id) words.push("held", held.by);
    return words.join(" ");
  }

  #tell(ids) {
    for (const id of ids) {
      const one = this.each.get(id);
      if (one) one.value = this.#say(id);
    }
  }

  hold(id, by) {
    const before = this.held.peek()?.id;
    batch(() => {
      this.held.value = id === null ? null : { id, by };
      this.#tell([before, id]);
    });
  }

  choose(ids) {
    const before = this.chosen.peek();
    batch(() => {
      this.chosen.value = new Set(ids);
      this.#tell(new Set([...before, ...ids]));
    });
  }

  toggle(id) {
    const next = new Set(this.chosen.peek());
    if (!next.delete(id)) next.add(id);
    this.choose(next);
  }

  /** Cards that are gone are no longer chosen. */
  drop(id) {
    if (this.chosen.peek().has(id)) this.toggle(id);
    this.each.delete(id);
  }
}
