/* A card's title and description: a text that I change is mine until it is saved, whatever others do
 * meanwhile; where both changed it, both texts are shown.
 */
import { changeCard } from "./actions.js";
import { say } from "./announce.js";
import { author, keepDraft, readDraft } from "./drafts.js";
import { Markdown } from "./markdown.js";
import { Button, Icon, notice, sayError } from "./ui.js";
import { html, live, signal } from "./view.js";
import { t } from "./words.js";

const LONGEST = 100_000;

/** What I am writing instead of a field of a card: {base, text}, or null. */
function draftOf(self, card, name) {
  const key = `card.${card.board.slug}.${card.id}.${name}`;
  self.draft ??= signal(readDraft(key) ?? null);
  self.theirs ??= signal(null);
  self.owner ??= author();
  const put = (draft) => {
    self.draft.value = draft;
    keepDraft(key, draft, self.owner);
  };
  const drop = () => {
    put(null);
    self.theirs.value = null;
  };
  /** Saves; false when it was refused, and is still being written. */
  const save = async () => {
    const { base, text } = self.draft.peek() ?? {};
    if (text === undefined) return true;
    const next = name === "title" ? text.replace(/\s+/g, " ").trim() : text;
    if (next === base || (name === "title" && !next)) {
      drop();
      return true;
    }
    self.draft.value = null; // the wish shows meanwhile
    const body = { [name]: next, was: { [name]: base } };
    let kept = true;
    const answer = await changeCard(card.board, card.id, body, { [name]: next }, (error) => {
      kept = false;
      // Who wrote on meanwhile did so from what is not saved.
      const newer = self.draft.peek();
      put({ base: !newer || newer.base === next ? base : newer.base, text: newer?.text ?? text });
      if (error.code === "version_conflict") self.theirs.value = error.body.current[name];
      else notice(sayError(error), { bad: true });
    });
    if (!kept) return false;
    card.answered(answer);
    if (!self.draft.peek()) drop();
    return true;
  };
  return { put, drop, save };
}

/** My text, and behind it what somebody else has in place of a part of what I began with. */
function together({ base, text }, theirs) {
  const [before, after] = [base.split("\n"), theirs.split("\n")];
  let from = 0;
  while (from < before.length && from < after.length && before[from] === after[from]) from += 1;
  let same = 0;
  while (same < Math.min(before.length, after.length) - from && before.at(-1 - same) === after.at(-1 - same)) same += 1;
  return [text, ...after.slice(from, after.length - same)].join("\n");
}

/** Both texts, when somebody else changed what I was writing. */
const Conflict = ({ self, draft, name }) => {
  const theirs = self.theirs.value;
  const mine = self.draft.value;
  if (theirs === null || !mine) return null;
  const keep = () => {
    draft.put({ base: theirs, text: mine.text });
    self.theirs.value = null;
    draft.save();
  };
  return html`<div class="card-both" role="alert">
    <p><${Icon} name="warn" /><b>${t("card.conflict")}</b></p>
    <div class="card-theirs"><small>${t("card.theirs")}</small>${name === "title" ? html`<p dir="auto">${theirs}</p>` : html`<pre tabindex="0" dir="auto">${theirs || t("card.empty")}</pre>`}</div>
    <p class="soft">${t("card.mine_above")}</p>
    <div class="row wrap"><${Button} kind="main" onClick=${keep}>${t("card.keep_mine")}<//>
      <${Button} onClick=${() => (draft.put({ base: theirs, text: together(mine, theirs) }), (self.theirs.value = null))}>${t("card.put_together")}<//>
      <${Button} onClick=${draft.drop}>${t("card.take_theirs")}<//></div></div>`;
};

/** The title, which is a field at once. */
export const Title = live(({ card, canWrite, first }, self) => {
  const seen = card.seen;
  const draft = draftOf(self, card, "title");
  const now = self.draft.value?.text ?? seen.title;
  if (!canWrite) return html`<h2 class="card-title" dir="auto">${seen.title}</h2>`;
  const pressed = async (event) => {
    if (event.key === "Enter" && !event.isComposing) {
      event.preventDefault();
      if (await draft.save()) say(t("card.saved"));
    } else if (event.key === "Escape" && self.draft.peek()) {
      event.preventDefault();
      event.stopPropagation();
      draft.drop();
    }
  };
  return html`<textarea class="card-title" rows="1" dir="auto" maxlength="500" aria-label=${t("card.title")} value=${now}
      ref=${(field) => {
        if (!field || field === self.field) return;
        self.field = field;
        if (first) queueMicrotask(() => (field.focus(), field.select()));
      }}
      onInput=${(event) => draft.put({ base: self.draft.peek()?.base ?? card.seen.title, text: event.currentTarget.value })}
      onKeyDown=${pressed} onBlur=${() => self.theirs.peek() === null && draft.save()} />
    <${Conflict} self=${self} draft=${draft} name="title" />`;
});

/** The description: Markdown, or the field in its place. */
export const Description = live(({ card, canWrite }, self) => {
  const seen = card.seen;
  const draft = draftOf(self, card, "description");
  const mine = self.draft.value;
  const text = seen.description ?? "";
  const begin = () => draft.put({ base: card.seen.description ?? "", text: card.seen.description ?? "" });
  self.begin = begin;
  if (!mine) {
    return html`<section class="card-part" aria-label=${t("card.description")}>
      <header><h3>${t("card.description")}</h3>${canWrite && text && html`<${Button} kind="quiet" icon="edit" label=${t("card.edit_description")} onClick=${begin} />`}</header>
      ${text ? html`<${Markdown} text=${text} />` : canWrite ? html`<${Button} kind="quiet" onClick=${begin}><${Icon} name="text" />${t("card.add_description")}<//>` : html`<p class="faint">${t("card.empty")}</p>`}
    </section>`;
  }
  const changed = mine.base !== text && self.theirs.value === null;
  const pressed = (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      draft.save();
    } else if (event.key === "Escape") {
      event.preventDefault();
      event.stopPropagation();
      if (mine.text === mine.base) draft.drop();
      else self.root?.querySelector("button")?.focus();
    }
  };
  return html`<section class="card-part" aria-label=${t("card.description")} ref=${(element) => element && (self.root = element)}>
    <header><h3>${t("card.description")}</h3></header>
    <textarea class="card-description" dir="auto" rows="6" maxlength=${LONGEST} aria-label=${t("card.description")} value=${mine.text}
      ref=${(field) => field && field !== self.field && (self.field = field).focus()}
      onInput=${(event) => draft.put({ base: mine.base, text: event.currentTarget.value })} onKeyDown=${pressed} />
    ${changed && html`<p class="card-note" role="status">${t("card.changed_meanwhile")}</p>`}
    <${Conflict} self=${self} draft=${draft} name="description" />
    <div class="row"><${Button} kind="main" onClick=${draft.save}>${t("ui.save")}<//><${Button} onClick=${draft.drop}>${t("ui.cancel")}<//>
      <small class="faint">${t("card.markdown")}</small></div></section>`;
});
