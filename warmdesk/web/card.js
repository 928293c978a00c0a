/* A card, in a dialog over its board. */
import { go } from "./address.js";
import { archiveCard, changeCard } from "./actions.js";
import { say } from "./announce.js";
import { call, newKey } from "./api.js";
import { CardFiles, CardLinks, CardUploads } from "./card_files.js";
import { Checklist } from "./card_checklist.js";
import { CardSide } from "./card_side.js";
import { CardStore } from "./card_store.js";
import { CardTalk } from "./card_talk.js";
import { Description, Title } from "./card_text.js";
import { Transfer } from "./card_transfer.js";
import { sureDelete } from "./dialogs.js";
import { keys } from "./keys.js";
import { wears } from "./sheets.js";
import { Left } from "./talk_left.js";
import { Button, Dialog, Empty, Failed, Icon, Menu, Skeleton, notice, sayError } from "./ui.js";
import { html, live, signal } from "./view.js";
import { t } from "./words.js";

wears("board.css");

const bad = (error) => notice(sayError(error), { bad: true });

/** What can be done to the whole card. */
function deeds(board, card, canWrite, transfer, close) {
  const { store } = board;
  const { id } = card;
  const facts = card.facts.value;
  const copy = async () => {
    try {
      const made = await call("POST", `${card.path}/copy`, {}, { key: newKey() });
      notice(t("card.copied", { key: made.key }));
      go(`/p/${store.slug}/c/${made.key}`);
    } catch (error) {
      bad(error);
    }
  };
  const back = () => call("DELETE", `${card.path}/archive`).catch(bad);
  const archive = () => {
    close();
    archiveCard(store, id);
  };
  const remove = async () => {
    if (await sureDelete(board, id)) close();
  };
  const link = `${location.origin}/p/${store.slug}/c/${facts.key}`;
  return [
    navigator.clipboard && { label: t("board.copy_link"), icon: "link", do: () => navigator.clipboard.writeText(link).then(() => notice(t("board.link_copied"))) },
    canWrite && { label: t("card.copy"), icon: "copy", do: copy },
    canWrite && { label: t("card.transfer"), icon: "forward", do: () => (transfer.value = true) },
    canWrite && (facts.archived_at
      ? { label: t("card.unarchive"), icon: "archive", line: true, do: back }
      : { label: t("board.archive"), icon: "archive", line: true, do: archive }),
    canWrite && { label: t("ui.delete"), icon: "trash", danger: true, do: remove },
  ].filter(Boolean);
}

function cardKeys(board, card, self) {
  const { store } = board;
  const writes = (then) => () => (board.may() ? then() : undefined);
  const within = (query) => self.root?.querySelector(query);
  return {
    e: ["keys.title", writes(() => within("textarea.card-title")?.focus())],
    m: ["keys.move_to", writes(() => within(".card-side select")?.focus())],
    a: ["keys.assign", writes(() => within(".card-pick.people")?.click())],
    l: ["keys.labels", writes(() => within(".card-pick.labels")?.click())],
    d: ["keys.due", writes(() => within(".card-due input")?.focus())],
    c: ["keys.close", writes(() => {
      const closed = !card.seen.closed;
      changeCard(store, card.id, { closed }).then((answer) => card.answered(answer));
      say(t(closed ? "board.closed" : "board.opened", { key: card.facts.peek().key }));
    })],
    w: ["keys.watch", () => card.toggleWatch?.()],
    n: ["keys.comment", () => within(".card-talk textarea")?.focus()],
  };
}

const Body = live(({ board, card, canWrite, uploads, first }) => html`<div class="card-body">
  <div class="card-main">
    <${Title} card=${card} canWrite=${canWrite} first=${first} />
    ${card.facts.value.archived_at && html`<p class="card-note">${t("card.is_archived")}</p>`}
    <${Description} card=${card} canWrite=${canWrite} />
    <${Checklist} card=${card} canWrite=${canWrite} />
    <${CardFiles} card=${card} canWrite=${canWrite} uploads=${uploads} />
    <${CardLinks} card=${card} canWrite=${canWrite} />
    <${CardTalk} card=${card} canWrite=${canWrite} />
  </div>
  <${CardSide} board=${board} card=${card} canWrite=${canWrite} />
</div>`);

