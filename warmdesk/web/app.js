/* The start: who is signed in, in which language and look, and which page shows at which address. */
import { address, go } from "./address.js";
import { wear } from "./appearance.js";
import { ask, enrolling, me, meIs, refresh, settings } from "./identity.js";
import { request } from "./api.js";
import { isNewer, renew, watchRelease } from "./release.js";
import { dressed } from "./sheets.js";
import { Button, Empty, Failed, Toasts, notice } from "./ui.js";
import { user } from "./user_store.js";
import { afterRender, effect, html, live, render, signal, untracked } from "./view.js";
import { language, preferred, speak, t } from "./words.js";

/** Every address, and the file of its page: a default export, a live component whose props are the
 * address's named parts. The server reads this table too, a line at a time.
 */
export const PAGES = [
  ["/", () => import("./projects.js")],
  ["/p/{slug}", () => import("./board.js")],
  ["/p/{slug}/c/{card}", () => import("./board.js")],
  ["/p/{slug}/chat", () => import("./chat.js")],
  ["/p/{slug}/topics", () => import("./topics.js")],
  ["/p/{slug}/topics/{topic}", () => import("./topics.js")],
  ["/p/{slug}/activity", () => import("./activity.js")],
  ["/p/{slug}/settings", () => import("./project_settings.js")],
  ["/p/{slug}/settings/{part}", () => import("./project_settings.js")],
  ["/messages", () => import("./messages.js")],
  ["/messages/{conversation}", () => import("./messages.js")],
  ["/notifications", () => import("./notifications.js")],
  ["/search", () => import("./search.js")],
  ["/time", () => import("./time.js")],
  ["/time/{part}", () => import("./time.js")],
  ["/me", () => import("./me.js")],
  ["/me/{part}", () => import("./me.js")],
  ["/admin", () => import("./admin.js")],
  ["/admin/{part}", () => import("./admin.js")],
  ["/sign-in", () => import("./sign_in.js")],
  ["/register", () => import("./register.js")],
  ["/forgot-password", () => import("./forgot.js")],
  ["/reset-password", () => import("./reset.js")],
  ["/invitations/{token}", () => import("./invitation.js")],
];
/** Addresses of people who are not signed in; at all others they find the sign-in. */
const OPEN = /^\/(sign-in|register|forgot-password|reset-password|invitations)(?=[/?]|$)/;

const signIn = () => import("./sign_in.js");
const must = () => import("./must.js");
const nowhere = () => import("./nowhere.js");

const ROUTES = PAGES.map(([path, get]) => [
  new RegExp(`^${path.replace(/\{(\w+)\}/g, "(?<$1>[^/]+)")}/?$`),
  get,
]);

