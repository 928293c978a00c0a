/* Where the page is: the address as a signal, and the way from one to another without a reload. */
import { signal } from "./view.js";

const here = () => location.pathname + location.search;

export const address = signal(here());

/** Goes to an address of this page; `replace` leaves the present one out of the history. */
export function go(to, { replace = false } = {}) {
  if (to === here()) return;
  history[replace ? "replaceState" : "pushState"](null, "", to);
  address.value = here();
}

addEventListener("popstate", () => {
  address.value = here();
});

/** Plain clicks on links within the page change the address; all others are the browser's. */
document.addEventListener("click", (event) => {
  if (event.defaultPrevented || event.button !== 0) return;
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  const link = event.target.closest?.("a[href]");
  if (!link || link.target || link.hasAttribute("download") || link.origin !== location.origin) return;
  if (link.pathname.startsWith("/api/") || link.pathname.startsWith("/swagger")) return;
  event.preventDefault();
  go(link.pathname + link.search);
});
