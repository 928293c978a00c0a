/* What events of my own feed do to the list of my projects. */

/** Whether events of this type are about it. */
export const isOfProject = (type) => type.startsWith("project.") || type === "chat.read";

/** The list with other values of the project at `slug`. */
const changed = (list, slug, values) => list.map((one) => (one.slug === slug ? { ...one, ...values, slug } : one));

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
      return changed(list, slug, { starred: type === "project.starred" });
    case "project.archived":
    case "project.unarchived":
      return changed(list, slug, { is_archived: type === "project.archived" });
    case "project.updated":
      return list.map((one) => (one.id === project.id ? { ...one, ...project } : one));
    case "project.activity":
      return changed(list, slug, payload);
    case "chat.read":
      return changed(list, slug, { unread_count: payload.unread_count, last_read_message_id: payload.message_id });
    default:
      return list;
  }
}
