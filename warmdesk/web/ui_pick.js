/* Choosing: a menu of deeds, and a picker of one or many from a list that can be searched. */
import { Popup, opener } from "./ui_over.js";
import { Button, Icon, classes } from "./ui_parts.js";
import { html, live, signal } from "./view.js";
import { t } from "./words.js";

function step(list, now, key) {
  const at = list.indexOf(now);
  if (key === "ArrowDown") return list[(at + 1) % list.length];
  if (key === "ArrowUp") return list[(at - 1 + list.length) % list.length];
  if (key === "Home") return list[0];
  if (key === "End") return list.at(-1);
  if (key.length === 1 && key !== " ") {
    const rest = [...list.slice(at + 1), ...list.slice(0, at + 1)];
    return rest.find((one) => one.textContent.trim().toLowerCase().startsWith(key.toLowerCase()));
  }
  return undefined;
}

/** A button that opens a list of deeds: `items` [{label, do, danger, disabled, icon, href, on, line}], `line`
 * is a rule above it, `on` (true or false) makes it one that is checked. Without children the button shows
 * `icon` (three dots) and `label` is its name.
 */
export const Menu = live(({ label, items, icon = "more", kind = "quiet", children, class: more, disabled }, self) => {
  const open = (self.open ??= signal(false));
  const close = () => (open.value = false);
  const walk = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Tab") return close();
    const list = [...event.currentTarget.querySelectorAll("[role^=menuitem]:not([aria-disabled=true])")];
    const next = step(list, document.activeElement, event.key);
    if (!next) return;
    event.preventDefault();
    next.focus();
  };
  const deed = (item) => (event) => {
    if (item.disabled) return event.preventDefault();
    close();
    return item.do?.(event);
  };
  return html`<${Button} kind=${kind} class=${more} icon=${children ? undefined : icon} label=${label} disabled=${disabled}
      aria-haspopup="menu" aria-expanded=${open.value ? "true" : "false"} ...${opener(self, open)}
      onKeyDown=${(event) => {
        if (event.key !== "ArrowDown" || open.peek()) return;
        event.preventDefault();
        event.stopPropagation();
        self.anchor = event.currentTarget;
        open.value = true;
      }}>${children}<//>
    ${open.value &&
    html`<${Popup} anchor=${self.anchor} close=${close} class="menu" role="menu" label=${label} onKeyDown=${walk}>
      ${items.filter(Boolean).map((item, index) => {
        const role = item.on === undefined ? "menuitem" : "menuitemcheckbox";
        const all = {
          key: item.label,
          role,
          tabindex: "-1",
          class: classes(item.danger && "danger", item.line && "line"),
          "aria-disabled": item.disabled ? "true" : undefined,
          "aria-checked": item.on === undefined ? undefined : String(!!item.on),
          autofocus: index === 0,
          title: item.title,
        };
        const inside = html`<${Icon} name=${item.on ? "check" : (item.icon ?? "none")} /><span>${item.label}</span>`;
        return item.href
          ? html`<a ...${all} href=${item.href} onClick=${close}>${inside}</a>`
          : html`<button ...${all} type="button" onClick=${deed(item)}>${inside}</button>`;
      })}
    <//>`}`;
});

let count = 0;
const fold = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();

/** A button that opens a list to choose from. `value` is one value or, with `many`, a list of them;
 * `onChange(value)` has the new one. `mark` of an option is a colour or an element. `find(text)` gives more
 * options (a promise); `make(text)` offers to make one that is not there. The button shows the children,
 * or what is chosen, or `none`.
 */
