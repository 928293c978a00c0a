/* Dates, times, lengths and sizes as the reader wants them. A calendar date is text and stays the day
 * that it names, whatever the zones of reader and server.
 */
import { me, settings } from "./identity.js";
import { language } from "./words.js";

const made = new Map();

/** An Intl object, made once for each language and set of choices. */
function intl(Kind, choices) {
  const key = `${Kind.name} ${language.value} ${JSON.stringify(choices)}`;
  let one = made.get(key);
  if (!one) {
    try {
      one = new Kind(language.value, choices);
    } catch {
      // A zone that this browser does not know: its own.
      one = new Kind(language.value, { ...choices, timeZone: undefined });
    }
    made.set(key, one);
  }
  return one;
}

const zone = () => me.value?.timezone || settings.value.default_timezone || undefined;
const pattern = () => me.value?.date_time_format || settings.value.default_date_time_format || "YYYY-MM-DD HH:mm";

const dates = new Map(); // of moments, by zone and minute: long lists ask again and again
const MOST_DATES = 5000;

/** The calendar date of a moment for the reader, as `2026-04-04`. */
export function dateOf(iso) {
  const key = `${zone()} ${iso.slice(0, 16)}`;
  let date = dates.get(key);
  if (!date) {
    if (dates.size >= MOST_DATES) dates.clear();
    date = today(new Date(iso));
    dates.set(key, date);
  }
  return date;
}

/** The calendar date that it is now for the reader, as `2026-04-04`. */
export function today(now = new Date()) {
  const parts = {};
  const form = { timeZone: zone(), year: "numeric", month: "2-digit", day: "2-digit" };
  for (const { type, value } of intl(Intl.DateTimeFormat, { ...form, numberingSystem: "latn" }).formatToParts(now)) {
    parts[type] = value;
  }
  return `${parts.year}-${parts.month}-${parts.day}`;
}

/** A calendar date (`2026-04-04`, or the date of a moment for the reader) in short: "4 Apr", with its
 * year where that is another than this one.
 */
export function day(text, { weekday } = {}) {
  if (!text) return "";
  const date = text.length > 10 ? dateOf(text) : text;
  const [year, month, number] = date.split("-").map(Number);
  if (!year || !month || !number) return text;
  const choices = { timeZone: "UTC", day: "numeric", month: "short" };
  if (weekday) choices.weekday = weekday === true ? "short" : weekday;
  if (!today().startsWith(`${date.slice(0, 4)}-`)) choices.year = "numeric";
  return intl(Intl.DateTimeFormat, choices).format(Date.UTC(year, month - 1, number));
}

function parts(iso) {
  const found = {};
  const form = { timeZone: zone(), year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit" };
  const choices = { ...form, second: "2-digit", hourCycle: "h23", numberingSystem: "latn" };
  for (const { type, value } of intl(Intl.DateTimeFormat, choices).formatToParts(new Date(iso))) found[type] = value;
  return found;
}

const TOKEN = /YYYY|YY|MMM|MM|M|DD|D|HH|H|hh|h|mm|ss|A|a/g;

function filled(form, iso) {
  const at = parts(iso);
  const half = Number(at.hour) % 12 || 12;
  const values = {
    YYYY: at.year, YY: at.year.slice(-2), MM: at.month, M: Number(at.month), DD: at.day, D: Number(at.day),
    HH: at.hour, H: Number(at.hour), hh: String(half).padStart(2, "0"), h: half, mm: at.minute, ss: at.second,
    A: Number(at.hour) < 12 ? "AM" : "PM", a: Number(at.hour) < 12 ? "am" : "pm",
  };
  const MMM = () => intl(Intl.DateTimeFormat, { timeZone: zone(), month: "short" }).format(new Date(iso));
  return form.replace(TOKEN, (token) => (token === "MMM" ? MMM() : values[token]));
}

/** A moment as the reader has chosen to see moments (`date_time_format`), in the reader's own zone. */
export function dateTime(iso) {
  if (!iso || Number.isNaN(Date.parse(iso))) return iso ?? "";
  return filled(pattern(), iso);
}

/** The time of day of a moment: "10:02", or "10:02 am" for who has chosen so. */
export function time(iso) {
  if (!iso || Number.isNaN(Date.parse(iso))) return "";
  return filled(/h|A|a/.test(pattern()) ? "h:mm a" : "HH:mm", iso);
}

const STEPS = [
  [60, "second", 1],
  [3600, "minute", 60],
  [86_400, "hour", 3600],
  [7 * 86_400, "day", 86_400],
];

/** How long ago a moment was, in words up to a week; then its day. */
export function ago(iso, now = Date.now()) {
  const seconds = (now - Date.parse(iso)) / 1000;
  if (Number.isNaN(seconds)) return "";
  const relative = intl(Intl.RelativeTimeFormat, { numeric: "auto", style: "short" });
  if (seconds < 45 && seconds > -300) return relative.format(0, "second"); // clocks differ: never "in 3 s"
  for (const [below, unit, length] of STEPS) {
    if (seconds >= 0 && seconds < below) return relative.format(-Math.max(1, Math.floor(seconds / length)), unit);
  }
  return day(iso);
}

/** A number as the reader writes them. */
export const number = (n, digits = 0) =>
  intl(Intl.NumberFormat, { maximumFractionDigits: digits }).format(n);

/** Minutes of work: "1:30", or "1.5" for who counts in decimal hours. */
export function duration(minutes) {
  if (me.value?.time_notation === "decimal") return number(minutes / 60, 2);
  const whole = Math.abs(Math.round(minutes));
  return `${minutes < 0 ? "-" : ""}${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/** How large a file is: "3.2 MB". */
export function size(bytes) {
  if (bytes < 1000) return intl(Intl.NumberFormat, { style: "unit", unit: "byte", unitDisplay: "long" }).format(bytes);
  const units = ["kilobyte", "megabyte", "gigabyte"];
  let step = 0;
  let left = bytes / 1000;
  while (left >= 999.5 && step < 2) [left, step] = [left / 1000, step + 1];
  const choices = { style: "unit", unit: units[step], unitDisplay: "short", maximumFractionDigits: left < 10 ? 1 : 0 };
  return intl(Intl.NumberFormat, choices).format(left);
}
