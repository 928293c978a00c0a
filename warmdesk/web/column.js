/* A column of the board: its head, the cards that stand in the page, and where new ones are written. */
import { createCard } from "./actions.js";
import { say } from "./announce.js";
import { SLACK, WINDOW } from "./board_column.js";
import { Tile } from "./card_tile.js";
import { author, keepDraft, readDraft } from "./drafts.js";
import { showAll } from "./filter.js";
import { Button, Icon, Menu, notice } from "./ui.js";
import { afterRender, batch, effect, html, live, signal, withRender } from "./view.js";
import { t } from "./words.js";

const NEAR = 1000;
const FRESH_MS = 1000;
const QUIET_MS = 500;

function sizeOf(column, store) {
  const n = column.size.value;
  const limit = column.col.value.wip_limit;
  const over = limit && n > limit ? t("column.over", { n: limit }) : "";
  const shown = store.filter.value ? `${column.passed.value.length} / ${n}` : `${n}${limit ? ` / ${limit}` : ""}`;
  return { shown, said: `${t("column.n_cards", { n })} ${over}`.trim(), over };
}

function saySize({ element, size }) {
  const [shown, said] = element.children;
  write(shown, size.shown);
  write(said, size.said);
  if (element.title === size.over) return;
  element.classList.toggle("over", !!size.over);
  element.title = size.over;
}

/** Text into an element that has nothing else; its node stays. */
function write(element, text) {
  if (element.firstChild) element.firstChild.data = text;
  else element.textContent = text;
}

/** How many cards there are. Each move changes two of these: they are written without a render of their own. */
const Size = live(
  (_, self) => html`<span class="column-n" ref=${(element) => element && (self.element = element)}><span aria-hidden="true" /><span class="said" /></span>`,
  (self) => {
    let waits = true;
    self.end = effect(() => {
      self.size = sizeOf(self.props.column, self.props.store);
      if (waits) return;
      waits = true;
      withRender(() => {
        waits = false;
        saySize(self);
      });
    });
    waits = false;
    saySize(self);
  },
);

const Head = live(({ column, board }) => {
  const { store } = board;
  const col = column.col.value;
  const order = store.shownOrder.value;
  const at = order.indexOf(column.id);
  const canManage = store.canManage.value;
  const items = [
    store.canWrite.value && { label: t("column.new_card"), do: () => board.write(column.id), icon: "add" },
    { label: t("column.choose_all"), do: () => board.chooseAll(column.id), icon: "check" },
    canManage && { label: t("column.edit"), do: () => (board.editing.value = { column: col }), icon: "edit", line: true },
    canManage && { label: t("column.before"), do: () => board.moveColumn(column.id, at - 1), icon: "back", disabled: at === 0 },
    canManage && { label: t("column.after"), do: () => board.moveColumn(column.id, at + 1), icon: "forward", disabled: at === order.length - 1 },
    canManage && { label: t("column.add_after"), do: () => (board.editing.value = { after: column.id }), icon: "column" },
    canManage && { label: t("column.delete"), do: () => board.removeColumn(column.id), icon: "trash", danger: true, line: true },
  ];
  return html`<header class="column-head">
    ${col.color && html`<i class="mark" style=${{ "--label": col.color }} />`}
    <h2 id=${`column-${column.id}`} dir="auto" title=${col.name}>${col.name}</h2>
    <${Size} column=${column} store=${store} /><span class="grow" />
    ${store.canWrite.value && html`<${Button} kind="quiet" icon="add" label=${t("column.new_card_in", { column: col.name })} onClick=${() => board.write(column.id)} />`}
    <${Menu} label=${t("column.menu", { column: col.name })} items=${items} />
  </header>`;
});

/** A field for titles, a line each; what is written stays over a reload. */
const Writer = live(({ board, column, before }, self) => {
  const { store } = board;
  const draft = `new.${store.slug}.${column.id}`;
  // Another writer of this column goes on with it.
  const text = (column.typed ??= signal(readDraft(draft) ?? ""));
  self.owner ??= author();
  const close = (back) => {
    board.writing.value = null;
    if (!back) return;
    const card = self.from ?? board.focus.last;
    if (card !== null) board.focus.to(card);
    else afterRender(() => document.querySelector(`section[data-column="${column.id}"] .column-foot button`)?.focus());
  };
  const put = (words) => {
    text.value = words;
    keepDraft(draft, words || null, self.owner);
  };
  const save = async () => {
    const titles = text.peek().split("\n").map((one) => one.trim()).filter(Boolean);
    if (!titles.length) return close(true);
    put("");
    const beside = column.view.peek().includes(before) ? before : undefined;
    const made = await Promise.all(titles.map((title) => createCard(store, column.id, { title: title.slice(0, 500) }, beside)));
    for (const card of made) {
      if (!card?.key) continue;
      const said = t("board.made", { key: card.key, column: column.col.peek().name });
      const passes = store.filter.peek()?.({ ...card, label_ids: [], assignee_ids: [], tags: [] }) ?? true;
      if (passes) say(said);
      else notice(said, { undo: () => showAll(store), word: t("board.show_all") });
    }
    const lost = titles.filter((_, index) => !made[index]);
    if (lost.length) put([...lost, text.peek()].filter(Boolean).join("\n"));
    return undefined;
  };
  const pressed = (event) => {
    event.stopPropagation();
    if (event.isComposing) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      save();
    } else if (event.key === "Escape") {
      event.preventDefault();
      close(true);
    }
  };
  return html`<div class="column-writer">
    <textarea rows="2" dir="auto" ref=${(field) => field && field !== self.field && (self.field = field).focus()} value=${text.value} maxlength="20000"
      aria-label=${t("column.title_of_new", { column: column.col.value.name })} placeholder=${t("column.title_hint")}
      onInput=${(event) => put(event.currentTarget.value)} onKeyDown=${pressed} />
    <div class="row"><${Button} kind="main" onClick=${save}>${t("ui.add")}<//><${Button} kind="quiet" onClick=${() => close(true)}>${t("ui.cancel")}<//></div>
  </div>`;
}, (self) => {
  self.from = self.props.board.focus.last;
});

