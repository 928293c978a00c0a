/* What events of my own feed do to the list of my projects. */

/** Whether events of this type are about it. */
export const isOfProject = (type) => type.startsWith("project.") || type === "chat.read";

const with_ = (list, slug, values) => list.map((one) => (one.slug === slug ? { ...one, ...values, slug } : one));

/** The list after an event or a signal; null where it must be fetched again. */
export function projectRules(list, { type, payload }) {
  const { slug, project } = payload;
  switch (type) {
    case "project.created":
    case "project.joined":
      return null;
    case "project.left":
      return list.filter((one) => one.slug !== slug);
    case "project.starred":
    case "project.unstarred":
      return with_(list, slug, { starred: type === "project.starred" });
    case "project.archived":
    case "project.unarchived":
      return with_(list, slug, { is_archived: type === "project.archived" });
    case "project.updated":
      return list.map((one) => (one.id === project.id ? { ...one, ...project } : one));
    case "project.activity":
      return with_(list, slug, payload);
    case "chat.read":
      return with_(list, slug, { unread_count: payload.unread_count, last_read_message_id: payload.message_id });
    default:
      return list;
  }
}
