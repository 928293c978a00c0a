/* The messages of a conversation, and what I do with them. */
import { call } from "./api.js";
import { me } from "./identity.js";
import { MessageList } from "./message_store.js";
import { user } from "./user_store.js";
import { signal } from "./view.js";

const KINDS = {
  "dm.message": "message",
  "dm.message_updated": "updated",
  "dm.message_deleted": "deleted",
  "dm.reaction_updated": "reactions",
};
const TYPING_MS = 5000;
const READ_MS = 400;

/** The others of a conversation. */
export const othersOf = (one) => one.members.filter((each) => each.user_id !== me.value?.id).map((each) => each.user);

/** The messages of one conversation, as long as it is open. */
export class ConversationStore {
  typing = signal([]);
  unreadFrom = signal(null);

  constructor(id) {
    this.id = id;
    this.base = `/conversations/${id}`;
    this.uploads = { conversation_id: String(id) };
    this.writers = new Map();
    this.list = new MessageList(`${this.base}/messages`, KINDS, { mine: (payload) => payload.conversation_id === id });
    this.more = () => this.list.loadOlder();
    this.moreAfter = () => this.list.loadNewer();
    this.newest = () => this.list.load();
    this.people = () => othersOf(this.find() ?? { members: [] });
    this.nameOf = (who) => this.find()?.members.find((each) => each.user_id === who)?.user.display_name;
    this.linkOf = (message) => `/messages/${id}?m=${message.id}`;
    this.canRemove = (message) => message.sender_id === me.peek()?.id;
    this.tell = () => user.feed?.tell("dm.typing", { conversation_id: id });
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
    this.seen = (message) => this.#seen(message);
  }

  find() {
    return user.conversations.peek()?.find((one) => one.id === this.id);
  }

  /** Listens, and fetches the messages: the newest, or those around one. */
  begin(target) {
    this.stops = [
      user.listen("dm.", (frame) => this.hear(frame)),
      user.listen("reset", () => this.list.reset().catch(() => {})),
    ];
    const one = this.find();
    if (one?.unread_count) this.unreadFrom.value = one.last_read_message_id ?? 0;
    this.list.load(target ? { around: target } : {});
  }

  end() {
    for (const stop of this.stops ?? []) stop();
    clearTimeout(this.reading);
    for (const timer of this.writers.values()) clearTimeout(timer);
  }

  hear(frame) {
    const { type, payload } = frame;
    if (type === "dm.typing") {
      if (payload.conversation_id === this.id && payload.user_id !== me.peek()?.id) this.#typed(payload.user_id);
    } else if (type === "dm.member_updated") this.list.rename(payload.user);
    else this.list.apply(frame);
    if (type === "dm.message" && payload.conversation_id === this.id) this.#stopped(payload.sender_id);
  }

  #typed(id) {
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
    const members = this.find()?.members ?? [];
    this.typing.value = [...this.writers.keys()].map((id) => members.find((one) => one.user_id === id)?.user).filter(Boolean);
  }

  #seen(id) {
    const one = this.find();
    if (id <= (this.read ?? one?.last_read_message_id ?? 0)) return;
    this.read = id;
    clearTimeout(this.reading);
    this.reading = setTimeout(() => {
      call("POST", `${this.base}/read`, { message_id: id }).catch(() => (this.read = null));
    }, READ_MS);
  }
}
