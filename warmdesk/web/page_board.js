/* What a board in the page knows and does: which card is held, chosen, written, and where a card goes. */
import { go } from "./address.js";
import { moveCard } from "./actions.js";
import { say, sayOfOthers } from "./announce.js";
import { call, newKey } from "./api.js";
import { SLACK } from "./board_column.js";
import { grow } from "./column.js";
import { Dragging } from "./drag.js";
import { BoardFocus } from "./focus.js";
import { me } from "./identity.js";
import { confirm, notice, sayError } from "./ui.js";
import { afterRender, signal } from "./view.js";
import { t } from "./words.js";

const TALKING = "warmdesk.board.chat";

function wasTalking() {
  try {
    return localStorage.getItem(TALKING) === "on";
  } catch {
    return false;
  }
}

/** A board that shows. */
export class Board {
  writing = signal(null); // {column, before}: where a new card is being written
  editing = signal(null); // {column} or {after}: a column's dialog
  moving = signal(null); // the id of the card whose move is being said
  menu = signal(null); // {id, anchor}: whose menu is open
  talking = signal(wasTalking()); // whether the chat stands beside it
  picking = signal(null); // {id, what}: labels, people or the date of a card

  constructor(project) {
    this.project = project;
    this.store = project.store;
    this.root = null;
    this.focus = new BoardFocus(this, () => this.root);
    this.drag = new Dragging(this);
    this.mount = (element) => element && this.#mount(element);
    this.pressed = (event) => this.drag.pressed(event);
    this.clicked = (event) => this.#clicked(event);
  }

