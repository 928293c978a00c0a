/* What somebody is writing, kept over a reload and over the end of a session, in this tab alone. */
import { me } from "./identity.js";

const memory = new Map();
/** Whose what is written now is. */
export const author = () => me.peek()?.id ?? 0;
const nameOf = (key, owner = author()) => `warmdesk.draft.${owner}.${key}`;

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
 * it in memory. `owner`: who began it, where that may be somebody else by now.
 */
export function keepDraft(key, value, owner) {
  const name = nameOf(key, owner);
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
