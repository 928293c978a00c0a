/* My week as a sheet: what I worked on, by days. */
import { go } from "./address.js";
import { call } from "./api.js";
import { shift, weekOf, weekdayName } from "./days.js";
import { download } from "./download.js";
import { day, duration, today } from "./format.js";
import { EntryAbout, followTime } from "./time_list.js";
import { TimeEntry } from "./time_entry.js";
import { Button, Dialog, Empty, Loading, load, notice, reload, sayError } from "./ui.js";
import { html, live, signal } from "./view.js";
import { language, t } from "./words.js";

const A_DAY = /^\d{4}-\d{2}-\d{2}$/;

const askedDay = (at) => {
  const date = new URLSearchParams(at.split("?")[1] ?? "").get("date");
  return A_DAY.test(date ?? "") ? date : today();
};

const addressOf = (date) => `/time/week?date=${date}`;

/** What a new entry in a row begins with. */
const like = (row, date) => ({ date, project: row?.project ?? null, card: row?.card ?? null, description: row && !row.card ? row.description : "" });

function Cell({ row, index, sheet, page, mayLog }) {
  const date = sheet.days[index];
  const minutes = row.minutes[index];
  const ids = row.entry_ids[index];
  const open = () => {
    const those = sheet.entries.filter((one) => ids.includes(one.id));
    if (those.length > 1) page.several.value = { those, date, row };
    else page.editing.value = those[0] ?? like(row, date);
  };
  const about = row.card?.key ?? row.project?.name ?? row.description;
  if (!mayLog) return html`<td>${minutes ? duration(minutes) : ""}</td>`;
  return html`<td class=${date === today() ? "today" : undefined}><button type="button" class=${minutes ? "time-cell" : "time-cell none"} onClick=${open}
    aria-label=${t(minutes ? "time.cell" : "time.cell_none", { what: about, day: day(date, { weekday: true }), time: duration(minutes) })}>
    ${minutes ? duration(minutes) : "+"}</button></td>`;
}

/** On a narrow page today is brought into sight, once for a week. */
function seeToday(element, page, { start }) {
  if (!element || page.seen === start) return;
  page.seen = start;
  element.querySelector("thead .today")?.scrollIntoView({ inline: "nearest", block: "nearest" });
}

const Sheet = ({ sheet, page, mayLog }) => html`<div class="page-scroll" tabindex="0" role="region" aria-label=${t("time.week")}
  ref=${(element) => seeToday(element, page, sheet)}>
  <table class="page-table time-sheet">
    <thead><tr><th scope="col">${t("time.what")}</th>
      ${sheet.days.map((date) => html`<th key=${date} scope="col" class=${date === today() ? "today" : undefined}>
        <span>${weekdayName(date, language.value)}</span> <small>${day(date)}</small></th>`)}
      <th scope="col">${t("time.sum")}</th></tr></thead>
    <tbody>${sheet.rows.map((row, at) => html`<tr key=${`${row.card?.id}-${row.project?.id}-${row.description}-${at}`}>
      <th scope="row"><${EntryAbout} entry=${row} /></th>
      ${sheet.days.map((date, index) => html`<${Cell} key=${date} row=${row} index=${index} sheet=${sheet} page=${page} mayLog=${mayLog} />`)}
      <td class="time-sum">${duration(row.total_minutes)}</td></tr>`)}</tbody>
    <tfoot><tr><th scope="row">${t("time.sum")}</th>
      ${sheet.day_totals.map((minutes, index) => html`<td key=${sheet.days[index]} class=${sheet.days[index] === today() ? "today" : undefined}>${minutes ? duration(minutes) : ""}</td>`)}
      <td class="time-sum">${duration(sheet.total_minutes)}</td></tr></tfoot>
  </table></div>`;

/** Several entries that one field of the sheet sums up. */
const Several = ({ several: { those, date, row }, page }) => html`<${Dialog} title=${day(date, { weekday: true })} close=${() => (page.several.value = null)}>
  <ul class="page-rows sheet-body">${those.map((entry) => html`<li key=${entry.id} class="page-row time-entry">
    <span class="time-minutes">${duration(entry.minutes)}</span><${EntryAbout} entry=${entry} />
    <${Button} kind="quiet" icon="edit" label=${t("ui.edit")} onClick=${() => {
      page.several.value = null;
      page.editing.value = entry;
    }} /></li>`)}</ul>
  <footer class="sheet-foot"><${Button} icon="add" onClick=${() => {
    page.several.value = null;
    page.editing.value = like(row, date);
  }}>${t("time.new")}<//></footer>
<//>`;

async function save(date, form) {
  try {
    await download(`/reports/timesheet?date=${date}&format=csv`, `timesheet-${date}.csv`);
  } catch (error) {
    notice(sayError(error), { bad: true });
  } finally {
    form.value = false;
  }
}

/** The sheet of the week that the address names by a day. */
export const TimeWeek = live(
  ({ at, mayLog }, self) => {
    self.editing ??= signal(null);
    self.several ??= signal(null);
    self.saving ??= signal(false);
    const monday = weekOf(askedDay(at));
    const held = load(self, `sheet ${monday}`, () => call("GET", `/reports/timesheet?date=${monday}`));
    self.held = held;
    const again = () => reload(self, held);
    const isThis = monday === weekOf(today());
    return html`
      <header class="page-head">
        <h2>${t("time.week_of", { from: day(monday), to: day(shift(monday, 6)) })}</h2>
        <span class="page-steps">
          <${Button} icon="back" label=${t("time.before")} onClick=${() => go(addressOf(shift(monday, -7)))} />
          <${Button} disabled=${isThis} onClick=${() => go("/time/week")}>${t("time.this_week")}<//>
          <${Button} icon="forward" label=${t("time.after")} onClick=${() => go(addressOf(shift(monday, 7)))} />
        </span>
        <${Button} icon="download" busy=${self.saving.value} onClick=${() => {
          self.saving.value = true;
          save(monday, self.saving);
        }}>CSV<//>
        ${mayLog && html`<${Button} kind="main" icon="add" onClick=${() => (self.editing.value = { date: isThis ? today() : monday })}>${t("time.new")}<//>`}
      </header>
      <${Loading} key=${monday} of=${held} lines=${6}>${(sheet) => sheet.rows.length
        ? html`<${Sheet} sheet=${sheet} page=${self} mayLog=${mayLog} />`
        : html`<${Empty} icon="calendar" title=${t("time.week_none")} text=${mayLog ? t("time.none_text") : ""} />`}<//>
      ${self.several.value && html`<${Several} several=${self.several.value} page=${self} />`}
      ${self.editing.value && html`<${TimeEntry} key=${self.editing.value.id ?? "new"} entry=${self.editing.value}
        close=${() => (self.editing.value = null)} saved=${again} removed=${again} />`}`;
  },
  followTime,
);
