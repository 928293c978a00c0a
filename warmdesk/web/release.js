/* Whether the server has another release of these files than the page runs: offered, never forced. */
import { signal } from "./view.js";

const MINE = new URL(import.meta.url).pathname.split("/").at(-2);
const EVERY_MS = 10 * 60_000;
const RENEWED = "warmdesk.renewed";

/** Whether another release is served. */
export const isNewer = signal(false);

let asked = 0;

/** Asks the server; at most once a minute. */
export async function lookForRelease() {
  if (Date.now() - asked < 60_000) return;
  asked = Date.now();
  try {
    const answer = await fetch("/app/current", { cache: "no-store" });
    if (answer.ok) isNewer.value = (await answer.json()).files !== MINE;
  } catch {
    // It is asked again later.
  }
}

/** A file of this release was not to be had: loads the page anew, once, where the server has another
 * one. Gives whether it does.
 */
export async function renew() {
  try {
    const answer = await fetch("/app/current", { cache: "no-store" });
    const { files } = await answer.json();
    if (!files || files === MINE || sessionStorage.getItem(RENEWED) === files) return false;
    sessionStorage.setItem(RENEWED, files);
  } catch {
    return false;
  }
  location.reload();
  return true;
}

/** Looks now and then, and whenever somebody comes back to the page. */
export function watchRelease() {
  asked = Date.now();
  setInterval(lookForRelease, EVERY_MS);
  addEventListener("online", lookForRelease);
  document.addEventListener("visibilitychange", () => document.hidden || lookForRelease());
}
