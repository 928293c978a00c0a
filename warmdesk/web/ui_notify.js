/* Notifications in words, and how the page tells them: at its edge, or by the system while it is hidden. */
import { address, go } from "./address.js";
import { me } from "./identity.js";
import { placeOfNotification } from "./places.js";
import { notice } from "./ui_notice.js";
import { user } from "./user_store.js";
import { effect } from "./view.js";
import { t } from "./words.js";

const SAID = {
  mention: (who) => t("notify.mention", who),
  assigned: (who) => t("notify.assigned", who),
  assigned_moved: (who) => t("notify.assigned_moved", who),
  assigned_commented: (who) => t("notify.assigned_commented", who),
  watched_updated: (who) => t("notify.watched_updated", who),
  topic_reply: (who) => t("notify.topic_reply", who),
  dm: (who) => t("notify.dm", who),
  due: (who) => t("notify.due", who),
  project_added: (who) => t("notify.project_added", who),
};
const TOLD = new Set(["mention", "assigned", "dm", "due", "project_added"]);

/** What happened, in one sentence. */
export function sayNotification(one) {
  const who = one.actor?.display_name ?? one.project?.name ?? "WarmDesk";
  const what = one.card ? `${one.card.key} ${one.card.title ?? one.title ?? ""}`.trim() : (one.title ?? "");
  return (SAID[one.kind] ?? SAID.watched_updated)({ who, what });
}

const isMuted = (one) =>
  one.conversation_id
    ? user.conversations.peek()?.find((each) => each.id === one.conversation_id)?.muted
    : one.project && user.projects.peek().find((each) => each.slug === one.project.slug)?.muted;

const pathOf = (address) => address.split("?")[0];

const isOpen = (one) => {
  const here = pathOf(address.peek());
  if (here === "/notifications" && !one.conversation_id) return true;
  return here === pathOf(placeOfNotification(one));
};

/** Whether the system may show notifications: "on", "off", "ask", or null where there are none. */
export function systemState() {
  if (!("Notification" in globalThis) || !isSecureContext) return null;
  return { granted: "on", denied: "off" }[Notification.permission] ?? "ask";
}

/** Tells of a new notification, unless it is muted or what it is about is open. */
function announce(one) {
  if (isMuted(one)) return;
  if (document.hidden) {
    if (systemState() === "on") bySystem(one);
  } else if (TOLD.has(one.kind) && !isOpen(one)) {
    notice(sayNotification(one), { undo: () => go(placeOfNotification(one)), word: t("notify.open") });
  }
}

async function bySystem(one) {
  const choices = { body: one.body ?? "", tag: `warmdesk-${one.id}`, data: { url: placeOfNotification(one) } };
  try {
    const worker = await navigator.serviceWorker?.getRegistration();
    if (worker?.active) return await worker.showNotification(sayNotification(one), choices);
    const shown = new Notification(sayNotification(one), choices);
    shown.onclick = () => {
      window.focus();
      go(placeOfNotification(one));
      shown.close();
    };
  } catch {
    // Some systems have the interface and refuse to use it: the bell counts all the same.
  }
  return undefined;
}

// A notification of the system was clicked.
navigator.serviceWorker?.addEventListener("message", ({ data }) => data?.go && go(data.go));

user.listen("notification", ({ type, payload }) => type === "notification" && announce(payload));

// What was told to one person is not shown to the next.
let told = null;
effect(() => {
  if (told && !me.value) {
    navigator.serviceWorker?.getRegistration().then((worker) => worker?.getNotifications()).then(
      (all) => all?.forEach((one) => one.close()),
      () => {},
    );
  }
  told = me.value;
});

// The number on the icon of the installed page.
effect(() => {
  const n = user.unread.value + user.unreadConversations.value;
  if (navigator.setAppBadge) (n ? navigator.setAppBadge(n) : navigator.clearAppBadge()).catch(() => {});
});
