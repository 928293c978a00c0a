/* The board of a project, and over it the card whose address it is. */
import { go } from "./address.js";
import { Board } from "./page_board.js";
import { BoardBar } from "./filter.js";
import { ColumnView } from "./column.js";
import { keysOf } from "./keys_board.js";
import { keys } from "./keys.js";
import { ProjectFrame, useProject } from "./project.js";
import { dressed, wears } from "./sheets.js";
import { Button, Empty, Failed, notice, sayError } from "./ui.js";
import { html, live, signal } from "./view.js";
import { t } from "./words.js";

wears("board.css");

const Columns = live(({ board }) => {
  const { store } = board;
  const order = store.shownOrder.value;
  if (!order.length) {
    const manage = store.canManage.value;
    return html`<${Empty} icon="board" title=${t("board.no_columns")} text=${manage ? t("board.no_columns_text") : t("board.ask_admin")}>
      ${manage && html`<${Button} kind="main" onClick=${() => (board.editing.value = {})}>${t("column.add")}<//>`}<//>`;
  }
  return html`<div class="board" ref=${board.mount} onPointerDown=${board.pressed} onClick=${board.clicked}
      onFocusIn=${(event) => board.focus.entered(event.target)}>
    ${order.map((id) => html`<${ColumnView} key=${id} board=${board} id=${id} />`)}
    ${store.canManage.value && html`<div class="column-more"><${Button} kind="quiet" icon="add" onClick=${() => (board.editing.value = {})}>${t("column.add")}<//></div>`}
  </div>`;
});

/** The card's dialog, whose file is fetched when the first one opens. */
const Over = live(({ board, name }, self) => {
  const view = (self.view ??= signal(null));
  const trouble = (self.trouble ??= signal(null));
  const fetch = () =>
    dressed(import("./card.js")).then(
      ({ Card }) => (view.value = Card),
      (error) => (trouble.value = error),
    );
  self.once ??= fetch();
  const close = () => {
    go(`/p/${board.store.slug}`, { replace: false });
    const card = board.store.find(name);
    if (card) board.focus.to(card.id);
  };
  if (trouble.value) return html`<${Failed} error=${trouble.value} again=${() => location.reload()} />`;
  const Card = view.value;
  return Card ? html`<${Card} key=${name} board=${board} name=${name} close=${close} />` : null;
});

/** What is not seen at first: its files are fetched when something of it is wanted. */
const Later = live(({ board }, self) => {
  const parts = (self.parts ??= signal(null));
  const wanted =
    board.menu.value ?? board.moving.value ?? board.editing.value ?? board.picking.value ?? (board.store.marks.chosen.value.size || null);
  if (wanted !== null && !self.asked) {
    self.asked = true;
    dressed(Promise.all([import("./dialogs.js"), import("./bulk.js")])).then(
      ([dialogs, bulk]) => (parts.value = { ...dialogs, ...bulk }),
      (error) => {
        self.asked = false;
        notice(sayError(error), { bad: true });
      },
    );
  }
  if (!parts.value) return null;
  const { BulkBar, CardMenu, ColumnDialog, MoveDialog, Picking } = parts.value;
  return html`<${BulkBar} board=${board} /><${CardMenu} board=${board} /><${MoveDialog} board=${board} /><${ColumnDialog} board=${board} /><${Picking} board=${board} />`;
});

/** The chat beside the board, on pages that are wide enough; its files are fetched when it is opened. */
const Aside = live(({ board }, self) => {
  const view = (self.view ??= signal(null));
  if (!board.talking.value) return null;
  self.once ??= dressed(import("./chat.js")).then(
    ({ Chat }) => (view.value = Chat),
    (error) => {
      self.once = null;
      board.talk(false);
      notice(sayError(error), { bad: true });
    },
  );
  const Chat = view.value;
  return html`<aside class="board-side" aria-label=${t("project.chat")}>
    <header><h2>${t("project.chat")}</h2><span class="grow" /><${Button} kind="quiet" icon="close" label=${t("ui.close")} onClick=${() => board.talk(false)} /></header>
    ${Chat && html`<${Chat} store=${board.store} feed=${board.project.feed} />`}</aside>`;
});

const Page = live(
  ({ project, card }, self) => {
    const board = (self.board ??= new Board(project));
    keys(keysOf(board), self, { title: "project.board" });
    return html`<div class="board-page">
      <${BoardBar} board=${board} />
      <div class="board-row"><${Columns} board=${board} /><${Aside} board=${board} /></div>
      <${Later} board=${board} />
      ${card && html`<${Over} board=${board} name=${card} />`}
    </div>`;
  },
  (self) => {
    self.board.begin();
    self.end = () => self.board.end();
  },
);

export default live(({ slug, card }, self) => {
  const project = useProject(self, slug);
  const known = project.store.project.value && !project.away.value;
  return html`<${ProjectFrame} slug=${slug} tab="board">${known ? html`<${Page} key=${slug} project=${project} card=${card} />` : null}<//>`;
});
