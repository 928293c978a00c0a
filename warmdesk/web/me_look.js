/* How the page looks to me: theme, accent, font, size; and single keys. */
import { ACCENTS, FONTS, SIZES } from "./appearance.js";
import { me } from "./identity.js";
import { change, Section } from "./me_parts.js";
import { Field } from "./ui.js";
import { html, live } from "./view.js";
import { t } from "./words.js";

const Choice = ({ name, label, options, value, onChoose }) => html`<fieldset class="me-choice">
  <legend>${label}</legend>
  <div class="row wrap">${options.map(
    (one) => html`<label key=${one.value} class="me-option" data-accent=${name === "accent_color" ? one.value : undefined}>
      <input type="radio" name=${name} value=${one.value} checked=${one.value === value} onChange=${() => onChoose(one.value)} />
      ${name === "accent_color" && html`<i aria-hidden="true" />`}<span>${one.label}</span></label>`,
  )}</div>
</fieldset>`;

/** Theme, accent, font and size of the text. Each shows at once. */
export const Appearance = live(() => {
  const mine = me.value;
  const set = (name) => (value) => change({ [name]: value });
  const sizes = SIZES.includes(mine.font_size) ? SIZES : [mine.font_size, ...SIZES];
  return html`<${Section} title=${t("me.appearance")} text=${t("me.appearance_text")}>
    <${Choice} name="theme" label=${t("me.theme")} value=${mine.theme} onChoose=${set("theme")}
      options=${["system", "light", "dark"].map((value) => ({ value, label: t(`me.theme_${value}`) }))} />
    <${Choice} name="accent_color" label=${t("me.accent")} value=${mine.accent_color} onChoose=${set("accent_color")}
      options=${ACCENTS.map((value) => ({ value, label: t(`me.accent_${value}`) }))} />
    <${Choice} name="font" label=${t("me.font")} value=${FONTS.includes(mine.font) ? mine.font : "system"} onChoose=${set("font")}
      options=${FONTS.map((value) => ({ value, label: t(`me.font_${value}`) }))} />
    <div class="me-grid"><${Field} kind="select" label=${t("me.font_size")} value=${mine.font_size} onInput=${set("font_size")}
      options=${sizes.map((value) => ({ value, label: value === "14" ? t("me.size_usual", { size: value }) : value }))} /></div>
  <//>`;
});
