/* What is typed ahead. A field that somebody asked for shows a frame later, or when its file is here; they type on
 * at once. That goes into the field, and is no key of the page meanwhile.
 */
import { isComing } from "./sheets.js";
import { afterRender, isRendering } from "./view.js";

const RENDER_MS = 1000; // a page in a storm renders all the time
const FILE_MS = 5000;
const KEYS = new Set(["Enter", "Backspace"]); // those of a text that are no letters
let held = null; // what was typed since a field was asked for; null: none is

/** Whether what is typed here is text. */
export const isTyping = (element) =>
  !!element?.closest?.('input:not([type="checkbox"], [type="radio"], [type="button"]), textarea, select, [contenteditable="true"]');

/** A field was asked for, perhaps: until it shows, what is typed waits for it; it is let go of where none came. */
export function holdKeys() {
  if (held) return;
  const mine = (held = []);
  const begun = performance.now();
  let came = begun; // the file that it needs
  const look = () => {
    if (held !== mine) return;
    const now = performance.now();
    if (isComing() && now - begun < FILE_MS) came = now;
    else if (!isRendering() || now - came > RENDER_MS) {
      held = null;
      return;
    }
    afterRender(look);
  };
  afterRender(look);
}

/** Whether this key waits. A space alone does not: it begins no text. */
function waits({ key, target, isComposing, ctrlKey, metaKey, altKey }) {
  if (!held || ctrlKey || metaKey || altKey || isComposing || isTyping(target)) return false;
  if (document.activeElement?.closest(":popover-open")) return false; // a menu has keys of its own
  return held.length ? key.length === 1 || KEYS.has(key) : key.length === 1 && key !== " ";
}

// Before anybody else hears of it: a key that waits is none yet.
document.addEventListener("keydown", (event) => {
  if (waits(event)) {
    held.push(event.key);
    event.preventDefault();
    event.stopPropagation();
  } else if (event.key === "Tab" || event.key === "Escape") held = null;
}, true);
document.addEventListener("click", (event) => event.target.closest("button") && holdKeys(), true);
// Somebody goes elsewhere by hand.
document.addEventListener("pointerdown", () => (held = null), true);

document.addEventListener("focusin", ({ target }) => {
  if (!held?.length || !isTyping(target)) return;
  const keys = held;
  held = null;
  // Whoever puts the focus there may put the cursor somewhere, too.
  queueMicrotask(() => keys.forEach((key) => press(target, key)));
});

function press(field, key) {
  if (key === "Enter") {
    field.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
    return;
  }
  // A field of dates, numbers or choices takes no text at a cursor.
  if (field.readOnly || typeof field.setRangeText !== "function" || field.selectionStart === null) return;
  const { selectionStart: start, selectionEnd: end } = field;
  if (key !== "Backspace") field.setRangeText(key, start, end, "end");
  else field.setRangeText("", start === end ? Math.max(0, start - 1) : start, end, "end");
  field.dispatchEvent(new InputEvent("input", { bubbles: true }));
}
