/* How the page looks to whoever is signed in: theme, accent, font and its size. */

/** The accents that there are. */
export const ACCENTS = ["blue", "red", "green", "orange"];
/** Fonts that every system has something for. */
export const FONTS = ["system", "serif", "mono"];
/** Sizes of the text; 14 is the usual one. */
export const SIZES = ["12", "13", "14", "15", "16", "18", "20"];

const USUAL = 14;

/** Puts on a look: of an account, or the defaults of the installation. */
export function wear(look) {
  const root = document.documentElement;
  const theme = look.theme ?? look.default_theme ?? "system";
  set(root, "theme", theme === "system" ? null : theme);
  set(root, "accent", ACCENTS.includes(look.accent_color) ? look.accent_color : null);
  const font = look.font ?? look.default_font;
  set(root, "font", FONTS.includes(font) && font !== "system" ? font : null);
  const size = Number(look.font_size ?? look.default_font_size) || USUAL;
  root.style.setProperty("--text-scale", String(Math.min(28, Math.max(11, size)) / USUAL));
}

function set(root, name, value) {
  if (value === null) delete root.dataset[name];
  else root.dataset[name] = value;
}
