/* "Go to …": projects, cards of the present board, and what the server finds. */
import { address, go } from "./address.js";
import { call } from "./api.js";
import { projectHere } from "./project.js";
import { Dialog, Icon } from "./ui.js";
import { user } from "./user_store.js";
import { html, live, signal } from "./view.js";
import { t } from "./words.js";

const MOST = 12;
const LATER_MS = 200;
const fold = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();

function here(text) {
  const store = projectHere(/^\/p\/([^/?]+)/.exec(address.peek())?.[1])?.store;
  if (!store?.project.peek()) return [];
  const found = [];
  for (const one of store.cards.values()) {
    const card = one.peek();
    const key = store.key(card);
    if (fold(`${key} ${card.title}`).includes(text)) found.push({ icon: "column", label: card.title, hint: key, to: `/p/${store.slug}/c/${key}` });
    if (found.length >= MOST) break;
  }
  return found;
}

const projects = (text) =>
  user.projects.peek().filter((one) => fold(`${one.name} ${one.slug} ${one.key_prefix}`).includes(text))
    .slice(0, MOST).map((one) => ({ icon: "board", label: one.name, hint: one.key_prefix, to: `/p/${one.slug}` }));

async function elsewhere(text) {
  const found = await call("GET", `/search?q=${encodeURIComponent(text)}&type=card&limit=${MOST}`);
  return found.map((one) => ({
    icon: "search", label: one.item.title, hint: one.card_key, to: `/p/${one.project_slug}/c/${one.card_key}`,
  }));
}

/** The dialog; `close()` takes it away. */
export const Goto = live(({ close }, self) => {
  const text = (self.text ??= signal(""));
  const found = (self.found ??= signal([]));
  const at = (self.at ??= signal(0));
  // Asked at a key too: who types fast is ahead of what is rendered.
  const list = () => {
    const word = fold(text.value.trim());
    const own = [...projects(word), ...(word ? here(word) : [])];
    const known = new Set(own.map((one) => one.to));
    const all = [...own, ...found.value.filter((one) => !known.has(one.to))].slice(0, 2 * MOST);
    return { all, place: Math.min(at.value, all.length - 1) };
  };
  const { all, place } = list();
  const open = (one) => {
    close();
    go(one.to);
  };
  const typed = (event) => {
    text.value = event.currentTarget.value;
    at.value = 0;
    found.value = [];
    clearTimeout(self.timer);
    const wanted = text.peek().trim();
    if (wanted.length < 2) return;
    self.timer = setTimeout(async () => {
      const more = await elsewhere(wanted).catch(() => []);
      if (wanted === text.peek().trim()) found.value = more;
    }, LATER_MS);
  };
  const pressed = (event) => {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const { all, place } = list();
    if (by && all.length) at.value = (place + by + all.length) % all.length;
    else if (event.key === "Enter" && all[place]) open(all[place]);
    else return;
    event.preventDefault();
  };
  return html`<${Dialog} title=${t("goto.title")} close=${close} class="goto">
    <div class="sheet-body" onKeyDown=${pressed}>
      <input type="text" autofocus role="combobox" aria-expanded="true" aria-controls="goto-list" aria-label=${t("goto.title")}
        placeholder=${t("goto.what")} aria-activedescendant=${all.length ? `goto-${place}` : undefined} value=${text.value} onInput=${typed} />
      <div role="listbox" id="goto-list" aria-label=${t("goto.title")}>${all.map((one, index) => html`<div key=${one.to} id=${`goto-${index}`}
        role="option" aria-selected=${String(index === place)} class=${`option${index === place ? " at" : ""}`} onClick=${() => open(one)}>
        <${Icon} name=${one.icon} /><span>${one.label}</span><small>${one.hint}</small></div>`)}</div>
      ${text.value.trim() && !all.length && html`<p class="soft" role="status">${t("ui.nothing_found")}</p>`}
    </div><//>`;
});
