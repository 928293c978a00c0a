/* Small parts without a state: button, picture, face, chip, tabs, and what stands where nothing is. */
import { ICONS } from "./icons.js";
import { html } from "./view.js";
import { t } from "./words.js";

export const classes = (...names) => names.filter(Boolean).join(" ");

/** A picture by its name in icons.js; it says nothing to a screen reader. */
export const Icon = ({ name, filled }) => html`<svg
  class=${classes("icon", filled && "filled")} viewBox="0 0 16 16" aria-hidden="true"><path d=${ICONS[name]} /></svg>`;

/** A button: `kind` "main", "quiet" or "danger"; while `busy` it takes no second click; `icon` before
 * its text; with `label` and no children it is a square with that name. Everything else is the element's.
 */
export function Button({ kind, busy, icon, label, class: more, children, onClick, type = "button", ...rest }) {
  const bare = icon && !has(children);
  return html`<button ...${rest} type=${type} class=${classes("button", kind, bare && "square", busy && "busy", more)}
    aria-label=${label} title=${rest.title ?? (bare ? label : undefined)} aria-disabled=${busy ? "true" : rest["aria-disabled"]}
    aria-busy=${busy ? "true" : undefined}
    onClick=${(event) => (busy ? event.preventDefault() : onClick?.(event))}>${icon && html`<${Icon} name=${icon} />`}${children}</button>`;
}

const has = (children) => children !== undefined && children !== null && children !== false && children?.length !== 0;

const HUES = [210, 160, 25, 280, 340, 95, 190, 45, 255, 0, 130, 310];

/** Two letters that stand for a name. */
export function initials(name) {
  const names = (name ?? "").split(/\s+/).filter(Boolean);
  const first = [...(names[0] ?? "?")];
  const second = names.length > 1 ? [...names.at(-1)][0] : first[1];
  return (first[0] + (second ?? "")).toUpperCase();
}

function picture(user) {
  const url = user.avatar_url;
  if (!url) return null;
  return url.startsWith("/") && !url.startsWith("//") ? url : null; // the policy allows no other host's
}

/** A person's face, or the letters of the name. With `alone` the name is said to screen readers too. */
export function Avatar({ user, size = 24, alone, title }) {
  const name = user?.display_name ?? "?";
  const url = user && picture(user);
  const style = { "--size": `${size}px`, "--hue": String(HUES[(user?.id ?? 0) % HUES.length]) };
  return html`<span class="avatar" style=${style} title=${title ?? name} role=${alone ? "img" : undefined}
    data-letters=${url ? undefined : initials(name)}
    aria-label=${alone ? name : undefined} aria-hidden=${alone ? undefined : "true"}>${url &&
    html`<img src=${url} alt="" width=${size} height=${size} />`}</span>`;
}

/** Several faces beside each other, `max` at most, then how many more; their names are one label. */
export function Pile({ users, max = 4, size = 20, count = users.length, label }) {
  if (!users.length) return null;
  const shown = users.slice(0, max);
  const names = shown.map((user) => user.display_name).join(", ");
  const rest = count - shown.length;
  return html`<span class="pile" role="img" aria-label=${classes(label, names, rest > 0 && `+${rest}`)}>
    ${shown.map((user) => html`<${Avatar} key=${user.id} user=${user} size=${size} />`)}
    ${rest > 0 && html`<small aria-hidden="true">+${rest}</small>`}
  </span>`;
}

/** A label of a colour that is not ours: its text is made readable on the ground of either theme. */
export const Chip = ({ color, children, title, long }) => html`<span class=${classes("chip", long && "long")} title=${title}
  style=${{ "--label": /^#[0-9a-f]{6}$/i.test(color ?? "") ? color : "var(--soft)" }}>${children}</span>`;

/** Links that belong together; the one that is `on` is the present page. `n` is shown beside it. */
export const Tabs = ({ items, label }) => html`<nav class="tabs" aria-label=${label}>${items.map(
  (item) => html`<a key=${item.href} href=${item.href} class=${item.icon && "tall"}
    aria-current=${item.on ? "page" : undefined}>${item.icon && html`<${Icon} name=${item.icon} />`}<span>${item.label}</span>${item.n
      ? html`<b class="count" aria-label=${item.says}>${item.n > 99 ? "99+" : item.n}</b>`
      : null}</a>`,
)}</nav>`;

/** What stands where there is nothing yet; the children are the first step. */
export const Empty = ({ title, text, icon, children }) => html`<div class="empty">
  ${icon && html`<${Icon} name=${icon} />`}
  <h2>${title}</h2>
  ${text && html`<p>${text}</p>`}
  ${children && html`<div class="empty-step">${children}</div>`}
</div>`;

/** Grey lines where something is on its way. */
export const Skeleton = ({ lines = 3 }) => html`<div class="skeleton" role="status" aria-label=${t("ui.loading")}>
  ${Array.from({ length: lines }, (_, index) => html`<i key=${index} />`)}
</div>`;
