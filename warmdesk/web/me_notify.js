/* Of what I am told, and how; and the calendar of my due dates. */
import { call } from "./api.js";
import { copy } from "./factor.js";
import { me } from "./identity.js";
import { change, Section } from "./me_parts.js";
import { Button, Field, confirm, notice, sayError } from "./ui.js";
import { html, live, signal } from "./view.js";
import { t } from "./words.js";

const KINDS = ["mention", "assigned", "assigned_moved", "assigned_commented", "watched_updated", "topic_reply", "dm", "due", "project_added"];
const HOW = ["off", "app", "mail"];

const Calendar = live((_, self) => {
  self.url ??= signal(null);
  self.busy ??= signal(false);
  const run = (deed) => async () => {
    self.busy.value = true;
    try {
      await deed();
    } catch (error) {
      notice(sayError(error), { bad: true });
    }
    self.busy.value = false;
  };
  const renew = run(async () => (self.url.value = (await call("POST", "/users/me/calendar", {})).url));
  const end = run(async () => {
    if (!(await confirm(t("me.calendar_end_sure"), { danger: true, word: t("me.calendar_end") }))) return;
    await call("DELETE", "/users/me/calendar");
    self.url.value = null;
    notice(t("me.calendar_ended"));
  });
  const url = self.url.value;
  return html`<${Section} title=${t("me.calendar")} text=${t("me.calendar_text")} foot=${html`
      <${Button} onClick=${renew} busy=${self.busy.value}>${t("me.calendar_new")}<//>
      <${Button} kind="quiet" onClick=${end} busy=${self.busy.value}>${t("me.calendar_end")}<//>`}>
    ${url && html`<div class="me-secret" role="status"><code tabindex="0">${url}</code>
      ${navigator.clipboard && html`<${Button} onClick=${() => copy(url)}>${t("ui.copy")}<//>`}<p>${t("me.once")}</p></div>`}
  <//>`;
});

/** Each kind of news: not at all, here, or by mail too. */
export const Notifications = live(() => {
  const mine = me.value;
  const set = (kind) => (how) => change({ notify: { ...mine.notify, [kind]: how } });
  return html`<${Section} title=${t("me.notifications")} text=${t("me.notifications_text")}>
      <${Field} kind="check" label=${t("me.mails")} value=${mine.email_notifications}
        onInput=${(on) => change({ email_notifications: on })} />
      <div class="me-rows">${KINDS.map(
        (kind) => html`<${Field} key=${kind} kind="select" label=${t(`me.kind_${kind}`)} value=${mine.notify[kind]} class="me-row"
          options=${HOW.map((value) => ({ value, label: t(`me.how_${value}`) }))} onInput=${set(kind)} />`,
      )}</div>
    <//>
    <${Calendar} />`;
});
