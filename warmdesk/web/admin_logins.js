/* When somebody signed in and out, what failed, and what was done to the account. */
import { go } from "./address.js";
import { call } from "./api.js";
import { dateTime } from "./format.js";
import { PageList, pages } from "./pages.js";
import { Avatar, Empty, Picker, load } from "./ui.js";
import { html, live } from "./view.js";
import { t } from "./words.js";

const GOOD = ["login_ok", "mfa_ok", "mfa_enabled", "logout"];
const BAD = ["login_failed", "mfa_failed", "refresh_reused"];
const KNOWN = [...GOOD, ...BAD, "mfa_challenge", "mfa_disabled", "password_changed", "password_reset", "email_changed", "api_key_created",
  "api_key_deleted", "admin_user_created", "admin_user_updated", "admin_user_deleted", "admin_user_restored", "admin_mfa_disabled"];

/** The id that a query of an address names. */
export const idOf = (at, name) => Number(new URLSearchParams(at.split("?")[1] ?? "").get(name)) || null;

/** Chooses one of all accounts, by a part of a name. */
export const UserPicker = live(({ label, none, value, onChange }, self) => {
  const held = value ? load(self, `user ${value}`, () => call("GET", `/users/${value}`)) : null;
  const account = held?.value.value;
  const option = (one) => ({ value: one.id, label: one.display_name, hint: `@${one.username}`, mark: html`<${Avatar} user=${one} size=${20} />` });
  const find = async (text) => (await call("GET", `/users?limit=20&include_deleted=true&q=${encodeURIComponent(text.trim())}`)).map(option);
  const options = account ? [option(account)] : [];
  return html`<${Picker} label=${label} none=${none} icon="person" value=${value} options=${none ? [{ value: null, label: none }, ...options] : options} find=${find} onChange=${onChange} />`;
});

const Lines = live(({ id }, self) => {
  const list = pages(self, "logins", `/users/${id}/login-history?limit=100`);
  return html`<${PageList} of=${list} lines=${6} empty=${html`<${Empty} icon="lock" title=${t("admin.logins_none")} />`}>${(lines) => html`
    <div class="page-scroll" tabindex="0" role="region" aria-label=${t("admin.logins")}><table class="page-table admin-logins">
      <thead><tr><th scope="col">${t("admin.when")}</th><th scope="col">${t("admin.what")}</th><th scope="col">${t("admin.from")}</th><th scope="col">${t("admin.with")}</th></tr></thead>
      <tbody>${lines.map((line) => html`<tr key=${line.id}>
        <td class="page-nowrap">${dateTime(line.created_at)}</td>
        <td><span class=${BAD.includes(line.event) ? "settings-status bad" : GOOD.includes(line.event) ? "settings-status ok" : ""}>${KNOWN.includes(line.event) ? t(`admin.login_${line.event}`) : line.event}</span>
          ${line.actor && html` <small class="page-fact">${t("admin.by", { name: line.actor.display_name })}</small>`}</td>
        <td class="page-nowrap">${line.ip}</td><td class="admin-agent">${line.user_agent}</td></tr>`)}</tbody></table></div>`}<//>`;
});

/** The sign-in log of one account. */
export const Logins = live(({ at }) => {
  const id = idOf(at, "user");
  return html`
    <header class="page-head"><h2>${t("admin.logins")}</h2>
      <${UserPicker} label=${t("admin.account")} value=${id} onChange=${(chosen) => go(`/admin/logins?user=${chosen}`)} /></header>
    ${id ? html`<${Lines} key=${id} id=${id} />` : html`<${Empty} icon="person" title=${t("admin.logins_choose")} text=${t("admin.logins_choose_text")} />`}`;
});
