/* Webhooks of a project: addresses by which other programs tell it something. */
import { call } from "./api.js";
import { FormEnd, Once, doing, kept, sends } from "./forms.js";
import { ago, dateTime } from "./format.js";
import { Outgoing } from "./project_settings_outgoing.js";
import { Button, Dialog, Empty, Field, Loading, Menu, confirm, load, notice } from "./ui.js";
import { html, live, signal } from "./view.js";
import { t } from "./words.js";

const TYPES = { generic: null, github: "GitHub", gitlab: "GitLab", gitea: "Gitea", forgejo: "Forgejo" };
const typeName = (type) => TYPES[type] ?? t("project_settings.hook_generic");

/** An address that is told once. */
const Told = ({ hook, close }) => html`<${Dialog} title=${t("project_settings.hook_made")} close=${close}>
  <div class="sheet-body"><p>${t("project_settings.hook_once")}</p><${Once} label=${t("project_settings.hook_address")} text=${hook.url} /></div>
  <footer class="sheet-foot"><${Button} kind="main" onClick=${close}>${t("ui.done")}<//></footer><//>`;

/** Asks for a webhook, a new one or one that is there. */
const Edit = live(({ path, hook, close, done }, self) => {
  const form = kept(self, "form", () => ({ name: hook.name ?? "", type: hook.type ?? "generic", secret: "" }));
  const send = async () => {
    const { name, type, secret } = form.values.peek();
    const body = { name: name.trim() };
    if (!hook.id) body.type = type;
    if (secret) body.secret = secret;
    const answer = await form.send(() => hook.id ? call("PUT", `${path}/${hook.id}`, body) : call("POST", path, body, { key: form.key(body) }));
    if (answer) done(answer);
  };
  const forget = () => form.send(() => call("PUT", `${path}/${hook.id}`, { secret: null })).then((answer) => answer && done(answer));
  return html`<${Dialog} title=${hook.id ? t("project_settings.hook_edit") : t("project_settings.hook_new")} close=${close}>
    <form class="forms sheet-body" onSubmit=${sends(send)}>
      <${Field} ...${form.field("name")} label=${t("project_settings.hook_name")} maxlength="100" required autofocus autocomplete="off" />
      ${!hook.id && html`<${Field} ...${form.field("type")} kind="select" label=${t("project_settings.hook_type")}
        options=${Object.keys(TYPES).map((value) => ({ value, label: typeName(value) }))} />`}
      <${Field} ...${form.field("secret")} kind="password" label=${hook.has_secret ? t("project_settings.secret_new") : t("project_settings.secret")} maxlength="200"
        autocomplete="new-password" hint=${t("project_settings.secret_hint")} />
      ${hook.has_secret && html`<${Button} class="forms-aside" onClick=${forget}>${t("project_settings.secret_forget")}<//>`}
      <${FormEnd} form=${form} cancel=${close} off=${() => !form.get("name").trim()} />
    </form><//>`;
});

