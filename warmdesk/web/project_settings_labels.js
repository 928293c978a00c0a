/* The labels of a project. */
import { call } from "./api.js";
import { COLORS, Colors, FormEnd, doing, kept, sends } from "./forms.js";
import { Button, Chip, Dialog, Empty, Field, confirm } from "./ui.js";
import { html, live, signal } from "./view.js";
import { t } from "./words.js";

/** Asks for a label, a new one or one that is there. */
const Edit = live(({ slug, label, close }, self) => {
  const form = kept(self, "form", () => ({ name: label.name ?? "", color: label.color ?? COLORS[0][0] }));
  const values = form.values.value;
  const send = async () => {
    const body = label.id ? form.changes() : { name: form.get("name").trim(), color: form.get("color") };
    const path = `/projects/${slug}/labels`;
    const done = await form.send(() => label.id
      ? call("PUT", `${path}/${label.id}`, body, { key: form.key(body) })
      : call("POST", path, body, { key: form.key(body) }));
    if (done) close();
  };
  return html`<${Dialog} title=${label.id ? t("project_settings.label_edit") : t("project_settings.label_new")} close=${close}>
    <form class="forms sheet-body" onSubmit=${sends(send)}>
      <${Field} ...${form.field("name")} label=${t("project_settings.label_name")} maxlength="100" required autofocus autocomplete="off" />
      <${Colors} label=${t("projects.color")} value=${values.color} onInput=${(color) => form.set("color", color)} />
      <p class="settings-sample"><${Chip} color=${values.color}>${values.name || t("project_settings.label_name")}<//></p>
      <${FormEnd} form=${form} cancel=${close} off=${() => !form.get("name").trim() || (label.id && !form.changed)} />
    </form><//>`;
});

/** The labels, the oldest first. */
export const Labels = live(({ store, slug }, self) => {
  self.editing ??= signal(null);
  const labels = [...store.labels.value.values()];
  const mayChange = store.canWrite.value;
  const add = mayChange && html`<${Button} kind="main" icon="add" onClick=${() => (self.editing.value = {})}>${t("project_settings.label_new")}<//>`;
  const remove = async (label) => {
    if (!(await confirm(t("project_settings.label_delete_ask", { name: label.name }), { danger: true, word: t("ui.delete") }))) return;
    doing(() => call("DELETE", `/projects/${slug}/labels/${label.id}`));
  };
  return html`
    <header class="page-head"><h2>${t("project_settings.labels")}</h2>${labels.length > 0 && add}</header>
    ${!labels.length && html`<${Empty} icon="tag" title=${t("project_settings.labels_none")} text=${t("project_settings.labels_none_text")}>${add}<//>`}
    <ul class="page-rows">${labels.map((label) => html`<li key=${label.id} class="page-row">
      <span class="grow"><${Chip} color=${label.color}>${label.name}<//></span>
      ${mayChange && html`<span class="page-acts">
        <${Button} kind="quiet" icon="edit" label=${t("project_settings.edit_one", { name: label.name })} onClick=${() => (self.editing.value = label)} />
        <${Button} kind="quiet" icon="trash" label=${t("project_settings.delete_one", { name: label.name })} onClick=${() => remove(label)} /></span>`}
    </li>`)}</ul>
    ${self.editing.value && html`<${Edit} slug=${slug} label=${self.editing.value} close=${() => (self.editing.value = null)} />`}`;
});
