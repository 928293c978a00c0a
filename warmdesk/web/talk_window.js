/* Which rows of a long talk are in the page, and where it is scrolled to: a hundred, and more at an edge up
 * to four hundred; the first row in sight stays where it is, and the end stays in sight of who is there.
 */
import { signal } from "./view.js";

const ROWS = 100; // while the end is in sight
const MOST = 400;
const STEP = 100;
const NEAR = 600; // px before an edge at which more rows come
const END = 40;

export class TalkWindow {
  atEnd = signal(true);
  busy = signal(true);
  #tick = signal(0);
  #from = null; // the id of the first row; null: so many before the last
  #to = null; // the id of the last row; null: the end
  #seenTo = 0; // the newest message when the end was last in sight
  #isShown = false; // a talk beside a board may be hidden
  #reached = null; // the target that was shown

  constructor(flow) {
    this.flow = flow;
  }

  /** From which row to which: [from, to). Called in each render, so it also learns what there is now. */
  range(messages, props) {
    this.#tick.value;
    this.messages = messages;
    this.props = props;
    if (this.flow) {
      this.#point(messages, props.target);
      return [0, messages.length];
    }
    const n = messages.length;
    let from = this.#from === null ? Math.max(0, n - ROWS) : at(messages, this.#from);
    const to = this.#to === null ? n : Math.min(n, at(messages, this.#to) + 1);
    if (this.#from !== null && this.#to === null && this.atEnd.peek() && to - from > MOST) {
      this.#from = null;
      from = Math.max(0, n - ROWS);
    }
    const { target } = props;
    if (target && target !== this.#reached) {
      const place = messages.findIndex((one) => one.id === target);
      if (place >= 0) {
        this.#reached = target;
        this.#show(place);
        return this.range(messages, props);
      }
    }
    if (this.atEnd.peek() && n && !props.hasAfter) this.#sight(messages[n - 1].id);
    this.#remember();
    // At the end the observer moves it, once it is laid out.
    if (!this.atEnd.peek() || this.wanted) queueMicrotask(() => this.#settle());
    return [from, to];
  }

  // In a page that scrolls all rows are there: the one that is wanted comes into sight.
  #point(messages, target) {
    if (target !== this.#reached && (!target || messages.some((one) => one.id === target))) {
      this.#reached = target;
      this.wanted = target;
    }
    if (this.wanted) queueMicrotask(() => this.#settle());
  }

  #show(place) {
    const { messages } = this;
    this.#from = messages[Math.max(0, place - STEP)].id;
    const last = messages[place + STEP];
    this.#to = last ? last.id : null;
    this.atEnd.value = false;
    this.wanted = messages[place].id;
  }

  #sight(id) {
    if (id === this.#seenTo) return;
    this.#seenTo = id;
    this.#tellSeen();
  }

