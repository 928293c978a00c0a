/* What pages with forms share: the values being written, what is wrong with them, one sending at a
 * time, what is shown once, rows that change places.
 */
import { Wish } from "./api.js";
import { wears } from "./sheets.js";
import { batch, html, live, signal } from "./view.js";
import { Button, notice, sayError } from "./ui.js";
import { sayField } from "./ui_load.js";
import { t } from "./words.js";

wears("pages.css");

/** Values that somebody writes. `kept(self, name, start)` keeps one form in a live component. */
export class Form {
  constructor(start) {
    this.start = start;
    this.values = signal(start);
    this.busy = signal(false);
    this.error = signal(null);
    this.wish = new Wish();
    this.fields = new Set(); // the names at which errors are said
  }

  get(name) {
    return this.values.value[name];
  }

  set(name, value) {
    this.values.value = { ...this.values.peek(), [name]: value };
  }

  /** Begins again, from other values. */
  reset(start = this.start) {
    batch(() => {
      this.start = start;
      this.values.value = start;
      this.error.value = null;
    });
  }

  /** The server has it, and this is how it is now; what was written since it was sent stays. */
  saved(start) {
    const now = this.values.peek();
    const since = Object.keys(now).filter((name) => !same(now[name], this.sent[name]));
    this.reset(start);
    for (const name of since) this.set(name, now[name]);
  }

  /** The values that differ from those of the beginning. */
  changes() {
    const now = this.values.value;
    return Object.fromEntries(Object.keys(now).filter((name) => !same(now[name], this.start[name])).map((name) => [name, now[name]]));
  }

  get changed() {
    return Object.keys(this.changes()).length > 0;
  }

  /** What a `Field` of this name needs. */
  field(name) {
    this.fields.add(name);
    return {
      name,
      value: this.get(name) ?? "",
      onInput: (value) => this.set(name, value),
      error: sayField(this.error.value, name),
    };
  }

  /** The key under which these values act once: another one when they are others. */
  key(body) {
    return this.wish.key(body);
  }

  /** Runs `task`, one at a time; its error stays beside the form. Resolves to what it gave, else undefined. */
  async send(task) {
    if (this.busy.peek()) return undefined;
    this.sent = this.values.peek();
    batch(() => {
      this.busy.value = true;
      this.error.value = null;
    });
    try {
      return (await task()) ?? true;
    } catch (error) {
      this.error.value = error;
      return undefined;
    } finally {
      this.busy.value = false;
    }
  }
}

const same = (one, other) => one === other || JSON.stringify(one) === JSON.stringify(other);

/** The form that a live component keeps under a name. */
export const kept = (self, name, start) => (self[name] ??= new Form(start()));

/** What was refused, above or below a form; what its fields say themselves is said there alone. */
export const FormError = live(({ form }) => {
  const error = form.error.value;
  const named = Object.keys(error?.fields ?? {});
  const isSaid = named.length > 0 && named.every((name) => form.fields.has(name));
  return error && html`<p class="forms-error" role="alert">${isSaid ? t("forms.see_fields") : sayError(error)}</p>`;
});

/** The end of a form: what was refused, the button that sends, and one that leaves. `off()` says whether
 * there is nothing to send yet: asked at the click too, since who types fast is ahead of what is rendered.
 */
export const FormEnd = live(({ form, word, cancel, off, kind = "main" }) => html`<div class="forms-end">
  <${FormError} form=${form} />
  <span>
    ${cancel && html`<${Button} onClick=${cancel}>${t("ui.cancel")}<//>`}
    <button type="submit" class=${`button ${kind}${form.busy.value ? " busy" : ""}`} aria-busy=${form.busy.value ? "true" : undefined}
      aria-disabled=${form.busy.value || off?.() ? "true" : undefined}
      onClick=${(event) => (form.busy.peek() || off?.()) && event.preventDefault()}>${word ?? t("ui.save")}</button>
  </span>
</div>`);

/** What a form's `onSubmit` is: `task` instead of the browser's own. */
export const sends = (task) => (event) => {
  event.preventDefault();
  task();
};

export const COLORS = [
  ["#6366f1", "indigo"], ["#2563eb", "blue"], ["#0891b2", "cyan"], ["#059669", "green"], ["#65a30d", "lime"],
  ["#ca8a04", "yellow"], ["#ea580c", "orange"], ["#dc2626", "red"], ["#db2777", "pink"], ["#7c3aed", "violet"],
  ["#64748b", "slate"],
];

/** A colour among some, or any other; with `none` also no colour. */
export const Colors = live(({ label, value, onInput, none, disabled }, self) => {
  self.group ??= `forms-colors-${(groups += 1)}`;
  const now = (value || "").toLowerCase();
  const other = now && !COLORS.some(([color]) => color === now);
  return html`<fieldset class="forms-colors" disabled=${disabled}>
    <legend class="forms-label">${label}</legend>
    <div>
      ${none && html`<label class="forms-color none" title=${t("forms.no_color")}>
        <input type="radio" name=${self.group} checked=${!now} onChange=${() => onInput("")} />
        <span class="said">${t("forms.no_color")}</span><i></i></label>`}
      ${COLORS.map(([color, name]) => html`<label key=${color} class="forms-color" title=${t(`forms.color_${name}`)} style=${{ "--label": color }}>
        <input type="radio" name=${self.group} checked=${now === color} onChange=${() => onInput(color)} />
        <span class="said">${t(`forms.color_${name}`)}</span><i></i></label>`)}
      <label class=${other ? "forms-color other on" : "forms-color other"} title=${t("forms.other_color")}>
        <span class="said">${t("forms.other_color")}</span>
        <input type="color" value=${now || "#6366f1"} onChange=${(event) => onInput(event.currentTarget.value)} /></label>
    </div>
  </fieldset>`;
});
let groups = 0;

/** Puts a text where it can be pasted from; false where the browser does not let us. */
async function copy(text, field) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    field.select();
    return document.execCommand("copy");
  }
}

/** A secret that is told once: a field to read it from, and a button that copies it. */
export const Once = live(({ label, text }, self) => {
  self.copied ??= signal(null);
  const said = self.copied.value;
  return html`<div class="forms-once">
    <label><span class="forms-label">${label}</span>
      <input class="forms-secret" readonly value=${text} ref=${(field) => (self.field = field)}
        onFocus=${(event) => event.currentTarget.select()} /></label>
    <${Button} icon=${said ? "check" : "copy"} onClick=${async () => (self.copied.value = await copy(text, self.field))}>
      ${said ? t("ui.copied") : t("ui.copy")}<//>
    <span role="status" class=${said === false ? "forms-fault" : "said"}>
      ${said ? t("ui.copied") : said === false ? t("forms.copy_yourself") : ""}</span>
  </div>`;
});

/** A list with one of its rows at another place. */
export function moved(list, from, to) {
  const next = [...list];
  next.splice(to, 0, ...next.splice(from, 1));
  return next;
}

/** Runs what a button does; what fails is said at the page's edge, after `undone`. Resolves to whether it went well. */
export async function doing(task, undone) {
  try {
    await task();
    return true;
  } catch (error) {
    undone?.();
    notice(sayError(error), { bad: true });
    return false;
  }
}

/** A form follows what it is about as long as nobody has written in it. */
export function follow(form, now) {
  if (!same(form.start, now) && !form.changed) queueMicrotask(() => form.reset(now));
}
