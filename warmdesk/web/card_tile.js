/* A card as it lies on the board. */
import { day, duration, today } from "./format.js";
import { Avatar, Chip } from "./ui.js";
import { html, live } from "./view.js";
import { t } from "./words.js";

const FACES = 3;
// What is longer is cut where it has no room. What clips its content is a part of its own to whoever paints:
// some of them in each of a thousand cards cost more than all else.
const LINES = 40;
const WORD = 20;
const PRIORITIES = { low: 1, medium: 2, high: 3, critical: 4 };

/** Whether a date has passed ("late"), is today ("soon"), or neither (""). */
export const urgency = (date, closed) => {
  if (!date || closed) return "";
  const now = today();
  return date < now ? "late" : date === now ? "soon" : "";
};

/** A card's priority as a sign of four bars. */
export const Priority = ({ level }) =>
  PRIORITIES[level] ? html`<i class=${`prio p${PRIORITIES[level]}`} role="img" aria-label=${t(`card.priority_${level}`)} title=${t(`card.priority_${level}`)} />` : null;

const Faces = ({ store, ids }) => {
  const people = ids.slice(0, FACES).map((id) => store.people.get(id));
  const names = people.map((one) => one.display_name).join(", ");
  return html`<span class="tile-faces" role="img" aria-label=${t("card.assigned_to", { names })}>
    ${people.map((one) => html`<${Avatar} key=${one.id} user=${one} size=${20} />`)}
    ${ids.length > FACES && html`<small>+${ids.length - FACES}</small>`}</span>`;
};

/** One card. It reads its own signals alone: another's change does not render it. */
export const Tile = live(({ store, id }) => {
  const card = store.seen(id);
  if (!card) return null;
  const wishes = store.intents.of(id).value;
  const mark = store.marks.of(id).value;
  const labels = store.labels.value;
  const isNew = id < 0;
  const key = isNew ? "" : store.key(card);
  const late = urgency(card.due_date, card.closed);
  const chosen = mark.startsWith("chosen");
  const title = card.title.length > LINES ? "tile-title long" : "tile-title";
  const shown = card.label_ids.map((one) => labels.get(one)).filter(Boolean);
  return html`<li class=${`tile${card.closed ? " closed" : ""}${wishes.length ? " wish" : ""}${mark ? ` ${mark}` : ""}`} data-card=${id}>
    ${shown.length > 0 && html`<div class="tile-labels">${shown.map((one) => html`<${Chip} key=${one.id} color=${one.color} long=${one.name.length > WORD}>${one.name}<//>`)}</div>`}
    ${isNew
      ? html`<span class=${title}>${card.title}</span>`
      : html`<a class=${title} href=${`/p/${store.slug}/c/${key}`} draggable="false" tabindex="-1" dir="auto"
          aria-roledescription=${chosen ? t("board.chosen") : undefined}>${card.title}</a>`}
    <div class="tile-facts"><span class="tile-key">${isNew ? t("board.making") : key}</span>
      <${Priority} level=${card.priority} />
      ${card.due_date && html`<time class=${`due ${late}`} datetime=${card.due_date}>${late === "late" && html`<span class="said">${t("card.overdue")}</span>`}${day(card.due_date)}</time>`}
      ${card.has_description && html`<i class="sign text" title=${t("card.has_text")} />`}
      ${card.comment_count > 0 && html`<span class="tile-n" title=${t("card.n_comments", { n: card.comment_count })}><i class="sign chat" />${card.comment_count}</span>`}
      ${card.checklist_total > 0 && html`<span class="tile-n" title=${t("card.checklist")}><i class="sign check" />${card.checklist_done ?? 0}/${card.checklist_total}</span>`}
      ${card.attachment_count > 0 && html`<span class="tile-n" title=${t("card.n_files", { n: card.attachment_count })}><i class="sign attach" />${card.attachment_count}</span>`}
      ${card.time_spent_minutes > 0 && html`<span class="tile-n" title=${t("card.time")}><i class="sign clock" />${duration(card.time_spent_minutes)}</span>`}
      ${card.tags.map((tag) => html`<span key=${tag} class=${tag.length > WORD ? "tile-tag long" : "tile-tag"}>#${tag}</span>`)}
      ${card.assignee_ids.length > 0 && html`<${Faces} store=${store} ids=${card.assignee_ids} />`}
    </div>
    ${!isNew && html`<button type="button" class="tile-more" tabindex="-1" aria-haspopup="menu" aria-label=${t("board.menu_of", { key })} />`}
  </li>`;
});
