/* What the events of a project mean for its board, one function each, by the same rules as the `Board`
 * of client_board.py.
 */
import { Column } from "./board_column.js";
import { me } from "./identity.js";
import { signal } from "./view.js";

const BRIEF = [
  "id", "card_number", "column_id", "title", "position", "priority", "due_date", "closed", "has_description",
  "time_spent_minutes", "comment_count", "checklist_total", "checklist_done", "attachment_count", "version",
];
const ARCHIVED = { "project.archived": true, "project.unarchived": false };

/** A whole card as a brief one: ids alone, and no key whose value is nothing. */
export function brief(card) {
  const out = {};
  for (const key of BRIEF) if (card[key] && card[key] !== "none") out[key] = card[key];
  out.position = card.position;
  out.assignee_ids = card.assignees.map((one) => one.id);
  out.label_ids = card.labels.map((one) => one.id);
  out.tags = card.tags.map((one) => one.name);
  return out;
}

/** By position, and where two are at the same, by id. */
export const ordered = (one, other) => one.position - other.position || one.id - other.id;

/** Whether two values of JSON are equal. */
export function same(one, other) {
  if (one === other) return true;
  if (typeof one !== "object" || typeof other !== "object" || !one || !other) return false;
  const keys = Object.keys(one);
  return keys.length === Object.keys(other).length && keys.every((key) => same(one[key], other[key]));
}

/** The rules that change a `BoardStore`. Each sets what it tells, whatever was there. */
export class BoardRules {
  constructor(store) {
    this.store = store;
  }

  /** What an event changes of the columns' counts, by what the board was before it. */
  counted(type, payload) {
    if (type === "board.card_created" || type === "board.card_restored") {
      return payload.archived_at === null ? [[payload.column_id, 1]] : [];
    }
    if (type === "board.card_updated" && payload.changes.includes("archived_at")) {
      return [[payload.column_id, payload.archived_at === null ? 1 : -1]];
    }
    if (type === "board.card_moved" && payload.card.archived_at === null) {
      return [[payload.from_column_id, -1], [payload.to_column_id, 1]];
    }
    if (type === "board.card_deleted") {
      const card = this.store.cards.get(payload.card_id)?.peek();
      return card ? [[card.column_id, -1]] : [];
    }
    // Counted here, too: a page that was read before an event has it carried out once more.
    if (type === "project.member_added") this.store.memberCount.value += 1;
    if (type === "project.member_removed") this.store.memberCount.value -= 1;
    return [];
  }

  /** Carries out an event; one of another kind changes nothing. */
  carryOut({ type, payload, ts }) {
    if (type in ARCHIVED) {
      const at = { archived_at: ARCHIVED[type] ? ts : null, updated_at: ts };
      this.store.project.value = { ...this.store.project.peek(), is_archived: ARCHIVED[type], ...at };
    } else this.#rules[type]?.(payload);
  }

