/* The messages of a project's chat, and what I do with them. */
import { me } from "./identity.js";
import { MessageList } from "./message_store.js";
import { chatAt } from "./places.js";
import { TalkStore } from "./talk_store.js";
import { user } from "./user_store.js";

const KINDS = {
  "chat.message": "message",
  "chat.message_updated": "updated",
  "chat.message_deleted": "deleted",
  "chat.reaction_updated": "reactions",
};
const stores = new WeakMap();

class ChatStore extends TalkStore {
  constructor(store, feed) {
    const base = `/projects/${store.slug}/chat`;
    super(base, new MessageList(`${base}/messages`, KINDS));
    this.store = store;
    this.feed = feed;
    this.uploads = { project: store.slug };
    store.listen("chat.", (frame) => this.hear(frame));
    store.listen("reset", () => this.begun && this.list.reset());
    store.listen("project.member_updated", ({ payload }) => this.list.rename(payload.user));
    this.people = () => [...store.members.peek().values()].map((one) => one.user);
    this.nameOf = (id) => store.people.get(id)?.display_name;
    this.linkOf = (message) => chatAt(store.slug, message.id);
    this.canRemove = (message) => message.user_id === me.peek()?.id || store.canManage.peek();
    this.tell = () => feed.tell("chat.typing", {});
  }

  personOf(id) {
    return this.store.people.get(id);
  }

  lastRead() {
    return 0;
  }

  /** Fetches the newest messages unless they are here; with a target, what stands around it. */
  begin(target) {
    const { rows, newer } = this.list;
    if (this.begun && (target ? rows.peek().some((one) => one.id === target) : !newer.peek())) return;
    const isFirst = !this.begun;
    this.begun = true;
    queueMicrotask(() => {
      if (isFirst) {
        const project = this.store.project.peek();
        const mine = user.projects.peek().find((one) => one.slug === this.store.slug) ?? project;
        this.unreadFrom.value = mine.unread_count ? (project.last_read_message_id ?? mine.last_read_message_id ?? null) : null;
      }
      this.list.load(target ? { around: target } : {});
    });
  }

  /** Nobody looks any more: what was new is not new the next time. */
  leave() {
    this.unreadFrom.value = null;
    this.sayRead();
  }

  hear(frame) {
    if (frame.type === "chat.typing") this.typed(frame.payload.user_id);
    else this.list.apply(frame);
    if (frame.type === "chat.message" && frame.payload.user_id) this.stopped(frame.payload.user_id);
  }
}

/** The chat of a project's store, one as long as the store lives. */
export function chatOf(store, feed) {
  if (!stores.has(store)) stores.set(store, new ChatStore(store, feed));
  return stores.get(store);
}
