/* A date that is written by keys: a year is four keys, and the first three of them are no year yet. */
import { Field } from "./ui_field.js";
import { html, live, signal } from "./view.js";

/** The days that anything may have. */
export const ANY_DAY = { min: "1970-01-01", max: "9998-12-31" };

/** A field for a date: `onChange(text, or null for none)` is told when the field is left, at Enter, or when a
 * day was picked. What is no day that may be is forgotten. The rest is as for `Field`.
 */
export const DateField = live(
  ({ value, onChange, ...rest }, self) => {
    const typed = (self.typed ??= signal(null)); // {text, valid}
    self.done = () => {
      const now = typed.peek();
      typed.value = null;
      if (now?.valid && now.text !== (self.props.value ?? "")) self.props.onChange(now.text || null);
    };
    const note = ({ value: text, validity }) => (typed.value = { text, valid: validity.valid });
    const pressed = (event) => {
      if (event.key === "Enter") self.done();
      self.byKeys = event.key !== "Enter" && (self.byKeys || event.key !== "Tab");
    };
    const left = (event) => {
      note(event.currentTarget);
      self.done();
      // What is half written is no value: nothing else would clear it.
      if (!event.currentTarget.validity.valid) event.currentTarget.value = self.props.value ?? "";
    };
    return html`<${Field} ...${ANY_DAY} ...${rest} kind="date" value=${typed.value ? typed.value.text : (value ?? "")}
      onInput=${(_, event) => note(event.currentTarget)} onFocus=${() => (self.byKeys = false)} onKeyDown=${pressed}
      onChange=${(event) => {
        note(event.currentTarget);
        if (!self.byKeys) self.done();
      }}
      onBlur=${left} />`;
  },
  (self) => {
    self.end = () => self.done();
  },
);
