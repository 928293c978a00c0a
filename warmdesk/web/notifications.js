/* What happened that concerns me. */
import { call } from "./api.js";
import { dateOf, dateTime, ago, day, today } from "./format.js";
import { Frame } from "./frame.js";
import { plain } from "./markdown.js";
import { placeOfNotification } from "./places.js";
import { wears } from "./sheets.js";
import { sayNotification, systemState } from "./ui_notify.js";
import { Avatar, Button, Empty, Failed, Icon, Menu, Skeleton, notice, sayError } from "./ui.js";
import { user } from "./user_store.js";
import { html, live, signal } from "./view.js";
import { t } from "./words.js";

wears("talk.css");

const ICONS = { due: "calendar", project_added: "board", dm: "mail", mention: "chat" };
const attempt = (work) => work.catch((error) => notice(sayError(error), { bad: true }));
const read = (one) => one.read_at || attempt(call("POST", `/notifications/${one.id}/read`, {}));

const One = live(({ one }) => {
  const fresh = !one.read_at;
  return html`<li class=${`notifications-one${fresh ? " fresh" : ""}`}>
    <a href=${placeOfNotification(one)} onClick=${() => read(one)}>
      ${one.actor ? html`<${Avatar} user=${one.actor} size=${32} />` : html`<span class="notifications-icon"><${Icon} name=${ICONS[one.kind] ?? "bell"} /></span>`}
      <span class="notifications-text">${fresh && html`<span class="said">${t("notifications.unread")}: </span>`}<b>${sayNotification(one)}</b>
        ${one.body && html`<span class="notifications-body">${one.kind === "due" ? day(one.body) : plain(one.body)}</span>`}
        <small class="faint">${one.project?.name}${one.project ? " · " : ""}<time datetime=${one.created_at} title=${dateTime(one.created_at)}>${ago(one.created_at)}</time></small></span>
    </a>
    <${Menu} label=${t("ui.more")} items=${[
      fresh && { label: t("notifications.read"), icon: "check", do: () => read(one) },
      { label: t("ui.delete"), icon: "trash", danger: true, do: () => attempt(call("DELETE", `/notifications/${one.id}`)) },
    ]} />
  </li>`;
});

const System = live((_, self) => {
  const state = (self.state ??= signal(systemState()));
  if (state.value === null || state.value === "on") return null;
  if (state.value === "off") return html`<p class="notifications-system faint">${t("notifications.denied")}</p>`;
  const ask = async () => {
    await Notification.requestPermission();
    state.value = systemState();
  };
  return html`<p class="notifications-system"><${Button} icon="bell" onClick=${ask}>${t("notifications.system")}<//></p>`;
});

function days(items) {
  const groups = [];
  for (const one of items) {
    const date = dateOf(one.created_at);
    if (groups.at(-1)?.date !== date) groups.push({ date, items: [] });
    groups.at(-1).items.push(one);
  }
  return groups;
}

export default live((_, self) => {
  const only = (self.only ??= signal(false));
  if (!self.asked) {
    self.asked = true;
    queueMicrotask(() => user.fetchNotifications().catch(() => {}));
  }
  const { items, more, state, error } = user.notifications.value;
  const unread = user.unread.value;
  const shown = only.value ? items.filter((one) => !one.read_at) : items;
  const tab = (on, label, choose) => html`<button type="button" class="notifications-tab" aria-pressed=${String(on)} onClick=${choose}>${label}</button>`;
  let list;
  if (state === "failed" && !items.length) list = html`<${Failed} error=${error} again=${() => user.fetchNotifications().catch(() => {})} />`;
  else if (state !== "ready" && !items.length) list = html`<${Skeleton} lines=${6} />`;
  else if (!shown.length && !more) {
    list = html`<${Empty} icon="bell" title=${only.value ? t("notifications.none_unread") : t("notifications.empty")} text=${t("notifications.empty_text")} />`;
  } else {
    list = days(shown).map((group) => html`<section key=${group.date}>
      <h2 class="notifications-day">${group.date === today() ? t("notifications.today") : day(group.date, { weekday: true })}</h2>
      <ul>${group.items.map((one) => html`<${One} key=${one.id} one=${one} />`)}</ul></section>`);
  }
  return html`<${Frame} title=${t("notifications.title")}>
    <div class="notifications">
      <header class="row wrap">
        <div class="notifications-tabs" role="group" aria-label=${t("notifications.title")}>${tab(!only.value, t("notifications.all"), () => (only.value = false))}
          ${tab(only.value, unread ? `${t("notifications.unread")} (${unread})` : t("notifications.unread"), () => (only.value = true))}</div>
        <span class="grow" />
        ${unread > 0 && html`<${Button} icon="check" onClick=${() => attempt(call("POST", "/notifications/read-all", {}))}>${t("notifications.read_all")}<//>`}
        <a class="button quiet" href="/me/notifications"><${Icon} name="gear" />${t("notifications.settings")}</a>
      </header>
      <${System} />
      ${list}
      ${more && html`<p class="notifications-more"><${Button} busy=${state === "loading"} onClick=${() => user.fetchNotifications({ older: true }).catch((failed) => notice(sayError(failed), { bad: true }))}>${t("notifications.more")}<//></p>`}
    </div>
  <//>`;
});
