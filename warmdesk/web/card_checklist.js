/* The steps of a card. */
import { say } from "./announce.js";
import { Wish, call, newKey } from "./api.js";
import { author, keepDraft, readDraft } from "./drafts.js";
import { Button, Icon, Menu, notice, sayError } from "./ui.js";
import { html, live, signal } from "./view.js";
import { t } from "./words.js";

const LONGEST = 1000;
const bad = (error) => notice(sayError(error), { bad: true });

const Item = live(({ card, item, canWrite, at, n }, self) => {
  const editing = (self.editing ??= signal(false));
  const path = `${card.path}/checklist/${item.id}`;
  const wish = (fields, ask) => card.wish(new Map([[item.id, fields]]), ask);
  const sent = (fields) => wish(fields, (options) => call("PUT", path, fields, { ...options, key: newKey() }));
  const change = (fields) => sent(fields).catch(bad);
  const remove = () => wish(null, (options) => call("DELETE", path, undefined, options)).catch((error) => error.status !== 404 && bad(error));
  const move = (by) => {
    const ids = card.items.peek().map((one) => one.id);
    ids.splice(at, 1);
    ids.splice(at + by, 0, item.id);
    say(t("card.item_at", { at: at + by + 1, n }));
    const places = new Map(ids.map((id, index) => [id, { position: 1000 * (index + 1) }]));
    card.wish(places, (options) => call("PATCH", `${card.path}/checklist/reorder`, { item_ids: ids }, options)).catch(bad);
  };
  const save = (event) => {
    const text = event.currentTarget.value.trim();
    editing.value = false;
    self.refused = undefined;
    if (!text || text === item.body) return;
    sent({ body: text }).catch((error) => {
      bad(error);
      self.refused = text;
      editing.value = true;
    });
  };
  const pressed = (event) => {
    if (event.key === "Enter" && !event.isComposing) {
      event.preventDefault();
      save(event);
    } else if (event.key === "Escape") {
      event.preventDefault();
      event.stopPropagation();
      event.currentTarget.value = item.body;
      self.refused = undefined;
      editing.value = false;
    }
  };
  const tick = (event) => change({ is_completed: event.currentTarget.checked });
  const walk = (event) => {
    if (!canWrite || !event.altKey || (event.key !== "ArrowUp" && event.key !== "ArrowDown")) return;
    event.preventDefault();
    const by = event.key === "ArrowUp" ? -1 : 1;
    if (at + by >= 0 && at + by < n) move(by);
  };
  return html`<li class=${`card-item${item.is_completed ? " done" : ""}`} onKeyDown=${walk}>
    <label><input type="checkbox" checked=${item.is_completed} disabled=${!canWrite} onChange=${tick} />
      ${editing.value ? null : html`<span dir="auto">${item.body}</span>`}</label>
    ${editing.value && html`<input type="text" dir="auto" maxlength=${LONGEST} aria-label=${t("card.item")} value=${self.refused ?? item.body} onKeyDown=${pressed} onBlur=${save}
      ref=${(field) => field && field !== self.field && (self.field = field) && self.refused === undefined && field.focus()} />`}
    ${canWrite && !editing.value && html`<${Menu} label=${t("card.item_menu", { item: item.body.slice(0, 40) })} items=${[
      { label: t("ui.edit"), icon: "edit", do: () => (editing.value = true) },
      { label: t("card.item_up"), icon: "move", disabled: at === 0, do: () => move(-1) },
      { label: t("card.item_down"), icon: "move", disabled: at === n - 1, do: () => move(1) },
      { label: t("ui.delete"), icon: "trash", danger: true, line: true, do: remove },
    ]} />`}
  </li>`;
});

/** The checklist of a `CardStore`. */
export const Checklist = live(({ card, canWrite }, self) => {
  const items = card.items.value;
  const coming = card.coming.value;
  const open = (self.open ??= signal(false));
  const wish = (self.wish ??= new Wish());
  const done = items.filter((one) => one.is_completed).length;
  // What was not taken stands below the others until it is, or nobody wants it any more.
  const draft = `checklist.${card.path}`;
  const refused = (self.refused ??= signal(readDraft(draft) ?? []));
  self.owner ??= author();
  const putRefused = (list) => {
    refused.value = list;
    keepDraft(draft, list.length ? list : null, self.owner);
  };
  const drop = (one) => putRefused(refused.peek().filter((other) => other !== one));
  const add = async (text) => {
    const body = text.trim().slice(0, LONGEST);
    if (!body) return;
    const ask = (options) => call("POST", `${card.path}/checklist`, { body }, { ...options, key: wish.key({ body }) });
    try {
      await card.add(body, ask);
      wish.done();
    } catch (error) {
      putRefused([...refused.peek(), { body }]);
      bad(error);
    }
  };
  const pressed = (event) => {
    if (event.key === "Enter" && !event.isComposing) {
      event.preventDefault();
      add(event.currentTarget.value);
      event.currentTarget.value = "";
    } else if (event.key === "Escape") {
      event.preventDefault();
      event.stopPropagation();
      open.value = false;
    }
  };
  const isOpen = open.value || (items.length > 0 && canWrite);
  if (!items.length && !coming.length && !refused.value.length && !isOpen) {
    return canWrite ? html`<section class="card-part"><${Button} kind="quiet" onClick=${() => (open.value = true)}><${Icon} name="check" />${t("card.add_checklist")}<//></section>` : null;
  }
  return html`<section class="card-part" aria-label=${t("card.checklist")}>
    <header><h3>${t("card.checklist")}</h3>${items.length > 0 && html`<span class="faint number">${done}/${items.length}</span>`}<span class="grow" /></header>
    ${items.length > 0 && html`<progress class="card-progress" max=${items.length} value=${done} aria-label=${t("card.progress", { done, n: items.length })} />`}
    <ul class="card-items">${items.map((item, at) => html`<${Item} key=${item.id} card=${card} item=${item} canWrite=${canWrite} at=${at} n=${items.length} />`)}
      ${coming.map((one) => html`<li key=${one.client} class="card-item wish"><label><input type="checkbox" disabled /><span dir="auto">${one.body}</span></label></li>`)}
      ${refused.value.map((one) => html`<li key=${one.body} class="card-item refused"><${Icon} name="warn" /><span dir="auto">${one.body}</span>
        <${Button} kind="quiet" onClick=${() => {
          drop(one);
          add(one.body);
        }}>${t("ui.retry")}<//><${Button} kind="quiet" icon="close" label=${t("ui.delete")} onClick=${() => drop(one)} /></li>`)}</ul>
    ${canWrite && html`<input type="text" class="card-add-item" dir="auto" aria-label=${t("card.new_item")} placeholder=${t("card.new_item")} onKeyDown=${pressed}
      ref=${(field) => field && field !== self.field && ((self.field = field), open.peek() && field.focus())} />`}
  </section>`;
});
