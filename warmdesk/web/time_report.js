/* What the time went into: by projects, people, cards or days, on the page and as a file. */
import { go } from "./address.js";
import { call } from "./api.js";
import { mondayOf, monthOf, shift, yearOf } from "./days.js";
import { download } from "./download.js";
import { day, duration, today } from "./format.js";
import { me } from "./identity.js";
import { followTime } from "./time_list.js";
import { Avatar, Button, Empty, Field, Loading, Menu, Picker, load, notice, sayError } from "./ui.js";
import { DateField } from "./ui_date.js";
import { user } from "./user_store.js";
import { html, live, signal } from "./view.js";
import { language, t } from "./words.js";

const PERIODS = ["week", "month", "year", "all", "custom"];
const GROUPS = ["project", "user", "card", "day", "week", "month"];
const FORMATS = { csv: "CSV", xlsx: "Excel (XLSX)", pdf: "PDF" };
const A_DAY = /^\d{4}-\d{2}-\d{2}$/;

/** What an address asks for: {period, from, to, project, group_by, people}. */
function asked(at) {
  const query = new URLSearchParams(at.split("?")[1] ?? "");
  const one = (name, all, usual) => (all.includes(query.get(name)) ? query.get(name) : usual);
  const date = (name) => (A_DAY.test(query.get(name) ?? "") ? query.get(name) : null);
  const period = one("period", PERIODS, "month");
  const people = (query.get("people") ?? "").split(",").map(Number).filter((id) => id > 0);
  const rest = { period, project: query.get("project"), group_by: one("group_by", GROUPS, "project"), people };
  return { ...rest, ...span(period, date("from") ?? today(), date("to")) };
}

/** The first and the last day of the period of its kind that has a day. */
function span(period, from, to) {
  if (period === "all") return { from: null, to: null };
  if (period === "custom") return { from, to: to ?? from };
  if (period === "week") return { from: mondayOf(from), to: shift(mondayOf(from), 6) };
  const first = period === "year" ? yearOf(from) : monthOf(from);
  return { from: first, to: shift(following(period, first), -1) };
}

/** The first day of the next period; with `back` of the one before. */
function following(period, first, back = false) {
  if (period === "week") return shift(first, back ? -7 : 7);
  const days = period === "year" ? 370 : 40;
  const begin = period === "year" ? yearOf : monthOf;
  return begin(shift(first, back ? -1 : days));
}

function addressOf(wanted) {
  const query = new URLSearchParams({ period: wanted.period });
  if (wanted.from && wanted.period !== "all") query.set("from", wanted.from);
  if (wanted.to && wanted.period === "custom") query.set("to", wanted.to);
  if (wanted.project) query.set("project", wanted.project);
  if (wanted.group_by !== "project") query.set("group_by", wanted.group_by);
  if (wanted.people.length) query.set("people", wanted.people.join(","));
  return `/time/report?${query}`;
}

/** The query of the report itself. */
function queryOf({ from, to, project, group_by, people }) {
  const query = new URLSearchParams({ group_by });
  if (from) {
    query.set("from", from);
    query.set("to", to);
  } else query.set("period", "all");
  if (project) query.set("project", project);
  if (people.length) query.set("user_id", people.join(","));
  return query;
}

/** The days of a report in words. */
function spanText({ period, from, to }) {
  if (!from) return t("time.period_all");
  if (period === "year") return from.slice(0, 4);
  if (period !== "month") return from === to ? day(from) : `${day(from)} – ${day(to)}`;
  const form = { month: "long", year: "numeric", timeZone: "UTC" };
  return new Intl.DateTimeFormat(language.value, form).format(Date.UTC(from.slice(0, 4), from.slice(5, 7) - 1, 1));
}

const labelOf = (group, by) => (group.key === "" ? t("time.of_none") : by === "day" ? day(group.key, { weekday: true }) : group.label);

const Groups = ({ report }) => {
  const most = Math.max(1, ...report.groups.map((one) => one.total_minutes));
  return html`<section><h3 id="time-groups">${t(`time.by_${report.group_by}`)}</h3>
    <div class="page-scroll" tabindex="0" role="region" aria-labelledby="time-groups"><table class="page-table time-groups">
      <thead class="said"><tr><th scope="col">${t("time.what")}</th><td></td><th scope="col">${t("time.time")}</th></tr></thead>
      <tbody>${report.groups.map((group) => html`<tr key=${group.key}>
        <th scope="row">${labelOf(group, report.group_by)}</th>
        <td class="time-bar" aria-hidden="true"><i style=${{ "--part": String(group.total_minutes / most) }}></i></td>
        <td class="time-sum">${duration(group.total_minutes)}</td></tr>`)}</tbody></table></div></section>`;
};

const People = ({ users }) => users.length > 1 && html`<section aria-labelledby="time-people"><h3 id="time-people">${t("time.people")}</h3>
  <ul class="page-rows">${users.map((one) => html`<li key=${one.user.id} class="page-row"><${Avatar} user=${one.user} size=${22} />
    <span class="grow">${one.user.display_name}</span><span class="time-sum">${duration(one.total_minutes)}</span></li>`)}</ul></section>`;

