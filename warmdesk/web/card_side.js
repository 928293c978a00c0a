/* The facts of a card beside its text: column, people, labels, dates, who watches. */
import { changeCard, changeLabels, changePeople } from "./actions.js";
import { call, newKey } from "./api.js";
import { urgency } from "./card_tile.js";
import { columnOptions, labelOptions, peopleOptions } from "./choices.js";
import { dateTime, duration } from "./format.js";
import { me } from "./identity.js";
import { Avatar, Button, Chip, Field, Icon, Picker, Pile, notice, sayError } from "./ui.js";
import { DateField } from "./ui_date.js";
import { html, live, signal } from "./view.js";
import { t } from "./words.js";

const PRIORITIES = ["none", "low", "medium", "high", "critical"];
const COLORS = ["#2563c9", "#0f766e", "#96600b", "#b3261e", "#6d28d9", "#a21caf", "#1b7f4d", "#c2410c"];
const bad = (error) => notice(sayError(error), { bad: true });

const Fact = ({ label, children }) => html`<div class="card-fact"><h4>${label}</h4>${children}</div>`;

const Tags = live(({ card, seen, canWrite }, self) => {
  const typed = (self.typed ??= signal(""));
  const { board } = card;
  const change = async (tags, body) => card.answered(await changeCard(board, card.id, body, { tags }));
  const add = () => {
    const names = typed.peek().split(",").map((one) => one.trim().replace(/^#+/, "").trim().toLowerCase()).filter(Boolean);
    const fresh = [...new Set(names)].filter((one) => !seen.tags.includes(one));
    typed.value = "";
    if (fresh.length) change([...seen.tags, ...fresh], { add_tags: fresh });
  };
  const pressed = (event) => {
    if ((event.key === "Enter" || event.key === ",") && !event.isComposing) {
      event.preventDefault();
      add();
    } else if (event.key === "Backspace" && !typed.peek() && seen.tags.length) {
      const last = seen.tags.at(-1);
      change(seen.tags.slice(0, -1), { remove_tags: [last] });
    }
  };
  return html`<div class="card-tags">${seen.tags.map((tag) => html`<span key=${tag} class="card-tag">#${tag}${canWrite && html`<button type="button" aria-label=${t("card.remove_tag", { tag })}
      onClick=${() => change(seen.tags.filter((one) => one !== tag), { remove_tags: [tag] })}>×</button>`}</span>`)}
    ${canWrite && html`<input type="text" maxlength="100" aria-label=${t("card.add_tag")} placeholder=${t("card.add_tag")} value=${typed.value}
      onInput=${(event) => (typed.value = event.currentTarget.value)} onKeyDown=${pressed} onBlur=${add} />`}
    ${!canWrite && !seen.tags.length && html`<span class="faint">${t("ui.none")}</span>`}</div>`;
});

const Watchers = live(({ card }) => {
  const watchers = card.watchers.value;
  const watching = card.watching.value;
  const toggle = async () => {
    const before = [card.watching.peek(), card.watchers.peek()];
    const mine = me.peek();
    card.watching.value = !watching;
    card.watchers.value = watching ? watchers.filter((one) => one.id !== mine.id) : [...watchers, mine];
    try {
      await call(watching ? "DELETE" : "POST", `${card.path}/watch`, watching ? undefined : {});
    } catch (error) {
      [card.watching.value, card.watchers.value] = before;
      bad(error);
    }
  };
  card.toggleWatch = toggle;
  return html`<div class="row wrap"><${Button} kind="quiet" aria-pressed=${String(watching)} onClick=${toggle}><${Icon} name="eye" />${watching ? t("card.unwatch") : t("card.watch")}<//>
    <${Pile} users=${watchers} max=${5} size=${20} label=${t("card.watchers")} /></div>`;
});

/** The aside of a card's dialog. */
export const CardSide = live(({ board, card, canWrite }) => {
  const { store } = board;
  const seen = card.seen;
  const labels = store.labels.value;
  const change = async (body, fields) => card.answered(await changeCard(store, card.id, body, fields));
  const setPeople = async (ids) => card.answered(await changePeople(store, card.id, ids, seen.assignee_ids));
  const setLabels = async (ids) => card.answered(await changeLabels(store, card.id, ids, seen.label_ids));
  const makeLabel = async (name) => {
    try {
      const label = await call("POST", `${store.path}/labels`, { name, color: COLORS[labels.size % COLORS.length] }, { key: newKey() });
      setLabels([...card.seen.label_ids, label.id]);
    } catch (error) {
      bad(error);
    }
  };
  const people = seen.assignee_ids.map((id) => store.people.get(id));
  const shownLabels = seen.label_ids.map((id) => labels.get(id) ?? card.facts.value.labels.find((one) => one.id === id)).filter(Boolean);
  const faces = html`<span class="card-people">${people.length ? people.map((one) => html`<span key=${one.id}><${Avatar} user=${one} size=${20} />${one.display_name}</span>`) : html`<span class="faint">${t("card.nobody")}</span>`}</span>`;
  const chips = html`<span class="card-labels">${shownLabels.length ? shownLabels.map((one) => html`<${Chip} key=${one.id} color=${one.color}>${one.name}<//>`) : html`<span class="faint">${t("card.no_labels")}</span>`}</span>`;
  const late = urgency(seen.due_date, seen.closed);
  const wrong = seen.start_date && seen.due_date && seen.due_date < seen.start_date;
  return html`<aside class="card-side">
    <${Fact} label=${t("board.column")}>${canWrite && store.cards.get(card.id)
      ? html`<${Field} kind="select" bare label=${t("board.column")} value=${seen.column_id} options=${columnOptions(store)}
          onInput=${(value) => board.move(card.id, Number(value), Infinity)} />`
      : html`<p>${store.cols.get(seen.column_id)?.col.value.name ?? seen.column_name}</p>`}<//>
    <${Fact} label=${t("card.people")}>${canWrite
      ? html`<${Picker} many class="card-pick people" label=${t("card.people")} options=${peopleOptions(store)} value=${seen.assignee_ids} onChange=${setPeople}>${faces}<//>`
      : faces}<//>
    <${Fact} label=${t("board.labels")}>${canWrite
      ? html`<${Picker} many class="card-pick labels" label=${t("board.labels")} options=${labelOptions(store)} value=${seen.label_ids} onChange=${setLabels} make=${makeLabel}>${chips}<//>`
      : chips}<//>
    <${Fact} label=${t("card.tags")}><${Tags} card=${card} seen=${seen} canWrite=${canWrite} /><//>
    <${Fact} label=${t("card.priority")}>${canWrite
      ? html`<${Field} kind="select" bare label=${t("card.priority")} value=${seen.priority} options=${PRIORITIES.map((value) => ({ value, label: t(`card.priority_${value}`) }))} onInput=${(priority) => change({ priority })} />`
      : html`<p>${t(`card.priority_${seen.priority}`)}</p>`}<//>
    <div class=${`card-dates ${late}`}>
      <${DateField} class="card-start" label=${t("card.start")} disabled=${!canWrite} value=${seen.start_date} onChange=${(start_date) => change({ start_date })} />
      <${DateField} class="card-due" label=${t("card.due")} disabled=${!canWrite} value=${seen.due_date} error=${wrong ? t("card.due_before_start") : undefined}
        onChange=${(due_date) => change({ due_date })} />
    </div>
    <${Fact} label=${t("card.time")}><p class="number">${duration(seen.time_spent_minutes ?? 0)} h</p><//>
    <${Fact} label=${t("card.watchers")}><${Watchers} card=${card} /><//>
    <p class="card-made faint">${t("card.made", { who: card.facts.value.created_by?.display_name ?? t("history.webhook"), when: dateTime(seen.created_at) })}</p>
  </aside>`;
});
