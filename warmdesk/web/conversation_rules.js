/* What the events of my feed mean for the list of my conversations. */

const newest = (one, other) => (one.updated_at < other.updated_at ? 1 : one.updated_at > other.updated_at ? -1 : other.id - one.id);

const withUser = (list, id, user) => list.map((one) => (one.user_id === id ? { ...one, user } : one));

function rule(one, type, payload, mine) {
  if (type === "dm.message") {
    const counts = payload.sender_id !== mine;
    return {
      ...one,
      last_message: payload,
      updated_at: payload.created_at > one.updated_at ? payload.created_at : one.updated_at,
      unread_count: one.unread_count + (counts ? 1 : 0),
    };
  }
  if (type === "dm.message_updated") return one.last_message?.id === payload.id ? { ...one, last_message: payload } : one;
  if (type === "dm.reaction_updated") return one;
  if (type === "dm.read") {
    return payload.message_id >= (one.last_read_message_id ?? 0)
      ? { ...one, last_read_message_id: payload.message_id, unread_count: payload.message_id >= (one.last_message?.id ?? 0) ? 0 : one.unread_count }
      : one;
  }
  if (type === "dm.conversation_updated") return { ...one, ...payload };
  if (type === "dm.member_added") {
    const rest = one.members.filter((each) => each.user_id !== payload.user_id);
    const { conversation_id: _, ...member } = payload;
    return { ...one, members: [...rest, member] };
  }
  if (type === "dm.member_removed") return { ...one, members: one.members.filter((each) => each.user_id !== payload.user_id) };
  return one;
}

/** The list after an event: {list, ask}; `ask` is the id of a conversation that is to be fetched, because
 * the event does not tell what it is now. What a conversation shows already (`at`) is not counted again.
 */
export function conversationRules(list, frame, mine) {
  const { type, payload, seq } = frame;
  if (type === "dm.member_updated") {
    // Somebody has another name or picture, in every conversation.
    return { list: list.map((one) => ({ ...one, members: withUser(one.members, payload.user_id, payload.user) })), ask: null };
  }
  const id = type.startsWith("dm.conversation_") ? (payload.id ?? payload.conversation_id) : payload.conversation_id;
  if (type === "dm.conversation_deleted") return { list: list.filter((one) => one.id !== id), ask: null };
  const one = list.find((each) => each.id === id);
  if (!one) return { list, ask: type === "dm.member_removed" || type === "dm.read" ? null : id };
  if (seq <= one.at) return { list, ask: null };
  const isUnsure =
    (type === "dm.message_deleted" && (one.last_message?.id === payload.id || payload.id > (one.last_read_message_id ?? 0))) ||
    (type === "dm.read" && payload.message_id < (one.last_message?.id ?? 0));
  const next = { ...rule(one, type, payload, mine), at: seq };
  const all = list.map((each) => (each === one ? next : each));
  return { list: type === "dm.message" ? all.sort(newest) : all, ask: isUnsure ? id : null };
}

/** The list after these events, and the ids of conversations that are to be fetched: {list, asks}. */
export function afterAll(list, frames, mine) {
  const asks = new Set();
  for (const frame of frames) {
    const next = conversationRules(list, frame, mine);
    list = next.list;
    if (next.ask) asks.add(next.ask);
  }
  return { list, asks };
}
