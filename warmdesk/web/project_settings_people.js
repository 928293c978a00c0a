/* The people of a project: who is in it as what, and who is invited. */
import { go } from "./address.js";
import { call } from "./api.js";
import { FormEnd, Once, doing, kept, sends } from "./forms.js";
import { day, dateTime } from "./format.js";
import { me } from "./identity.js";
import { Find, PageList, pages } from "./pages.js";
import { Avatar, Button, Dialog, Empty, Field, Picker, confirm, notice } from "./ui.js";
import { html, live, signal } from "./view.js";
import { t } from "./words.js";

const ROLES = ["viewer", "member", "admin", "owner"];

/** The roles that I may give, as options. */
const rolesOf = (mine) => ROLES.filter((role) => mine === "owner" || ["viewer", "member"].includes(role)).map((value) => ({
  value, label: t(`project_settings.role_${value}`) }));

/** Asks for somebody who has an account here. */
const Add = live(({ slug, mine, close }, self) => {
  const form = kept(self, "form", () => ({ user: null, role: "member" }));
  self.seen ??= new Map();
  const { user, role } = form.values.value;
  const send = async () => {
    const { user, role } = form.values.peek();
    const body = { user_id: user, role };
    if (!user || !(await form.send(() => call("POST", `/projects/${slug}/members`, body, { key: form.key(body) })))) return;
    close();
    notice(t("project_settings.added", { name: self.seen.get(user)?.display_name ?? "" }));
  };
  const find = async (text) => {
    const found = await call("GET", `/users/search?limit=20&not_in=${slug}&q=${encodeURIComponent(text.trim())}`);
    for (const one of found) self.seen.set(one.id, one);
    return found.map((one) => ({ value: one.id, label: one.display_name, hint: `@${one.username}`, mark: html`<${Avatar} user=${one} size=${20} />` }));
  };
  const chosen = self.seen.get(user);
  return html`<${Dialog} title=${t("project_settings.add")} close=${close}>
    <form class="forms sheet-body" onSubmit=${sends(send)}>
      <div class="forms-picks"><${Picker} label=${t("project_settings.person")} none=${t("project_settings.person_find")} icon="person" value=${user}
        options=${chosen ? [{ value: user, label: chosen.display_name, hint: `@${chosen.username}` }] : []} find=${find} onChange=${(id) => form.set("user", id)} /></div>
      <${Field} ...${form.field("role")} kind="select" label=${t("project_settings.role")} options=${rolesOf(mine)} hint=${t(`project_settings.role_${role}_text`)} />
      <${FormEnd} form=${form} word=${t("ui.add")} cancel=${close} off=${() => !form.get("user")} />
    </form><//>`;
});

/** Makes a link by which somebody comes in, with a mail or without. `role` says what as: its `name` in
 * the body, its `label`, the `options` and the `first` of them.
 */
export const Invite = live(({ path, role, close, made }, self) => {
  const form = kept(self, "form", () => ({ email: "", [role.name]: role.first }));
  self.made ??= signal(null);
  const send = async () => {
    const { email, ...rest } = form.values.peek();
    const body = { ...rest, ...(email.trim() && { email: email.trim() }) };
    const answer = await form.send(() => call("POST", path, body, { key: form.key(body) }));
    if (answer) {
      self.made.value = answer;
      made();
    }
  };
  const done = self.made.value;
  return html`<${Dialog} title=${t("project_settings.invite")} close=${close}>
    ${done
      ? html`<div class="sheet-body"><p>${done.mail ? t("project_settings.invite_mailed", { email: done.email }) : t("project_settings.invite_give")}</p>
          <${Once} label=${t("project_settings.invite_link")} text=${done.url} />
          <p class="page-note">${t("project_settings.invite_until", { time: dateTime(done.expires_at) })}</p></div>
          <footer class="sheet-foot"><${Button} kind="main" onClick=${close}>${t("ui.done")}<//></footer>`
      : html`<form class="forms sheet-body" onSubmit=${sends(send)}>
          <${Field} ...${form.field("email")} kind="email" label=${t("project_settings.invite_email")} autofocus autocomplete="off" hint=${t("project_settings.invite_hint")} />
          <${Field} ...${form.field(role.name)} kind="select" label=${role.label} options=${role.options} />
          <${FormEnd} form=${form} word=${t("project_settings.invite_make")} cancel=${close} />
        </form>`}<//>`;
});

const MAIL = { waiting: "project_settings.mail_waiting", sent: "project_settings.mail_sent", failed: "project_settings.mail_failed" };
/** Why a mail was refused; all else is told as refused alone. */
const REASONS = { recipient: "project_settings.mail_recipient", recipient_later: "project_settings.mail_recipient_later", key: "project_settings.mail_key" };