/** The card `name` (a key or an id) of a board; `close()` leaves it. */
export const Card = live(
  ({ board, name, close }, self) => {
    const { store } = board;
    const card = (self.card ??= new CardStore(store, name));
    const uploads = (self.uploads ??= new CardUploads(card));
    const transfer = (self.transfer ??= signal(false));
    const over = (self.over ??= signal(false));
    self.first ??= { title: board.editTitle };
    board.editTitle = false;
    const state = card.state.value;
    const facts = card.facts.value;
    board.openKey = facts?.key;
    if (state === "ready") keys(cardKeys(board, card, self), self, { title: "card.keys", depth: 1 });
    else keys({}, self, { title: "card.keys", depth: 1 });
    if (state === "gone" || state === "missing") {
      const place = `card.${store.slug}.${card.id}`;
      return html`<${Dialog} title=${name} close=${close}><${Left} drafts=${[place, `${place}.title`, `${place}.description`, `checklist.${card.path}`]} /><${Empty} icon="trash" title=${state === "gone" ? t("card.gone", { key: facts?.key ?? name }) : t("card.missing", { key: name })}
        text=${card.movedTo ? t("card.moved_to", { key: card.movedTo }) : undefined}><${Button} kind="main" autofocus onClick=${close}>${t("card.to_board")}<//><//><//>`;
    }
    if (!facts) {
      return html`<${Dialog} wide title=${name} close=${close}><div class="card-body"><div class="card-main">${state === "failed"
        ? html`<${Failed} error=${card.error} again=${() => ((card.state.value = "loading"), card.load())} />`
        : html`<${Skeleton} lines=${6} />`}</div></div><//>`;
    }
    const canWrite = store.canWrite.value;
    const seen = card.seen;
    const setClosed = async () => card.answered(await changeCard(store, card.id, { closed: !seen.closed }));
    const head = html`<span class="card-key">${facts.key}</span><span class="card-where">${store.cols.get(seen.column_id)?.col.value.name ?? facts.column_name}</span>
      ${canWrite && html`<${Button} kind=${seen.closed ? "main" : undefined} aria-pressed=${String(!!seen.closed)} onClick=${setClosed}><${Icon} name="check" />${seen.closed ? t("card.closed") : t("board.close")}<//>`}`;
    const actions = html`${canWrite && store.cards.get(card.id) && html`<${Button} kind="quiet" onClick=${() => (board.moving.value = card.id)}><${Icon} name="move" /><span class="card-wide">${t("board.move_now")}</span><//>`}
      <${Menu} label=${t("board.menu_of", { key: facts.key })} items=${deeds(board, card, canWrite, transfer, close)} />`;
    const dropped = (event) => {
      over.value = false;
      if (!canWrite || !event.dataTransfer?.files.length) return;
      event.preventDefault();
      uploads.add(event.dataTransfer.files);
    };
    return html`<${Dialog} wide title=${`${facts.key} ${seen.title}`} head=${head} actions=${actions} close=${close} class="card-dialog">
      <div class=${`card-drop${over.value ? " over" : ""}`} ref=${(element) => element && (self.root = element)} onDragOver=${(event) => {
        if (!canWrite || !event.dataTransfer?.types.includes("Files")) return;
        event.preventDefault();
        over.value = true;
      }} onDragLeave=${(event) => event.currentTarget.contains(event.relatedTarget) || (over.value = false)} onDrop=${dropped}>
        <${Body} board=${board} card=${card} canWrite=${canWrite} uploads=${uploads} first=${self.first.title} />
      </div>
      ${transfer.value && html`<${Transfer} board=${board} card=${card} close=${() => (transfer.value = false)} />`}<//>`;
  },
  (self) => {
    self.end = () => {
      self.card.end();
      self.props.board.openKey = undefined;
    };
  },
);
