/* What I do to many cards at once. */
import { call, newKey } from "./api.js";
import { era } from "./identity.js";
import { notice, sayError } from "./ui.js";
import { batch } from "./view.js";
import { t } from "./words.js";

const AT_ONCE = 500; // cards that the server changes by one request

/** The same change to all cards of a `BoardStore` that are chosen. Resolves to them; undefined where it was refused. */
export async function changeChosen(store, change, fields) {
  const ids = [...store.marks.chosen.peek()].filter((id) => store.cards.has(id));
  const all = [];
  for (let from = 0; from < ids.length; from += AT_ONCE) {
    const cards = await changeMany(store, ids.slice(from, from + AT_ONCE), change, fields);
    if (!cards) return undefined;
    all.push(...cards);
  }
  return all;
}

/** The same change to many cards, each of which shows it at once. Resolves to the cards that the answer shows, none
 * where events told that it was done; undefined where it was refused.
 */
export async function changeMany(store, ids, change, fields) {
  const wishes = ids.map((id) => ({ card_id: id, ...wishOf(change, fields) }));
  const [first, ...rest] = wishes;
  if (!first) return undefined;
  batch(() => {
    store.intents.add(first);
    for (const wish of rest) store.intents.add(Object.assign(wish, { client_id: first.client_id }));
  });
  const mine = era();
  const ofThese = () => store.intents.all.peek().filter((wish) => wish.client_id === first.client_id);
  try {
    const key = newKey();
    const options = { clientId: first.client_id, key };
    const { cards = [] } = await store.intents.ask(() => call("PATCH", `${store.path}/cards`, { ids, change }, options), {
      reached: (seconds) => store.reached(seconds),
      unsure: () => notice(t("board.not_sent")),
      isDone: () => wishes.some((wish) => wish.told),
    });
    const versions = new Map(cards.map((card) => [card.id, card.version]));
    // Where events told it, those of which they told nothing were so before.
    for (const wish of ofThese()) {
      store.intents.answered(wish, versions.get(wish.card_id), store.cards.get(wish.card_id)?.peek().version);
    }
    return cards;
  } catch (error) {
    for (const wish of ofThese()) store.intents.end(wish);
    if (era() === mine) notice(t("board.bulk_refused", { n: ids.length, why: sayError(error) }), { bad: true });
    return undefined;
  }
}

function wishOf(change, fields) {
  if (change.column_id !== undefined) return { kind: "move", column_id: change.column_id };
  if (change.archived) return { kind: "remove" };
  return { kind: "change", fields: fields ?? change };
}
