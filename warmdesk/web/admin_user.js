/* One account, as an administrator keeps it: rights, password, projects, keys, its end. */
import { call, callAll } from "./api.js";
import { FormEnd, doing, follow, kept, sends } from "./forms.js";
import { dateTime } from "./format.js";
import { me } from "./identity.js";
import { pages } from "./pages.js";
import { KeyList, NewKey } from "./project_settings_keys.js";
import { Button, Dialog, Field, Loading, Picker, confirm, load, notice } from "./ui.js";
import { html, live, signal } from "./view.js";
import { t } from "./words.js";

const ROLES = ["admin", "user", "viewer", "metrics", "backup"];
const SERVICE = ["metrics", "backup"];
const SCOPES = { metrics: ["metrics"], backup: ["backup"] };

const startOf = ({ username, email, first_name, last_name, display_name, global_role, is_active, must_change_password }) => ({
  username, email, first_name, last_name, display_name, global_role, is_active, must_change_password, password: "", current_password: "" });

const About = live(({ account, changed }, self) => {
  const form = kept(self, "form", () => startOf(account));
  follow(form, startOf(account));
  const isMe = account.id === me.value?.id;
  const send = async () => {
    const { current_password, ...changes } = form.changes();
    const body = isMe && "email" in changes ? { ...changes, current_password: current_password ?? "" } : changes;
    const answer = await form.send(() => call("PUT", `/users/${account.id}`, body));
    if (!answer) return;
    form.saved(startOf(answer));
    changed(answer);
    notice(t("admin.saved"));
  };
  return html`<form class="forms" onSubmit=${sends(send)}>
    <div class="forms-row"><${Field} ...${form.field("username")} label=${t("admin.username")} maxlength="50" required autocomplete="off" />
      <${Field} ...${form.field("email")} kind="email" label=${t("admin.email")} maxlength="255" required autocomplete="off" /></div>
    ${isMe && form.get("email") !== account.email && html`<${Field} ...${form.field("current_password")} kind="password" label=${t("door.current_password")}
      maxlength="128" autocomplete="current-password" required />`}
    <div class="forms-row"><${Field} ...${form.field("first_name")} label=${t("admin.first_name")} maxlength="100" />
      <${Field} ...${form.field("last_name")} label=${t("admin.last_name")} maxlength="100" /></div>
    <${Field} ...${form.field("display_name")} label=${t("admin.display_name")} maxlength="150" />
    <${Field} ...${form.field("global_role")} kind="select" label=${t("admin.role")} disabled=${isMe}
      options=${ROLES.map((value) => ({ value, label: t(`admin.role_${value}`) }))} hint=${t(`admin.role_${form.get("global_role")}_text`)} />
    <${Field} ...${form.field("is_active")} kind="check" label=${t("admin.is_active")} disabled=${isMe} hint=${isMe ? t("admin.not_yourself") : t("admin.is_active_hint")} />
    ${!isMe && html`<${Field} ...${form.field("password")} kind="password" label=${t("admin.password_new")} maxlength="128" autocomplete="new-password" hint=${t("admin.password_hint")} />`}
    <${Field} ...${form.field("must_change_password")} kind="check" label=${t("admin.must_change")} />
    <${FormEnd} form=${form} off=${() => !form.changed} />
  </form>`;
});

/** Sends the projects that are wished for, one request after the other, until the server has the last wish. */
async function carryOut(self, id, held) {
  if (self.sending) return;
  self.sending = true;
  for (let sent = null; self.wish.peek() && self.wish.peek() !== sent; ) {
    sent = self.wish.peek();
    await doing(() => call("PUT", `/users/${id}/projects`, { project_ids: sent }), () => (self.wish.value = null));
    if (!self.wish.peek() || self.wish.peek() === sent) await held.peek().again();
  }
  self.wish.value = null;
  self.sending = false;
}

