/* Where the keyboard is on the board: one card is a tab stop, and the focus stays with its card whatever
 * events move; where the card is gone, with its neighbour.
 */
import { afterRender } from "./view.js";

// In each frame: an attribute that is written has the element's style looked up again, though it is the same.
function put(element, name, value) {
  if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

/** The focus of a board; `root()` gives its element. */
export class BoardFocus {
  last = null; // the card that has or had it

  constructor(board, root) {
    this.board = board;
    this.root = root;
    this.stop = null;
    this.wanted = false;
  }

  tile(id) {
    const { known } = this; // mostly it is asked for the same one
    if (known?.isConnected && known.dataset.card === `${id}`) return known;
    return (this.known = this.root()?.querySelector(`[data-card="${id}"]`));
  }

  /** The card of an element, or null. */
  idOf(element) {
    const tile = element?.closest?.("[data-card]");
    return tile ? Number(tile.dataset.card) : null;
  }

  /** Makes a card the tab stop, and tells where it stands in its column. */
  rove(id) {
    if (this.stop !== null && this.stop !== id) this.#stopAt(this.stop, -1);
    this.stop = id;
    this.#stopAt(id, 0);
  }

  #stopAt(id, index) {
    const tile = this.tile(id);
    if (!tile) return;
    for (const each of tile.querySelectorAll("a.tile-title, .tile-more")) put(each, "tabindex", index);
    if (index !== 0) return;
    const column = this.board.columnOf(id);
    if (!column) return;
    put(tile, "aria-setsize", column.next.peek() ? -1 : column.passed.peek().length);
    put(tile, "aria-posinset", column.passed.peek().indexOf(id) + 1);
  }

  /** A card of the board has the focus now. */
  entered(element) {
    const id = this.idOf(element);
    if (id === null) {
      this.wanted = false;
      return;
    }
    this.last = id;
    this.wanted = true;
    this.remember();
    this.rove(id);
  }

  /** Notes who stands beside the card, for when it goes. */
  remember() {
    const column = this.board.columnOf(this.last);
    if (!column) return;
    const ids = column.passed.peek();
    const at = ids.indexOf(this.last);
    this.beside = [...ids.slice(at + 1, at + 4), ...ids.slice(Math.max(0, at - 3), at).reverse()];
    this.column = column.id;
  }

  /** Puts the focus on a card, and shows it. */
  to(id) {
    if (id === null || id === undefined) return;
    this.last = id;
    this.wanted = true;
    this.board.showCard(id);
    // At once, so that the next key finds it; and again when it may have been put elsewhere.
    this.#land();
    afterRender(() => {
      const now = document.activeElement;
      const free = !now || now === document.body || this.root()?.contains(now);
      if (free && this.last === id && this.wanted) this.#land();
    });
  }

  #land() {
    const tile = this.tile(this.last);
    const link = tile?.querySelector("a.tile-title");
    if (!link) return;
    this.rove(this.last);
    if (document.activeElement !== link && !document.querySelector("dialog[open]")) link.focus({ preventScroll: true });
    tile.scrollIntoView({ block: "nearest", inline: "nearest" });
    this.remember();
  }

  /** After a frame: the focus that fell out of the page goes back to where it was. */
  keep() {
    const root = this.root();
    if (!root) return;
    if (this.stop === null || !this.tile(this.stop)) this.#anyStop(root);
    else this.#stopAt(this.stop, 0);
    if (!this.wanted) return;
    const now = document.activeElement;
    if (now && now !== document.body) {
      if (this.idOf(now) === this.last) this.remember();
      return;
    }
    if (document.querySelector("dialog[open]")) return;
    const next = this.tile(this.last) ? this.last : this.beside?.find((id) => this.tile(id));
    const link = next && this.tile(next)?.querySelector("a.tile-title");
    if (link) {
      this.last = next;
      this.rove(next);
      link.focus({ preventScroll: true });
    } else root.querySelector(`section[data-column="${this.column}"] button`)?.focus({ preventScroll: true });
  }

  #anyStop(root) {
    const first = root.querySelector("[data-card] a.tile-title");
    if (first) this.rove(this.idOf(first));
  }
}
