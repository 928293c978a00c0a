/* Cards and columns by the pointer: a mouse lifts after 4 px, a finger after 300 ms of rest, and before that
 * it scrolls. What is lifted stays where it is, dimmed; its likeness follows the pointer, and a line shows
 * where it would go. Nothing is sent before the drop.
 */
import { say } from "./announce.js";
import { t } from "./words.js";

const FAR = 4;
const HOLD_MS = 300;
const REST = 8;
const EDGE = 44;
const SPEED = 12;

/** The pointer on a `Board`. */
export class Dragging {
  constructor(board) {
    this.board = board;
    this.one = null;
    this.moved = (event) => this.#moved(event);
    this.ended = (event) => this.#ended(event);
    this.keyed = (event) => {
      if (event.key !== "Escape" || !this.one?.ghost) return;
      event.preventDefault();
      event.stopPropagation();
      this.end();
    };
    this.blurred = (event) => event.target === window && this.end();
    // A finger that holds a card must not scroll; that can only be said by a listener that was there before.
    this.touched = (event) => this.one?.ghost && event.cancelable && event.preventDefault();
    this.asked = (event) => this.one && this.one.type === "touch" && event.preventDefault();
  }

  listen(element) {
    element.addEventListener("touchmove", this.touched, { passive: false });
    element.addEventListener("contextmenu", this.asked);
    element.addEventListener("dragstart", (event) => event.preventDefault());
  }

  /** A pointer went down on the board. */
  pressed(event) {
    if (event.button !== 0 || this.one || event.target.closest("button, input, textarea, select, .column-writer")) return;
    const tile = event.target.closest("[data-card]");
    const head = tile ? null : event.target.closest(".column-head");
    if (!tile && !(head && this.board.store.canManage.peek())) return;
    const id = Number(tile?.dataset.card ?? head.closest("[data-column]").dataset.column);
    if (tile && id < 0) return;
    const { clientX: x, clientY: y, pointerType: type, pointerId } = event;
    const one = { id, element: tile ?? head.closest("section"), isColumn: !tile, x0: x, y0: y, x, y, type, pointerId };
    this.one = one;
    // A page that was busy meanwhile sees first where the finger went.
    if (type === "touch") one.timer = setTimeout(() => requestAnimationFrame(() => this.one === one && this.#lift()), HOLD_MS);
    addEventListener("pointermove", this.moved, true);
    addEventListener("pointerup", this.ended, true);
    addEventListener("pointercancel", this.ended, true);
    addEventListener("keydown", this.keyed, true);
    addEventListener("blur", this.blurred, true);
  }

  #moved(event) {
    const { one } = this;
    if (event.pointerId !== one.pointerId) return;
    one.x = event.clientX;
    one.y = event.clientY;
    const far = Math.hypot(one.x - one.x0, one.y - one.y0);
    if (one.ghost) return this.#queue();
    if (one.type === "touch") return far > REST ? this.end() : undefined;
    return far >= FAR ? this.#lift() : undefined;
  }

  #lift() {
    const { one, board } = this;
    if (!one.element.isConnected || board.lifted) return this.end();
    if (!one.isColumn && !board.may()) return this.end();
    const box = one.element.getBoundingClientRect();
    one.box = box;
    const likeness = one.isColumn ? one.element.querySelector(".column-head") : one.element;
    one.ghost = likeness.cloneNode(true);
    one.ghost.removeAttribute("data-card");
    one.ghost.classList.add("ghost");
    one.ghost.inert = true;
    one.ghost.style.setProperty("--width", `${box.width}px`);
    one.line = document.createElement("div");
    one.line.className = "drop-line";
    one.line.hidden = true;
    document.body.append(one.ghost, one.line);
    document.documentElement.classList.add("dragging");
    if (one.isColumn) one.element.classList.add("held");
    else board.store.marks.hold(one.id, "pointer");
    if (one.type === "touch") navigator.vibrate?.(10);
    return this.#queue();
  }