const Cards = ({ project }) => html`<section class="time-project">
  <h3>${project.project_id ? html`<a href=${`/p/${project.slug}`}>${project.project_name ?? project.slug}</a>` : t("time.no_project")}
    <span>${duration(project.total_minutes)}</span></h3>
  <ul class="page-rows">
    ${project.cards.map((card) => html`<li key=${card.card_id} class="page-row"><span class="time-about">
      ${card.deleted ? html`<span class="time-key">${card.card_ref}</span>`
        : html`<a href=${`/p/${project.slug}/c/${card.card_ref}`}><span class="time-key">${card.card_ref}</span> ${card.title}</a>`}</span>
      <span class="time-sum">${duration(card.time_spent_minutes)}</span></li>`)}
    ${project.other_minutes > 0 && html`<li class="page-row"><span class="time-about">${t("time.without_card")}</span>
      <span class="time-sum">${duration(project.other_minutes)}</span></li>`}
  </ul></section>`;

const Report = ({ report }) => report.total_minutes === 0
  ? html`<${Empty} icon="clock" title=${t("time.report_none")} text=${t("time.report_none_text")} />`
  : html`<p class="time-total">${t("time.total")} <b>${duration(report.total_minutes)} h</b></p>
    <div class="time-report">
      <${Groups} report=${report} />
      <${People} users=${report.users} />
      ${report.projects.map((one) => html`<${Cards} key=${one.project_id ?? 0} project=${one} />`)}
    </div>`;

async function save(self, wanted, format) {
  self.saving.value = true;
  const query = queryOf(wanted);
  query.set("format", format);
  const name = wanted.from ? `time-${wanted.from}-${wanted.to}` : "time";
  try {
    await download(`/reports/time?${query}`, `${name}.${format}`);
  } catch (error) {
    notice(sayError(error), { bad: true });
  } finally {
    self.saving.value = false;
  }
}

/** Whose time is shown: those who have been in a report that I saw, since nobody else has any. */
const Whose = live(({ people, known, change }) => {
  const options = [...known.value.values()].map((one) => ({ value: one.id, label: one.display_name }));
  if (options.length < 2 && !people.length) return null;
  for (const id of people) if (!known.value.has(id)) options.push({ value: id, label: `#${id}` });
  return html`<${Picker} many label=${t("time.people")} none=${t("time.everybody")} value=${people} options=${options} onChange=${change} />`;
});

function Choices({ wanted, page }) {
  const change = (what) => go(addressOf({ ...wanted, ...what }));
  const steps = ["week", "month", "year"].includes(wanted.period);
  const projects = user.projects.value.filter((one) => !one.is_archived || one.slug === wanted.project);
  return html`<div class="time-choices">
    <${Field} kind="select" label=${t("time.period")} value=${wanted.period}
      options=${PERIODS.map((value) => ({ value, label: t(`time.period_${value}`) }))}
      onInput=${(period) => change({ period, from: wanted.from ?? today(), to: wanted.to ?? today() })} />
    ${steps && html`<span class="page-steps">
      <${Button} icon="back" label=${t("time.before")} onClick=${() => change({ from: following(wanted.period, wanted.from, true) })} />
      <${Button} icon="forward" label=${t("time.after")} onClick=${() => change({ from: following(wanted.period, wanted.from) })} /></span>`}
    ${wanted.period === "custom" && html`
      <${DateField} label=${t("time.from")} value=${wanted.from} onChange=${(from) => from && change({ from, to: wanted.to < from ? from : wanted.to })} />
      <${DateField} label=${t("time.to")} value=${wanted.to} onChange=${(to) => to && change({ to, from: wanted.from > to ? to : wanted.from })} />`}
    <${Field} kind="select" label=${t("time.project")} value=${wanted.project ?? ""}
      options=${[{ value: "", label: t("time.all_projects") }, ...projects.map((one) => ({ value: one.slug, label: one.name }))]}
      onInput=${(project) => change({ project: project || null })} />
    <${Field} kind="select" label=${t("time.group_by")} value=${wanted.group_by}
      options=${GROUPS.map((value) => ({ value, label: t(`time.by_${value}`) }))} onInput=${(group_by) => change({ group_by })} />
    <${Whose} people=${wanted.people} known=${page.known} change=${(people) => change({ people })} />
  </div>`;
}

/** The report that the address asks for. */
export const TimeReport = live(({ at }, self) => {
  self.known ??= signal(new Map());
  self.saving ??= signal(false);
  const wanted = asked(at);
  const query = String(queryOf(wanted));
  const held = (self.held = load(self, query, async () => {
    const report = await call("GET", `/reports/time?${query}`);
    self.known.value = new Map([...self.known.peek(), ...report.users.map((one) => [one.user.id, one.user])]);
    return report;
  }));
  return html`
    <header class="page-head"><h2>${spanText(wanted)}</h2>
      <${Menu} label=${t("time.export")} kind="" items=${Object.keys(FORMATS).map((format) => ({
        label: FORMATS[format], icon: "download", disabled: self.saving.value, do: () => save(self, wanted, format) }))}>${t("time.export")}<//>
    </header>
    <${Choices} wanted=${wanted} page=${self} />
    <p class="page-note">${me.value?.can_view_reports ? t("time.report_all") : t("time.report_own")}</p>
    <${Loading} key=${query} of=${held} lines=${6}>${(report) => html`<${Report} report=${report} />`}<//>`;
}, followTime);
