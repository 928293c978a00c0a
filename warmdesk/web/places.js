/* Where in the page each thing stands: addresses, and the message that an address asks for. */

/** What an address calls the message, the reply or the comment that is to be shown. */
const MARK = "m";

const shown = (path, id) => (id ? `${path}?${MARK}=${id}` : path);

/** A message of a project's chat; without one the chat. */
export const chatAt = (slug, message) => shown(`/p/${slug}/chat`, message);

/** A message of a conversation; without one the conversation. */
export const conversationAt = (id, message) => shown(`/messages/${id}`, message);

/** A reply in a topic; without one the topic. */
export const topicAt = (slug, topic, reply) => shown(`/p/${slug}/topics/${topic}`, reply);

/** A comment on a card; without one the card. */
export const cardAt = (slug, key, comment) => shown(`/p/${slug}/c/${key}`, comment);

/** The message, reply or comment that an address asks for; null if it asks for none. */
export function shownBy(address) {
  const id = Number(new URLSearchParams(address.split("?")[1] ?? "").get(MARK));
  return Number.isSafeInteger(id) && id > 0 ? id : null;
}

/** Where a result of the search stands. */
export function placeOfFound({ type, project_slug: slug, card_key: key, item }) {
  if (type === "card") return cardAt(slug, key);
  if (type === "card_comment") return cardAt(slug, key, item.id);
  if (type === "chat_message") return chatAt(slug, item.id);
  if (type === "dm_message") return conversationAt(item.conversation_id, item.id);
  return type === "topic" ? topicAt(slug, item.id) : topicAt(slug, item.topic_id, item.id);
}

/** Where what a notification tells of stands; its own page, where it names nothing in it. */
export function placeOfNotification(one) {
  const { project, card, conversation_id: conversation, message_id: message, topic_id: topic } = one;
  if (conversation) return conversationAt(conversation, message);
  if (project && card) return cardAt(project.slug, card.key, one.comment_id);
  if (project && topic) return topicAt(project.slug, topic, one.reply_id);
  if (project && message) return chatAt(project.slug, message);
  try {
    const url = new URL(one.url, location.href);
    return url.pathname + url.search;
  } catch {
    return "/notifications";
  }
}
