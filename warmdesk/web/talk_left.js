/* What somebody was writing where nothing can be written any more: it can be read, copied, and forgotten. */
import { keepDraft, readDraft } from "./drafts.js";
import { outboxOf, placesHere } from "./outbox.js";
import { Button } from "./ui.js";
import { html, live, signal } from "./view.js";
import { t } from "./words.js";

const textOf = (draft) => {
  if (Array.isArray(draft)) return draft.map(textOf).join("\n");
  return typeof draft === "string" ? draft : [draft?.title, draft?.text ?? draft?.body].filter(Boolean).join("\n\n");
};

/** The texts under these keys of drafts, and the messages that this address still has to send; nothing where there
 * are none.
 */
export const Left = live(({ drafts }, self) => {
  const places = (self.places ??= [...new Set([...drafts, ...placesHere()])]);
  const keys = (self.keys ??= signal(places.filter((key) => textOf(readDraft(key)))));
  const unsent = places.flatMap((place) => {
    const box = outboxOf(place);
    return box.items.value.filter(({ state, body }) => state !== "sent" && body).map((one) => ({ box, one }));
  });
  const texts = [...keys.value.map((key) => textOf(readDraft(key))), ...unsent.map(({ one }) => one.body)];
  if (!texts.length) return null;
  const forget = () => {
    for (const key of keys.peek()) keepDraft(key, null);
    keys.value = [];
    for (const { box, one } of unsent) box.drop(one.nonce);
  };
  return html`<div class="left">
    <label><span>${t("talk.left")}</span><textarea readonly dir="auto" rows="5" value=${texts.join("\n\n")} onFocus=${(event) => event.currentTarget.select()} /></label>
    <${Button} onClick=${forget}>${t("talk.forget")}<//></div>`;
});
