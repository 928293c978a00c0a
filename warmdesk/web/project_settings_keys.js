/* API keys: those of a project, and the dialog that makes one, which others use too. */
import { call } from "./api.js";
import { FormEnd, Once, doing, kept, sends } from "./forms.js";
import { ago, day } from "./format.js";
import { PageList, pages } from "./pages.js";
import { Button, Dialog, Empty, Field, confirm } from "./ui.js";
import { html, live, signal } from "./view.js";
import { t } from "./words.js";

/** Makes an API key at a path; `scopes` are those that it may have. `made(key)` has it without the key. */
export const NewKey = live(({ path, scopes, close, made }, self) => {
  const form = kept(self, "form", () => ({ name: "", days: "", limited: true, scopes: [scopes.at(-1)] }));
  self.made ??= signal(null);
  const { limited, scopes: chosen } = form.values.value;
  const send = async () => {
    const { name, days, limited, scopes: chosen } = form.values.peek();
    const body = { name: name.trim() };
    if (days) body.expires_in_days = Number(days);
    if (limited) body.scopes = chosen;
    const answer = await form.send(() => call("POST", path, body, { key: form.key(body) }));
    if (!answer) return;
    const { key, ...rest } = answer;
    self.made.value = key;
    made(rest);
  };
  if (self.made.value) {
    return html`<${Dialog} title=${t("project_settings.key_made")} close=${close}>
      <div class="sheet-body"><p>${t("project_settings.key_once")}</p><${Once} label=${t("project_settings.key")} text=${self.made.value} /></div>
      <footer class="sheet-foot"><${Button} kind="main" onClick=${close}>${t("ui.done")}<//></footer><//>`;
  }
  const toggle = (scope) => form.set("scopes", chosen.includes(scope) ? chosen.filter((one) => one !== scope) : [...chosen, scope]);
  return html`<${Dialog} title=${t("project_settings.key_new")} close=${close}>
    <form class="forms sheet-body" onSubmit=${sends(send)}>
      <${Field} ...${form.field("name")} label=${t("project_settings.key_name")} maxlength="100" required autofocus autocomplete="off" hint=${t("project_settings.key_name_hint")} />
      <fieldset class="forms-group"><legend>${t("project_settings.scopes")}</legend>
        <${Field} kind="check" label=${t("project_settings.scope_all")} value=${!limited} onInput=${(all) => form.set("limited", !all)} />
        ${scopes.map((scope) => html`<${Field} key=${scope} kind="check" label=${t(`project_settings.scope_${scope}`)} disabled=${!limited}
          value=${limited && chosen.includes(scope)} onInput=${() => toggle(scope)} />`)}</fieldset>
      <${Field} ...${form.field("days")} kind="number" min="1" max="3650" class="forms-short" label=${t("project_settings.key_days")} hint=${t("project_settings.key_days_hint")} />
      <${FormEnd} form=${form} word=${t("project_settings.key_make")} cancel=${close} off=${() => !form.get("name").trim() || (form.get("limited") && !form.get("scopes").length)} />
    </form><//>`;
});

/** The keys of a list, with what each may do and when it was used; `path` is where they are revoked. */
export const KeyList = live(({ list, path, empty }) => {
  const revoke = async (one) => {
    if (!(await confirm(t("project_settings.key_revoke_ask", { name: one.name }), { danger: true, word: t("project_settings.revoke") }))) return;
    doing(async () => {
      await call("DELETE", `${path}/${one.id}`);
      list.drop(one.id);
    });
  };
  return html`<${PageList} of=${list} empty=${empty}>${(items) => html`<ul class="page-rows">${items.map((one) => html`<li key=${one.id} class="page-row">
    <span class="grow"><span class="page-name">${one.name}</span> <code class="page-fact">${one.key_prefix}…</code>
      <small class="page-fact">${one.scopes ? one.scopes.map((scope) => t(`project_settings.scope_${scope}`)).join(", ") : t("project_settings.scope_all")} ·
        ${" "}${one.last_used_at ? t("project_settings.used", { ago: ago(one.last_used_at) }) : t("project_settings.never_used")}
        ${one.expires_at ? ` · ${t("project_settings.until", { day: day(one.expires_at) })}` : ""}</small></span>
    <${Button} kind="quiet" icon="trash" label=${t("project_settings.revoke_one", { what: one.name })} onClick=${() => revoke(one)} />
  </li>`)}</ul>`}<//>`;
});

/** The keys of a project. */
export const Keys = live(({ store, slug }, self) => {
  self.making ??= signal(false);
  const path = `/projects/${slug}/api-keys`;
  const list = pages(self, "keys", `${path}?limit=100`);
  const add = !store.project.value.is_archived && html`<${Button} kind="main" icon="add" onClick=${() => (self.making.value = true)}>${t("project_settings.key_new")}<//>`;
  return html`
    <header class="page-head"><h2>${t("project_settings.keys")}</h2>${add}</header>
    <p class="page-note">${t("project_settings.keys_text")}</p>
    <${KeyList} list=${list} path=${path} empty=${html`<${Empty} icon="lock" title=${t("project_settings.keys_none")} text=${t("project_settings.keys_none_text")} />`} />
    ${self.making.value && html`<${NewKey} path=${path} scopes=${["read", "write", "tickets"]} close=${() => (self.making.value = false)} made=${(key) => list.put(key)} />`}`;
});
