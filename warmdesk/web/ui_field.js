/* A field with its name, its hint and what is wrong with it. */
import { classes } from "./ui_parts.js";
import { html, live } from "./view.js";

let count = 0;

/** A field of a form. `kind`: text (also password, email, number, date, search, url, time, color), area,
 * select (with `options` [{value, label}]), check. `onInput(value, event)`: text, or true and false of a
 * check. `error` is said with it, `hint` stands below; `bare` hides the label from the eye alone; `field`
 * is a ref. Everything else is the element's.
 */
export const Field = live(({ label, value, onInput, error, hint, kind = "text", options, bare, field, class: more, ...rest }, self) => {
  const id = rest.id ?? (self.id ??= `field-${(count += 1)}`);
  const says = classes(hint && `${id}-hint`, error && `${id}-error`) || undefined;
  const common = { ...rest, id, ref: field, "aria-describedby": says, "aria-invalid": error ? "true" : undefined };
  const typed = (event) => onInput?.(event.currentTarget.value, event);
  const below = html`${hint && html`<small id=${`${id}-hint`} class="field-hint">${hint}</small>`}
    ${error && html`<small id=${`${id}-error`} class="field-error">${error}</small>`}`;
  if (kind === "check") {
    return html`<div class=${classes("field check", more)}>
      <label for=${id}><input ...${common} type="checkbox" checked=${!!value}
        onChange=${(event) => onInput?.(event.currentTarget.checked, event)} /><span>${label}</span></label>${below}
    </div>`;
  }
  return html`<div class=${classes("field", more)}>
    <label for=${id} class=${bare && "said"}>${label}</label>
    ${kind === "area"
      ? html`<textarea ...${common} value=${value ?? ""} onInput=${typed} />`
      : kind === "select"
        ? html`<select ...${common} value=${value} onChange=${typed}>${options.map(
            (one) => html`<option key=${one.value} value=${one.value} disabled=${one.disabled}
              selected=${String(one.value) === String(value)}>${one.label}</option>`,
          )}</select>`
        : html`<input ...${common} type=${kind} value=${value ?? ""} onInput=${typed} />`}
    ${below}
  </div>`;
});
