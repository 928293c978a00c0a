/* The bar over the board: which cards are shown. */
import { effect, html, live, signal, untracked } from "./view.js";
import { urgency } from "./card_tile.js";
import { labelOptions, peopleOptions } from "./choices.js";
import { say } from "./announce.js";
import { today } from "./format.js";
import { Button, Field, Icon, Picker, notice, sayError } from "./ui.js";
import { t } from "./words.js";

const fold = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
const LATER_MS = 120;
const NOTHING = { text: "", labels: [], people: [], priority: [], when: "" };
const sought = new WeakMap();

/** What is sought on a board, as a signal; it stays as long as the board's store. */
export function soughtOn(store) {
  if (!sought.has(store)) sought.set(store, signal(NOTHING));
  return sought.get(store);
}

/** Seeks nothing any more. */
export const showAll = (store) => (soughtOn(store).value = NOTHING);

const isNothing = (one) => !one.text.trim() && !one.labels.length && !one.people.length && !one.priority.length && !one.when;

function weekOn(date) {
  const [year, month, number] = date.split("-").map(Number);
  return new Date(Date.UTC(year, month - 1, number + 7)).toISOString().slice(0, 10);
}

/** What must be true of a card, or null when nothing is sought. */
export function testOf(store, one) {
  if (isNothing(one)) return null;
  const words = fold(one.text).split(/\s+/).filter(Boolean);
  const labels = store.labels.peek();
  const now = today();
  const soon = weekOn(now);
  const WHEN = {
    late: (card) => urgency(card.due_date, card.closed) === "late",
    week: (card) => card.due_date && !card.closed && card.due_date <= soon,
    none: (card) => !card.due_date,
    open: (card) => !card.closed,
    closed: (card) => card.closed,
  };
  const textOf = (card) => {
    const names = card.label_ids.map((id) => labels.get(id)?.name ?? "");
    const people = card.assignee_ids.map((id) => store.people.known.get(id)?.peek());
    const who = people.map((each) => (each ? `${each.username} ${each.display_name}` : ""));
    return fold([store.key(card), card.title, ...names, ...who, ...card.tags.map((tag) => `#${tag}`)].join(" "));
  };
  return (card) => {
    if (card.id < 0) return true; // what I have just written is not hidden from me
    if (one.labels.length && !one.labels.some((id) => card.label_ids.includes(id))) return false;
    if (one.people.length && !one.people.some((id) => (id === 0 ? !card.assignee_ids.length : card.assignee_ids.includes(id)))) return false;
    if (one.priority.length && !one.priority.includes(card.priority ?? "none")) return false;
    if (one.when && !WHEN[one.when](card)) return false;
    if (!words.length) return true;
    const text = textOf(card);
    return words.every((word) => text.includes(word));
  };
}

const PRIORITIES = ["critical", "high", "medium", "low", "none"];
const WHENS = ["late", "week", "none", "open", "closed"];

/** The bar itself. */
export const BoardBar = live(
  ({ board }, self) => {
    const { store } = board;
    const one = (self.sought = soughtOn(store)).value;
    const set = (more) => (self.sought.value = { ...self.sought.peek(), ...more });
    const labels = labelOptions(store);
    const people = peopleOptions(store);
    people.push({ value: 0, label: t("board.nobody") });
    const open = (self.open ??= signal(false)).value;
    const n = one.labels.length + one.people.length + one.priority.length + (one.when ? 1 : 0);
    return html`<div class=${`board-bar${open ? " open" : ""}`} role="search" aria-label=${t("board.filter")}>
      <span class="board-seek"><${Icon} name="filter" /><input class="board-filter" type="search" dir="auto" aria-label=${t("board.filter")} placeholder=${t("board.filter")} value=${one.text}
        onInput=${(event) => set({ text: event.currentTarget.value })}
        onKeyDown=${(event) => {
          if (event.key !== "Escape" && event.key !== "Enter" && event.key !== "ArrowDown") return;
          if (event.key === "Escape" && one.text) return set({ text: "" });
          event.preventDefault();
          board.focus.keep();
          return board.focus.to(board.focus.stop);
        }} /></span>
      <${Button} kind="quiet" class="board-bar-more" icon="filter" aria-expanded=${String(open)} label=${t("board.filters")} onClick=${() => (self.open.value = !open)} />
      <span class="board-picks">
        <${Picker} many kind="quiet" label=${t("board.people")} none=${t("board.people")} options=${people} value=${one.people} onChange=${(value) => set({ people: value })} />
        <${Picker} many kind="quiet" label=${t("board.labels")} none=${t("board.labels")} options=${labels} value=${one.labels} onChange=${(value) => set({ labels: value })} />
        <${Picker} many kind="quiet" label=${t("card.priority")} none=${t("card.priority")} value=${one.priority} onChange=${(value) => set({ priority: value })}
          options=${PRIORITIES.map((value) => ({ value, label: t(`card.priority_${value}`) }))} />
        <${Field} kind="select" bare label=${t("board.when")} value=${one.when} onInput=${(value) => set({ when: value })}
          options=${[{ value: "", label: t("board.when_any") }, ...WHENS.map((value) => ({ value, label: t(`board.when_${value}`) }))]} />
      </span>
      ${(n > 0 || one.text) && html`<${Button} kind="quiet" icon="close" onClick=${() => showAll(store)}>${t("board.show_all")}<//>`}
      ${store.filter.value && html`<${Found} store=${store} />`}
      <span class="grow" />
      <${Button} kind="quiet" class="board-talk" aria-pressed=${String(board.talking.value)} onClick=${() => board.talk(!board.talking.peek())}><${Icon} name="chat" />${t("project.chat")}<//>
    </div>`;
  },
  (self) => {
    const { store } = self.props.board;
    let timer = 0;
    const fill = () => store.filter.peek() && store.pages.fillAll().catch((error) => notice(sayError(error), { bad: true }));
    const stop = effect(() => {
      const one = soughtOn(store).value;
      clearTimeout(timer);
      timer = setTimeout(() => untracked(() => {
        store.filter.value = testOf(store, one);
        fill();
      }), isNothing(one) ? 0 : LATER_MS);
    });
    const ended = store.listen("reset", fill);
    self.end = () => {
      stop();
      ended();
      clearTimeout(timer);
    };
  },
);

const SAID_MS = 700;

/** How many cards pass, said when it has been the same for a moment. */
const Found = live(({ store }, self) => {
  const n = store.shownOrder.value.reduce((sum, id) => sum + (store.cols.get(id)?.passed.value.length ?? 0), 0);
  if (self.n !== n) {
    self.n = n;
    clearTimeout(self.timer);
    self.timer = setTimeout(() => say(t("board.n_found", { n })), SAID_MS);
  }
  self.end = () => clearTimeout(self.timer);
  return html`<span class="board-found">${t("board.n_found", { n })}</span>`;
});