  #rules = {
    "board.card_created": (card) => this.cardIs(card),
    "board.card_updated": (card) => this.cardIs(card),
    "board.card_restored": (card) => this.cardIs(card),
    "board.card_moved": ({ card }) => this.cardIs(card),
    "board.card_deleted": ({ card_id: id }) => this.#remove(id),
    "board.cards_reordered": ({ cards }) => this.#reordered(cards),
    "board.column_created": (column) => this.#columnTold(column),
    "board.column_updated": (column) => this.#columnTold(column),
    "board.column_deleted": ({ column_id: id }) => {
      this.store.cols.delete(id);
      this.store.order.value = this.store.order.peek().filter((one) => one !== id);
    },
    "board.columns_reordered": ({ columns }) => {
      for (const { id, position } of columns) {
        const one = this.store.cols.get(id);
        if (one) one.col.value = { ...one.col.peek(), position };
      }
      this.store.wishedOrder.value = null;
      this.#sortColumns();
    },
    "board.label_created": (label) => this.#labelIs(label),
    "board.label_updated": (label) => this.#labelIs(label),
    "board.label_deleted": ({ id }) => {
      const left = new Map(this.store.labels.peek());
      left.delete(id);
      this.store.labels.value = left;
      this.#without("label_ids", id);
    },
    "project.updated": ({ project }) => {
      const { my_role: _, ...rest } = project;
      this.store.project.value = { ...this.store.project.peek(), ...rest };
    },
    "project.member_added": (member) => this.#memberIs(member),
    "project.member_updated": (member) => {
      if (this.store.members.peek().has(member.user_id) && member.role) this.#memberIs(member);
      else this.#userIs(member.user);
    },
    "project.guest_updated": ({ user }) => this.#userIs(user),
    "project.member_removed": ({ user_id: id }) => {
      const left = new Map(this.store.members.peek());
      left.delete(id);
      this.store.members.value = left;
      this.#without("assignee_ids", id);
    },
  };

  /** Whatever shows that user shows the new name and picture. */
  #userIs(user) {
    this.store.people.learn(user);
    const project = this.store.project.peek();
    if (project.created_by?.id === user.id) this.store.project.value = { ...project, created_by: user };
  }

  #memberIs(member) {
    this.#userIs(member.user);
    this.store.members.value = new Map(this.store.members.peek()).set(member.user_id, member);
    if (member.user_id === me.peek()?.id && me.peek().global_role === "user") this.store.role.value = member.role;
  }

  set(card) {
    const one = this.store.cards.get(card.id);
    if (!one) this.store.cards.set(card.id, signal(card));
    else if (!same(one.peek(), card)) one.value = card;
  }

  /** A card as it is told, whole or brief. What is archived is on no board. */
  cardIs(told) {
    if (told.archived_at) return this.#remove(told.id);
    for (const user of told.assignees ?? []) this.store.people.learn(user);
    const card = told.label_ids ? told : brief(told);
    const old = this.store.cards.get(card.id)?.peek();
    this.set(card);
    if (old && old.column_id === card.column_id && old.position === card.position) {
      this.#changed(card.id, card.column_id);
      return undefined;
    }
    if (old) this.#out(old);
    this.#in(card);
    return undefined;
  }

  #remove(id) {
    const old = this.store.cards.get(id)?.peek();
    if (!old) return;
    this.#out(old);
    this.store.cards.delete(id);
  }

  #out(card) {
    const column = this.store.cols.get(card.column_id);
    const at = column ? column.ids.peek().indexOf(card.id) : -1;
    if (at < 0) return;
    if (at < column.grown.peek()) this.store.visible += 1;
    column.ids.value = column.ids.peek().toSpliced(at, 1);
  }

  #in(card) {
    const column = this.store.cols.get(card.column_id);
    if (!column) return;
    const ids = column.ids.peek();
    let from = 0;
    let to = ids.length;
    while (from < to) {
      const middle = (from + to) >> 1;
      if (ordered(this.store.cards.get(ids[middle]).peek(), card) < 0) from = middle + 1;
      else to = middle;
    }
    if (from < column.grown.peek()) this.store.visible += 1;
    column.ids.value = ids.toSpliced(from, 0, card.id);
  }

  #changed(id, columnId) {
    const column = this.store.cols.get(columnId);
    if (column && column.ids.peek().indexOf(id) < column.grown.peek()) this.store.visible += 1;
  }

  #reordered(places) {
    const columns = new Set();
    for (const { id, position } of places) {
      const one = this.store.cards.get(id);
      if (!one) continue;
      columns.add(one.peek().column_id);
      one.value = { ...one.peek(), position };
    }
    for (const id of columns) {
      const column = this.store.cols.get(id);
      if (!column) continue;
      const cards = column.ids.peek().map((one) => this.store.cards.get(one).peek());
      const ids = cards.sort(ordered).map((card) => card.id);
      if (!same(ids, column.ids.peek())) column.ids.value = ids;
    }
  }

  columnIs(column) {
    let one = this.store.cols.get(column.id);
    if (!one) {
      one = new Column(this.store, column);
      this.store.cols.set(column.id, one);
    } else if (!same(one.col.peek(), column)) one.col.value = column;
    return one;
  }

  #columnTold(column) {
    const fresh = !this.store.cols.has(column.id);
    const one = this.columnIs(column);
    if (fresh) {
      // Cards that were moved into it while it was unknown.
      const cards = [...this.store.cards.values()].map((each) => each.peek());
      one.ids.value = cards.filter((card) => card.column_id === column.id).sort(ordered).map((card) => card.id);
      one.counted.value = one.ids.peek().length;
    }
    this.#sortColumns();
  }

  #sortColumns() {
    const columns = [...this.store.cols.values()].map((one) => one.col.peek()).sort(ordered);
    const ids = columns.map((column) => column.id);
    if (!same(ids, this.store.order.peek())) this.store.order.value = ids;
  }

  #labelIs(label) {
    this.store.labels.value = new Map(this.store.labels.peek()).set(label.id, label);
  }

  #without(key, id) {
    for (const one of this.store.cards.values()) {
      const card = one.peek();
      if (card[key].includes(id)) one.value = { ...card, [key]: card[key].filter((each) => each !== id) };
    }
  }
}