/** What came to a webhook lately. */
const Deliveries = live(({ path, hook, close }, self) => {
  const held = load(self, "list", () => call("GET", `${path}/${hook.id}/deliveries`));
  const repeat = (one) => doing(async () => {
    const answer = await call("POST", `${path}/${hook.id}/deliveries/${one.id}/redeliver`);
    notice(answer.status < 300 ? t("project_settings.redelivered") : t("project_settings.redeliver_failed", { reason: answer.reason }), { bad: answer.status >= 300 });
    held.peek().again();
  });
  return html`<${Dialog} title=${t("project_settings.deliveries_of", { name: hook.name })} close=${close} wide>
    <div class="sheet-body"><${Loading} of=${held}>${(list) => list.length
      ? html`<ul class="page-rows">${list.map((one) => html`<li key=${one.id} class="page-row">
          <b class=${one.status < 300 ? "settings-status ok" : "settings-status bad"}>${one.status}</b>
          <span class="grow"><span class="page-name">${one.event || t("project_settings.hook_generic")}</span>
            <small class="page-fact">${dateTime(one.received_at)}${one.reason ? ` · ${one.reason}` : ""}${one.linked ? ` · ${t("project_settings.linked", { n: one.linked })}` : ""}</small></span>
          ${one.can_redeliver && html`<${Button} onClick=${() => repeat(one)}>${t("project_settings.redeliver")}<//>`}</li>`)}</ul>`
      : html`<p class="page-note">${t("project_settings.deliveries_none")}</p>`}<//></div><//>`;
});

const Incoming = live(({ store, slug }, self) => {
  self.open ??= signal(null);
  const path = `/projects/${slug}/webhooks`;
  const held = load(self, "hooks", () => call("GET", path));
  const again = () => held.peek().again();
  const close = () => (self.open.value = null);
  const open = self.open.value;
  const isArchived = store.project.value.is_archived;
  const enable = (hook) => doing(() => call("PUT", `${path}/${hook.id}`, { enabled: !hook.enabled })).then(again);
  const renew = async (hook) => {
    if (!(await confirm(t("project_settings.hook_renew_ask", { name: hook.name }), { danger: true, word: t("project_settings.hook_renew") }))) return;
    doing(async () => (self.open.value = { told: await call("POST", `${path}/${hook.id}/regenerate`) })).then(again);
  };
  const remove = async (hook) => {
    if (!(await confirm(t("project_settings.hook_delete_ask", { name: hook.name }), { danger: true, word: t("ui.delete") }))) return;
    doing(() => call("DELETE", `${path}/${hook.id}`)).then(again);
  };
  const acts = (hook) => [
    { label: t("project_settings.deliveries"), icon: "history", do: () => (self.open.value = { log: hook }) },
    !isArchived && { label: t("ui.edit"), icon: "edit", do: () => (self.open.value = { edit: hook }) },
    !isArchived && { label: hook.enabled ? t("project_settings.turn_off") : t("project_settings.turn_on"), icon: "mute", do: () => enable(hook) },
    !isArchived && { label: t("project_settings.hook_renew"), icon: "lock", do: () => renew(hook) },
    { label: t("ui.delete"), icon: "trash", danger: true, line: true, do: () => remove(hook) },
  ];
  const done = (answer) => {
    self.open.value = answer.url ? { told: answer } : null;
    again();
  };
  return html`
    <header class="page-head"><h2>${t("project_settings.incoming")}</h2>
      ${!isArchived && html`<${Button} kind="main" icon="add" onClick=${() => (self.open.value = { edit: {} })}>${t("project_settings.hook_new")}<//>`}</header>
    <p class="page-note">${t("project_settings.incoming_text")}</p>
    <${Loading} of=${held}>${(hooks) => hooks.length
      ? html`<ul class="page-rows">${hooks.map((hook) => html`<li key=${hook.id} class=${hook.enabled ? "page-row" : "page-row off"}>
          <span class="grow"><span class="page-name">${hook.name}</span> <code class="page-fact">…${hook.token_hint}</code>
            <small class="page-fact">${typeName(hook.type)}${hook.has_secret ? ` · ${t("project_settings.signed")}` : ""}${hook.enabled ? "" : ` · ${t("project_settings.is_off")}`} ·
              ${" "}${hook.last_delivery_at ? `${ago(hook.last_delivery_at)} (${hook.last_status})` : t("project_settings.never_used")}</small></span>
          <${Menu} label=${t("project_settings.acts_of", { name: hook.name })} items=${acts(hook)} /></li>`)}</ul>`
      : html`<${Empty} icon="link" title=${t("project_settings.hooks_none")} text=${t("project_settings.hooks_none_text")} />`}<//>
    ${open?.edit && html`<${Edit} path=${path} hook=${open.edit} close=${close} done=${done} />`}
    ${open?.told && html`<${Told} hook=${open.told} close=${close} />`}
    ${open?.log && html`<${Deliveries} path=${path} hook=${open.log} close=${close} />`}`;
});

/** The programs that tell a project something, and those that are told. */
export const Hooks = ({ store, slug }) => html`
  <${Incoming} store=${store} slug=${slug} />
  <section class="page-part"><${Outgoing} store=${store} slug=${slug} /></section>`;
