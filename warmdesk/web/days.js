/* Days and times of work as texts: what a form takes and what the server wants. */
import { me } from "./identity.js";

const DAY_MS = 86_400_000;
const at = (day) => Date.UTC(Number(day.slice(0, 4)), Number(day.slice(5, 7)) - 1, Number(day.slice(8, 10)));

/** The day `count` days after another. */
export const shift = (day, count) => new Date(at(day) + count * DAY_MS).toISOString().slice(0, 10);

/** The number of a day in its week, 0 for Sunday. */
export const weekday = (day) => new Date(at(day)).getUTCDay();

/** The first day of the week that has a day; weeks begin as in my profile. */
export function weekOf(day) {
  const first = me.value?.week_start === "sunday" ? 0 : 1;
  return shift(day, -((weekday(day) - first + 7) % 7));
}

/** The first day of the week of ISO 8601 that has a day: a report has these, whatever my profile says. */
export const mondayOf = (day) => shift(day, -((weekday(day) + 6) % 7));

/** The name of a day's weekday in a language, short or long. */
export const weekdayName = (day, language, style = "short") =>
  new Intl.DateTimeFormat(language, { weekday: style, timeZone: "UTC" }).format(at(day));

/** The first day of the month, or the year, that has a day. */
export const monthOf = (day) => `${day.slice(0, 7)}-01`;
export const yearOf = (day) => `${day.slice(0, 4)}-01-01`;

/** The minutes that somebody wrote: `1:30`, `1h 30m`, `45m`, `1.5`, `1,5`; a whole number is hours up
 * to 24, else minutes. Null for what is no time, NaN for none at all.
 */
export function minutesOf(text) {
  const said = text.trim().toLowerCase().replace(/\s+/g, "");
  if (!said) return NaN;
  let found = /^(\d{1,2}):([0-5]\d)$/.exec(said);
  if (found) return fits(Number(found[1]) * 60 + Number(found[2]));
  found = /^(?:(\d+(?:[.,]\d+)?)(?:h|u|std))?(?:(\d+)(?:m|min)?)?$/.exec(said);
  if (found && (found[1] || /m/.test(said))) {
    return fits(Math.round(Number((found[1] ?? "0").replace(",", ".")) * 60) + Number(found[2] ?? 0));
  }
  if (!/^\d+([.,]\d{1,2})?$/.test(said)) return null;
  const number = Number(said.replace(",", "."));
  return fits(/[.,]/.test(said) || number <= 24 ? Math.round(number * 60) : number);
}

const fits = (minutes) => (minutes >= 1 && minutes <= 1440 ? minutes : null);

/** Minutes as a form shows them, so that they are read back as the same: `1:30`. */
export const minutesText = (minutes) => `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}`;
