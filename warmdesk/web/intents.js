/* What I wish, laid over what the server said. A wish shows at once, and ends with the event that
 * fulfils it, with a refusal, or with an answer that is no younger than what is shown already. It is
 * never written into the state, so nothing is to be taken back.
 */
import { nextId, Unreached } from "./api.js";
import { batch, signal } from "./view.js";

const NONE = [];
/** What stands for the answer where an event told that a wish was fulfilled. */
const DONE = { done: true };

/** Wishes of these kinds, each with `client_id` and `card_id`:
 *
 * - `move`: `column_id`, and `before_card_id`, `after_card_id` or `index` among the column's others.
 * - `change`: `fields` that the card shows instead of its own.
 * - `create`: `card`, with a negative id, at the end of `column_id` or before `before_card_id`.
 * - `remove`: the card is not shown.
 * - `hold`: nothing, it only marks the card.
 */
export class Intents {
  /** All wishes, in their order; another array whenever one comes or ends. */
  all = signal(NONE);

  constructor() {
    this.marks = new Map();
    this.turns = new Map();
    /** What the server has not answered; of that, what is asked again and again. */
    this.asked = new Set();
    this.unsure = new Set();
  }

  /** The wishes for one card, as a signal that changes with these alone. */
  of(id) {
    let mark = this.marks.get(id);
    if (!mark) {
      mark = signal(this.all.peek().filter((wish) => wish.card_id === id));
      this.marks.set(id, mark);
    }
    return mark;
  }

  add(wish) {
    wish.client_id ??= nextId();
    this.#set([...this.all.peek(), wish], [wish.card_id]);
    return wish;
  }

  /** In place of a wish another one, that comes last. */
  replace(old, wish) {
    wish.client_id ??= old.client_id;
    this.#set([...this.all.peek().filter((one) => one !== old), wish], [old.card_id, wish.card_id]);
    return wish;
  }

  end(wish) {
    this.#drop((one) => one === wish);
  }

  has(wish) {
    return this.all.peek().includes(wish);
  }

  #drop(test) {
    const left = [];
    const ended = [];
    for (const wish of this.all.peek()) (test(wish) ? ended : left).push(wish);
    if (ended.length) this.#set(left, ended.map((wish) => wish.card_id));
  }

  #set(all, ids) {
    batch(() => {
      this.all.value = all;
      for (const id of new Set(ids)) {
        const mark = this.marks.get(id);
        if (mark) mark.value = all.filter((wish) => wish.card_id === id);
      }
    });
  }

  /** An event was applied that tells of the card `id`, now of this version (null: it is gone). */
  heard(clientId, id, version) {
    if (!this.all.peek().length) return;
    this.#drop((wish) => {
      if (clientId && wish.client_id === clientId && (wish.card_id === id || wish.kind === "create")) return (wish.told = true);
      if (wish.card_id !== id) return false;
      return version === null || (wish.version !== undefined && wish.version <= version);
    });
  }

  /** All was fetched again: answered wishes are in it, or were overtaken. */
  fetched(versionOf) {
    this.#drop((wish) => {
      wish.fetched = true;
      if (wish.kind === "create") return wish.answered;
      if (wish.kind === "remove" && wish.answered) return true;
      const version = versionOf(wish.card_id);
      return version === undefined || (wish.version !== undefined && wish.version <= version);
    });
  }

  /** The server answered with this version; `mine` is the one that is here (undefined: none). What it said
   * is gone has no version, and is not shown again before its event.
   */
  answered(wish, version, mine) {
    if (wish.kind === "remove" && wish.answered && mine !== undefined) wish.version = version;
    else if (version === undefined || mine === undefined || mine >= version) this.end(wish);
    else wish.version = version;
  }

  /** The ids of a column with all wishes laid over, in their order. */
  order(columnId, ids, exists = () => true) {
    let list = ids;
    const own = () => (list === ids ? (list = ids.slice()) : list);
    for (const wish of this.all.value) {
      if (wish.kind !== "move" && wish.kind !== "remove" && wish.kind !== "create") continue;
      const at = list.indexOf(wish.card_id);
      if (at >= 0) own().splice(at, 1);
      if (wish.kind === "remove" || wish.column_id !== columnId) continue;
      if (wish.kind === "move" && at < 0 && !exists(wish.card_id)) continue;
      own().splice(placeIn(list, wish), 0, wish.card_id);
    }
    return list;
  }

  /** A card as it is wished to be. */
  card(card, wishes = this.of(card.id).value) {
    for (const wish of wishes) if (wish.kind === "change") card = { ...card, ...wish.fields };
    return card;
  }

  /** Asks until there is an answer, or {done} where `isDone()` says so once all that was missed is here; the rest is
   * as for `carryOut`.
   */
  async ask(ask, { reached, unsure, isDone }) {
    this.asked.add(ask);
    try {
      for (;;) {
        try {
          return await ask();
        } catch (error) {
          if (!(error instanceof Unreached || error.status === 503)) throw error;
          // Was it done? What was missed will say; else it is sent once more, under the same key, also when it
          // shows no more: what others did to the card ended it, and did not do it.
          this.unsure.add(ask);
          unsure();
          await reached(error.wait);
          if (isDone()) return DONE;
        }
      }
    } finally {
      this.asked.delete(ask);
      this.unsure.delete(ask);
    }
  }

  /** Carries a wish out by `ask(wish)`, which resolves to the answer, after those that were wished for
   * the same card before. `reached(seconds)` resolves when the line stands and all that was missed is
   * here, after a pause of that length at least, and throws once that can never be;
   * `unsure(wish)` is called when the answer did not come. Resolves to the answer, or to
   * {done} where an event told before that it was done. Throws `Refused`, or what `reached` threw, and the wish has
   * ended then.
   */
  async carryOut(wish, ask, { mine, reached, unsure }) {
    const before = this.turns.get(wish.card_id);
    const turn = (async () => {
      await before?.catch(() => {});
      return this.ask(() => ask(wish), { reached, unsure: () => unsure?.(wish), isDone: () => wish.told });
    })();
    this.turns.set(wish.card_id, turn);
    try {
      const answer = await turn;
      if (answer !== undefined) {
        wish.answered = true;
        if (wish.kind !== "create") this.answered(wish, answer?.version, mine(wish.card_id));
        else if (wish.fetched) this.end(wish); // its event may be in what was fetched
      }
      return answer;
    } catch (error) {
      this.end(wish);
      throw error;
    } finally {
      if (this.turns.get(wish.card_id) === turn) this.turns.delete(wish.card_id);
    }
  }
}

/** Where in the list of the others a wish puts its card. */
export function placeIn(list, wish) {
  let at = -1;
  if (wish.before_card_id !== undefined) at = list.indexOf(wish.before_card_id);
  else if (wish.after_card_id !== undefined) at = list.indexOf(wish.after_card_id) + 1 || -1;
  if (at >= 0) return at;
  return Math.min(wish.index ?? list.length, list.length);
}
