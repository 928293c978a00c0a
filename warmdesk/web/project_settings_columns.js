/* The columns of a board: their order, names, colours and limits. */
import { call } from "./api.js";
import { ColumnForm } from "./column_form.js";
import { FormEnd, doing, kept, moved, sends } from "./forms.js";
import { Button, Dialog, Empty, Field, Icon, confirm } from "./ui.js";
import { html, live, signal } from "./view.js";
import { t } from "./words.js";

/** Asks where the cards of a column go before it does. */
const Remove = live(({ slug, column, others, close }, self) => {
  const form = kept(self, "form", () => ({ move_to: String(others[0].id) }));
  const send = async () => {
    if (await form.send(() => call("DELETE", `/projects/${slug}/columns/${column.id}?move_to=${form.get("move_to")}`))) close();
  };
  return html`<${Dialog} title=${t("project_settings.column_delete", { name: column.name })} close=${close}>
    <form class="forms sheet-body" onSubmit=${sends(send)}>
      <p>${column.card_count ? t("project_settings.column_cards", { n: column.card_count }) : t("project_settings.column_archived")}</p>
      <${Field} ...${form.field("move_to")} kind="select" label=${t("project_settings.column_move_to")}
        options=${others.map((one) => ({ value: String(one.id), label: one.name }))} />
      <${FormEnd} form=${form} kind="danger" word=${t("ui.delete")} cancel=${close} />
    </form><//>`;
});

/** Moves a row by one place; at the end of its way it keeps the focus. */
const Arrow = ({ up, off, label, move }) => html`<button type="button" class=${up ? "button quiet square settings-up" : "button quiet square"}
  aria-label=${label} title=${label} aria-disabled=${off ? "true" : undefined} onClick=${() => off || move()}><${Icon} name="down" /></button>`;

/** Sends the order that is wished for, until it is the server's. The wish is over when its event came, or
 * when it is answered and what the store has is the same.
 */
async function order(self, slug, ids) {
  self.wish.value = ids;
  if (self.sending) return;
  self.sending = true;
  try {
    for (let sent = null; self.wish.peek() && self.wish.peek() !== sent; ) {
      sent = self.sent = self.wish.peek();
      await doing(() => call("PATCH", `/projects/${slug}/columns/reorder`, { column_ids: sent }), () => (self.wish.value = null));
    }
  } finally {
    self.sending = false;
    if (`${self.wish.peek()}` === `${self.props.store.order.peek()}`) self.wish.value = null;
  }
}

/** The order to show: the one that I wish for until it is there, while it has the same columns. */
function shown(self, ids) {
  const wish = self.wish.value;
  if (!wish) return ids;
  const isSame = wish.length === ids.length && wish.every((id) => ids.includes(id));
  if (!isSame || wish.every((id, at) => id === ids[at])) {
    queueMicrotask(() => self.wish.peek() === wish && !self.sending && (self.wish.value = null));
  }
  return isSame ? wish : ids;
}

function begin(self) {
  const { store } = self.props;
  const isTold = () => `${self.wish.peek()}` === `${store.order.peek()}`;
  const ends = [
    store.listen("board.columns_reordered", () => self.wish.peek() === self.sent && isTold() && (self.wish.value = null)),
    store.listen("reset", () => self.sending || (self.wish.value = null)),
  ];
  self.end = () => ends.forEach((end) => end());
}

/** The columns in board order. */
export const Columns = live(({ store, slug }, self) => {
  self.wish ??= signal(null);
  self.editing ??= signal(null);
  self.removing ??= signal(null);
  const mayChange = store.canManage.value;
  const ids = shown(self, store.order.value);
  const columns = ids.map((id) => store.cols.get(id)?.col.value && { ...store.cols.get(id).col.value, card_count: store.cols.get(id).size.value }).filter(Boolean);
  const move = (at, by) => columns[at + by] && order(self, slug, moved(ids, at, at + by));
  const remove = async (column) => {
    if (column.card_count) return (self.removing.value = column);
    if (!(await confirm(t("project_settings.column_delete_ask", { name: column.name }), { danger: true, word: t("ui.delete") }))) return undefined;
    return doing(async () => {
      try {
        await call("DELETE", `/projects/${slug}/columns/${column.id}`);
      } catch (error) {
        // Cards in the archive are on no board, and in the column all the same.
        if (error.code !== "column_not_empty") throw error;
        self.removing.value = column;
      }
    });
  };
  return html`
    <header class="page-head"><h2>${t("project_settings.columns")}</h2>
      ${mayChange && html`<${Button} kind="main" icon="add" onClick=${() => (self.editing.value = {})}>${t("project_settings.column_new")}<//>`}</header>
    ${!columns.length && html`<${Empty} icon="column" title=${t("project_settings.columns_none")} />`}
    <ol class="page-rows">${columns.map((column, at) => html`<li key=${column.id} class="page-row">
      <i class="settings-dot" style=${column.color ? { "--label": column.color } : undefined}></i>
      <span class="grow page-name">${column.name}</span>
      <span class="page-fact">${t("projects.cards", { n: column.card_count })}${column.wip_limit ? ` · ${t("project_settings.limit", { max: column.wip_limit })}` : ""}</span>
      ${mayChange && html`<span class="page-acts">
        <${Arrow} up off=${at === 0} label=${t("project_settings.up", { name: column.name })} move=${() => move(at, -1)} />
        <${Arrow} off=${at === columns.length - 1} label=${t("project_settings.down", { name: column.name })} move=${() => move(at, 1)} />
        <${Button} kind="quiet" icon="edit" label=${t("project_settings.edit_one", { name: column.name })} onClick=${() => (self.editing.value = column)} />
        <${Button} kind="quiet" icon="trash" label=${t("project_settings.delete_one", { name: column.name })} disabled=${columns.length < 2} onClick=${() => remove(column)} />
      </span>`}</li>`)}</ol>
    ${!mayChange && html`<p class="page-note">${t("project_settings.columns_by")}</p>`}
    ${self.editing.value && html`<${ColumnForm} path=${`/projects/${slug}/columns`} column=${self.editing.value} close=${() => (self.editing.value = null)} />`}
    ${self.removing.value && html`<${Remove} slug=${slug} column=${self.removing.value} close=${() => (self.removing.value = null)}
      others=${columns.filter((one) => one.id !== self.removing.value.id)} />`}`;
}, begin);
