/* Messages on their way: shown at once, sent again under the same name until the server has answered. */
import { newKey, nextId, Unreached } from "./api.js";
import { me } from "./identity.js";
import { effect, signal } from "./view.js";

const AGAIN_MS = 4000;
const boxes = new Map();

/** What one place has on its way. `items`: [{nonce, body, files, state: "sending" | "waiting" | "refused",
 * error, created_at, more}].
 */
class Outbox {
  items = signal([]);
  send = null;

  #set(nonce, values) {
    this.items.value = this.items.peek().map((one) => (one.nonce === nonce ? { ...one, ...values } : one));
  }

  /** Takes a message on its way; `more` is whatever else `send` needs. */
  add(body, files = [], more = {}) {
    const one = { nonce: newKey(), clientId: nextId(), body, files, more, state: "sending", created_at: new Date().toISOString() };
    this.items.value = [...this.items.peek(), one];
    return this.#go(one);
  }

  /** Sends one again that is waiting or was refused. */
  again(nonce) {
    const one = this.items.peek().find((each) => each.nonce === nonce);
    if (!one || one.state === "sending") return;
    clearTimeout(one.timer);
    this.#set(nonce, { state: "sending", error: null });
    this.#go(one);
  }

  /** Forgets one. */
  drop(nonce) {
    const one = this.items.peek().find((each) => each.nonce === nonce);
    clearTimeout(one?.timer);
    this.items.value = this.items.peek().filter((each) => each.nonce !== nonce);
  }

  async #go(one) {
    const { nonce, body, files, more, clientId } = one;
    try {
      const sent = await this.send(body, { nonce, clientId, attachment_ids: files.map((file) => file.id), ...more });
      this.#set(nonce, { state: "sent", id: sent?.id });
      // Whoever shows the list has it by now, or will by its event.
      setTimeout(() => this.drop(nonce), 50);
    } catch (error) {
      const isAway = error instanceof Unreached || error.status === 503 || error.status === 429;
      const wait = Math.max(AGAIN_MS, (error.wait ?? 0) * 1000);
      const timer = isAway ? setTimeout(() => this.again(nonce), wait) : 0;
      this.#set(nonce, { state: isAway ? "waiting" : "refused", error, timer });
    }
  }
}

/** The outbox of a place, the same as long as the page lives. */
export function outboxOf(place) {
  if (!boxes.has(place)) boxes.set(place, new Outbox());
  return boxes.get(place);
}

// What one person wrote is never sent as another; over the end of a session it waits for the same one.
let owner = null;
effect(() => {
  const id = me.value?.id;
  if (!id || id === owner) return;
  if (owner) for (const box of boxes.values()) for (const one of box.items.peek()) box.drop(one.nonce);
  owner = id;
});

addEventListener("online", () => {
  for (const box of boxes.values()) for (const one of box.items.peek()) if (one.state === "waiting") box.again(one.nonce);
});
