/* Outgoing webhooks of a project: addresses to which its events are sent. */
import { call } from "./api.js";
import { FormEnd, kept, sends } from "./forms.js";
import { dateTime } from "./format.js";
import { Dialog, Field, Loading, Picker, load } from "./ui.js";
import { html, live } from "./view.js";
import { t } from "./words.js";

/** Types of a project's events that programs ask for; those of a webhook that are not here stay in it. */
const EVENTS = [
  "board.card_created", "board.card_updated", "board.card_moved", "board.card_deleted", "board.card_restored",
  "board.cards_reordered",
  "board.column_created", "board.column_updated", "board.column_deleted", "board.columns_reordered",
  "board.label_created", "board.label_updated", "board.label_deleted",
  "board.comment_created", "board.comment_updated", "board.comment_deleted",
  "board.checklist_item_created", "board.checklist_item_updated", "board.checklist_item_deleted", "board.checklist_reordered",
  "board.link_created", "board.link_updated", "board.link_deleted", "board.attachment_added", "board.attachment_removed",
  "chat.message", "chat.message_updated", "chat.message_deleted", "chat.reaction_updated",
  "topic.created", "topic.updated", "topic.deleted", "topic.reply_created", "topic.reply_updated", "topic.reply_deleted",
  "project.updated", "project.archived", "project.unarchived",
  "project.member_added", "project.member_updated", "project.member_removed", "project.guest_updated",
  "gone",
];
const ALL = "*";

/** Asks for an outgoing webhook, a new one or one that is there. */
const Edit = live(({ path, hook, close, done }, self) => {
  const events = hook.events ?? [ALL];
  const form = kept(self, "form", () => ({ name: hook.name ?? "", url: hook.url ?? "", all: events.includes(ALL), events: events.filter((one) => one !== ALL) }));
  const { all, events: chosen } = form.values.value;
  const send = async () => {
    const { name, url, all, events: chosen } = form.values.peek();
    const body = { name: name.trim(), url: url.trim(), events: all ? [ALL] : chosen };
    const answer = await form.send(() => hook.id ? call("PUT", `${path}/${hook.id}`, body) : call("POST", path, body, { key: form.key(body) }));
    if (answer) done(answer);
  };
  const options = [...new Set([...EVENTS, ...chosen])].map((value) => ({ value, label: value }));
  return html`<${Dialog} title=${hook.id ? t("project_settings.outgoing_edit") : t("project_settings.outgoing_new")} close=${close}>
    <form class="forms sheet-body" onSubmit=${sends(send)}>
      <${Field} ...${form.field("name")} label=${t("project_settings.hook_name")} maxlength="100" required autofocus autocomplete="off" />
      <${Field} ...${form.field("url")} kind="url" label=${t("project_settings.hook_url")} maxlength="2000" required placeholder="https://example.org/hook" />
      <${Field} kind="check" label=${t("project_settings.events_all")} value=${all} onInput=${(value) => form.set("all", value)} />
      ${!all && html`<div class="forms-picks"><${Picker} many label=${t("project_settings.events")} none=${t("project_settings.events_choose")} value=${chosen}
        options=${options} onChange=${(list) => form.set("events", list)} /></div>`}
      <${FormEnd} form=${form} cancel=${close} off=${() => !form.get("name").trim() || !form.get("url").trim() || (!form.get("all") && !form.get("events").length)} />
    </form><//>`;
});

/** The last tries, and the way to begin again from an event on. */
const Log = live(({ path, hook, close, again }, self) => {
  const held = load(self, "list", () => call("GET", `${path}/${hook.id}/deliveries`));
  const form = kept(self, "form", () => ({ since: String(hook.seq) }));
  const replay = async () => {
    if (!(await form.send(() => call("POST", `${path}/${hook.id}/replay`, { since: Number(form.get("since")) })))) return;
    again();
    held.peek().again();
  };
  return html`<${Dialog} title=${t("project_settings.deliveries_of", { name: hook.name })} close=${close} wide>
    <div class="sheet-body">
      <form class="forms" onSubmit=${sends(replay)}>
        <${Field} ...${form.field("since")} kind="number" min="0" class="forms-short" label=${t("project_settings.replay_since")} hint=${t("project_settings.replay_hint")} />
        <${FormEnd} form=${form} kind="" word=${t("project_settings.replay")} off=${() => form.get("since") === ""} /></form>
      <${Loading} of=${held}>${(list) => list.length
        ? html`<ul class="page-rows">${list.map((one) => html`<li key=${`${one.webhook_id} ${one.attempt} ${one.tried_at}`} class="page-row">
            <b class=${one.status >= 200 && one.status < 300 ? "settings-status ok" : "settings-status bad"}>${one.status ?? "–"}</b>
            <span class="grow"><code class="page-name">${one.webhook_id}</code>
              <small class="page-fact">${dateTime(one.tried_at)} · ${one.attempt
                ? `${t("project_settings.attempt", { n: one.attempt })} · ${one.duration_ms} ms`
                : t("project_settings.passed_over", { seq: one.seq })}${one.reason ? ` · ${one.reason}` : ""}
                ${one.next_at ? ` · ${t("project_settings.next_try", { time: dateTime(one.next_at) })}` : ""}</small></span></li>`)}</ul>`
        : html`<p class="page-note">${t("project_settings.deliveries_none")}</p>`}<//>
    </div><//>`;
});

const stateOf = (hook) => {
  if (!hook.enabled) return t("project_settings.is_off");
  if (hook.state === "retrying") return t("project_settings.retrying", { ago: hook.next_at ? dateTime(hook.next_at) : "" });
  return hook.state === "parked" ? t("project_settings.parked") : t("project_settings.state_ok");
};

/** The addresses that a project's events go to, as `HookList` wants them. */
export const OUTGOING = {
  path: "outgoing-webhooks",
  icon: "send",
  words: () => ({
    title: t("project_settings.outgoing"), make: t("project_settings.outgoing_new"), text: t("project_settings.outgoing_text"),
    none: t("project_settings.outgoing_none"), noneText: t("project_settings.outgoing_none_text"),
  }),
  Edit,
  Log,
  facts: (hook) => html`<span class="page-fact">${hook.url}</span>
    <small class=${hook.state === "ok" ? "page-fact" : "page-fact warn"}>${stateOf(hook)} · ${hook.events.includes(ALL)
      ? t("project_settings.events_all") : t("project_settings.events_n", { n: hook.events.length })}</small>`,
  once: (answer) => answer.secret && { text: t("project_settings.outgoing_once"), label: t("project_settings.secret"), value: answer.secret },
};
