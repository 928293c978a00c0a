/* One card with all that hangs on it, kept true by the events of its project while it is open. */
import { nextId, nextPath, request } from "./api.js";
import { same } from "./board_rules.js";
import { byId, byPosition, newest, put, rulesOf } from "./card_rules.js";
import { hasCome } from "./outbox.js";
import { batch, computed, signal } from "./view.js";

const PARTS = "comments,checklist,attachments,links";
const KEPT = 200; // events of comments that are applied again over pages that were read before them
const AGAIN_MS = 5000;

/** A card by its key or id. `state`: loading, ready, failed (with `error`), gone (deleted, with `movedTo` where
 * it went), missing.
 */
export class CardStore {
  state = signal("loading");
  error = null;
  movedTo = null;
  /** The card itself, without its lists. */
  facts = signal(null);
  comments = signal([]);
  olderComments = signal(false);
  checklist = signal([]);
  files = signal([]);
  links = signal([]);
  watchers = signal([]);
  watching = signal(false);
  history = signal(null); // null: nobody asked yet
  olderHistory = signal(false);
  /** Steps that I add to the checklist: [{client, body}]; each goes when it is told or answered, so nobody sees
   * it twice.
   */
  coming = signal([]);
  /** What I wish of the checklist: [{client, wanted: id of an item → what it is to be, null where it goes}]. */
  wishes = signal([]);
  items = computed(() => {
    let list = this.checklist.value;
    for (const { wanted } of this.wishes.value) {
      list = list.filter((one) => wanted.get(one.id) !== null).map((one) => ({ ...one, ...wanted.get(one.id) }));
    }
    return list.toSorted(byPosition);
  });

  constructor(board, name) {
    this.board = board;
    this.name = name;
    this.at = 0;
    this.waiting = null;
    this.gone = new Set(); // what events took out of the lists: an answer that is late does not bring it back
    this.log = [];
    this.stops = [
      board.listen("board.", (frame) => this.#hear(frame)),
      board.listen("project.", (frame) => this.#hear(frame)),
      board.listen("reset", () => {
        this.gone.clear();
        this.log = [];
        this.load();
      }),
    ];
    this.load();
  }

  end() {
    for (const stop of this.stops) stop();
    clearTimeout(this.again);
    this.over = true;
  }

  get id() {
    return this.facts.peek()?.id;
  }

  get path() {
    return `${this.board.path}/cards/${this.id ?? this.name}`;
  }

  /** The card as the board's tiles have it, with my wishes. */
  get seen() {
    const facts = this.facts.value;
    if (!facts) return null;
    const here = this.board.cards.get(facts.id)?.value;
    const now = here && here.version >= facts.version ? { column_id: here.column_id, position: here.position } : {};
    const brief = {
      ...facts,
      ...now,
      assignee_ids: facts.assignees.map((one) => one.id),
      label_ids: facts.labels.map((one) => one.id),
      tags: facts.tags.map((one) => one.name),
    };
    return this.board.intents.card(brief);
  }

  async load() {
    const waiting = (this.waiting = []);
    clearTimeout(this.again);
    const path = `${this.board.path}/cards/${encodeURIComponent(this.id ?? this.name)}?include=${PARTS}${this.history.peek() ? ",history" : ""}`;
    try {
      const { data, headers } = await request("GET", path);
      if (this.over || this.waiting !== waiting) return;
      this.at = Number(headers.get("Warmdesk-Seq")) || 0;
      this.#take(data);
      this.waiting = null;
      for (const frame of waiting) this.#hear(frame);
    } catch (error) {
      if (this.over || this.waiting !== waiting) return;
      this.waiting = null;
      this.error = error;
      const state = this.state.peek();
      if (error.status === 404) this.state.value = state === "ready" || state === "gone" ? "gone" : "missing";
      else if (state !== "ready") this.state.value = "failed";
      else this.again = setTimeout(() => this.load(), AGAIN_MS);
    }
  }

  #take(data) {
    batch(() => {
      const { comments, comments_more, checklist, attachments, attachments_more, links, links_more, history, history_more, watchers, watching, ...facts } = data;
      this.facts.value = facts;
      this.comments.value = comments;
      this.olderComments.value = comments_more;
      this.checklist.value = checklist;
      this.#endWishes((wish) => wish.answered);
      this.files.value = attachments;
      this.links.value = links;
      this.watchers.value = watchers;
      this.watching.value = watching;
      if (history) {
        this.history.value = history;
        this.olderHistory.value = history_more;
      }
      this.state.value = "ready";
    });
  }

  /** Takes in what an answer shows of the card itself, if it is younger. */
  answered(data) {
    if (!data || data.id !== this.id || data.version < this.facts.peek().version) return;
    const facts = { ...this.facts.peek() };
    for (const name in facts) if (name in data) facts[name] = data[name];
    if (!same(facts, this.facts.peek())) this.facts.value = facts;
  }

  async older({ limit = 50 } = {}) {
    const before = this.comments.peek()[0]?.id;
    const { data, headers } = await request("GET", `${this.path}/comments?limit=${limit}&before=${before}`);
    const at = Number(headers.get("Warmdesk-Seq")) || 0;
    batch(() => {
      const known = new Set(this.comments.peek().map((one) => one.id));
      this.comments.value = [...data.filter((one) => !known.has(one.id)), ...this.comments.peek()].sort(byId);
      for (const frame of this.log) if (frame.seq > at) this.#rules[frame.type](frame.payload);
      this.olderComments.value = !!nextPath(headers);
    });
  }

  /** Fetches the comments back to one that is not here yet. */
  async look(target) {
    const isBefore = () => !this.over && this.olderComments.peek() && target < (this.comments.peek()[0]?.id ?? 0);
    while (isBefore()) await this.older({ limit: 200 });
  }

  /** Fetches the newest of its history, or what is older than what is here. */
  async readHistory({ older = false } = {}) {
    const known = this.history.peek() ?? [];
    const before = older && known.length ? `&before=${known.at(-1).id}` : "";
    const { data } = await request("GET", `${this.path}/history?limit=50${before}`);
    const ids = new Set(data.map((one) => one.id));
    this.history.value = [...data, ...known.filter((one) => !ids.has(one.id))].sort(newest);
    if (older || !known.length) this.olderHistory.value = data.length === 50;
  }

  #hear(frame) {
    // Over what is fetched just now it is applied once more; what is here is true meanwhile.
    this.waiting?.push(frame);
    batch(() => {
      this.#told(frame);
      if (this.state.peek() !== "ready") return;
      this.#hasCome(frame.client_id);
      hasCome(frame.client_id);
      this.whenTold?.(frame);
      // What I wished is told now, or was answered and told before.
      const isOfThese = frame.type.startsWith("board.checklist_") && frame.payload.card_id === this.id;
      this.#endWishes((wish) => wish.client === frame.client_id || (isOfThese && wish.answered));
    });
  }

