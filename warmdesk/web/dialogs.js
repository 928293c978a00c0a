/* What the board asks in dialogs: where a card goes, how a column is, and a card's labels, people and date
 * without opening it.
 */
import { archiveCard, changeCard, changeLabels, changePeople, deleteCard } from "./actions.js";
import { call, newKey } from "./api.js";
import { columnOptions, labelOptions, peopleOptions } from "./choices.js";
import { ColumnForm } from "./column_form.js";
import { me } from "./identity.js";
import { wears } from "./sheets.js";
import { Button, Dialog, Failed, Field, Icon, Popup, confirm, notice } from "./ui.js";
import { ANY_DAY } from "./ui_date.js";
import { html, live, signal } from "./view.js";
import { t } from "./words.js";

wears("board.css");

/** What can be done to a card from its menu: [{label, do, icon, danger, line}]. */
export function deedsOf(board, id) {
  const { store } = board;
  const card = store.seen(id);
  const mine = me.value?.id;
  const isMine = card.assignee_ids.includes(mine);
  const people = isMine ? card.assignee_ids.filter((one) => one !== mine) : [...card.assignee_ids, mine];
  const link = `${location.origin}/p/${store.slug}/c/${store.key(card)}`;
  const canWrite = store.canWrite.value;
  return [
    { label: t("board.open"), icon: "forward", do: () => board.open(id) },
    canWrite && { label: t("board.move"), icon: "move", do: () => (board.moving.value = id) },
    canWrite && { label: t("board.to_top"), icon: "move", do: () => board.move(id, board.columnOf(id).id, 0) },
    canWrite && { label: isMine ? t("board.unassign_me") : t("board.assign_me"), icon: "person", do: () => changePeople(store, id, people) },
    canWrite && { label: t("board.set_labels"), icon: "tag", do: () => (board.picking.value = { id, what: "labels" }) },
    canWrite && { label: t("board.set_due"), icon: "calendar", do: () => (board.picking.value = { id, what: "due" }) },
    canWrite && { label: card.closed ? t("board.reopen") : t("board.close"), icon: "check", do: () => changeCard(store, id, { closed: !card.closed }) },
    canWrite && { label: t("board.write_before"), icon: "add", do: () => board.write(board.columnOf(id).id, id) },
    { label: t("board.choose"), icon: "check", do: () => store.marks.toggle(id), line: true },
    navigator.clipboard && { label: t("board.copy_link"), icon: "link", do: () => navigator.clipboard.writeText(link).then(() => notice(t("board.link_copied"))) },
    canWrite && { label: t("board.archive"), icon: "archive", line: true, do: () => archiveCard(store, id) },
    canWrite && { label: t("ui.delete"), icon: "trash", danger: true, do: () => sureDelete(board, id) },
  ].filter(Boolean);
}

/** Deletes a card, after asking who could not take it back. */
export async function sureDelete(board, id) {
  const { store } = board;
  const key = board.nameOf(id);
  const asks = !store.canManage.peek();
  if (asks && !(await confirm(t("board.sure_delete", { key }), { danger: true, word: t("ui.delete") }))) return false;
  return deleteCard(store, id);
}

function walk(event) {
  const list = [...event.currentTarget.querySelectorAll("[role=menuitem]")];
  const at = list.indexOf(document.activeElement);
  const next = { ArrowDown: at + 1, ArrowUp: at - 1 + list.length, Home: 0, End: list.length - 1 }[event.key];
  if (next === undefined) return;
  event.preventDefault();
  list[next % list.length].focus();
}

/** The menu of a card, at the button that opened it. */
export const CardMenu = live(({ board }) => {
  const open = board.menu.value;
  if (!open || !board.store.seen(open.id)) return null;
  const close = () => {
    board.menu.value = null;
    if (document.activeElement === document.body) open.anchor.focus?.();
  };
  return html`<${Popup} key=${open.id} anchor=${open.anchor} close=${close} class="menu" role="menu" label=${t("board.menu_of", { key: board.nameOf(open.id) })} onKeyDown=${walk}>
    ${deedsOf(board, open.id).map((one, index) => html`<button key=${one.label} type="button" role="menuitem" tabindex="-1" autofocus=${index === 0}
      class=${`${one.danger ? "danger" : ""}${one.line ? " line" : ""}`} onClick=${() => {
        board.menu.value = null;
        board.focus.to(open.id);
        one.do();
      }}><${Icon} name=${one.icon} /><span>${one.label}</span></button>`)}<//>`;
});

