/* Webhooks of a project: addresses by which other programs tell it something. */
import { call } from "./api.js";
import { FormEnd, doing, kept, sends } from "./forms.js";
import { ago, dateTime } from "./format.js";
import { HookList } from "./project_settings_hook_list.js";
import { OUTGOING } from "./project_settings_outgoing.js";
import { Button, Dialog, Field, Loading, load, notice } from "./ui.js";
import { html, live } from "./view.js";
import { t } from "./words.js";

const TYPES = { generic: null, github: "GitHub", gitlab: "GitLab", gitea: "Gitea", forgejo: "Forgejo" };
const typeName = (type) => TYPES[type] ?? t("project_settings.hook_generic");

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

const used = (hook) => [
  typeName(hook.type),
  hook.has_secret && t("project_settings.signed"),
  !hook.enabled && t("project_settings.is_off"),
  hook.last_delivery_at ? `${ago(hook.last_delivery_at)} (${hook.last_status})` : t("project_settings.never_used"),
].filter(Boolean).join(" · ");

const INCOMING = {
  path: "webhooks",
  icon: "link",
  words: () => ({
    title: t("project_settings.incoming"), make: t("project_settings.hook_new"), text: t("project_settings.incoming_text"),
    none: t("project_settings.hooks_none"), noneText: t("project_settings.hooks_none_text"),
  }),
  Edit,
  Log: Deliveries,
  facts: (hook) => html`<code class="page-fact">…${hook.token_hint}</code> <small class="page-fact">${used(hook)}</small>`,
  once: (answer) => answer.url && { text: t("project_settings.hook_once"), label: t("project_settings.hook_address"), value: answer.url },
  renews: (hook) => t("project_settings.hook_renew_ask", { name: hook.name }),
};

/** The programs that tell a project something, and those that are told. */
export const Hooks = ({ store, slug }) => html`
  <${HookList} store=${store} slug=${slug} kind=${INCOMING} />
  <section class="page-part"><${HookList} store=${store} slug=${slug} kind=${OUTGOING} /></section>`;
