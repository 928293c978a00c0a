/* What happened to a card, in words. */
import { ago, dateTime, day, duration } from "./format.js";
import { wears } from "./sheets.js";
import { Avatar, Icon } from "./ui.js";
import { html } from "./view.js";
import { t } from "./words.js";

wears("board.css");

const KNOWN = new Set([
  "archived", "assigned", "attachment_added", "attachment_removed", "checklist_added", "checklist_completed", "checklist_removed",
  "checklist_reopened", "closed", "column_move", "comment_added", "created", "deleted", "description_changed", "due_date_changed",
  "label_added", "label_removed", "link_added", "link_removed", "priority_changed", "project_moved", "reopened", "restored",
  "start_date_changed", "tag_added", "tag_removed", "time_logged", "title_changed", "unarchived", "unassigned",
]);
const ICONS = {
  column_move: "move", comment_added: "chat", time_logged: "clock", attachment_added: "attach", checklist_added: "check",
  checklist_completed: "check", created: "add", closed: "check", archived: "archive", deleted: "trash", label_added: "tag", label_removed: "tag",
};

/** A fact of a card's history as a sentence without its subject. */
export function sayFact(fact) {
  const { event_type: type, detail, from_value: from, to_value: to } = fact;
  if (type.endsWith("_date_changed")) {
    return to ? t(`history.${type}`, { date: day(to) }) : t("history.date_removed");
  }
  if (type === "priority_changed") return t("history.priority_changed", { level: t(`card.priority_${to || "none"}`) });
  if (type === "title_changed") return t("history.title_changed", { from, to });
  if (type === "time_logged") return t("history.time_logged", { time: /^\d+$/.test(detail) ? duration(Number(detail)) : detail }).trim();
  if (type === "column_move") return t("history.column_move", { from: fact.from_column ?? "?", to: fact.to_column ?? "?" });
  if (type === "created" || !KNOWN.has(type)) return t("history.created");
  return t(`history.${type}`, { what: detail });
}

/** A fact in a list: who, what, when; `card` is the link to the card it is about, where that is not clear. */
export const Fact = ({ fact, card }) => {
  const user = fact.user;
  return html`<li class="fact">
    ${user ? html`<${Avatar} user=${user} size=${24} />` : html`<span class="fact-bot"><${Icon} name="link" /></span>`}
    <p dir="auto">${card && html`<span class="fact-of">${card}</span>`}<b>${user?.display_name ?? t("history.webhook")}</b> ${sayFact(fact)}</p>
    <${Icon} name=${ICONS[fact.event_type] ?? "edit"} />
    <time datetime=${fact.created_at} title=${dateTime(fact.created_at)}>${ago(fact.created_at)}</time>
  </li>`;
};