const Move = live(({ board, id }, self) => {
  const { store } = board;
  const from = board.columnOf(id);
  const column = (self.column ??= signal(from?.id));
  const n = (store.cols.get(column.value)?.passed.value.filter((one) => one !== id && one > 0).length ?? 0) + 1;
  const now = from?.id === column.value ? from.passed.value.indexOf(id) + 1 : 1;
  const place = (self.place ??= signal(now));
  const close = () => {
    board.moving.value = null;
    board.focus.to(id);
  };
  const done = (event) => {
    event.preventDefault();
    board.moving.value = null;
    board.move(id, column.peek(), Math.max(1, Math.min(n, Number(place.peek()) || 1)) - 1);
    board.focus.to(id);
  };
  return html`<${Dialog} title=${t("board.move_title", { key: board.nameOf(id) })} close=${close}>
    <form onSubmit=${done}>
      <div class="sheet-body">
        <${Field} kind="select" autofocus label=${t("board.column")} value=${column.value} options=${columnOptions(store)}
          onInput=${(value) => {
            column.value = Number(value);
            place.value = from?.id === Number(value) ? from.passed.peek().indexOf(id) + 1 : 1;
          }} />
        <${Field} kind="number" min="1" max=${n} required label=${t("board.place", { n })} value=${place.value} onInput=${(value) => (place.value = value)} />
        <div class="row wrap"><${Button} onClick=${() => (place.value = 1)}>${t("board.top")}<//><${Button} onClick=${() => (place.value = n)}>${t("board.bottom")}<//></div>
      </div>
      <footer class="sheet-foot"><${Button} onClick=${close}>${t("ui.cancel")}<//><${Button} kind="main" type="submit">${t("board.move_now")}<//></footer>
    </form><//>`;
});

/** Where a card goes, said without dragging. */
export const MoveDialog = live(({ board }) => {
  const id = board.moving.value;
  return id && board.store.cards.get(id)?.value ? html`<${Move} key=${id} board=${board} id=${id} />` : null;
});

const List = ({ options, value, onChange }) => html`<div class="pick-list" role="group">${options.map((one) => html`<label key=${one.value} class="pick-one">
  <input type="checkbox" checked=${value.includes(one.value)} onChange=${() => onChange(value.includes(one.value) ? value.filter((each) => each !== one.value) : [...value, one.value])} />
  ${typeof one.mark === "string" ? html`<i class="mark" style=${{ "--label": one.mark }} />` : one.mark}<span>${one.label}</span></label>`)}
  ${!options.length && html`<p class="soft">${t("board.nothing_to_choose")}</p>`}</div>`;

const Due = live(({ board, card, close }, self) => {
  const date = (self.date ??= signal(card.due_date ?? ""));
  const set = (due_date) => {
    close();
    if (due_date !== card.due_date) changeCard(board.store, card.id, { due_date });
  };
  return html`<form class="stack" onSubmit=${(event) => {
    event.preventDefault();
    set(date.peek() || null);
  }}><${Field} kind="date" ...${ANY_DAY} autofocus label=${t("card.due")} value=${date.value} onInput=${(value) => (date.value = value)} />
    <div class="row"><${Button} kind="main" type="submit">${t("ui.done")}<//><${Button} onClick=${() => set(null)}>${t("card.no_date")}<//></div></form>`;
});

/** Labels, people or the date of the card that has the keyboard. */
export const Picking = live(({ board }) => {
  const open = board.picking.value;
  const card = open && board.store.seen(open.id);
  if (!card) return null;
  const { store } = board;
  const close = () => {
    board.picking.value = null;
    board.focus.to(open.id);
  };
  const key = board.nameOf(open.id);
  const inside = {
    labels: () => html`<${List} options=${labelOptions(store)} value=${card.label_ids} onChange=${(ids) => changeLabels(store, open.id, ids)} />`,
    people: () => html`<${List} options=${peopleOptions(store)} value=${card.assignee_ids} onChange=${(ids) => changePeople(store, open.id, ids)} />`,
    due: () => html`<${Due} board=${board} card=${card} close=${close} />`,
  };
  return html`<${Dialog} title=${t(`board.pick_${open.what}`, { key })} close=${close}><div class="sheet-body">${inside[open.what]()}</div><//>`;
});

/** A column that still has cards goes: where do they go? */
const Leaving = live(({ board, column }, self) => {
  const { store } = board;
  const options = columnOptions(store).filter((one) => one.value !== column.id);
  const to = (self.to ??= signal(options[0]?.value));
  const error = (self.error ??= signal(null));
  const close = () => (board.editing.value = null);
  const done = async (event) => {
    event.preventDefault();
    try {
      await call("DELETE", `${store.path}/columns/${column.id}?move_to=${to.peek()}`, undefined, { key: newKey() });
      close();
    } catch (refusal) {
      error.value = refusal;
    }
  };
  return html`<${Dialog} title=${t("column.delete")} close=${close}><form onSubmit=${done}><div class="sheet-body">
    ${error.value && html`<${Failed} error=${error.value} />`}
    <${Field} kind="select" label=${t("column.cards_go", { column: column.name })} value=${to.value} options=${options} onInput=${(value) => (to.value = Number(value))} />
  </div><footer class="sheet-foot"><${Button} onClick=${close}>${t("ui.cancel")}<//><${Button} kind="danger" type="submit" disabled=${!options.length}>${t("ui.delete")}<//></footer></form><//>`;
});

/** A new column, one that is changed, or one that goes. */
export const ColumnDialog = live(({ board }) => {
  const open = board.editing.value;
  if (!open) return null;
  if (open.leaving) return html`<${Leaving} board=${board} column=${open.leaving} />`;
  const { store } = board;
  const made = async ({ id }) => {
    const at = store.shownOrder.peek().filter((one) => one !== id).indexOf(open.after);
    if (open.after) await board.moveColumn(id, at + 1);
  };
  return html`<${ColumnForm} key=${open.column?.id ?? "new"} path=${`${store.path}/columns`} column=${open.column ?? {}} made=${made} close=${() => (board.editing.value = null)} />`;
});
