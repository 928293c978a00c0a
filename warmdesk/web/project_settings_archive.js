/* Cards that were put into the archive: to look at, or to bring back to the board. */
import { call } from "./api.js";
import { doing } from "./forms.js";
import { ago } from "./format.js";
import { PageList, pages } from "./pages.js";
import { Button, Empty, notice } from "./ui.js";
import { html, live } from "./view.js";
import { t } from "./words.js";

function begin(self) {
  const { store } = self.props;
  const ends = [
    store.listen("board.card_updated", ({ payload }) => {
      if (!payload.changes.includes("archived_at")) return;
      if (payload.archived_at) self.list.put(payload);
      else self.list.drop(payload.id);
    }),
    store.listen("board.card_deleted", ({ payload }) => self.list.drop(payload.card_id)),
    store.listen("board.card_restored", ({ payload }) => {
      const card = payload.card ?? payload;
      if (card.archived_at) self.list.put(card);
    }),
    store.listen("reset", () => self.list.again()),
  ];
  self.end = () => ends.forEach((end) => end());
}

/** The archived cards, the last that changed first. */
export const Archive = live(({ store, slug }, self) => {
  const list = (self.list = pages(self, "archive", `/projects/${slug}/cards?archived=true&sort=updated&limit=50`));
  const back = (card) => doing(async () => {
    await call("DELETE", `/projects/${slug}/cards/${card.id}/archive`);
    list.drop(card.id);
    notice(t("project_settings.restored", { key: card.key }));
  });
  return html`
    <header class="page-head"><h2>${t("project_settings.archive")}</h2></header>
    <${PageList} of=${list} empty=${html`<${Empty} icon="archive" title=${t("project_settings.archive_none")} text=${t("project_settings.archive_none_text")} />`}>
      ${(cards) => html`<ul class="page-rows">${cards.map((card) => html`<li key=${card.id} class="page-row">
        <span class="grow"><span class="time-key">${card.key}</span> <a class="page-name" href=${`/p/${slug}/c/${card.key}`}>${card.title}</a>
          <small class="page-fact">${card.column_name} · ${ago(card.updated_at)}</small></span>
        ${store.canWrite.value && html`<span class="page-acts"><${Button} onClick=${() => back(card)}>${t("card.unarchive")}<//></span>`}
      </li>`)}</ul>`}<//>`;
}, begin);
