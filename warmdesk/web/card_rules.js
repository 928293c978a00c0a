/* What the events of a project mean for one of its cards that is open, with all that hangs on it. */

export const byPosition = (one, other) => one.position - other.position || one.id - other.id;
export const byId = (one, other) => one.id - other.id;
export const newest = (one, other) => other.id - one.id;
export const put = (list, item, order) => [...without(list, item.id), item].sort(order);
const without = (list, id) => list.filter((one) => one.id !== id);

/** The rules of a `CardStore`, by the types of events: each takes in a payload. */
export function rulesOf(card) {
  const cardIs = (told) => {
    const { changes, description_cut: isCut, ...news } = told;
    // The description of before, or the one that I wish, stays until the whole one is here.
    if (isCut) delete news.description;
    card.facts.value = { ...card.facts.peek(), ...news };
    card.state.value = "ready";
    if (isCut) card.load();
  };
  const takeOut = (name, id) => {
    card.gone.add(`${name}.${id}`);
    card[name].value = without(card[name].peek(), id);
  };
  const userIs = (user) => {
    const facts = card.facts.peek();
    const replaced = (one) => (one?.id === user.id ? user : one);
    card.facts.value = { ...facts, created_by: replaced(facts.created_by), assignees: facts.assignees.map(replaced) };
    card.comments.value = card.comments.peek().map((one) => (one.user_id === user.id ? { ...one, user } : one));
    card.watchers.value = card.watchers.peek().map(replaced);
  };
  return {
    "board.card_created": cardIs,
    "board.card_restored": cardIs,
    "board.card_updated": cardIs,
    "board.card_moved": ({ card: moved }) => cardIs(moved),
    "board.card_deleted": ({ moved_to_key: key }) => {
      card.movedTo = key ?? null;
      card.state.value = "gone";
    },
    "board.comment_created": (one) => (card.comments.value = put(card.comments.peek(), one, byId)),
    "board.comment_updated": (one) => (card.comments.value = card.comments.peek().map((each) => (each.id === one.id ? one : each))),
    "board.comment_deleted": ({ comment_id: id }) => takeOut("comments", id),
    "board.checklist_item_created": (one) => (card.checklist.value = put(card.checklist.peek(), one, byPosition)),
    "board.checklist_item_updated": (one) => (card.checklist.value = put(card.checklist.peek(), one, byPosition)),
    "board.checklist_item_deleted": ({ id }) => takeOut("checklist", id),
    "board.checklist_reordered": ({ item_ids: ids }) => {
      const places = new Map(ids.map((id, index) => [id, 1000 * (index + 1)]));
      card.checklist.value = card.checklist.peek().map((one) => ({ ...one, position: places.get(one.id) ?? one.position })).sort(byPosition);
    },
    "board.attachment_added": ({ card_id: _, ...file }) => (card.files.value = put(card.files.peek(), file, newest)),
    "board.attachment_removed": ({ id }) => takeOut("files", id),
    "board.link_created": (one) => (card.links.value = put(card.links.peek(), one, newest)),
    "board.link_updated": (one) => (card.links.value = put(card.links.peek(), one, newest)),
    "board.link_deleted": ({ id }) => takeOut("links", id),
    "board.label_updated": (label) => {
      const facts = card.facts.peek();
      card.facts.value = { ...facts, labels: facts.labels.map((one) => (one.id === label.id ? label : one)) };
    },
    "board.label_deleted": ({ id }) => (card.facts.value = { ...card.facts.peek(), labels: without(card.facts.peek().labels, id) }),
    "project.member_updated": ({ user }) => userIs(user),
    "project.guest_updated": ({ user }) => userIs(user),
    "project.member_removed": ({ user_id: id }) => {
      const facts = card.facts.peek();
      card.facts.value = { ...facts, assignees: without(facts.assignees, id) };
      card.watchers.value = without(card.watchers.peek(), id);
    },
  };
}