  // Read is what somebody could see.
  #tellSeen() {
    if (document.hidden || !document.hasFocus() || !this.#seenTo) return;
    if (this.flow || this.#isShown) this.props.seen?.(this.#seenTo);
  }

  /** How many came since the end was last in sight. */
  unseen(messages) {
    if (this.flow || this.atEnd.value || !this.#seenTo) return 0;
    return messages.length - at(messages, this.#seenTo + 1);
  }

  /** The element that scrolls. */
  use(element) {
    if (!element || element === this.log) return;
    this.log = element;
  }

  begin() {
    this.busy.value = false;
    if (this.flow) return;
    this.watcher = new ResizeObserver((changes) => {
      const mine = changes.find(({ target }) => target === this.log);
      if (mine) this.#isShown = mine.contentRect.height > 0;
      if (mine) this.looked();
      this.#settle();
    });
    this.watcher.observe(this.log);
    this.watcher.observe(this.log.firstElementChild);
    this.looked = () => this.atEnd.peek() && this.#tellSeen();
    addEventListener("focus", this.looked);
    document.addEventListener("visibilitychange", this.looked);
  }

  end() {
    this.watcher?.disconnect();
    removeEventListener("focus", this.looked);
    document.removeEventListener("visibilitychange", this.looked);
    this.log = null;
  }

  /** To the newest message; fetches it if it is not here. */
  toEnd() {
    if (this.flow) return;
    this.#from = null;
    this.#to = null;
    this.atEnd.value = true;
    this.anchor = null;
    this.#tick.value += 1;
    if (this.props?.hasAfter) this.#fetch("newest", () => {}).then(() => this.#settle());
    this.#settle();
  }

  // The first row in sight, and how far it is from the top: taken before a render, put back after it.
  #remember() {
    const { log } = this;
    if (!log || this.atEnd.peek() || this.wanted) {
      this.anchor = null;
      return;
    }
    // Where nothing scrolled since, it stands: to look for it at a point is dear.
    if (this.anchor && log.scrollTop === this.top) return;
    this.top = log.scrollTop;
    const top = log.getBoundingClientRect().top;
    const element = document.elementFromPoint(log.getBoundingClientRect().left + 60, top + 4)?.closest?.(".talk-row");
    const row = element && log.contains(element) ? element : [...log.querySelectorAll(".talk-row")].find((one) => one.getBoundingClientRect().bottom > top);
    this.anchor = row ? { id: row.dataset.id, y: row.getBoundingClientRect().top - top } : null;
  }

  #settle() {
    const { log } = this;
    if (!log) return;
    if (this.wanted) {
      const row = log.querySelector(`[data-id="${this.wanted}"]`);
      if (!row) return;
      if (this.flow) {
        this.wanted = null;
        row.scrollIntoView({ block: "center" });
        return;
      }
      log.scrollTop += row.getBoundingClientRect().top - log.getBoundingClientRect().top - log.clientHeight / 3;
      this.wanted = null;
      // Where all fits in sight nothing scrolls: the end may be here already.
      this.scrolled();
    } else if (this.flow) {
      return;
    } else if (this.atEnd.peek()) {
      log.scrollTop = log.scrollHeight;
    } else if (this.anchor) {
      const row = log.querySelector(`[data-id="${this.anchor.id}"]`);
      if (!row) {
        this.anchor = null;
        return;
      }
      const moved = row.getBoundingClientRect().top - log.getBoundingClientRect().top - this.anchor.y;
      if (Math.abs(moved) >= 1) log.scrollTop += moved;
      this.top = log.scrollTop;
    }
  }

  /** Somebody scrolled: more rows where an edge is near. */
  scrolled() {
    const { log, messages, props } = this;
    if (!log || this.flow || !messages) return;
    const below = log.scrollHeight - log.scrollTop - log.clientHeight;
    // On the way to the end is at the end: what scrolls meanwhile are the rows that stood here.
    const isAtEnd = this.newest || (below < END && this.#to === null && !props.hasAfter);
    if (isAtEnd !== this.atEnd.peek()) this.atEnd.value = isAtEnd;
    if (isAtEnd && messages.length && !props.hasAfter) this.#sight(messages.at(-1).id);
    this.#remember();
    const [from, to] = [this.#from === null ? Math.max(0, messages.length - ROWS) : at(messages, this.#from), this.#to === null ? messages.length : at(messages, this.#to) + 1];
    if (log.scrollTop < NEAR) {
      if (from > 0) this.#grow(Math.max(0, from - STEP), to - from + STEP > MOST ? to - STEP : to);
      else if (props.hasMore) this.#fetch("more", () => this.#hold(from, to));
    } else if (below < NEAR) {
      if (to < messages.length) this.#grow(to - from + STEP > MOST ? from + STEP : from, to + STEP);
      else if (props.hasAfter) this.#fetch("moreAfter", () => this.#hold(from, to));
    }
  }

  // What is in the page now stays, whatever comes before it.
  #hold(from) {
    if (this.#from === null && this.messages[from]) this.#from = this.messages[from].id;
  }

  #grow(from, to) {
    const { messages } = this;
    this.#from = messages[from]?.id ?? null;
    this.#to = to >= messages.length ? null : messages[to - 1].id;
    this.#tick.value += 1;
  }

  async #fetch(name, first) {
    if (this[name]) return;
    first();
    this[name] = true;
    try {
      await this.props[name]?.();
    } catch {
      // Scrolling on asks again.
    } finally {
      this[name] = false;
    }
  }
}

/** The index of the first message whose id is not below. */
function at(messages, id) {
  let low = 0;
  let high = messages.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (messages[middle].id < id) low = middle + 1;
    else high = middle;
  }
  return low;
}