const whenIdle = globalThis.requestIdleCallback ?? setTimeout;
const fresh = new Set();

/** Some time after it came, when the page has nothing else to do, a column is laid out whole; one at a time. */
function settleLater(cards) {
  fresh.add(cards);
  if (fresh.size === 1) setTimeout(whenIdle, FRESH_MS, settle);
}

function settle() {
  const [cards] = fresh;
  if (!cards) return;
  fresh.delete(cards);
  if (cards.n <= WINDOW + 2 * SLACK) cards.list.classList.add("settled");
  if (fresh.size) whenIdle(settle);
}

const Cards = live(({ column, board }, self) => {
  const { store } = board;
  const ids = column.window.value;
  self.n = ids.length;
  // A long one never is: each part that is scrolled to would be laid out at once.
  if (self.n > WINDOW + 2 * SLACK) self.list?.classList.remove("settled");
  const all = column.passed.value.length;
  const more = ids.length < all || column.next.value;
  const scrolled = (event) => {
    const list = event.currentTarget;
    if (list.scrollHeight - list.scrollTop - list.clientHeight > NEAR) return;
    board.grow(column);
  };
  const writing = board.writing.value;
  const before = writing?.column === column.id ? writing.before : undefined;
  // One flat list, so that a card keeps its element wherever it goes in it.
  const tiles = ids.map((id) => html`<${Tile} key=${id} store=${store} id=${id} />`);
  const at = before === undefined ? -1 : ids.indexOf(before);
  // Its neighbour may be gone: then it stands at the end, with what is typed.
  if (before !== undefined) tiles.splice(at < 0 ? tiles.length : at, 0, html`<li key="writer"><${Writer} board=${board} column=${column} before=${before} /></li>`);
  return html`<ul class="column-cards" data-column=${column.id} onScroll=${scrolled} ref=${(list) => list && (self.list = list)}>
    ${tiles}
    ${!ids.length && html`<li class="column-empty" key="empty">${store.filter.value ? t("column.none_pass") : t("column.empty")}</li>`}
    ${more && html`<li key="more"><${Button} kind="quiet" onClick=${() => board.grow(column)}>${t("ui.more")}<//></li>`}
  </ul>`;
}, (self) => {
  settleLater(self);
  const stop = effect(() => {
    self.props.column.window.value;
    levelLater(self);
  });
  self.end = () => {
    stop();
    fresh.delete(self);
    uneven.delete(self);
  };
});

const uneven = new Set();
let quiet = 0;

/** Once nothing happens on the board, as many cards stand in a column as were wanted. */
function levelLater(cards) {
  uneven.add(cards);
  clearTimeout(quiet);
  quiet = setTimeout(whenIdle, QUIET_MS, () => {
    batch(() => uneven.forEach(level));
    uneven.clear();
  });
}

function level({ props: { column }, list }) {
  const { surplus } = column;
  if (!surplus) return;
  // Those that are looked at stay, and who has the focus.
  const last = [...list.querySelectorAll(".tile")].slice(column.grown.peek());
  const end = list.getBoundingClientRect().bottom + NEAR;
  const isFree = last[0]?.getBoundingClientRect().top > end && !last.some((tile) => tile.contains(document.activeElement));
  if (surplus < 0 || isFree) column.level();
}

/** A column of a board. */
export const ColumnView = live(({ board, id }) => {
  const { store } = board;
  const column = store.cols.get(id);
  if (!column) return null;
  const writing = board.writing.value;
  const atEnd = writing?.column === id && writing.before === undefined;
  return html`<section class="column" data-column=${id} aria-labelledby=${`column-${id}`}>
    <${Head} column=${column} board=${board} />
    <${Cards} column=${column} board=${board} />
    ${store.canWrite.value && html`<footer class="column-foot">${atEnd
      ? html`<${Writer} board=${board} column=${column} />`
      : html`<${Button} kind="quiet" onClick=${() => board.write(id)}><${Icon} name="add" />${t("column.new_card")}<//>`}</footer>`}
  </section>`;
});

/** Shows more cards of a column, and fetches those that are not here. */
export async function grow(store, column) {
  const { grown, passed, window: shown } = column;
  const more = () => (grown.value = Math.max(grown.peek(), shown.peek().length) + WINDOW);
  if (grown.peek() < passed.peek().length) more();
  else if (column.next.peek()) {
    await store.pages.fill(column.id);
    more();
  }
}
