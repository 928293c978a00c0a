/* The messages of a conversation, and what I do with them. */
import { me } from "./identity.js";
import { MessageList } from "./message_store.js";
import { conversationAt } from "./places.js";
import { TalkStore } from "./talk_store.js";
import { user } from "./user_store.js";

const KINDS = {
  "dm.message": "message",
  "dm.message_updated": "updated",
  "dm.message_deleted": "deleted",
  "dm.reaction_updated": "reactions",
};
/** The others of a conversation. */
export const othersOf = (one) => one.members.filter((each) => each.user_id !== me.value?.id).map((each) => each.user);

/** The messages of one conversation, as long as it is open. */
export class ConversationStore extends TalkStore {
  constructor(id) {
    const base = `/conversations/${id}`;
    super(base, new MessageList(`${base}/messages`, KINDS, { mine: (payload) => payload.conversation_id === id }));
    this.id = id;
    this.uploads = { conversation_id: String(id) };
    this.people = () => othersOf(this.find() ?? { members: [] });
    this.nameOf = (who) => this.personOf(who)?.display_name;
    this.linkOf = (message) => conversationAt(id, message.id);
    this.canRemove = (message) => message.sender_id === me.peek()?.id;
    this.tell = () => user.feed?.tell("dm.typing", { conversation_id: id });
  }

  personOf(id) {
    return this.find()?.members.find((each) => each.user_id === id)?.user;
  }

  lastRead() {
    return this.find()?.last_read_message_id;
  }

  find() {
    return user.conversations.peek()?.find((one) => one.id === this.id);
  }

  /** Listens, and fetches the messages: the newest, or those around one. */
  begin(target) {
    this.stops = [
      user.listen("dm.", (frame) => this.hear(frame)),
      user.listen("reset", () => this.list.reset()),
    ];
    const one = this.find();
    if (one?.unread_count) this.unreadFrom.value = one.last_read_message_id ?? 0;
    this.list.load(target ? { around: target } : {});
  }

  /** Fetches what stands around a message that is not here. */
  look(target) {
    if (!target || this.list.rows.peek().some((one) => one.id === target)) return;
    queueMicrotask(() => this.list.load({ around: target }));
  }

  end() {
    for (const stop of this.stops ?? []) stop();
    this.hush();
  }

  hear(frame) {
    const { type, payload } = frame;
    if (type === "dm.typing") {
      if (payload.conversation_id === this.id) this.typed(payload.user_id);
    } else if (type === "dm.member_updated") this.list.rename(payload.user);
    else this.list.apply(frame);
    if (type === "dm.message" && payload.conversation_id === this.id) this.stopped(payload.sender_id);
  }
}
