/* A project's board as the server said it, true for the feed's seq: a signal for each card, one for
 * each column's order. What an event means stands in one function each; the same rules are those of
 * the `Board` in client_board.py.
 */
import { BoardPages } from "./board_pages.js";
import { BoardRules, same } from "./board_rules.js";
import { Marks } from "./board_marks.js";
import { Intents } from "./intents.js";
import { People } from "./board_people.js";
import { batch, computed, signal } from "./view.js";

const OWN = ["starred", "unread_count", "mention_count", "last_read_message_id", "muted", "last_activity_at"];

/** The store of a project. */
export class BoardStore {
  project = signal(null);
  role = signal("viewer");
  order = signal([]);
  /** The order of the columns that I wish for, until an event tells one. */
  wishedOrder = signal(null);
  /** The columns as they show. */
  shownOrder = computed(() => {
    const wished = this.wishedOrder.value;
    const order = this.order.value;
    return wished ? [...wished.filter((id) => order.includes(id)), ...order.filter((id) => !wished.includes(id))] : order;
  });
  labels = signal(new Map());
  members = signal(new Map());
  membersMore = signal(false);
  here = signal([]);
  hereCount = signal(0);
  /** What must be true of a card to be shown; null: all are. */
  filter = signal(null);
  seq = 0;
  epoch = "";
  /** How many events changed what stands in the page. */
  visible = 0;

  constructor(slug) {
    this.slug = slug;
    this.cards = new Map();
    this.cols = new Map();
    this.people = new People();
    this.intents = new Intents();
    this.marks = new Marks();
    this.listeners = new Set();
    this.memberCount = signal(0);
    this.rules = new BoardRules(this);
    this.pages = new BoardPages(this);
    this.canWrite = computed(() => !this.project.value?.is_archived && this.role.value !== "viewer");
    this.canManage = computed(() => this.canWrite.value && this.role.value !== "member");
  }

  get path() {
    return `/projects/${this.slug}`;
  }

  key(card) {
    return `${this.project.value.key_prefix}-${card.card_number}`;
  }

  /** A card by its id or key; undefined where it is not on the board, or not here yet. */
  find(name) {
    if (typeof name === "number") return this.cards.get(name)?.value;
    const number = /^[A-Za-z0-9]+-(\d+)$/.exec(name)?.[1];
    if (!number) return this.cards.get(Number(name))?.value;
    for (const one of this.cards.values()) if (one.peek().card_number === Number(number)) return one.value;
    return undefined;
  }

  /** A card with my wishes; undefined where it is none any more. */
  seen(id) {
    const card = id < 0 ? this.intents.of(id).value[0]?.card : this.cards.get(id)?.value;
    return card && this.intents.card(card);
  }

  /** All cards that are here, in board order, with my wishes. */
  everything() {
    return this.shownOrder.value.flatMap((id) => this.cols.get(id)?.view.value ?? []).map((id) => this.seen(id));
  }

  /** Calls `then(frame)` with each event and signal whose type begins so, once it is applied, and with
   * `{type: "reset"}` for the prefix `reset` when all was fetched again; gives what ends it.
   */
  listen(prefix, then) {
    const one = { prefix, then };
    this.listeners.add(one);
    return () => this.listeners.delete(one);
  }

  #tell(frame) {
    for (const one of this.listeners) if (frame.type.startsWith(one.prefix)) one.then(frame);
  }

  /** Takes in the answer of `GET /projects/{slug}?cards=brief`, the first time or anew. */
  load(fetched) {
    const again = this.epoch !== "";
    batch(() => {
      const { columns, labels, members, members_more: more, messages, messages_more, seq, epoch, ...project } = fetched;
      this.seq = seq;
      this.epoch = epoch;
      this.pages.begin();
      this.project.value = project;
      this.wishedOrder.value = null;
      this.role.value = project.my_role ?? this.role.peek();
      this.memberCount.value = project.member_count;
      this.labels.value = new Map(labels.map((one) => [one.id, one]));
      this.members.value = new Map(members.map((one) => [one.user_id, one]));
      this.membersMore.value = more;
      for (const one of members) this.people.learn(one.user);
      if (project.created_by) this.people.learn(project.created_by);
      const cards = new Set();
      for (const { cards: own, cards_more: _, cards_next: next, ...column } of columns) {
        const one = this.rules.columnIs(column);
        for (const card of own) {
          cards.add(card.id);
          this.rules.set(card);
        }
        one.ids.value = own.map((card) => card.id);
        one.next.value = next;
        one.counted.value = column.card_count;
      }
      for (const id of this.cards.keys()) if (!cards.has(id)) this.cards.delete(id);
      const ids = columns.map((one) => one.id);
      for (const id of this.cols.keys()) if (!ids.includes(id)) this.cols.delete(id);
      if (!same(this.order.peek(), ids)) this.order.value = ids;
      this.intents.fetched((id) => this.cards.get(id)?.peek().version);
    });
    if (again) this.#tell({ type: "reset" });
  }

  // What happens.

  /** Takes in the next event. Throws where it cannot be understood. */
  apply(frame) {
    const { type, payload, client_id: clientId } = frame;
    if (frame.actor) this.people.learn(frame.actor);
    batch(() => {
      const counted = this.rules.counted(type, payload);
      this.rules.carryOut(frame);
      this.seq = frame.seq;
      this.pages.applied(frame, counted);
      const id = type.startsWith("board.card_") ? (payload.card_id ?? payload.id) : undefined;
      const version = id === undefined ? undefined : (this.cards.get(id)?.peek().version ?? null);
      if (clientId || id !== undefined) this.intents.heard(clientId, id, version);
      this.pages.catchUp();
      this.#tell(frame);
    });
  }

  /** Takes in what has no number. */
  signal(frame) {
    const { type, payload } = frame;
    if (type === "presence.list") {
      for (const user of payload.users) this.people.learn(user);
      this.here.value = payload.users;
      this.hereCount.value = payload.count;
    } else if (type === "presence.changed") {
      for (const user of payload.joined) this.people.learn(user);
      const gone = new Set([...payload.left, ...payload.joined.map((user) => user.id)]);
      this.here.value = [...payload.joined, ...this.here.peek().filter((user) => !gone.has(user.id))].slice(0, 200);
      this.hereCount.value = payload.count;
    } else if (type === "board.counts") this.pages.count(payload);
    this.#tell(frame);
  }

  /** The board as `GET /projects/{slug}?cards=brief` shows it, but for what is the reader's own. */
  shown() {
    const { my_role: _, open_card_count: __, ...project } = this.project.peek();
    for (const key of OWN) delete project[key];
    const columns = this.order.peek().map((id) => {
      const { col, ids, next, counted } = this.cols.get(id);
      const cards = ids.peek().map((each) => this.cards.get(each).peek());
      const goes_on = { cards_more: next.peek() !== null, cards_next: next.peek() };
      return { ...col.peek(), ...goes_on, card_count: next.peek() ? counted.peek() : cards.length, cards };
    });
    const byId = (map, key = "id") => [...map.values()].sort((one, other) => one[key] - other[key]);
    return {
      ...project,
      columns,
      labels: byId(this.labels.peek()),
      members: byId(this.members.peek()),
      members_more: this.membersMore.peek(),
      member_count: this.memberCount.peek(),
      seq: this.seq,
      epoch: this.epoch,
    };
  }
}
