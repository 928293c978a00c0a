/* The messages of a project's chat, and what I do with them. */
import { call } from "./api.js";
import { me } from "./identity.js";
import { MessageList } from "./message_store.js";
import { user } from "./user_store.js";
import { signal } from "./view.js";

const KINDS = {
  "chat.message": "message",
  "chat.message_updated": "updated",
  "chat.message_deleted": "deleted",
  "chat.reaction_updated": "reactions",
};
const TYPING_MS = 5000;
const READ_MS = 400;
const stores = new WeakMap();

class ChatStore {
  typing = signal([]);
  unreadFrom = signal(null);

  constructor(store, feed) {
    this.store = store;
    this.feed = feed;
    this.base = `/projects/${store.slug}/chat`;
    this.uploads = { project: store.slug };
    this.shown = 0;
    this.list = new MessageList(`${this.base}/messages`, KINDS, { reading: () => this.shown > 0 && this.isBack });
    this.writers = new Map();
    store.listen("chat.", (frame) => this.hear(frame));
    store.listen("reset", () => this.begun && this.list.reset().catch(() => {}));
    store.listen("project.member_updated", ({ payload }) => this.list.rename(payload.user));
    this.more = () => this.list.loadOlder();
    this.moreAfter = () => this.list.loadNewer();
    this.newest = () => this.list.load();
    this.people = () => [...store.members.peek().values()].map((one) => one.user);
    this.nameOf = (id) => store.people.get(id)?.display_name;
    this.linkOf = (message) => `/p/${store.slug}/chat?m=${message.id}`;
    this.canRemove = (message) => message.user_id === me.peek()?.id || store.canManage.peek();
    this.tell = () => feed.tell("chat.typing", {});
    this.send = async (body, { nonce, clientId, attachment_ids }) => {
      const sent = await call("POST", `${this.base}/messages`, { body, nonce, attachment_ids }, { key: nonce, clientId });
      this.list.keep(sent);
      return sent;
    };
    this.edit = async (message, body, version) =>
      this.list.keep(await call("PUT", `${this.base}/messages/${message.id}`, { body, version }));
    this.remove = async (message) => {
      await call("DELETE", `${this.base}/messages/${message.id}`);
      this.list.drop(message.id);
    };
    this.react = async (message, emoji, on) => {
      const path = `${this.base}/messages/${message.id}/reactions`;
      if (on) await call("POST", path, { emoji });
      else await call("DELETE", `${path}/${encodeURIComponent(emoji)}`);
      this.list.mark(message.id, emoji, me.peek()?.id, on);
    };
    this.seen = (id) => this.#seen(id);
  }

  /** The first time: fetches what there is; with a target what stands around it. */
  begin(target) {
    if (this.begun && (!target || this.target === target || this.list.rows.peek().some((one) => one.id === target))) return;
    const isFirst = !this.begun;
    this.begun = true;
    this.target = target;
    queueMicrotask(() => {
      if (isFirst) {
        const mine = user.projects.peek().find((one) => one.slug === this.store.slug);
        this.unreadFrom.value = mine?.unread_count ? (this.store.project.peek().last_read_message_id ?? mine.last_read_message_id ?? null) : null;
      }
      this.list.load(target ? { around: target } : {});
    });
  }

  /** Nobody looks any more: what was new is not new the next time. */
  leave() {
    this.unreadFrom.value = null;
    clearTimeout(this.reading);
  }

  hear(frame) {
    if (frame.type === "chat.typing") this.#typed(frame.payload.user_id);
    else this.list.apply(frame);
    if (frame.type === "chat.message" && frame.payload.user_id) this.#stopped(frame.payload.user_id);
  }

  #typed(id) {
    if (id === me.peek()?.id) return;
    clearTimeout(this.writers.get(id));
    this.writers.set(id, setTimeout(() => this.#stopped(id), TYPING_MS));
    this.#sayWriters();
  }

  #stopped(id) {
    if (!this.writers.has(id)) return;
    clearTimeout(this.writers.get(id));
    this.writers.delete(id);
    this.#sayWriters();
  }

  #sayWriters() {
    this.typing.value = [...this.writers.keys()].map((id) => this.store.people.get(id)).filter((one) => one?.display_name);
  }

  #seen(id) {
    if (id <= (this.read ?? 0)) return;
    this.read = id;
    clearTimeout(this.reading);
    this.reading = setTimeout(() => {
      call("POST", `${this.base}/read`, { message_id: id }).catch(() => (this.read = 0));
    }, READ_MS);
  }
}

/** The chat of a project's store, one as long as the store lives. */
export function chatOf(store, feed) {
  if (!stores.has(store)) stores.set(store, new ChatStore(store, feed));
  return stores.get(store);
}
