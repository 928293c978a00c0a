/* What pickers of cards offer. */
import { me } from "./identity.js";
import { Avatar } from "./ui.js";
import { html } from "./view.js";
import { t } from "./words.js";

/** Members who may have cards, me first. */
export function peopleOptions(store) {
  const mine = me.value?.id;
  const all = [...store.members.value.values()].map(({ user_id: id }) => store.people.get(id));
  const options = all.map((user) => ({
    value: user.id,
    label: user.id === mine ? t("board.me", { name: user.display_name }) : user.display_name,
    hint: user.username,
    mark: html`<${Avatar} user=${user} size=${18} />`,
  }));
  return options.sort((one, other) => (other.value === mine) - (one.value === mine) || one.label.localeCompare(other.label));
}

/** The labels of the project. */
export const labelOptions = (store) =>
  [...store.labels.value.values()].sort((one, other) => one.name.localeCompare(other.name))
    .map((one) => ({ value: one.id, label: one.name, mark: one.color }));

/** Columns in their order. */
export const columnOptions = (store) =>
  store.shownOrder.value.map((id) => ({ value: id, label: store.cols.get(id)?.col.value.name ?? "" }));