/** The open invitations at a path, of a project or of the installation. */
export const Invitations = live(({ list, path, roleWord }) => {
  const again = (one) => doing(async () => {
    list.put(await call("POST", `${path}/${one.id}/mail`));
    notice(t("project_settings.mailed_again", { email: one.email }));
  });
  const revoke = async (one) => {
    if (!(await confirm(t("project_settings.revoke_ask"), { danger: true, word: t("project_settings.revoke") }))) return;
    doing(async () => {
      await call("DELETE", `${path}/${one.id}`);
      list.drop(one.id);
    });
  };
  return html`<${PageList} of=${list} lines=${2} empty=${html`<p class="page-note">${t("project_settings.invitations_none")}</p>`}>
    ${(items) => html`<ul class="page-rows">${items.map((one) => html`<li key=${one.id} class="page-row">
      <span class="grow"><span class="page-name">${one.email ?? t("project_settings.by_link")}</span>
        <small class="page-fact">${roleWord(one.role)} · ${t("project_settings.invited_by", { name: one.inviter.display_name })} ·
          ${" "}${t("project_settings.until", { day: day(one.expires_at) })}${one.mail ? ` · ${t(REASONS[one.mail_reason] ?? MAIL[one.mail])}` : ""}</small></span>
      <span class="page-acts">${one.email && html`<${Button} kind="quiet" onClick=${() => again(one)}>${t("project_settings.mail_again")}<//>`}
        <${Button} kind="quiet" icon="trash" label=${t("project_settings.revoke_one", { what: one.email ?? t("project_settings.by_link") })} onClick=${() => revoke(one)} /></span>
    </li>`)}</ul>`}<//>`;
});

function Member({ member, mine, slug, list, isArchived }) {
  const { user, role } = member;
  const isMe = user.id === me.peek()?.id;
  const set = (wanted) => {
    list.put({ ...member, role: wanted });
    doing(() => call("PUT", `/projects/${slug}/members/${user.id}`, { role: wanted }), () => {
      // Only this wish is taken back; who is gone meanwhile stays so.
      const held = list.list.peek().items.find((one) => one.user_id === user.id);
      if (held?.role === wanted) list.put({ ...held, role });
    });
  };
  const remove = async () => {
    const text = isMe ? t("project_settings.leave_ask") : t("project_settings.remove_ask", { name: user.display_name });
    if (!(await confirm(text, { danger: true, word: isMe ? t("projects.leave") : t("ui.remove") }))) return;
    doing(async () => {
      await call("DELETE", `/projects/${slug}/members/${user.id}`);
      list.drop(user.id);
      if (isMe) go("/");
    });
  };
  return html`<li class="page-row">
    <${Avatar} user=${user} size=${28} />
    <span class="grow"><span class="page-name">${user.display_name}${isMe ? ` (${t("project_settings.me")})` : ""}</span>
      <small class="page-fact">@${user.username}${member.email ? ` · ${member.email}` : ""}</small></span>
    ${mine === "owner" && !isArchived
      ? html`<${Field} kind="select" bare label=${t("project_settings.role_of", { name: user.display_name })} value=${role} options=${rolesOf("owner")} onInput=${set} />`
      : html`<span class="page-fact">${t(`project_settings.role_${role}`)}</span>`}
    ${(mine === "owner" || isMe) && html`<${Button} kind="quiet" icon="close" onClick=${remove}
      label=${isMe ? t("projects.leave") : t("project_settings.remove_one", { name: user.display_name })} />`}
  </li>`;
}

const byUser = { id: (one) => one.user_id };

function begin(self) {
  self.end = self.props.store.listen("project.member", ({ type, payload }) => {
    const { list } = self.members;
    if (type === "project.member_removed") return self.members.drop(payload.user_id);
    const held = list.peek().items.find((one) => one.user_id === payload.user_id);
    if (held) return self.members.put({ ...held, ...payload });
    // Somebody may have come by an invitation; and what only I may see of them no event tells.
    self.invitations?.again();
    self.members.again();
    return list.peek().next || self.find.peek() ? undefined : self.members.set([...list.peek().items, payload]);
  });
}

/** Who is in the project, and who is invited. */
export const People = live(({ store, slug }, self) => {
  self.find ??= signal("");
  self.open ??= signal(null);
  const mine = store.role.value;
  const isArchived = store.project.value.is_archived;
  const manages = ["admin", "owner"].includes(mine);
  const q = self.find.value.trim();
  const members = (self.members = pages(self, "members", `/projects/${slug}/members?limit=100${q ? `&q=${encodeURIComponent(q)}` : ""}`, byUser));
  const invitations = self.invitations = manages && pages(self, "invitations", `/projects/${slug}/invitations?limit=100`);
  const close = () => (self.open.value = null);
  return html`
    <header class="page-head"><h2>${t("project_settings.people")} <span>${store.memberCount.value}</span></h2>
      <${Find} label=${t("project_settings.find")} find=${(text) => (self.find.value = text)} />
      ${manages && !isArchived && html`<${Button} icon="link" onClick=${() => (self.open.value = "invite")}>${t("project_settings.invite")}<//>
        <${Button} kind="main" icon="add" onClick=${() => (self.open.value = "add")}>${t("project_settings.add")}<//>`}</header>
    <${PageList} of=${members} empty=${html`<${Empty} title=${t("project_settings.nobody")} />`}>
      ${(items) => html`<ul class="page-rows">${items.map((one) => html`<${Member} key=${one.user_id} member=${one} mine=${mine} slug=${slug} list=${members} isArchived=${isArchived} />`)}</ul>`}<//>
    ${manages && html`<section class="page-part"><h2>${t("project_settings.invitations")}</h2>
      <${Invitations} list=${invitations} path=${`/projects/${slug}/invitations`} roleWord=${(role) => t(`project_settings.role_${role}`)} /></section>`}
    ${self.open.value === "add" && html`<${Add} slug=${slug} mine=${mine} close=${close} />`}
    ${self.open.value === "invite" && html`<${Invite} path=${`/projects/${slug}/invitations`} close=${close} made=${() => invitations.again()}
      role=${{ name: "role", label: t("project_settings.role"), options: rolesOf(mine), first: "member" }} />`}`;
}, begin);
