/* The words of the page in the reader's language. */
import { signal } from "./view.js";

export const LANGUAGES = { en: "English", nl: "Nederlands", de: "Deutsch", fr: "Français", es: "Español" };

export const language = signal("en");
const words = signal({});
let plural = new Intl.PluralRules("en");
let turn = 0;
let figures = new Intl.NumberFormat("en");

/** Reads the words of a language; one that is not here is English. Rejects when they do not come. Who asks for
 * another meanwhile hears that one.
 */
export async function speak(wanted) {
  const code = wanted in LANGUAGES ? wanted : "en";
  const mine = (turn += 1);
  const answer = await fetch(new URL(`./lang/${code}.json`, import.meta.url));
  if (!answer.ok) throw new Error(`words of ${code}: status ${answer.status}`);
  const read = await answer.json();
  if (mine !== turn) return;
  plural = new Intl.PluralRules(code);
  figures = new Intl.NumberFormat(code);
  document.documentElement.lang = code;
  words.value = read;
  language.value = code;
}

/** The first of the browser's languages that is here. */
export function preferred() {
  for (const one of navigator.languages ?? []) {
    const code = one.slice(0, 2).toLowerCase();
    if (Object.hasOwn(LANGUAGES, code)) return code;
  }
  return "en";
}

/** The words of `key` with its `{names}` filled in. An entry of plural forms chooses by `n`. A live
 * component that calls it renders again in another language.
 */
export function t(key, values = {}) {
  let text = words.value[key];
  if (text === undefined) return key;
  if (typeof text === "object") text = text[plural.select(values.n)] ?? text.other;
  return text.replace(/\{(\w+)\}/g, (all, name) =>
    name in values ? (name === "n" && typeof values.n === "number" ? figures.format(values.n) : String(values[name])) : all,
  );
}
