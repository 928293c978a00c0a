/* Messages on their way: shown at once, sent one after the other, each again under the same name until the server
 * has answered, also over a reload.
 */
import { address } from "./address.js";
import { newKey, nextId, Unreached } from "./api.js";
import { me } from "./identity.js";
import { chatAt } from "./places.js";
import { effect, signal } from "./view.js";

const NAME = "warmdesk.outbox";
const AGAIN_MS = 4000;
const boxes = new Map();
// What one person wrote is never sent as another; over the end of a session it waits for the same one.
let owner = null;

/** What one place has on its way. `items`: [{nonce, body, files, state: "sending" | "waiting" | "refused",
 * error, created_at, more, at}]; `at` is the address that shows it.
 */
class Outbox {
  items = signal([]);
  #send = null;
  #under = null;

  constructor(place) {
    this.place = place;
    this.load();
  }

  /** Begins with what the owner of the page has on its way here. */
  load() {
    for (const one of this.items.peek()) clearTimeout(one.timer);
    this.#send = null;
    this.#under = null;
    this.items.value = read(this.#name);
  }

  get #name() {
    return `${NAME}.${owner}.${this.place}`;
  }

  /** Carries messages to the server: (body, {nonce, clientId, attachment_ids, …}) → promise of the message. */
  set send(then) {
    const isFirst = !this.#send;
    this.#send = then;
    if (isFirst) queueMicrotask(() => this.wake());
  }

  /** Sends what waits. */
  wake() {
    if (this.#mayNot()) return;
    for (const one of this.items.peek()) clearTimeout(one.timer);
    this.#turn("waiting", "sending");
    this.#next();
  }

  #turn(from, to) {
    const turned = (one) => (one.state === from ? { ...one, state: to, error: null } : one);
    if (this.items.peek().some((one) => one.state === from)) this.#put(this.items.peek().map(turned));
  }

  #mayNot() {
    return !this.#send || (me.peek()?.id ?? null) !== owner;
  }

  #put(items) {
    this.items.value = items;
    write(this.#name, items.filter((one) => one.state !== "sent"));
  }

  #set(nonce, values) {
    this.#put(this.items.peek().map((one) => (one.nonce === nonce ? { ...one, ...values } : one)));
  }

  /** Takes a message on its way; `more` is whatever else `send` needs. */
  add(body, files = [], more = {}) {
    // The chat may stand beside a board; its own page has it always.
    const [kind, slug] = this.place.split(".");
    const at = kind === "chat" ? chatAt(slug) : address.peek();
    const one = { nonce: newKey(), clientId: nextId(), body, files, more, at, state: "sending", created_at: new Date().toISOString() };
    this.#put([...this.items.peek(), one]);
    return this.#next();
  }

  /** Sends one again that is waiting or was refused. */
  again(nonce) {
    const one = this.items.peek().find((each) => each.nonce === nonce);
    if (one?.state === "waiting") this.wake();
    if (one?.state !== "refused" || this.#mayNot()) return;
    this.#set(nonce, { state: "sending", error: null });
    this.#next();
  }

  /** Forgets one. */
  drop(nonce) {
    const one = this.items.peek().find((each) => each.nonce === nonce);
    clearTimeout(one?.timer);
    this.#put(this.items.peek().filter((each) => each.nonce !== nonce));
    if (this.#under === nonce) this.#under = null;
    // Those behind one that waited wait for its clock, which is gone with it.
    if (one?.state === "waiting") this.wake();
    else this.#next();
  }

  /** An event tells what this client sent: it is on its way no more, whatever becomes of the answer. */
  hasCome(clientId) {
    const one = this.items.peek().find((each) => each.clientId === clientId);
    if (one) this.drop(one.nonce);
  }

  /** Sends the oldest that is to be sent: one that waits keeps those behind it, or they would overtake it. */
  async #next() {
    const one = this.items.peek().find(({ state }) => state === "sending" || state === "waiting");
    if (one?.state === "waiting") this.#turn("sending", "waiting");
    if (this.#under || !one || one.state === "waiting" || this.#mayNot()) return;
    const { nonce, body, files, more, clientId } = one;
    this.#under = nonce;
    try {
      const sent = await this.#send(body, { nonce, clientId, attachment_ids: files.map((file) => file.id), ...more });
      this.#set(nonce, { state: "sent", id: sent?.id });
      // Whoever shows the list has it by now, or will by its event.
      setTimeout(() => this.drop(nonce), 50);
    } catch (error) {
      const isAway = error instanceof Unreached || error.status === 503 || error.status === 429;
      // It goes on when its author is back, who may be back already when the session of before is refused.
      const waits = isAway || error.status === 401;
      const wait = Math.max(AGAIN_MS, (error.wait ?? 0) * 1000);
      const timer = waits ? setTimeout(() => this.wake(), wait) : 0;
      this.#set(nonce, { state: waits ? "waiting" : "refused", error, timer });
    }
    if (this.#under !== nonce) return;
    this.#under = null;
    this.#next();
  }
}

function read(name) {
  try {
    return JSON.parse(sessionStorage.getItem(name) ?? "[]").map((one) => ({ ...one, clientId: nextId(), error: null }));
  } catch {
    return [];
  }
}

function write(name, items) {
  const kept = items.map(({ nonce, body, files, more, state, at, created_at }) => {
    return { nonce, body, files, more, at, created_at, state: state === "refused" ? state : "waiting" };
  });
  try {
    if (kept.length) sessionStorage.setItem(name, JSON.stringify(kept));
    else sessionStorage.removeItem(name);
  } catch {
    // It is in memory.
  }
}

/** An event was taken in that names this client: what it tells is shown, and is on its way no more. */
export function hasCome(clientId) {
  if (clientId) for (const box of boxes.values()) box.hasCome(clientId);
}

/** The outbox of a place, the same as long as the page lives. */
export function outboxOf(place) {
  if (!boxes.has(place)) boxes.set(place, new Outbox(place));
  return boxes.get(place);
}

/** The messages that are still to be sent where the page of now does not show them: a reload may begin
 * anywhere.
 */
export function unsentElsewhere() {
  const here = pathOf(address.peek());
  const names = Object.keys(sessionStorage).filter((name) => name.startsWith(`${NAME}.${me.peek()?.id}.`));
  return names.flatMap(read).filter(({ at }) => at && pathOf(at) !== here);
}

/** The places whose messages this address shows, of those that are still to be sent. */
export function placesHere() {
  const before = `${NAME}.${me.peek()?.id}.`;
  const here = pathOf(address.peek());
  const names = Object.keys(sessionStorage).filter((name) => name.startsWith(before));
  return names.filter((name) => read(name).some(({ at }) => at && pathOf(at) === here)).map((name) => name.slice(before.length));
}

const pathOf = (where) => where.replace(/[?#].*/, "");

let before = null;
effect(() => {
  const id = me.value?.id ?? null;
  if (id === before) return;
  before = id;
  if (id === null) return;
  if (id !== owner) {
    owner = id;
    for (const box of boxes.values()) box.load();
  } else for (const box of boxes.values()) queueMicrotask(() => box.wake());
});

addEventListener("online", () => {
  for (const box of boxes.values()) box.wake();
});

// What waits is in this tab alone.
addEventListener("beforeunload", (event) => {
  const isOn = ({ state }) => state === "sending" || state === "waiting";
  if ([...boxes.values()].some((box) => box.items.peek().some(isOn))) event.preventDefault();
});
