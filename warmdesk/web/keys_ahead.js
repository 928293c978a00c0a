/* What is typed ahead. A field that somebody asked for shows a frame later, or when its file is here; they type on
 * at once. Those letters go into the field, and are keys of the page only where none came.
 */
import { isComing } from "./sheets.js";
import { afterRender, isRendering } from "./view.js";

const RENDER_MS = 1000; // a page in a storm renders all the time
const FILE_MS = 5000;
let held = null; // the events of keys since something was asked for; null: the page shows all that was

/** Whether what is typed here is text. */
export const isTyping = (element) =>
  !!element?.closest?.('input:not([type="checkbox"], [type="radio"], [type="button"]), textarea, select, [contenteditable="true"]');

/** Something was asked for: until it shows, letters wait. Those that no field took are given to `then(event)`, one
 * after the other.
 */
export function holdKeys(then) {
  if (held) return;
  held = [];
  const begun = performance.now();
  const look = () => {
    const most = isComing() ? FILE_MS : isRendering() ? RENDER_MS : 0;
    if (performance.now() - begun < most) return afterRender(look);
    const keys = held;
    held = null;
    // One of them may ask for something itself.
    for (const event of keys) if (!holdsKey(event)) then(event);
    return undefined;
  };
  afterRender(look);
}

/** Whether this key waits. A space alone does not: it begins no text. */
export function holdsKey(event) {
  if (!held || event.ctrlKey || event.metaKey || event.altKey || event.isComposing || isTyping(event.target)) return false;
  if (event.key.length !== 1 || (event.key === " " && !held.length)) return false;
  held.push(event);
  return true;
}

document.addEventListener("focusin", ({ target }) => {
  if (!held?.length || !isTyping(target)) return;
  const text = held.map((event) => event.key).join("");
  held = [];
  // Whoever puts the focus there may put the cursor somewhere, too.
  queueMicrotask(() => write(target, text));
});

function write(field, text) {
  if (field.readOnly || typeof field.setRangeText !== "function" || field.selectionStart === null) return;
  field.setRangeText(text, field.selectionStart, field.selectionEnd, "end");
  field.dispatchEvent(new InputEvent("input", { bubbles: true, inputType: "insertText", data: text }));
}
