/* Cards that were deleted: to bring back, or to end for good. */
import { call } from "./api.js";
import { doing } from "./forms.js";
import { ago } from "./format.js";
import { PageList, pages } from "./pages.js";
import { Button, Empty, confirm, notice } from "./ui.js";
import { html, live } from "./view.js";
import { t } from "./words.js";

function begin(self) {
  const { store } = self.props;
  const ends = [
    store.listen("board.card_deleted", () => self.list.again()),
    store.listen("board.card_restored", ({ payload }) => self.list.drop((payload.card ?? payload).id)),
  ];
  self.end = () => ends.forEach((end) => end());
}

/** The deleted cards, the last first. */
export const Deleted = live(({ store, slug }, self) => {
  const list = (self.list = pages(self, "deleted", `/projects/${slug}/cards/deleted?limit=50`));
  const mayRestore = !store.project.value.is_archived;
  const isOwner = store.role.value === "owner";
  const restore = (card) => doing(async () => {
    await call("POST", `/projects/${slug}/cards/${card.id}/restore`);
    list.drop(card.id);
    notice(t("project_settings.restored", { key: card.key }));
  });
  const end = async (card) => {
    if (!(await confirm(t("project_settings.erase_ask", { key: card.key }), { danger: true, word: t("project_settings.erase") }))) return;
    doing(async () => {
      await call("DELETE", `/projects/${slug}/cards/${card.id}/permanent`);
      list.drop(card.id);
    });
  };
  return html`
    <header class="page-head"><h2>${t("project_settings.deleted")}</h2></header>
    <${PageList} of=${list} empty=${html`<${Empty} icon="trash" title=${t("project_settings.deleted_none")} text=${t("project_settings.deleted_none_text")} />`}>
      ${(cards) => html`<ul class="page-rows">${cards.map((card) => html`<li key=${card.id} class="page-row">
        <span class="grow"><span class="time-key">${card.key}</span> <span class="page-name">${card.title}</span>
          <small class="page-fact">${card.column_name} · ${ago(card.updated_at)}</small></span>
        ${mayRestore && html`<span class="page-acts"><${Button} onClick=${() => restore(card)}>${t("project_settings.restore")}<//>
          ${isOwner && html`<${Button} kind="quiet" icon="trash" label=${t("project_settings.erase_one", { key: card.key })} onClick=${() => end(card)} />`}</span>`}
      </li>`)}</ul>`}<//>`;
}, begin);