  #hasCome(client) {
    const rest = this.coming.peek().filter((one) => one.client !== client);
    if (rest.length < this.coming.peek().length) this.coming.value = rest;
  }

  #endWishes(isOver) {
    const rest = this.wishes.peek().filter((one) => !isOver(one));
    if (rest.length < this.wishes.peek().length) this.wishes.value = rest;
  }

  #told(frame) {
    if (frame.seq <= this.at) return undefined;
    const rule = this.#rules[frame.type];
    const { payload } = frame;
    const id = payload.card_id ?? (frame.type.startsWith("board.card_") ? payload.id : undefined);
    if (!rule || !this.facts.peek() || (id !== undefined && id !== this.id)) return undefined;
    rule(payload);
    if (frame.type.startsWith("board.comment_")) this.log = [...this.log.slice(-KEPT), frame];
    if (id !== undefined && this.history.peek()) {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.over || this.readHistory().catch(() => {}), 300);
    }
    return undefined;
  }

  #rules = rulesOf(this);

  /** Wishes items of the checklist to be so (a map, as in `wishes`) until that is told, or `ask(options)` is
   * refused; wishes of other items, and later ones of the same, stay.
   */
  async wish(wanted, ask) {
    const one = { client: nextId(), wanted };
    const end = () => this.#endWishes((each) => each === one);
    this.wishes.value = [...this.wishes.peek(), one];
    try {
      const answer = await ask({ clientId: one.client });
      one.answered = true;
      // An answer that changed nothing has no event.
      const isHere = (item) => {
        const now = this.checklist.peek().find((each) => each.id === item.id);
        return now && now.updated_at >= item.updated_at && now.position === item.position;
      };
      if (answer && [answer].flat().every(isHere)) end();
    } catch (error) {
      end();
      throw error;
    }
  }

  /** Adds a step to the checklist by `ask(options)`, which resolves to it. */
  async add(body, ask) {
    const one = { client: nextId(), body };
    this.coming.value = [...this.coming.peek(), one];
    try {
      const item = await ask({ clientId: one.client });
      batch(() => {
        this.keep("checklist", item);
        this.#hasCome(one.client);
      });
    } catch (error) {
      if (!this.coming.peek().includes(one)) return; // its event told that it is there
      this.#hasCome(one.client);
      throw error;
    }
  }

  /** Takes in an item, a file or a link that an answer shows, unless an event told since that it is gone; its
   * event changes nothing then.
   */
  keep(name, item) {
    const order = { checklist: byPosition, comments: byId, files: newest, links: newest }[name];
    const list = this[name].peek();
    if (this.gone.has(`${name}.${item.id}`)) return;
    if (!list.some((one) => one.id === item.id)) this[name].value = put(list, item, order);
  }
}
