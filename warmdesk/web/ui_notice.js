/* What the page says at its edge for a moment. */
import { me } from "./identity.js";
import { afterRender, effect, html, live, signal } from "./view.js";
import { t } from "./words.js";

const SHORT_MS = 5000;
const LONG_MS = 10_000;
const MOST = 4;

const notices = signal([]);
let count = 0;

const drop = (id) => (notices.value = notices.peek().filter((one) => one.id !== id));

function begin(one) {
  clearTimeout(one.timer);
  one.timer = setTimeout(() => drop(one.id), one.bad || one.undo ? LONG_MS : SHORT_MS);
}

/** Says something at the page's edge for some seconds; `bad` as a failure, `undo` is what a button
 * does, which takes it back, or is called `word`. The time stands still while pointer or focus is on it. Gives a function that takes it away.
 */
export function notice(text, { bad, undo, word } = {}) {
  const one = { id: (count += 1), text, bad, undo, word };
  notices.value = [...notices.peek().filter((other) => other.text !== text), one].slice(-MOST);
  begin(one);
  return () => drop(one.id);
}

// What was said to one person is nothing for the next.
effect(() => {
  if (!me.value) notices.value = [];
});

/** The notices. They stand once: in the dialog that lies over the page, for nothing beside it is heard or can be
 * pressed, else in the page.
 */
export const Notices = live((_, self) => {
  const last = notices.value.at(-1);
  if (last && last !== self.last && self.element) {
    // Above whatever was opened since: a menu lies over all that was there before it.
    self.element.hidePopover();
    self.element.showPopover();
  }
  self.last = last;
  // What stands in a region that is new is said by no screen reader: the region comes first.
  const said = (self.isHere ??= signal(false)).value ? notices.value : [];
  const hold = (one) => ({
    onPointerEnter: () => clearTimeout(one.timer),
    onPointerLeave: () => begin(one),
    onFocusIn: () => clearTimeout(one.timer),
    onFocusOut: () => begin(one),
  });
  return html`<div class="toasts" popover="manual" role="region" aria-label=${t("ui.notices")} ref=${(element) => element && (self.element = element)}>
      <div role="status">${said.filter((one) => !one.bad).map((one) => html`<div key=${one.id} class="toast" ...${hold(one)}>
        <span>${one.text}</span>${one.undo && html`<button type="button" onClick=${() => {
          drop(one.id);
          one.undo();
        }}>${one.word ?? t("ui.undo")}</button>`}
        <button type="button" aria-label=${t("ui.close")} onClick=${() => drop(one.id)}>×</button></div>`)}</div>
      <div role="alert">${said.filter((one) => one.bad).map((one) => html`<div key=${one.id} class="toast bad" ...${hold(one)}>
        <span>${one.text}</span>
        <button type="button" aria-label=${t("ui.close")} onClick=${() => drop(one.id)}>×</button></div>`)}</div>
    </div>`;
}, (self) => {
  self.element.showPopover();
  afterRender(() => (self.isHere.value = true));
});
