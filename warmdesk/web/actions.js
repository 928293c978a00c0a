/* What I do to cards: it shows at once as a wish, is sent, and is taken back with a word when the server
 * refuses it.
 */
import { call, newKey } from "./api.js";
import { era } from "./identity.js";
import { notice, sayError } from "./ui.js";
import { t } from "./words.js";

let made = 0;

/** Carries a wish out. Resolves to the answer, or {done} where an event told first; undefined when it was
 * refused, which has been said then as `failed(error)` in words.
 */
export async function carryOut(store, wish, ask, failed) {
  store.intents.add(wish);
  const key = newKey();
  const mine = era();
  try {
    return await store.intents.carryOut(wish, () => ask({ clientId: wish.client_id, key }), {
      mine: (id) => store.cards.get(id)?.peek().version,
      reached: (seconds) => store.reached(seconds),
      unsure: () => notice(t("board.not_sent")),
    });
  } catch (error) {
    if (era() !== mine) return undefined; // whoever it was is gone
    if (failed) failed(error);
    else notice(t("board.refused", { key: nameOf(store, wish.card_id), why: sayError(error) }), { bad: true });
    return undefined;
  }
}

const nameOf = (store, id) => {
  const card = store.cards.get(id)?.peek();
  return card ? store.key(card) : t("board.card");
};

/** Moves a card: `to` is {column_id} and one of before_card_id, after_card_id, index, or none for the end. */
export async function moveCard(store, id, to) {
  const path = `${store.path}/cards/${id}/move`;
  const { index, ...beside } = to;
  const named = beside.before_card_id !== undefined || beside.after_card_id !== undefined;
  const ask = async (options) => {
    try {
      return await call("PATCH", path, named ? beside : to, options);
    } catch (error) {
      // The neighbour went elsewhere meanwhile: the place that it had.
      if (error.status !== 422 || !named || index === undefined) throw error;
      return call("PATCH", path, { column_id: to.column_id, index }, { ...options, key: newKey() });
    }
  };
  return carryOut(store, { kind: "move", card_id: id, ...to }, ask);
}

/** Changes a card: `body` is sent, `fields` is how its tile shows it. */
export function changeCard(store, id, body, fields = body, failed) {
  const path = `${store.path}/cards/${id}`;
  return carryOut(store, { kind: "change", card_id: id, fields }, (options) => call("PUT", path, body, options), failed);
}

/** Assigns and unassigns, where `now` are assigned: only what changed is sent, so what others do meanwhile stays. */
export function changePeople(store, id, ids, now = store.seen(id)?.assignee_ids ?? []) {
  return changeList(store, id, "assignee_ids", now, ids);
}

/** Puts labels on a card that has those of `now`, and takes them off. */
export function changeLabels(store, id, ids, now = store.seen(id)?.label_ids ?? []) {
  return changeList(store, id, "label_ids", now, ids);
}

function changeList(store, id, name, now, next) {
  const body = {};
  const added = next.filter((one) => !now.includes(one));
  const removed = now.filter((one) => !next.includes(one));
  if (added.length) body[`add_${name}`] = added;
  if (removed.length) body[`remove_${name}`] = removed;
  if (!added.length && !removed.length) return Promise.resolve(undefined);
  return changeCard(store, id, body, { [name]: next });
}

/** Makes a card at the end of a column, or before one. */
export function createCard(store, columnId, fields, before) {
  const id = -(made += 1);
  const card = { id, card_number: 0, column_id: columnId, position: 0, assignee_ids: [], label_ids: [], tags: [], version: 0, ...fields };
  const place = before === undefined ? {} : { before_card_id: before };
  const wish = { kind: "create", card_id: id, column_id: columnId, card, ...place };
  const path = `${store.path}/columns/${columnId}/cards`;
  return carryOut(store, wish, (options) => call("POST", path, { ...fields, ...place }, options), (error) => {
    notice(t("board.not_made", { title: fields.title, why: sayError(error) }), { bad: true });
  });
}

/** Takes a card off the board. Where I may, it can be taken back. Resolves to whether it was taken. */
export async function deleteCard(store, id) {
  const name = nameOf(store, id);
  const path = `${store.path}/cards/${id}`;
  const answer = await carryOut(store, { kind: "remove", card_id: id }, async (options) => {
    try {
      await call("DELETE", path, undefined, options);
    } catch (error) {
      if (error.status !== 404) throw error; // somebody else was first
    }
    return { version: undefined };
  });
  if (answer === undefined) return false;
  const undo = () => restore(store, () => call("POST", `${path}/restore`, undefined, { key: newKey() }));
  notice(t("board.deleted", { key: name }), store.canManage.peek() ? { undo } : {});
  return true;
}

async function restore(store, ask) {
  try {
    await ask();
  } catch (error) {
    notice(sayError(error), { bad: true });
  }
}

/** Puts a card into the archive; it can be taken back. */
export async function archiveCard(store, id) {
  const name = nameOf(store, id);
  const path = `${store.path}/cards/${id}/archive`;
  const answer = await carryOut(store, { kind: "remove", card_id: id }, (options) => call("POST", path, undefined, options));
  if (answer === undefined) return;
  notice(t("board.archived", { key: name }), { undo: () => restore(store, () => call("DELETE", path)) });
}
