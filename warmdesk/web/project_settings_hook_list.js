/* The webhooks of a project, of one kind: the list, and what can be done with each. */
import { call } from "./api.js";
import { Once, doing } from "./forms.js";
import { Button, Dialog, Empty, Loading, Menu, confirm, load } from "./ui.js";
import { html, live, signal } from "./view.js";
import { t } from "./words.js";

/** What is told once: an address, or a secret. */
const Told = ({ text, label, value, close }) => html`<${Dialog} title=${t("project_settings.hook_made")} close=${close}>
  <div class="sheet-body"><p>${text}</p><${Once} label=${label} text=${value} /></div>
  <footer class="sheet-foot"><${Button} kind="main" onClick=${close}>${t("ui.done")}<//></footer><//>`;

/** `kind` says what is particular:
 *
 * - `path`: its part of the address. `icon`: of nothing yet.
 * - `words()`: `{title, make, text, none, noneText}`.
 * - `Edit({path, hook, close, done})`, `Log({path, hook, close, again})`: its dialogs.
 * - `facts(hook)`: what its line says beside the name.
 * - `once(answer)`: `{text, label, value}` of what is told once, or nothing.
 * - `renews(hook)`: the question before its address is made anew; absent where there is none.
 */
export const HookList = live(({ store, slug, kind }, self) => {
  self.open ??= signal(null);
  const path = `/projects/${slug}/${kind.path}`;
  const held = load(self, "hooks", () => call("GET", path));
  const again = () => held.peek().again();
  const close = () => (self.open.value = null);
  const open = self.open.value;
  const isArchived = store.project.value.is_archived;
  const tell = (answer) => {
    const told = kind.once(answer);
    self.open.value = told ? { told } : null;
  };
  const enable = (hook) => doing(() => call("PUT", `${path}/${hook.id}`, { enabled: !hook.enabled })).then(again);
  const renew = async (hook) => {
    if (!(await confirm(kind.renews(hook), { danger: true, word: t("project_settings.hook_renew") }))) return;
    doing(async () => tell(await call("POST", `${path}/${hook.id}/regenerate`))).then(again);
  };
  const remove = async (hook) => {
    if (!(await confirm(t("project_settings.hook_delete_ask", { name: hook.name }), { danger: true, word: t("ui.delete") }))) return;
    doing(() => call("DELETE", `${path}/${hook.id}`)).then(again);
  };
  const acts = (hook) => [
    { label: t("project_settings.deliveries"), icon: "history", do: () => (self.open.value = { log: hook }) },
    !isArchived && { label: t("ui.edit"), icon: "edit", do: () => (self.open.value = { edit: hook }) },
    !isArchived && { label: hook.enabled ? t("project_settings.turn_off") : t("project_settings.turn_on"), icon: "mute", do: () => enable(hook) },
    !isArchived && kind.renews && { label: t("project_settings.hook_renew"), icon: "lock", do: () => renew(hook) },
    { label: t("ui.delete"), icon: "trash", danger: true, line: true, do: () => remove(hook) },
  ];
  const done = (answer) => {
    tell(answer);
    again();
  };
  const { Edit, Log } = kind;
  const words = kind.words();
  return html`
    <header class="page-head"><h2>${words.title}</h2>
      ${!isArchived && html`<${Button} kind="main" icon="add" onClick=${() => (self.open.value = { edit: {} })}>${words.make}<//>`}</header>
    <p class="page-note">${words.text}</p>
    <${Loading} of=${held}>${(hooks) => hooks.length
      ? html`<ul class="page-rows">${hooks.map((hook) => html`<li key=${hook.id} class=${hook.enabled ? "page-row" : "page-row off"}>
          <span class="grow"><span class="page-name">${hook.name}</span> ${kind.facts(hook)}</span>
          <${Menu} label=${t("project_settings.acts_of", { name: hook.name })} items=${acts(hook)} /></li>`)}</ul>`
      : html`<${Empty} icon=${kind.icon} title=${words.none} text=${words.noneText} />`}<//>
    ${open?.edit && html`<${Edit} path=${path} hook=${open.edit} close=${close} done=${done} />`}
    ${open?.told && html`<${Told} ...${open.told} close=${close} />`}
    ${open?.log && html`<${Log} path=${path} hook=${open.log} close=${close} again=${again} />`}`;
});
