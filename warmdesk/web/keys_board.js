/* The keys of the board. */
import { archiveCard, changeCard, changePeople } from "./actions.js";
import { say } from "./announce.js";
import { call } from "./api.js";
import { me } from "./identity.js";
import { notice, sayError } from "./ui.js";
import { t } from "./words.js";

/** What each key does on a board, as `keys` wants it. */
export function keysOf(board) {
  const { store, focus } = board;
  const onCard = (then) => (event) => {
    const id = board.here;
    if (id === null || id < 0) return false;
    return then(id, event);
  };
  const writes = (then) => onCard((id, event) => (board.may() ? then(id, event) : undefined));

  function step(id, by) {
    const ids = board.columnOf(id)?.passed.peek() ?? [];
    const next = ids[ids.indexOf(id) + by];
    if (next !== undefined) focus.to(next);
  }

  function aside(id, by) {
    const order = store.shownOrder.peek();
    const column = board.columnOf(id);
    const at = column.passed.peek().indexOf(id);
    for (let next = order.indexOf(column.id) + by; order[next] !== undefined; next += by) {
      const ids = store.cols.get(order[next]).passed.peek();
      if (ids.length) return focus.to(ids[Math.min(at, ids.length - 1)]);
    }
    return undefined;
  }

  const end = (id, last) => {
    const ids = board.columnOf(id)?.passed.peek() ?? [];
    focus.to(last ? ids.at(-1) : ids[0]);
  };

  /** An arrow: carries the card that is lifted, else goes to another one; without one, to the first. */
  const arrow = (byColumn, byPlace) => () => {
    if (board.lifted) return board.carry(byColumn, byPlace);
    const id = board.here;
    if (id === null) {
      if (document.activeElement !== document.body && document.activeElement?.id !== "main") return false;
      return focus.to(focus.stop);
    }
    return byColumn ? aside(id, byColumn) : step(id, byPlace);
  };

  const moveBy = (byColumn, byPlace) => writes((id) => {
    const order = store.shownOrder.peek();
    const column = board.columnOf(id);
    const columnId = order[order.indexOf(column.id) + byColumn];
    const at = column.passed.peek().indexOf(id) + byPlace;
    if (columnId === undefined || at < 0 || (!byColumn && at >= column.passed.peek().length)) return;
    board.move(id, columnId, at);
    focus.to(id);
  });

  const card = (id) => store.seen(id);
  const pick = (what) => writes((id) => {
    board.picking.value = { id, what };
  });

  return {
    ArrowUp: ["keys.between", arrow(0, -1)],
    ArrowDown: ["keys.between", arrow(0, 1)],
    ArrowLeft: ["keys.between", arrow(-1, 0)],
    ArrowRight: ["keys.between", arrow(1, 0)],
    Home: ["keys.ends", onCard((id) => end(id, false))],
    End: ["keys.ends", onCard((id) => end(id, true))],
    " ": ["keys.lift", onCard((id, event) => {
      if (event.target.closest("button")) return false;
      return board.lifted ? board.drop() : board.lift(id);
    })],
    Escape: ["keys.cancel", () => {
      if (board.lifted) return board.cancel();
      if (store.marks.chosen.peek().size) return store.marks.choose([]);
      return false;
    }],
    "Shift+ArrowUp": ["keys.move", moveBy(0, -1)],
    "Shift+ArrowDown": ["keys.move", moveBy(0, 1)],
    "Shift+ArrowLeft": ["keys.move", moveBy(-1, 0)],
    "Shift+ArrowRight": ["keys.move", moveBy(1, 0)],
    m: ["keys.move_to", writes((id) => {
      board.moving.value = id;
    })],
    n: ["keys.new", () => {
      const id = board.here;
      const column = id === null ? store.shownOrder.peek()[0] : board.columnOf(id)?.id;
      if (column !== undefined) board.write(column);
    }, "field"],
    Enter: ["keys.open", (event) => {
      if (event.target.closest("button")) return false;
      if (board.lifted) return board.drop();
      const id = board.here;
      if (id === null) return false;
      return board.open(id);
    }],
    e: ["keys.title", writes((id) => {
      board.editTitle = true;
      board.open(id);
    }), "field"],
    a: ["keys.assign", pick("people"), "field"],
    l: ["keys.labels", pick("labels"), "field"],
    d: ["keys.due", pick("due")],
    i: ["keys.assign_me", writes((id) => {
      const mine = me.peek().id;
      const ids = card(id).assignee_ids;
      changePeople(store, id, ids.includes(mine) ? ids.filter((one) => one !== mine) : [...ids, mine]);
    })],
    c: ["keys.close", writes((id) => {
      const closed = !card(id).closed;
      changeCard(store, id, { closed });
      say(t(closed ? "board.closed" : "board.opened", { key: board.nameOf(id) }));
    })],
    "#": ["keys.archive", writes((id) => archiveCard(store, id))],
    x: ["keys.choose", onCard((id) => {
      store.marks.toggle(id);
      const n = store.marks.chosen.peek().size;
      say(t("board.n_chosen", { n }));
    })],
    w: ["keys.watch", onCard(async (id) => {
      try {
        await call("POST", `${store.path}/cards/${id}/watch`, {});
        notice(t("board.watching", { key: board.nameOf(id) }));
      } catch (error) {
        notice(sayError(error), { bad: true });
      }
    })],
    "/": ["keys.filter", () => document.querySelector(".board-filter")?.focus()],
  };
}
