/* Who changed which right, key or setting, when, and from where. */
import { go } from "./address.js";
import { UserPicker, idOf } from "./admin_logins.js";
import { dateTime } from "./format.js";
import { PageList, pages } from "./pages.js";
import { People } from "./board_people.js";
import { Avatar, Empty, Field, Icon } from "./ui.js";
import { user } from "./user_store.js";
import { html, live } from "./view.js";
import { t } from "./words.js";

/** What is written down. */
const ACTIONS = [
  "user.created", "user.updated", "user.role_changed", "user.deactivated", "user.activated", "user.deleted", "user.restored", "user.purged",
  "user.password_reset", "user.mfa_disabled", "session.ended", "member.added", "member.role_changed", "member.removed",
  "project.archived", "project.unarchived", "project.purged", "key.created", "key.revoked", "setting.changed",
  "invitation.created", "invitation.revoked", "invitation.accepted", "webhook.created", "webhook.changed", "webhook.deleted",
  "backup.made", "backup.deleted", "restore.done",
];

const actionWord = (action) => (ACTIONS.includes(action) ? t(`admin.act_${action.replace(".", "_")}`) : action);
const said = (value) => (value === null || value === undefined || value === "" ? "–" : typeof value === "object" ? JSON.stringify(value) : String(value));

const people = new People();

/** A value as people read it: users by their names. */
const read = (name, value) => (name.endsWith("user_id") && Number.isInteger(value) ? people.get(value).display_name || `#${value}` : said(value));

/** What a line is about: users and projects by their names. */
function targetOf({ target_type: type, target_id: id }) {
  if (!id) return t(`admin.of_${type}`);
  if (type === "user") return people.get(id).display_name || `#${id}`;
  const project = type === "project" && user.projects.value.find((one) => one.id === id);
  return project ? project.name : `${t(`admin.of_${type}`)} ${id}`;
}

/** What was before and is after, fact by fact. */
const Facts = live(({ before, after }) => {
  const names = [...new Set([...Object.keys(before ?? {}), ...Object.keys(after ?? {})])];
  return html`<span class="admin-facts">${names.map((name) => html`<span key=${name}><b>${name}</b> ${before && name in before ? html`<del>${read(name, before[name])}</del> ` : null}
    ${after && name in after ? html`<ins>${read(name, after[name])}</ins>` : null}</span>`)}</span>`;
});

const About = live(({ line }) => html`<small class="page-fact">${targetOf(line)} · ${line.actor?.display_name ?? t("admin.the_server")}${line.ip ? ` · ${line.ip}` : ""}</small>`);

function addressOf(actor, action) {
  const query = new URLSearchParams();
  if (actor) query.set("actor", actor);
  if (action) query.set("action", action);
  return query.size ? `/admin/audit?${query}` : "/admin/audit";
}

/** The audit, the newest first. */
export const Audit = live(({ at }, self) => {
  const actor = idOf(at, "actor");
  const asked = new URLSearchParams(at.split("?")[1] ?? "").get("action");
  const action = ACTIONS.includes(asked) ? asked : "";
  const list = pages(self, "audit", `/admin/audit?limit=100${actor ? `&actor_id=${actor}` : ""}${action ? `&action=${action}` : ""}`);
  return html`
    <header class="page-head"><h2>${t("admin.audit")}</h2>
      <${Field} kind="select" bare label=${t("admin.what")} value=${action} onInput=${(value) => go(addressOf(actor, value))}
        options=${[{ value: "", label: t("admin.all_actions") }, ...ACTIONS.map((value) => ({ value, label: actionWord(value) }))]} />
      <${UserPicker} label=${t("admin.actor")} none=${t("time.everybody")} value=${actor} onChange=${(id) => go(addressOf(id, action))} /></header>
    <${PageList} of=${list} lines=${8} empty=${html`<${Empty} icon="history" title=${t("admin.audit_none")} />`}>${(lines) => html`
      <ul class="page-rows">${lines.map((line) => html`<li key=${line.id} class="page-row admin-line">
        ${line.actor ? html`<${Avatar} user=${line.actor} size=${24} />` : html`<span class="admin-server"><${Icon} name="gear" /></span>`}
        <span class="grow"><span class="page-name">${actionWord(line.action)}</span>
          <${About} line=${line} />
          <${Facts} before=${line.before} after=${line.after} /></span>
        <time class="page-fact page-nowrap" datetime=${line.at}>${dateTime(line.at)}</time></li>`)}</ul>`}<//>`;
});