/** In which projects somebody is: all of them at once. */
const Projects = live(({ account }, self) => {
  self.wish ??= signal(null);
  const held = load(self, "projects", () => call("GET", `/users/${account.id}/projects`));
  const all = load(self, "all", () => callAll("/admin/projects?limit=500"));
  return html`<${Loading} of=${held} lines=${2}>${(mine) => {
    const known = mine.map((one) => one.id);
    const options = [...mine, ...(all.value.value ?? []).filter((one) => !known.includes(one.id))].map((one) => ({
      value: one.id, label: one.name, hint: one.role ? t(`project_settings.role_${one.role}`) : one.slug, mark: one.color }));
    const set = (ids) => {
      self.wish.value = ids;
      carryOut(self, account.id, held);
    };
    return html`<div class="forms-picks"><${Picker} many label=${t("admin.projects_of")} none=${t("admin.projects_of_none")} value=${self.wish.value ?? known} options=${options} onChange=${set} /></div>`;
  }}<//>`;
});

const KeysOf = live(({ account }, self) => {
  self.making ??= signal(false);
  const path = `/users/${account.id}/api-keys`;
  const list = pages(self, "keys", `${path}?limit=100`);
  return html`<${KeyList} list=${list} path=${path} empty=${html`<p class="page-note">${t("admin.keys_none")}</p>`} />
    ${SERVICE.includes(account.global_role) && html`<${Button} class="forms-aside" icon="add" onClick=${() => (self.making.value = true)}>${t("project_settings.key_new")}<//>`}
    ${self.making.value && html`<${NewKey} path=${path} scopes=${SCOPES[account.global_role]} close=${() => (self.making.value = false)} made=${(key) => list.put(key)} />`}`;
});

function Ends({ account, changed, gone }) {
  const { id, display_name: name, deleted_at: deleted } = account;
  if (id === me.peek()?.id) return null;
  const path = `/users/${id}`;
  const act = async (text, word, task) => {
    if (await confirm(text, { danger: true, word })) await doing(task);
  };
  const mfa = () => act(t("admin.mfa_off_ask", { name }), t("admin.mfa_off"), async () => changed(await call("POST", `${path}/mfa/disable`, {})));
  const remove = () => act(t("admin.delete_ask", { name }), t("ui.delete"), async () => {
    await call("DELETE", path);
    changed(await call("GET", path));
  });
  const purge = () => act(t("admin.purge_ask", { name }), t("admin.purge"), async () => {
    await call("DELETE", `${path}/permanent`);
    gone(id);
  });
  const restore = () => doing(async () => changed(await call("POST", `${path}/restore`, {})));
  return html`<div class="page-buttons">
    ${account.totp_enabled && html`<${Button} onClick=${mfa}>${t("admin.mfa_off")}<//>`}
    ${deleted
      ? html`<${Button} onClick=${restore}>${t("project_settings.restore")}<//><${Button} class="page-danger" onClick=${purge}>${t("admin.purge")}<//>`
      : html`<${Button} class="page-danger" icon="trash" onClick=${remove}>${t("admin.user_delete")}<//>`}
  </div>`;
}

/** An account in a dialog; `changed(account)` has the server's, `gone(id)` is told when it was purged. */
export const AdminUser = live(({ id, close, changed, gone }, self) => {
  const held = load(self, "account", () => call("GET", `/users/${id}`));
  const set = (account) => {
    held.value = { ...held.peek(), state: "ready", value: account };
    changed(account);
  };
  const account = held.value.value;
  return html`<${Dialog} title=${account?.display_name ?? t("admin.account")} close=${close} wide>
    <div class="sheet-body"><${Loading} of=${held} lines=${6}>${(one) => html`
      <p class="page-note">${t("admin.since", { time: dateTime(one.created_at) })} · ${one.last_login_at ? t("admin.came", { time: dateTime(one.last_login_at) }) : t("admin.never_came")}
        ${" · "}<a href=${`/admin/logins?user=${one.id}`}>${t("admin.logins")}</a> · <a href=${`/admin/audit?actor=${one.id}`}>${t("admin.audit")}</a></p>
      ${one.deleted_at ? html`<p class="page-note warn">${t("admin.is_deleted", { time: dateTime(one.deleted_at) })}</p>` : html`<${About} account=${one} changed=${set} />`}
      ${!one.deleted_at && !SERVICE.includes(one.global_role) && html`<section class="page-part"><h3>${t("admin.projects")}</h3><${Projects} account=${one} /></section>`}
      ${!one.deleted_at && html`<section class="page-part"><h3>${t("project_settings.keys")}</h3><${KeysOf} account=${one} /></section>`}
      <${Ends} account=${one} changed=${set} gone=${gone} />`}<//></div><//>`;
});
