/* The cards behind the first of each column: pages of lists, put in order with the events that were
 * told while they were under way, and the counts of what is not here.
 */
import { request } from "./api.js";
import { batch } from "./view.js";

const KEPT = 1000;
const PAGE = 500;
const CURSOR = /\/columns\/\d+\/cards\?(?:.*&)?cursor=([\w-]+)/;

/** What is still to be fetched of a `BoardStore`. */
export class BoardPages {
  constructor(store) {
    this.store = store;
    this.filling = new Map();
    this.begin();
  }

  /** All was fetched anew. */
  begin() {
    this.kept = [];
    this.keptFrom = this.store.seq;
    for (const { done } of this.laying ?? []) done();
    this.laying = [];
  }

  /** An event was applied that changed the counts so. */
  applied(frame, counted) {
    this.take(counted);
    if (this.unread) this.keep({ frame, counted });
    else this.keptFrom = frame.seq;
  }

  /** Whether there are cards that are not here yet. */
  get unread() {
    for (const one of this.store.cols.values()) if (one.next.peek()) return true;
    return false;
  }

  keep(one) {
    this.kept.push(one);
    if (this.kept.length > KEPT && !this.laying.length) this.keptFrom = this.kept.shift().frame.seq;
  }

  catchUp() {
    while (this.laying.length && this.laying[0].seq <= this.store.seq) {
      const { then, done } = this.laying.shift();
      then();
      done();
    }
  }

  /** Fetches the next page of a column; false when there was none. One at a time. */
  fill(columnId) {
    const column = this.store.cols.get(columnId);
    if (!column?.next.peek()) return Promise.resolve(false);
    let under = this.filling.get(columnId);
    if (!under) {
      under = this.#page(column).finally(() => this.filling.delete(columnId));
      this.filling.set(columnId, under);
    }
    return under;
  }

  /** Fetches all that is missing: who filters wants to see all. */
  async fillAll() {
    await Promise.all(
      [...this.store.cols.keys()].map(async (id) => {
        while (await this.fill(id));
      }),
    );
  }

  async #page(column) {
    const cursor = column.next.peek();
    const path = `${this.store.path}/columns/${column.id}/cards?limit=${PAGE}&cards=brief&cursor=${cursor}`;
    const { data, headers } = await request("GET", path);
    const seq = Number(headers.get("Warmdesk-Seq"));
    if (headers.get("Warmdesk-Epoch") !== this.store.epoch || seq < this.keptFrom) return true;
    const next = CURSOR.exec(headers.get("Link") ?? "")?.[1] ?? null;
    await new Promise((done) => {
      const then = () => batch(() => this.#lay(column, cursor, seq, data, next));
      this.laying.push({ seq, then, done });
      this.catchUp();
    });
    return true;
  }

  #lay(column, cursor, seq, cards, next) {
    for (const card of cards) this.store.rules.cardIs(card);
    for (const { frame } of this.kept) if (frame.seq > seq) this.store.rules.carryOut(frame);
    if (column.next.peek() === cursor) column.next.value = next;
    if (!this.unread) {
      this.kept = [];
      this.keptFrom = this.store.seq;
    }
  }

  count(told) {
    if (told.seq < this.keptFrom) return;
    for (const { id, card_count: count } of told.columns) {
      const column = this.store.cols.get(id);
      if (!column) continue;
      if (!column.next.peek() && told.seq === this.store.seq && column.ids.peek().length !== count) {
        throw new Error(`column ${id} has not the ${count} cards that are counted`);
      }
      column.counted.value = count;
    }
    for (const { frame, counted } of this.kept) if (frame.seq > told.seq) this.take(counted);
  }

  take(counted) {
    for (const [id, by] of counted) {
      const column = this.store.cols.get(id);
      if (column) column.counted.value += by;
    }
  }
}