/** What shows at an address: how its file is fetched, and its parts. */
function routeOf(where) {
  const path = where.replace(/[?#].*/, "");
  for (const [pattern, get] of ROUTES) {
    const found = pattern.exec(path);
    if (found) return { get, props: plain(found.groups ?? {}) };
  }
  return { get: nowhere, props: {} };
}

function plain(groups) {
  const parts = {};
  for (const name in groups) {
    try {
      parts[name] = decodeURIComponent(groups[name]);
    } catch {
      parts[name] = groups[name];
    }
  }
  return parts;
}

/** What is to be shown now; who is not signed in, or has to do something first, sees that instead. */
function wanted() {
  const route = routeOf(address.value);
  const isOpen = OPEN.test(address.value);
  if (!me.value) return { ...(isOpen ? route : { get: signIn, props: {} }), of: null };
  const mustEnrol = settings.value.mfa_required && (!me.value.totp_enabled || enrolling.value);
  const of = me.value.id;
  if (me.value.must_change_password || mustEnrol) return { get: must, props: {}, of };
  return { ...route, of: isOpen ? null : of };
}

const state = signal("starting"); // starting, ready, away
const trouble = signal(null);
const shown = signal(null); // {Page, props, of}: `of` is whose page it is, null for the doors
let turn = 0;

/** Fetches the page of the address and shows it; until it is there, and its style, the one before stays. */
async function open({ get, props, of }) {
  const mine = (turn += 1);
  try {
    const { default: Page } = await dressed(get());
    if (mine !== turn) return;
    const before = shown.peek()?.Page;
    trouble.value = null;
    shown.value = { Page, props, of };
    if (before !== Page) afterRender(holdFocus);
  } catch (error) {
    if (!(await renew()) && mine === turn) trouble.value = error;
  }
}

/** A page that is gone leaves the focus nowhere: then the new one has it. */
function holdFocus() {
  const held = document.activeElement;
  if (held && held !== document.body) return;
  document.querySelector("[autofocus], main")?.focus({ preventScroll: true });
}

/** What stands there when nothing else can. */
const Trouble = ({ title, again }) => html`<main class="away" tabindex="-1">
  <${Empty} icon="warn" title=${title}><${Failed} error=${trouble.value} again=${again} /><//></main>`;

const Newer = live(() =>
  isNewer.value
    ? html`<div class="door-newer" role="status"><span>${t("door.newer")}</span>
        <${Button} kind="main" onClick=${() => location.reload()}>${t("door.reload")}<//>
        <${Button} kind="quiet" icon="close" label=${t("door.later")} onClick=${() => (isNewer.value = false)} /></div>`
    : null,
);

const Root = live(() => {
  if (state.value === "starting") return null;
  if (state.value === "away") {
    return html`<${Trouble} title=${t("door.away")} again=${start} />`;
  }
  const page = shown.value;
  if (trouble.value) {
    return html`<${Trouble} title=${t("door.no_page")} again=${() => location.reload()} />`;
  }
  // Whose page it was is gone: nothing of it stays, while the next one comes.
  if (!page || (page.of !== null && page.of !== me.value?.id)) return null;
  const { Page, props } = page;
  return html`<${Page} key=${props.slug ?? ""} ...${props} /><${Newer} /><${Toasts} />`;
});

/** What the server says of itself to whoever is not signed in. */
async function lookAround() {
  const { data } = await ask("GET", "/system/settings");
  settings.value = { ...settings.peek(), ...data };
  if (data.first_account && !address.peek().startsWith("/register")) go("/register", { replace: true });
}

/** All that is known at the start of somebody who is signed in. */
async function begin() {
  const { data: found, headers } = await request("GET", "/bootstrap");
  settings.value = found.settings;
  if (me.peek()?.id === found.user.id) meIs(found.user);
  else me.value = found.user;
  return { ...found, seq: Number(headers.get("Warmdesk-Seq")), epoch: headers.get("Warmdesk-Epoch") };
}

/** Says that messages wait which were written before a reload, and leads to them. */
async function sayUnsent() {
  if (!Object.keys(sessionStorage).some((name) => name.startsWith("warmdesk.outbox."))) return;
  const { unsentElsewhere } = await import("./outbox.js");
  const [first, ...others] = unsentElsewhere();
  if (!first) return;
  const show = () => {
    go(first.at);
    sayUnsent();
  };
  notice(t("talk.unsent", { n: others.length + 1 }), { undo: show, word: t("talk.show_unsent") });
}

async function start() {
  trouble.value = null;
  try {
    const words = speak(preferred());
    const isIn = await refresh().catch((error) => {
      if (error.status === 401) return false;
      throw error;
    });
    await words;
    if (!isIn) await lookAround();
    state.value = "ready";
  } catch (error) {
    trouble.value = error;
    state.value = "away";
  }
}

// One person after another may sign in here: each has a store, a language and a look of their own.
let present = null;
effect(() => {
  if (state.value !== "ready") return;
  const id = me.value?.id ?? null;
  if (id === present) return;
  const was = present;
  present = id;
  untracked(() => {
    if (id !== null) {
      const known = begin();
      known.then(sayUnsent).catch(() => {}); // whoever needs it says so
      dressed(import("./keys.js")).catch(() => {}); // each page has them
      user.start(known);
    } else if (was !== null) {
      user.stop();
      lookAround().catch(() => {});
    }
  });
});
effect(() => {
  const wished = me.value?.locale;
  if (wished && wished !== language.peek()) speak(wished).catch(() => {});
});
effect(() => wear(me.value ?? settings.value));
effect(() => {
  if (state.value !== "ready") return;
  const route = wanted();
  untracked(() => open(route));
});

watchRelease();
if ("serviceWorker" in navigator) import("./register_worker.js");
render(html`<${Root} />`, document.getElementById("app"));
start();
