/* What is done to all chosen cards at once. */
import { changeChosen } from "./actions_many.js";
import { columnOptions, labelOptions, peopleOptions } from "./choices.js";
import { wears } from "./sheets.js";
import { Button, Icon, Menu, Picker, confirm } from "./ui.js";
import { html, live } from "./view.js";
import { t } from "./words.js";

wears("board.css");

const PRIORITIES = ["critical", "high", "medium", "low", "none"];

/** The bar of the chosen cards, at the board's foot. */
export const BulkBar = live(({ board }) => {
  const { store } = board;
  const chosen = store.marks.chosen.value;
  const n = chosen.size;
  if (!n) return null;
  const canWrite = store.canWrite.value;
  const close = () => {
    store.marks.choose([]);
    board.focus.to(board.focus.last);
  };
  const change = (what, fields) => changeChosen(store, what, fields);
  const archive = async () => {
    const yes = n < 2 || (await confirm(t("bulk.sure_archive", { n }), { word: t("bulk.archive") }));
    if (yes && (await change({ archived: true }))) close();
  };
  return html`<div class="bulk" role="region" aria-label=${t("bulk.title")}>
    <b>${t("board.n_chosen", { n })}</b>
    ${canWrite && html`
      <${Picker} icon="move" label=${t("bulk.move")} none=${t("bulk.move")} options=${columnOptions(store)} onChange=${(column_id) => change({ column_id })} />
      <${Picker} icon="person" label=${t("bulk.assign")} none=${t("bulk.assign")} value=${null}
        options=${[...peopleOptions(store), { value: 0, label: t("card.nobody") }]}
        onChange=${(id) => change({ assignee_ids: id ? [id] : [] })} />
      <${Picker} icon="tag" many label=${t("bulk.label")} none=${t("bulk.label")} value=${[]} options=${labelOptions(store)}
        onChange=${(ids) => change({ add_label_ids: ids }, {})} />
      <${Menu} label=${t("bulk.more")} items=${[
        { label: t("bulk.close"), icon: "check", do: () => change({ closed: true }) },
        { label: t("bulk.open"), icon: "back", do: () => change({ closed: false }) },
        ...PRIORITIES.map((priority, index) => ({ label: t("bulk.priority", { level: t(`card.priority_${priority}`) }), line: index === 0, do: () => change({ priority }) })),
        ...[...store.labels.value.values()].map((one, index) => ({ label: t("bulk.unlabel", { label: one.name }), line: index === 0, do: () => change({ remove_label_ids: [one.id] }, {}) })),
      ]} />
      <${Button} icon="archive" onClick=${archive}>${t("bulk.archive")}<//>`}
    <span class="grow" />
    <${Button} kind="quiet" onClick=${close}><${Icon} name="close" />${t("bulk.none")}<//>
  </div>`;
});