  #mount(element) {
    if (this.root === element) return;
    this.root = element;
    this.drag.listen(element);
    // Whatever the renderer takes out or in: the focus is looked after once it is painted.
    this.watcher?.disconnect();
    this.watcher = new MutationObserver(() => this.focus.keep());
    this.watcher.observe(element, { childList: true, subtree: true });
    afterRender(() => this.focus.keep());
  }

  begin() {
    const stops = [
      this.store.listen("board.card_", (frame) => this.#heard(frame)),
      // Cards and columns go by many ways, all of which are told.
      this.store.listen("", () => this.lifted && this.#keepLifted()),
    ];
    this.stopHearing = () => stops.forEach((stop) => stop());
  }

  end() {
    this.stopHearing?.();
    this.watcher?.disconnect();
    this.cancel();
    this.drag.end();
  }

  /** Opens and closes the chat beside the board. */
  talk(on) {
    this.talking.value = on;
    try {
      localStorage.setItem(TALKING, on ? "on" : "off");
    } catch {
      // It holds as long as this page.
    }
  }

  columnOf(id) {
    const wish = this.store.intents.of(id).peek().findLast((one) => one.kind === "move" || one.kind === "create");
    const columnId = wish?.column_id ?? this.store.cards.get(id)?.peek().column_id;
    return this.store.cols.get(columnId);
  }

  nameOf(id) {
    const card = this.store.cards.get(id)?.peek();
    return card ? this.store.key(card) : "";
  }

  /** The card that has the keyboard. */
  get here() {
    return this.focus.idOf(document.activeElement);
  }

  open(id) {
    const card = this.store.cards.get(id)?.peek();
    if (card) go(`/p/${this.store.slug}/c/${this.store.key(card)}`);
  }

  write(column, before) {
    if (!this.may()) return;
    this.writing.value = { column, before };
  }

  /** Whether I may change the board; why not is said. */
  may() {
    if (this.store.canWrite.peek()) return true;
    const why = this.store.project.peek().is_archived ? t("project.archived") : t("project.viewer");
    say(why);
    notice(why);
    return false;
  }

  grow(column) {
    grow(this.store, column).catch((error) => notice(sayError(error), { bad: true }));
  }

  /** Grows the window until a card stands in it. */
  showCard(id) {
    const column = this.columnOf(id);
    const at = column?.passed.peek().indexOf(id) ?? -1;
    if (at >= column?.window.peek().length) column.grown.value = at + 1 + SLACK; // so that it stands there however many do
  }

  chooseAll(columnId) {
    this.store.marks.choose([...this.store.marks.chosen.peek(), ...this.store.cols.get(columnId).passed.peek().filter((id) => id > 0)]);
  }

  // Where a card goes.

  /** The place `index` among a column's other cards that show, by a neighbour. */
  place(id, columnId, index) {
    const column = this.store.cols.get(columnId);
    const others = column.passed.peek().filter((one) => one !== id && one > 0);
    const at = Math.max(0, Math.min(index, others.length));
    const all = column.view.peek().filter((one) => one !== id && one > 0);
    if (others[at] !== undefined) return { at, n: others.length + 1, to: { column_id: columnId, before_card_id: others[at], index: all.indexOf(others[at]) } };
    const last = others.at(-1);
    if (last === undefined || (last === all.at(-1) && !column.next.peek())) return { at, n: others.length + 1, to: { column_id: columnId } };
    return { at, n: others.length + 1, to: { column_id: columnId, after_card_id: last, index: all.indexOf(last) + 1 } };
  }

  /** Moves a card to a place among those that show, and says so. */
  async move(id, columnId, index, { quiet } = {}) {
    if (!this.may() || !this.store.cards.has(id)) return;
    const { at, n, to } = this.place(id, columnId, index);
    const column = this.store.cols.get(columnId).col.peek().name;
    const sent = moveCard(this.store, id, to);
    if (!quiet) say(t("board.moved", { key: this.nameOf(id), column, at: at + 1, all: n }));
    this.showCard(id);
    await sent;
  }

  /** Lifts a card by the keyboard. */
  lift(id) {
    if (!this.may() || id < 0) return;
    const column = this.columnOf(id);
    const index = column.passed.peek().indexOf(id);
    this.lifted = { id, key: this.nameOf(id), columnId: column.id, index, wish: null };
    this.store.marks.hold(id, "keys");
    say(t("board.lifted", { key: this.nameOf(id), at: index + 1, all: column.passed.peek().length, column: column.col.peek().name }));
  }

  /** Carries the lifted card on: by columns and by places. */
  carry(byColumn, byPlace) {
    const { lifted, store } = this;
    const order = store.shownOrder.peek();
    const columnId = order[Math.max(0, Math.min(order.length - 1, order.indexOf(lifted.columnId) + byColumn))];
    const { at, n, to } = this.place(lifted.id, columnId, lifted.index + byPlace);
    const wish = { kind: "move", card_id: lifted.id, ...to };
    if (lifted.wish && store.intents.has(lifted.wish)) store.intents.replace(lifted.wish, wish);
    else store.intents.add(wish);
    Object.assign(lifted, { columnId, index: at, wish });
    say(t("board.at", { column: store.cols.get(columnId).col.peek().name, at: at + 1, all: n }));
    this.focus.to(lifted.id);
  }

  /** Puts the lifted card down where it is. */
  drop() {
    const { lifted } = this;
    this.#putDown();
    if (!lifted.wish) return say(t("board.left", { key: this.nameOf(lifted.id) }));
    this.move(lifted.id, lifted.columnId, lifted.index);
    return this.focus.to(lifted.id);
  }

  cancel() {
    if (!this.lifted) return;
    const { id } = this.lifted;
    this.#putDown();
    say(t("board.left", { key: this.nameOf(id) }));
    this.focus.to(id);
  }

  /** What is lifted stays with a card that is there, in a column that is there. */
  #keepLifted() {
    const { lifted, store } = this;
    if (!store.cards.has(lifted.id)) {
      this.#putDown();
      say(t("board.gone", { key: lifted.key }));
    } else if (!store.cols.has(lifted.columnId)) {
      if (lifted.wish) store.intents.end(lifted.wish);
      const column = this.columnOf(lifted.id);
      Object.assign(lifted, { columnId: column.id, index: column.passed.peek().indexOf(lifted.id), wish: null });
    }
  }

  #putDown() {
    const { lifted } = this;
    this.lifted = null;
    this.store.marks.hold(null);
    if (lifted.wish) this.store.intents.end(lifted.wish);
  }

  // Columns.

  async moveColumn(id, at) {
    const { store } = this;
    const ids = store.shownOrder.peek().filter((one) => one !== id);
    ids.splice(at, 0, id);
    store.wishedOrder.value = ids;
    try {
      const columns = await call("PATCH", `${store.path}/columns/reorder`, { column_ids: ids });
      // The event that tells it may have come already, or there was nothing to tell.
      if (`${columns.map((one) => one.id)}` === `${store.order.peek()}`) store.wishedOrder.value = null;
      say(t("column.moved", { column: store.cols.get(id)?.col.peek().name, at: at + 1, all: ids.length }));
    } catch (error) {
      store.wishedOrder.value = null;
      notice(sayError(error), { bad: true });
    }
  }

  async removeColumn(id) {
    const column = this.store.cols.get(id);
    const { name } = column.col.peek();
    if (column.size.peek() > 0) return (this.editing.value = { leaving: column.col.peek() });
    if (!(await confirm(t("column.sure", { column: name }), { danger: true, word: t("ui.delete") }))) return undefined;
    try {
      await call("DELETE", `${this.store.path}/columns/${id}`, undefined, { key: newKey() });
    } catch (error) {
      // Cards in the archive are on no board, and in the column all the same.
      if (error.code === "column_not_empty") this.editing.value = { leaving: column.col.peek() };
      else notice(sayError(error), { bad: true });
    }
    return undefined;
  }

  // What happens.

  #clicked(event) {
    const more = event.target.closest(".tile-more");
    if (more) {
      this.menu.value = { id: this.focus.idOf(more), anchor: more };
      return;
    }
    const id = this.focus.idOf(event.target);
    if (id === null || id < 0 || event.defaultPrevented) return;
    // Where cards are chosen by touch, a tap chooses another one.
    const chooses = event.pointerType === "touch" && this.store.marks.chosen.peek().size;
    if (event.ctrlKey || event.metaKey || chooses) {
      event.preventDefault();
      this.store.marks.toggle(id);
    } else if (!event.target.closest("a, button")) this.open(id);
  }

  /** Others' doings are told of the card that has the keyboard, or that is open. */
  #heard(frame) {
    const id = frame.payload.card_id ?? frame.payload.id;
    if (frame.type === "board.card_deleted") this.store.marks.drop(id);
    const isMine = frame.actor_id === me.peek()?.id;
    const concerns = id === this.here || frame.payload.key === this.openKey;
    if (isMine || !concerns) return;
    const who = this.store.people.known.get(frame.actor_id)?.peek().display_name ?? t("board.somebody");
    const key = frame.payload.key ?? this.nameOf(id);
    const to = this.store.cols.get(frame.payload.to_column_id)?.col.peek().name;
    if (frame.type === "board.card_moved" && frame.payload.from_column_id !== frame.payload.to_column_id) {
      sayOfOthers(t("board.other_moved", { who, key, column: to }));
    } else if (frame.type === "board.card_deleted") sayOfOthers(t("board.other_deleted", { who, key }));
    else if (frame.type === "board.card_updated") sayOfOthers(t("board.other_changed", { who, key }));
  }
}
