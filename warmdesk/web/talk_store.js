/* What people say in one place, a chat or a conversation: who writes just now, what I send, change
 * and take back, and how far I have read.
 */
import { call } from "./api.js";
import { me } from "./identity.js";
import { signal } from "./view.js";

const TYPING_MS = 5000;
const READ_MS = 400;

/** The messages below an address of the API. Who extends it says `personOf(id)`, a UserRef or
 * nothing, and `lastRead()`, the message up to which I had read before.
 */
export class TalkStore {
  typing = signal([]);
  unreadFrom = signal(null);

  constructor(base, list) {
    this.base = base;
    this.list = list;
    this.writers = new Map();
    this.more = () => list.loadOlder();
    this.moreAfter = () => list.loadNewer();
    this.newest = () => list.load();
    this.send = async (body, { nonce, clientId, attachment_ids }) => {
      const sent = await call("POST", `${base}/messages`, { body, nonce, attachment_ids }, { key: nonce, clientId });
      list.keep(sent);
      return sent;
    };
    this.edit = async (message, body, version) =>
      list.keep(await call("PUT", `${base}/messages/${message.id}`, { body, version }));
    this.remove = async (message) => {
      await call("DELETE", `${base}/messages/${message.id}`);
      list.drop(message.id);
    };
    this.react = async (message, emoji, on) => {
      const path = `${base}/messages/${message.id}/reactions`;
      if (on) await call("POST", path, { emoji });
      else await call("DELETE", `${path}/${encodeURIComponent(emoji)}`);
      list.mark(message.id, emoji, me.peek()?.id, on);
    };
    this.seen = (id) => this.#seen(id);
  }

  /** Somebody writes just now. */
  typed(id) {
    if (id === me.peek()?.id) return;
    clearTimeout(this.writers.get(id));
    this.writers.set(id, setTimeout(() => this.stopped(id), TYPING_MS));
    this.#sayWriters();
  }

  /** Somebody has sent it, or stopped. */
  stopped(id) {
    if (!this.writers.has(id)) return;
    clearTimeout(this.writers.get(id));
    this.writers.delete(id);
    this.#sayWriters();
  }

  #sayWriters() {
    this.typing.value = [...this.writers.keys()].map((id) => this.personOf(id)).filter((one) => one?.display_name);
  }

  /** Somebody reads what is far back, or does not any more. */
  back = (isBack) => {
    this.list.isBack = isBack;
  };

  #seen(id) {
    if (id <= (this.read ?? this.lastRead() ?? 0)) return;
    this.read = id;
    clearTimeout(this.reading);
    this.reading = setTimeout(() => this.sayRead(), READ_MS);
  }

  /** Says now how far I have read, if that is still to be said. */
  sayRead() {
    if (!this.reading) return;
    clearTimeout(this.reading);
    this.reading = 0;
    const id = this.read;
    call("POST", `${this.base}/read`, { message_id: id }).catch(() => {
      if (this.read === id) this.read = null;
    });
  }

  /** Nothing more is waited for. */
  hush() {
    this.sayRead();
    this.list.stop();
    for (const timer of this.writers.values()) clearTimeout(timer);
  }
}