export const Picker = live(({ label, options, value, onChange, many, find, make, children, none, disabled, icon, kind, class: more }, self) => {
  const open = (self.open ??= signal(false));
  const typed = (self.typed ??= signal(""));
  const at = (self.at ??= signal(0));
  const found = (self.found ??= signal([]));
  const id = (self.id ??= `picker-${(count += 1)}`);
  const chosen = many ? value : [value];
  const isOn = (one) => chosen.some((each) => each === one.value);
  const close = () => {
    open.value = false;
    typed.value = "";
    at.value = 0;
  };
  const choose = (one) => {
    if (one.make) make(typed.peek().trim());
    else if (many) {
      const had = self.props.value;
      onChange(had.includes(one.value) ? had.filter((each) => each !== one.value) : [...had, one.value]);
    } else onChange(one.value);
    if (one.make) typed.value = "";
    if (!many) close();
  };
  const known = new Set(options.map((one) => one.value));
  const all = [...options, ...found.value.filter((one) => !known.has(one.value))];
  // Asked again at a key: fingers are faster than frames.
  const matching = () => {
    const text = fold(typed.value.trim());
    const list = text ? all.filter((one) => fold(`${one.label} ${one.hint ?? ""}`).includes(text)) : [...all];
    const isNew = make && text && !all.some((one) => fold(one.label) === text);
    if (isNew) list.push({ make: true, value: "+", label: t("ui.make", { what: typed.value.trim() }) });
    return list;
  };
  const shown = matching();
  const place = Math.min(at.value, shown.length - 1);
  const onType = async (event) => {
    typed.value = event.currentTarget.value;
    at.value = 0;
    if (!find) return;
    const turn = (self.turn = (self.turn ?? 0) + 1);
    const more = await find(typed.peek()).catch(() => []);
    if (turn === self.turn) found.value = more;
  };
  const onKey = (event) => {
    const moves = { ArrowDown: 1, ArrowUp: -1 };
    const now = matching();
    const here = Math.min(at.peek(), now.length - 1);
    if (event.key in moves) at.value = (here + moves[event.key] + now.length) % (now.length || 1);
    else if (event.key === "Enter") {
      if (now[here]) choose(now[here]);
    } else if (event.key === "Tab") return close();
    else return undefined;
    document.getElementById(`${id}-${at.peek()}`)?.scrollIntoView({ block: "nearest" });
    return event.preventDefault();
  };
  const now = all.filter(isOn);
  return html`<${Button} kind=${kind} class=${classes("picker", more)} icon=${icon} disabled=${disabled} title=${label}
      aria-haspopup="listbox" aria-expanded=${open.value ? "true" : "false"} ...${opener(self, open)}>
      ${(children || now.length || (none ?? label) !== label) && html`<span class="said">${label}: </span>`}${children ??
      (now.length
        ? now.map((one) => html`<span class="picked" key=${one.value}><${Mark} mark=${one.mark} />${one.label}</span>`)
        : html`<span class="none">${none ?? label}</span>`)}<//>
    ${open.value &&
    html`<${Popup} anchor=${self.anchor} close=${close} class="pick" label=${label} onKeyDown=${onKey}>
      <input type="text" autofocus role="combobox" aria-label=${label} placeholder=${t("ui.filter")} aria-expanded="true"
        aria-controls=${id} aria-activedescendant=${shown.length ? `${id}-${place}` : undefined} value=${typed.value} onInput=${onType} />
      <div role="listbox" id=${id} aria-label=${label} aria-multiselectable=${many ? "true" : undefined}>
        ${shown.map((one, index) => html`<div key=${one.value} role="option" id=${`${id}-${index}`} aria-selected=${String(isOn(one))}
          class=${classes("option", index === place && "at")} onPointerDown=${(event) => event.preventDefault()} onClick=${() => choose(one)}>
          <${Mark} mark=${one.mark} /><span>${one.label}</span>${one.hint && html`<small>${one.hint}</small>`}${isOn(one) && html`<${Icon} name="check" />`}</div>`)}
      </div>
      ${!shown.length && html`<p class="none" role="status">${t("ui.nothing_found")}</p>`}
    <//>`}`;
});

const Mark = ({ mark }) => {
  if (!mark) return null;
  return typeof mark === "string" ? html`<i class="mark" style=${{ "--label": mark }} />` : mark;
};
