/* A card, or a copy of it, goes to another project. */
import { go } from "./address.js";
import { Wish, call } from "./api.js";
import { Button, Dialog, Failed, Field, Skeleton, load, notice } from "./ui.js";
import { user } from "./user_store.js";
import { html, live, signal } from "./view.js";
import { t } from "./words.js";

/** Asks where it goes. */
export const Transfer = live(({ board, card, close }, self) => {
  const here = board.store.slug;
  const projects = user.projects.value.filter((one) => one.slug !== here && !one.is_archived && one.my_role !== "viewer");
  const slug = (self.slug ??= signal(""));
  if (!slug.peek() && projects.length) slug.value = projects[0].slug; // they may come later than this
  const action = (self.action ??= signal("move"));
  const column = (self.column ??= signal(null));
  const error = (self.error ??= signal(null));
  const busy = (self.busy ??= signal(false));
  const columns = slug.value ? load(self, slug.value, () => call("GET", `/projects/${slug.peek()}/columns`)).value : null;
  const options = (columns?.value ?? []).map((one) => ({ value: one.id, label: one.name }));
  const to = options.some((one) => one.value === column.value) ? column.value : options[0]?.value;
  const done = async (event) => {
    event.preventDefault();
    busy.value = true;
    self.wish ??= new Wish();
    try {
      const body = { target_project_slug: slug.peek(), column_id: to, action: action.peek() };
      const made = await call("POST", `${card.path}/transfer`, body, { key: self.wish.key(body) });
      close();
      const there = `/p/${slug.peek()}/c/${made.key}`;
      if (action.peek() === "move") go(there);
      else notice(t("card.copied", { key: made.key }), { undo: () => go(there), word: t("board.open") });
    } catch (refusal) {
      error.value = refusal;
    }
    busy.value = false;
  };
  return html`<${Dialog} title=${t("card.transfer_title", { key: card.facts.value.key })} close=${close}><form onSubmit=${done}><div class="sheet-body">
    ${error.value && html`<${Failed} error=${error.value} />`}
    ${!projects.length && html`<p class="soft">${t("card.no_project")}</p>`}
    ${projects.length > 0 && html`<${Field} kind="select" autofocus label=${t("card.to_project")} value=${slug.value} onInput=${(value) => (slug.value = value)} options=${projects.map((one) => ({ value: one.slug, label: one.name }))} />
      ${columns?.state === "failed" ? html`<${Failed} error=${columns.error} again=${columns.again} />` : options.length
        ? html`<${Field} kind="select" label=${t("board.column")} value=${to} options=${options} onInput=${(value) => (column.value = Number(value))} />`
        : html`<${Skeleton} lines=${1} />`}
      <${Field} key="what" kind="select" label=${t("card.what")} value=${action.value} onInput=${(value) => (action.value = value)}
        options=${[{ value: "move", label: t("card.transfer_move") }, { value: "copy", label: t("card.transfer_copy") }]} hint=${t("card.transfer_hint")} />`}
  </div><footer class="sheet-foot"><${Button} onClick=${close}>${t("ui.cancel")}<//><${Button} kind="main" type="submit" disabled=${!to} busy=${busy.value}>${action.value === "move" ? t("board.move_now") : t("card.copy")}<//></footer></form><//>`;
});