  #queue() {
    const { one } = this;
    one.frame ||= requestAnimationFrame(() => {
      one.frame = 0;
      if (this.one === one) this.#step();
    });
  }

  #step() {
    const { one, board } = this;
    // It went or I may no longer: nothing to drop.
    const all = one.isColumn ? board.store.cols : board.store.cards;
    if (!all.has(one.id) || !board.store.canWrite.peek()) {
      say(t("board.drag_over"));
      return this.end();
    }
    one.ghost.style.transform = `translate(${one.x - one.x0 + one.box.left}px, ${one.y - one.y0 + one.box.top}px)`;
    one.to = one.isColumn ? this.#columnPlace() : this.#cardPlace();
    if (this.#scroll()) this.#queue();
    return undefined;
  }

  #cardPlace() {
    const { one, board } = this;
    const under = document.elementFromPoint(one.x, one.y);
    // Below a column that is short is the column, too.
    const inBand = (each) => each.getBoundingClientRect().left <= one.x && one.x <= each.getBoundingClientRect().right;
    const section = under?.closest("section[data-column]") ??
      (board.root.contains(under) ? [...board.root.querySelectorAll("section[data-column]")].find(inBand) : null);
    const columnId = Number(section?.dataset.column);
    const column = board.store.cols.get(columnId); // none, where it was deleted just now
    one.line.hidden = !column;
    if (!column) return null;
    const list = section.querySelector(".column-cards");
    one.list = list;
    const tiles = [...list.querySelectorAll("[data-card]")].filter((tile) => tile.dataset.card > 0 && Number(tile.dataset.card) !== one.id);
    let next = under.closest("[data-card]");
    if (!tiles.includes(next)) next = null; // itself, or one that is still being made
    if (next) {
      const { top, height } = next.getBoundingClientRect();
      if (one.y > top + height / 2) next = tiles[tiles.indexOf(next) + 1] ?? null;
    } else next = tiles.find((tile) => tile.getBoundingClientRect().top + 10 > one.y) ?? null;
    const room = list.getBoundingClientRect();
    const last = tiles.at(-1);
    let top = room.top + 4;
    if (next) top = next.getBoundingClientRect().top - 5;
    else if (last) top = last.getBoundingClientRect().bottom + 2;
    top = Math.min(Math.max(top, room.top - 2), room.bottom);
    this.#draw(room.left + 7, top, room.width - 14, 3);
    const others = column.passed.peek().filter((id) => id !== one.id && id > 0);
    let index = others.length;
    if (next) index = others.indexOf(Number(next.dataset.card));
    else if (last) index = others.indexOf(Number(last.dataset.card)) + 1;
    return { columnId, index };
  }

  #columnPlace() {
    const { one, board } = this;
    const sections = [...board.root.querySelectorAll("section[data-column]")];
    const boxes = sections.map((section) => section.getBoundingClientRect());
    const rtl = getComputedStyle(board.root).direction === "rtl";
    const middle = (box) => (box.left + box.right) / 2;
    let at = boxes.findIndex((box) => (rtl ? one.x > middle(box) : one.x < middle(box)));
    if (at < 0) at = boxes.length;
    const edge = boxes[Math.min(at, boxes.length - 1)];
    const isStart = (at < boxes.length) !== rtl;
    const x = isStart ? edge.left - 6 : edge.right + 3;
    one.line.hidden = false;
    this.#draw(x, edge.top, 3, edge.height);
    const from = sections.indexOf(one.element);
    return { at: at > from ? at - 1 : at, from };
  }

  #draw(x, y, width, height) {
    const { style } = this.one.line;
    style.setProperty("--width", `${width}px`);
    style.setProperty("--height", `${height}px`);
    style.transform = `translate(${x}px, ${y}px)`;
  }

  /** Scrolls list and board where the pointer is near their edges. */
  #scroll() {
    const { one, board } = this;
    const room = board.root.getBoundingClientRect();
    let going = false;
    const by = (element, x, y) => {
      const before = [element.scrollLeft, element.scrollTop];
      element.scrollBy({ left: x, top: y, behavior: "instant" });
      going ||= before[0] !== element.scrollLeft || before[1] !== element.scrollTop;
    };
    if (one.x < room.left + EDGE) by(board.root, -SPEED, 0);
    else if (one.x > room.right - EDGE) by(board.root, SPEED, 0);
    if (one.list && !one.isColumn) {
      const list = one.list.getBoundingClientRect();
      if (one.y < list.top + EDGE) by(one.list, 0, -SPEED);
      else if (one.y > list.bottom - EDGE) by(one.list, 0, SPEED);
    }
    return going;
  }

  #ended(event) {
    const { one, board } = this;
    if (event.pointerId !== one.pointerId) return;
    const lifted = !!one.ghost;
    if (!lifted || event.type === "pointercancel") {
      this.end();
      return;
    }
    one.x = event.clientX;
    one.y = event.clientY;
    this.#step();
    const { to } = one;
    if (this.one !== one) return;
    this.end();
    // The click that follows is part of this.
    const swallow = (click) => {
      click.preventDefault();
      click.stopPropagation();
    };
    addEventListener("click", swallow, true);
    setTimeout(() => removeEventListener("click", swallow, true), 50);
    if (!to) return;
    if (one.isColumn) {
      if (to.at !== to.from) board.moveColumn(one.id, to.at);
    } else this.#drop(one, to);
  }

  #drop(one, to) {
    const { board } = this;
    const column = board.columnOf(one.id);
    const { columnId, index } = to;
    // Where it was already: nothing is sent.
    if (column?.id === columnId && column.passed.peek().filter((id) => id > 0).indexOf(one.id) === index) return;
    board.move(one.id, columnId, index);
    if (one.type === "mouse") board.focus.rove(one.id);
  }

  /** Ends it; nothing is dropped. */
  end() {
    const { one } = this;
    if (!one) return;
    this.one = null;
    clearTimeout(one.timer);
    cancelAnimationFrame(one.frame);
    one.ghost?.remove();
    one.line?.remove();
    one.element.classList.remove("held");
    document.documentElement.classList.remove("dragging");
    if (one.ghost && !one.isColumn) this.board.store.marks.hold(null);
    removeEventListener("pointermove", this.moved, true);
    removeEventListener("pointerup", this.ended, true);
    removeEventListener("pointercancel", this.ended, true);
    removeEventListener("keydown", this.keyed, true);
    removeEventListener("blur", this.blurred, true);
  }
}
