/* What is said to who does not see the page: politely, one thing after another. */
let region = null;
let odd = false;

function place() {
  if (region?.isConnected) return region;
  region = document.createElement("div");
  region.className = "said";
  region.setAttribute("role", "status");
  region.append(document.createElement("span"), document.createElement("span"));
  document.body.append(region);
  return region;
}

/** Says a text, also if it is the same as before. While a dialog is open it is said within it, since all
 * else is closed to screen readers.
 */
export function say(text) {
  const home = [...document.querySelectorAll("dialog[open]")].at(-1) ?? document.body;
  const where = place();
  if (where.parentNode !== home) home.append(where);
  odd = !odd;
  where.children[odd ? 0 : 1].textContent = "";
  where.children[odd ? 1 : 0].textContent = text;
}

const EVERY_MS = 2000;
let waiting = null;
let last = 0;

/** Says what somebody else did: at most once in two seconds, and then the latest. */
export function sayOfOthers(text) {
  const wait = last + EVERY_MS - performance.now();
  clearTimeout(waiting);
  if (wait <= 0) {
    last = performance.now();
    say(text);
  } else waiting = setTimeout(() => sayOfOthers(text), wait);
}
