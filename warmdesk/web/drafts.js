/* What somebody is writing, kept over a reload and over the end of a session, in this tab alone. */
import { me } from "./identity.js";

const memory = new Map();
const nameOf = (key) => `warmdesk.draft.${me.peek()?.id ?? 0}.${key}`;

/** What was being written under this key, or undefined. */
export function readDraft(key) {
  const name = nameOf(key);
  if (memory.has(name)) return memory.get(name);
  try {
    const text = sessionStorage.getItem(name);
    return text === null ? undefined : JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Keeps it (whatever JSON can say), or with null forgets it. A storage that is full or forbidden leaves
 * it in memory.
 */
export function keepDraft(key, value) {
  const name = nameOf(key);
  const isEmpty = value === null || value === undefined || value === "";
  if (isEmpty) memory.delete(name);
  else memory.set(name, value);
  try {
    if (isEmpty) sessionStorage.removeItem(name);
    else sessionStorage.setItem(name, JSON.stringify(value));
  } catch {
    // It is in memory.
  }
}
