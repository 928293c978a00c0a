/* The question that the page asks before it does something; and where it and the notices appear. */
import { me } from "./identity.js";
import { Notices } from "./ui_notice.js";
import { Dialog, dialogs } from "./ui_over.js";
import { Button } from "./ui_parts.js";
import { effect, html, live, signal } from "./view.js";
import { t } from "./words.js";

const asked = signal(null);

/** Asks before something is done; resolves to whether it was agreed to. `word` names the deed on the
 * button, `danger` colours it.
 */
export function confirm(text, { danger, word, title } = {}) {
  asked.peek()?.done(false);
  return new Promise((resolve) => {
    const done = (yes) => {
      asked.value = null;
      resolve(yes);
    };
    asked.value = { text, danger, word, title, done };
  });
}

// What was asked of one person is nothing for the next.
effect(() => {
  if (!me.value) asked.peek()?.done(false);
});

/** Where notices and questions appear: once in the page. */
export const Toasts = live(() => {
  const question = asked.value;
  return html`${!dialogs.value.length && html`<${Notices} />`}
    ${question && html`<${Dialog} key=${question} title=${question.title ?? t("ui.sure")} close=${() => question.done(false)} class="ask">
      <div class="sheet-body"><p>${question.text}</p></div>
      <footer class="sheet-foot">
        <${Button} onClick=${() => question.done(false)}>${t("ui.cancel")}<//>
        <${Button} kind=${question.danger ? "danger" : "main"} autofocus=${!question.danger} onClick=${() => question.done(true)}>${question.word ?? t("ui.ok")}<//>
      </footer>
    <//>`}`;
});
