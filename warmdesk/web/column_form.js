/* The form of a column: its name, its colour, its limit. */
import { call } from "./api.js";
import { Colors, FormEnd, kept, sends } from "./forms.js";
import { Dialog, Field } from "./ui.js";
import { html, live } from "./view.js";
import { t } from "./words.js";

const MOST = 2 ** 31 - 1;

/** Asks for a column: one that is there, or with `{}` a new one, which `made(column)` is told of. */
export const ColumnForm = live(({ path, column, close, made }, self) => {
  const form = kept(self, "form", () => ({ name: column.name ?? "", color: column.color ?? "", wip_limit: column.wip_limit ? String(column.wip_limit) : "" }));
  const values = form.values.value;
  const send = async () => {
    const body = column.id ? form.changes() : { ...form.values.peek() };
    if ("name" in body) body.name = body.name.trim();
    if ("wip_limit" in body) body.wip_limit = body.wip_limit ? Number(body.wip_limit) : null;
    const done = await form.send(() => column.id
      ? call("PUT", `${path}/${column.id}`, { ...body, version: column.version }, { key: form.key(body) })
      : call("POST", path, body, { key: form.key(body) }));
    if (!done) return;
    if (!column.id) await made?.(done);
    close();
  };
  return html`<${Dialog} title=${column.id ? t("project_settings.column_edit") : t("project_settings.column_new")} close=${close}>
    <form class="forms sheet-body" onSubmit=${sends(send)}>
      <${Field} ...${form.field("name")} label=${t("project_settings.column_name")} maxlength="200" required autofocus autocomplete="off" />
      <${Colors} none label=${t("projects.color")} value=${values.color} onInput=${(color) => form.set("color", color)} />
      <${Field} ...${form.field("wip_limit")} kind="number" min="1" max=${MOST} class="forms-short"
        label=${t("project_settings.column_limit")} hint=${t("project_settings.column_limit_hint")} />
      <${FormEnd} form=${form} cancel=${close} off=${() => !form.get("name").trim() || (column.id && !form.changed)} />
    </form><//>`;
});
