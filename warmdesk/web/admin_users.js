/* All accounts: to find, to make, to invite. */
import { call } from "./api.js";
import { AdminUser } from "./admin_user.js";
import { FormEnd, kept, sends } from "./forms.js";
import { ago } from "./format.js";
import { Find, PageList, pages } from "./pages.js";
import { Invitations, Invite } from "./project_settings_people.js";
import { Avatar, Button, Dialog, Empty, Field } from "./ui.js";
import { html, live, signal } from "./view.js";
import { t } from "./words.js";

export const ROLES = ["admin", "user", "viewer", "metrics", "backup"];

export const roleOptions = () => ROLES.map((value) => ({ value, label: t(`admin.role_${value}`) }));

/** Asks for a new account. */
const NewUser = live(({ close, made }, self) => {
  const form = kept(self, "form", () => ({ username: "", email: "", display_name: "", password: "", global_role: "user", must_change_password: true }));
  const values = form.values.value;
  const send = async () => {
    const body = { ...form.values.peek(), username: form.get("username").trim(), email: form.get("email").trim() };
    const account = await form.send(() => call("POST", "/users", body, { key: form.key(body) }));
    if (account) made(account);
  };
  return html`<${Dialog} title=${t("admin.user_new")} close=${close}>
    <form class="forms sheet-body" onSubmit=${sends(send)}>
      <${Field} ...${form.field("username")} label=${t("admin.username")} minlength="3" maxlength="50" required autofocus autocomplete="off" />
      <${Field} ...${form.field("email")} kind="email" label=${t("admin.email")} maxlength="255" required autocomplete="off" />
      <${Field} ...${form.field("display_name")} label=${t("admin.display_name")} maxlength="150" autocomplete="off" />
      <${Field} ...${form.field("password")} kind="password" label=${t("admin.password")} minlength="8" maxlength="128" required autocomplete="new-password" />
      <${Field} ...${form.field("must_change_password")} kind="check" label=${t("admin.must_change")} />
      <${Field} ...${form.field("global_role")} kind="select" label=${t("admin.role")} options=${roleOptions()} hint=${t(`admin.role_${values.global_role}_text`)} />
      <${FormEnd} form=${form} word=${t("admin.user_make")} cancel=${close} off=${() => !form.get("username").trim() || !form.get("email").trim() || !form.get("password")} />
    </form><//>`;
});

const Row = ({ account, open }) => html`<li class=${account.is_active && !account.deleted_at ? "page-row" : "page-row off"}>
  <${Avatar} user=${account} size=${28} />
  <span class="grow"><button type="button" class="page-open" onClick=${open}>${account.display_name}</button>
    <small class="page-fact">@${account.username} · ${account.email}</small></span>
  <span class="page-fact">${[
    t(`admin.role_${account.global_role}`),
    account.deleted_at && t("admin.deleted"),
    !account.deleted_at && !account.is_active && t("admin.inactive"),
    account.totp_enabled && t("admin.mfa"),
  ].filter(Boolean).join(" · ")}</span>
  <span class="page-fact admin-when">${account.last_login_at ? ago(account.last_login_at) : t("admin.never_came")}</span>
</li>`;

/** The accounts, the newest first. */
export const Users = live((props, self) => {
  self.find ??= signal({ q: "", role: "", state: "" });
  self.open ??= signal(null);
  const { q, role, state } = self.find.value;
  const query = new URLSearchParams({ limit: "50" });
  if (q.trim()) query.set("q", q.trim());
  if (role) query.set("role", role);
  if (state === "deleted") query.set("include_deleted", "true");
  else if (state) query.set("active", String(state === "active"));
  const list = pages(self, "users", `/users?${query}`);
  const invitations = pages(self, "invitations", "/admin/invitations?limit=100");
  const find = (what) => (self.find.value = { ...self.find.peek(), ...what });
  const open = self.open.value;
  const close = () => (self.open.value = null);
  return html`
    <header class="page-head"><h2>${t("admin.users")}</h2>
      <${Find} label=${t("admin.user_find")} find=${(q) => find({ q })} />
      <${Field} kind="select" bare label=${t("admin.role")} value=${role} onInput=${(value) => find({ role: value })}
        options=${[{ value: "", label: t("admin.all_roles") }, ...roleOptions()]} />
      <${Field} kind="select" bare label=${t("admin.state")} value=${state} onInput=${(value) => find({ state: value })}
        options=${["", "active", "inactive", "deleted"].map((value) => ({ value, label: t(`admin.state_${value || "there"}`) }))} />
      <${Button} icon="link" onClick=${() => (self.open.value = "invite")}>${t("project_settings.invite")}<//>
      <${Button} kind="main" icon="add" onClick=${() => (self.open.value = "new")}>${t("admin.user_new")}<//></header>
    <${PageList} of=${list} lines=${6} empty=${html`<${Empty} icon="people" title=${t("admin.users_none")} />`}>
      ${(items) => html`<ul class="page-rows">${items.map((one) => html`<${Row} key=${one.id} account=${one} open=${() => (self.open.value = one.id)} />`)}</ul>`}<//>
    <section class="page-part"><h2>${t("project_settings.invitations")}</h2>
      <${Invitations} list=${invitations} path="/admin/invitations" roleWord=${(word) => t(`admin.role_${word}`)} /></section>
    ${open === "new" && html`<${NewUser} close=${close} made=${(account) => {
      list.put(account);
      self.open.value = account.id;
    }} />`}
    ${open === "invite" && html`<${Invite} path="/admin/invitations" close=${close} made=${() => invitations.again()}
      role=${{ name: "global_role", label: t("admin.role"), options: roleOptions(), first: "user" }} />`}
    ${typeof open === "number" && html`<${AdminUser} key=${open} id=${open} close=${close} changed=${(account) => list.put(account)} gone=${(id) => {
      list.drop(id);
      close();
    }} />`}`;
});
