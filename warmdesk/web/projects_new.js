/* The dialog that begins a project. */
import { call } from "./api.js";
import { Colors, FormEnd, kept, sends } from "./forms.js";
import { Dialog, Field } from "./ui.js";
import { html, live } from "./view.js";
import { t } from "./words.js";

const PREFIX = 10;

/** Asks for a name and what else a project may have; `made(project)` when it is there. */
export const NewProject = live(({ close, made }, self) => {
  const form = kept(self, "form", () => ({ name: "", description: "", color: "#6366f1", key_prefix: "" }));
  const values = form.values.value;
  const send = async () => {
    const { name, description, color, key_prefix: prefix } = form.values.peek();
    const body = { name: name.trim(), description, color, ...(prefix && { key_prefix: prefix }) };
    const project = await form.send(() => call("POST", "/projects", body, { key: form.key(body) }));
    if (project) {
      close();
      made(project);
    }
  };
  return html`<${Dialog} title=${t("projects.new")} close=${close}>
    <form class="forms sheet-body" onSubmit=${sends(send)}>
      <${Field} ...${form.field("name")} label=${t("projects.name")} maxlength="200" required autofocus autocomplete="off" />
      <${Field} ...${form.field("description")} kind="area" rows="3" label=${t("projects.description")} maxlength="100000" />
      <${Colors} label=${t("projects.color")} value=${values.color} onInput=${(color) => form.set("color", color)} />
      <${Field} ...${form.field("key_prefix")} label=${t("projects.prefix")} maxlength=${PREFIX} autocomplete="off"
        class="forms-short"
        onInput=${(text) => form.set("key_prefix", text.toUpperCase().replace(/[^A-Z0-9]/g, ""))}
        hint=${values.key_prefix ? t("projects.prefix_hint", { example: `${values.key_prefix}-1` }) : t("projects.prefix_made")} />
      <${FormEnd} form=${form} word=${t("projects.make")} cancel=${close} off=${() => !form.get("name").trim()} />
    </form>
  <//>`;
});
