/* The dialog in which time that was worked is written down, or written anew. */
import { call } from "./api.js";
import { minutesOf, minutesText } from "./days.js";
import { FormEnd, kept, sends } from "./forms.js";
import { duration, today } from "./format.js";
import { Button, Dialog, Field, Picker, confirm } from "./ui.js";
import { ANY_DAY } from "./ui_date.js";
import { user } from "./user_store.js";
import { html, live } from "./view.js";
import { t } from "./words.js";

const MOST = 20;
const LEAST = 2;

/** What a form begins with, from an entry or from what is known of a new one. */
function startOf(entry) {
  return {
    date: entry.date ?? today(),
    time: entry.minutes ? minutesText(entry.minutes) : "",
    project: entry.project?.slug ?? null,
    card: entry.card ? { id: entry.card.id, key: entry.card.key, title: entry.card.title } : null,
    description: entry.description ?? "",
    start_time: entry.start_time ?? "",
    end_time: entry.end_time ?? "",
  };
}

/** The fields of a request, of the values that are `there`; undefined where the time is no time. */
function bodyOf(values, there) {
  const minutes = minutesOf(values.time);
  if (minutes === null) return undefined;
  const body = {};
  if ("date" in there) body.date = values.date;
  // Of a start and an end alone the server reckons the minutes anew.
  const isTimed = ["time", "start_time", "end_time"].some((name) => name in there);
  if (isTimed && minutes) body.minutes = minutes;
  if ("card" in there) body.card_id = values.card?.id ?? null;
  if ("project" in there && !values.card) body.project = values.project;
  if ("description" in there) body.description = values.description.trim();
  if ("start_time" in there) body.start_time = values.start_time || null;
  if ("end_time" in there) body.end_time = values.end_time || null;
  return body;
}

async function cards(slug, text) {
  const q = text.trim();
  if (q.length < LEAST) return [];
  const found = slug
    ? (await call("GET", `/projects/${slug}/cards?limit=${MOST}&q=${encodeURIComponent(q)}`)).map((item) => ({ item, slug }))
    : (await call("GET", `/search?type=card&limit=${MOST}&q=${encodeURIComponent(q)}`)).map((one) => ({
        item: one.item,
        slug: one.project_slug,
      }));
  return found.map(({ item, slug: of }) => ({
    value: item.id,
    label: `${item.key} ${item.title}`,
    card: { id: item.id, key: item.key, title: item.title, slug: of },
  }));
}

const CardPicker = live(({ form, disabled }, self) => {
  const { card, project } = form.values.value;
  self.seen ??= new Map();
  const options = [{ value: null, label: t("time.no_card") }];
  if (card) options.push({ value: card.id, label: [card.key, card.title].filter(Boolean).join(" ") });
  return html`<${Picker} label=${t("time.card")} none=${t("time.no_card")} value=${card?.id ?? null} options=${options} disabled=${disabled}
    find=${async (text) => {
      const found = await cards(project, text);
      for (const one of found) self.seen.set(one.value, one.card);
      return found;
    }}
    onChange=${(id) => {
      const chosen = self.seen.get(id) ?? (id === card?.id ? card : null);
      form.set("card", chosen);
      if (chosen?.slug) form.set("project", chosen.slug);
    }} />`;
});

/** What somebody wrote as a time, read back. */
function Read({ text }) {
  const minutes = minutesOf(text);
  if (Number.isNaN(minutes)) return t("time.time_hint");
  return minutes === null ? t("time.no_time") : `= ${duration(minutes)} h`;
}

/** Asks for a time entry: a new one that begins like `entry`, or the one that it is when it has an id.
 * `saved(entry)` has the server's; `removed(id)` is told when it was deleted.
 */
export const TimeEntry = live(({ entry, close, saved, removed }, self) => {
  const form = kept(self, "form", () => startOf(entry));
  const values = form.values.value;
  const isRange = Boolean(values.start_time && values.end_time);
  const noTime = () => {
    const minutes = minutesOf(form.get("time"));
    return minutes === null || (Number.isNaN(minutes) && !(form.get("start_time") && form.get("end_time")));
  };
  const ofComment = Boolean(entry.comment_id);
  const send = async () => {
    const said = form.values.peek();
    const body = bodyOf(said, entry.id ? form.changes() : said);
    if (!body) return;
    const made = await form.send(() =>
      entry.id
        ? call("PUT", `/time-entries/${entry.id}`, body, { key: form.key(body) })
        : call("POST", "/time-entries", body, { key: form.key(body) }),
    );
    if (made) {
      saved(made);
      close();
    }
  };
  const remove = async () => {
    const text = ofComment ? t("time.delete_ask_comment") : t("time.delete_ask");
    if (!(await confirm(text, { danger: true, word: t("ui.delete") }))) return;
    if (await form.send(() => call("DELETE", `/time-entries/${entry.id}`))) {
      removed(entry.id);
      close();
    }
  };
  const projects = user.projects.value.filter((one) => !one.is_archived || one.slug === values.project);
  const options = projects.map((one) => ({ value: one.slug, label: one.name, mark: one.color }));
  if (entry.project && !projects.some((one) => one.slug === entry.project.slug)) {
    options.push({ value: entry.project.slug, label: entry.project.name ?? entry.project.slug });
  }
  return html`<${Dialog} title=${entry.id ? t("time.edit") : t("time.new")} close=${close}>
    <form class="forms sheet-body" onSubmit=${sends(send)}>
      <div class="forms-row">
        <${Field} ...${form.field("date")} ...${ANY_DAY} kind="date" label=${t("time.day")} required />
        <${Field} ...${form.field("time")} label=${t("time.time")} required=${!isRange} autofocus autocomplete="off" inputmode="text"
          hint=${Read({ text: values.time })} />
      </div>
      <div class="forms-row">
        <${Field} ...${form.field("start_time")} kind="time" label=${t("time.from")} />
        <${Field} ...${form.field("end_time")} kind="time" label=${t("time.to")} />
      </div>
      <div class="forms-picks">
        <${Picker} label=${t("time.project")} none=${t("time.no_project")} value=${values.project} disabled=${ofComment}
          options=${[{ value: null, label: t("time.no_project") }, ...options.sort((one, other) => one.label.localeCompare(other.label))]}
          onChange=${(slug) => {
            form.set("project", slug);
            form.set("card", null);
          }} />
        <${CardPicker} form=${form} disabled=${ofComment} />
      </div>
      <${Field} ...${form.field("description")} kind="area" rows="2" label=${t("time.description")} maxlength="1000" />
      ${ofComment && html`<p class="page-note">${t("time.of_comment")}</p>`}
      ${entry.id && html`<${Button} kind="quiet" icon="trash" class="forms-aside" onClick=${remove}>${t("ui.delete")}<//>`}
      <${FormEnd} form=${form} cancel=${close} off=${noTime} />
    </form>
  <//>`;
});
