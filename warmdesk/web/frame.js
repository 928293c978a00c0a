/* What stands around every page: the header, the bar that tells the state, and where the page itself is. */
import { address, go } from "./address.js";
import { me, settings } from "./identity.js";
import { dressed } from "./sheets.js";
import { Avatar, Button, Empty, Icon, Menu, Tabs, notice, sayError } from "./ui.js";
import { leave } from "./ui_leave.js";
import "./ui_notify.js";
import { user } from "./user_store.js";
import { html, live } from "./view.js";
import { t } from "./words.js";

const Count = ({ n, says }) =>
  n ? html`<b class="count" aria-hidden="true">${n > 99 ? "99+" : n}</b><span class="said">${says}</span>` : null;

const Bell = live(() => {
  const n = user.unread.value;
  return html`<a class="frame-go" href="/notifications" title=${t("frame.notifications")}>
    <${Icon} name="bell" /><span class="said">${t("frame.notifications")}</span><${Count} n=${n} says=${t("frame.unread", { n })} /></a>`;
});

const Mail = live(() => {
  const n = user.unreadConversations.value;
  return html`<a class="frame-go" href="/messages" title=${t("frame.messages")}>
    <${Icon} name="mail" /><span class="said">${t("frame.messages")}</span><${Count} n=${n} says=${t("frame.unread", { n })} /></a>`;
});

const Projects = live(() => {
  const mine = user.projects.value.filter((one) => !one.is_archived);
  const sorted = [...mine].sort((one, other) => other.starred - one.starred || one.name.localeCompare(other.name));
  return html`<${Menu} label=${t("frame.projects")} class="frame-projects" items=${[
    { label: t("frame.all_projects"), href: "/", icon: "home" },
    ...sorted.slice(0, 12).map((one, index) => ({ label: one.name, href: `/p/${one.slug}`, icon: one.starred ? "star" : "board", line: index === 0 })),
  ]}><${Icon} name="down" /><//>`;
});

const MyMenu = live(() => {
  const mine = me.value;
  if (!mine) return null;
  return html`<${Menu} label=${t("frame.me", { name: mine.display_name })} class="frame-me" items=${[
    { label: t("frame.profile"), href: "/me", icon: "person" },
    { label: t("frame.time"), href: "/time", icon: "clock" },
    { label: t("frame.messages"), href: "/messages", icon: "mail" },
    { label: t("frame.keys"), do: help, icon: "help" },
    mine.global_role === "admin" && { label: t("frame.admin"), href: "/admin", icon: "gear", line: true },
    { label: t("frame.sign_out"), do: leave, icon: "exit", line: true },
  ]}><${Avatar} user=${mine} size=${24} /><//>`;
});

/** Shows the help of the keys: whoever has it listens for this event on the document, once it is here. */
async function help() {
  await dressed(import("./keys.js")).catch((error) => notice(sayError(error), { bad: true }));
  document.dispatchEvent(new CustomEvent("warmdesk-help"));
}

const Search = () => html`<form class="frame-search" role="search" onSubmit=${(event) => {
  event.preventDefault();
  const text = new FormData(event.currentTarget).get("q").trim();
  if (text) go(`/search?q=${encodeURIComponent(text)}`);
}}><${Icon} name="search" /><input type="search" name="q" aria-label=${t("frame.search")} placeholder=${t("frame.search")}
  key=${address.value} value=${address.value.startsWith("/search") ? (new URL(address.value, location.href).searchParams.get("q") ?? "") : ""} /></form>`;

/** What the bar under the header says: {kind: "off" | "ok" | "bad" | "calm", text, act, label}; `act` is
 * done by a button with `label`.
 */
export const Bar = ({ bar }) =>
  bar?.text
    ? html`<div class=${`frame-bar ${bar.kind ?? "calm"}`}><span>${bar.text}</span>${bar.act && html`<button type="button" class="button" onClick=${bar.act}>${bar.label}</button>`}</div>`
    : null;

const Own = live(() => html`<${Bar} bar=${user.bar.value} />`);

let shown = 0;

/** The frame of a page: its title, `tabs` ([{href, label, icon, on, n}]), `bar` (what the state bar says,
 * see `Bar`; without it that of one's own feed), `aside` beside the title, and the page. Each new page
 * takes the focus from what is gone.
 */
export const Frame = live(
  ({ title, tabs, bar, aside, mark, plain, children, wide }, self) => {
    const all = user.unread.value + user.unreadConversations.value;
    const name = settings.value.company_name || "WarmDesk";
    self.title = `${all ? `(${all}) ` : ""}${title ? `${title} · ` : ""}${name}`;
    if (self.mounted) document.title = self.title;
    return html`<div class=${`frame${tabs ? " tabbed" : ""}`}>
      <a class="frame-skip" href="#main" onClick=${(event) => {
        event.preventDefault();
        self.main.focus();
      }}>${t("frame.skip")}</a>
      <header class="frame-top">
        <a class="frame-home" href="/" aria-label=${t("frame.all_projects")}><i class="frame-mark" style=${mark ? { "--label": mark } : undefined} /></a>
        ${title && html`<h1>${title}</h1>`}<${Projects} />
        ${aside}
        <span class="grow" />
        <${Search} />
        <a class="frame-go narrow" href="/search" title=${t("frame.search")}><${Icon} name="search" /><span class="said">${t("frame.search")}</span></a>
        <${Mail} /><${Bell} />
        <${Button} kind="quiet" class="frame-help" icon="help" label=${t("frame.keys")} onClick=${help} />
        <${MyMenu} />
      </header>
      ${tabs && html`<div class="frame-tabs"><${Tabs} items=${tabs} label=${title} /></div>`}
      <div class="frame-state" role="status">${bar === undefined ? html`<${Own} />` : bar?.text ? html`<${Bar} bar=${bar} />` : bar}</div>
      <main id="main" tabindex="-1" ref=${(element) => element && (self.main = element)} class=${`${plain ? "plain" : ""}${wide ? " wide" : ""}`}>${children}</main>
    </div>`;
  },
  (self) => {
    self.mounted = true;
    document.title = self.title;
    const held = document.activeElement;
    if ((shown += 1) > 1 && (!held || held === document.body)) self.main.focus({ preventScroll: true });
  },
);

const AWAY = {
  forbidden: () => [t("frame.forbidden"), t("frame.forbidden_text"), "lock"],
  missing: () => [t("frame.missing"), t("frame.missing_text"), "search"],
  removed: () => [t("frame.removed"), t("frame.removed_text"), "lock"],
  signed_out: () => [t("frame.signed_out"), t("frame.signed_out_text"), "lock"],
  error: () => [t("frame.error"), t("frame.error_text"), "warn"],
};

/** What `Away` of this kind says first. */
export const awayTitle = (kind) => (AWAY[kind] ?? AWAY.error)()[0];

/** The page in place of one that cannot be shown: `kind` forbidden, missing, removed, error; `text` in
 * place of its words, `again` what "try again" does.
 */
export const Away = ({ kind = "error", text, again }) => {
  const [title, words, icon] = (AWAY[kind] ?? AWAY.error)();
  return html`<div class="away"><${Empty} title=${title} text=${text ?? words} icon=${icon}>
    ${again && html`<${Button} kind="main" onClick=${again}>${t("ui.retry")}<//>`}
    <a class=${`button${again ? "" : " main"}`} href="/">${t("frame.all_projects")}</a>
  <//></div>`;
};

/** The kind of `Away` that an error means. */
export const awayOf = (error) => ({ 403: "forbidden", 404: "missing" })[error?.status] ?? "error";
