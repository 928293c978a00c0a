/* What I wrote down lately, day by day, and the way to write down more. */
import { call } from "./api.js";
import { day, duration } from "./format.js";
import { PageList, pages } from "./pages.js";
import { TimeEntry } from "./time_entry.js";
import { Button, Empty, reload } from "./ui.js";
import { user } from "./user_store.js";
import { html, live, signal } from "./view.js";
import { t } from "./words.js";

const SOON_MS = 300;
const FIRST = "/time-entries?limit=50";

const newestFirst = (one, other) => other.date.localeCompare(one.date) || other.id - one.id;

/** What a time went into, as a link where it leads somewhere. */
export function EntryAbout({ entry }) {
  const { card, project, description } = entry;
  const slug = project?.slug;
  const isSeen = project?.name !== null;
  return html`<span class="time-about">
    ${card && (isSeen && !card.deleted
      ? html`<a href=${`/p/${slug}/c/${card.key}`}><span class="time-key">${card.key}</span> ${card.title}</a>`
      : html`<span class="time-key">${card.key}</span>`)}
    ${!card && project && (isSeen ? html`<a href=${`/p/${slug}`}>${project.name}</a>` : html`<span>${slug}</span>`)}
    ${description && html`<span class="time-text">${description}</span>`}
    ${!card && !project && !description && html`<span class="time-text">${t("time.of_nothing")}</span>`}
  </span>`;
}

/** A component's `begin`: what it has loaded, and shows as `self.held`, is fetched anew when my time changes. */
export function followTime(self) {
  const stop = user.listen("time.", () => {
    clearTimeout(self.soon);
    self.soon = setTimeout(() => reload(self, self.held), SOON_MS);
  });
  self.end = () => {
    stop();
    clearTimeout(self.soon);
  };
}

/** Lays an entry over the list; what is older than the pages here is left to them. */
function lay(list, entry) {
  const { items, next } = list.list.peek();
  const others = items.filter((one) => one.id !== entry.id);
  const last = others.at(-1);
  if (!next || !last || newestFirst(entry, last) < 0) others.push(entry);
  list.set(others.sort(newestFirst));
}

function begin(self) {
  self.end = user.listen("time.", async ({ type, payload }) => {
    if (type === "time.entry_deleted") return self.list.drop(payload.id);
    // Events have no names of cards and projects: keep those that are here, else ask.
    const held = self.list.list.peek().items.find((one) => one.id === payload.id);
    const isSame = held && held.card_id === payload.card_id && held.project_id === payload.project_id;
    if (isSame) return lay(self.list, { ...payload, card: held.card, project: held.project });
    const entry = await call("GET", `/time-entries/${payload.id}`).catch(() => null);
    return entry && lay(self.list, entry);
  });
}

const Day = ({ date, entries, edit }) => html`<section class="time-day" aria-labelledby=${`time-${date}`}>
  <h3 id=${`time-${date}`}>${day(date, { weekday: true })} <span>${duration(entries.reduce((sum, one) => sum + one.minutes, 0))}</span></h3>
  <ul class="page-rows">${entries.map((entry) => html`<li key=${entry.id} class="page-row time-entry">
    <span class="time-minutes">${duration(entry.minutes)}</span>
    <${EntryAbout} entry=${entry} />
    ${entry.start_time && html`<span class="time-span">${entry.start_time}–${entry.end_time ?? ""}</span>`}
    ${edit && html`<${Button} kind="quiet" icon="edit" onClick=${() => edit(entry)}
      label=${t("time.edit_one", { what: entry.card?.key ?? entry.project?.name ?? entry.description })} />`}
  </li>`)}</ul></section>`;

/** The entries by their days, the newest first. */
export const TimeList = live(({ mayLog }, self) => {
  self.editing ??= signal(null);
  self.list = pages(self, "entries", FIRST);
  const edit = mayLog ? (entry) => (self.editing.value = entry) : null;
  return html`
    <header class="page-head"><h2>${t("time.entries")}</h2>
      ${mayLog && html`<${Button} kind="main" icon="add" onClick=${() => edit({})}>${t("time.new")}<//>`}</header>
    ${!mayLog && html`<p class="page-note">${t("time.read_only")}</p>`}
    <${PageList} of=${self.list} lines=${6} empty=${html`<${Empty} icon="clock" title=${t("time.none")} text=${mayLog ? t("time.none_text") : ""} />`}>
      ${(entries) => [...Map.groupBy(entries, (one) => one.date)].map(([date, those]) => html`<${Day} key=${date} date=${date} entries=${those} edit=${edit} />`)}<//>
    ${self.editing.value && html`<${TimeEntry} key=${self.editing.value.id ?? "new"} entry=${self.editing.value}
      close=${() => (self.editing.value = null)} saved=${(entry) => lay(self.list, entry)} removed=${(id) => self.list.drop(id)} />`}`;
}, begin);
