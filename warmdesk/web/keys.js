/* The keys of a page: each page says its own, with words for the help. Single letters are never taken from
 * a text field, and can be turned off.
 */
import { address, go } from "./address.js";
import { me } from "./identity.js";
import { holdKeys, isTyping } from "./ui_ahead.js";
import { dressed } from "./sheets.js";
import { Dialog, Field, notice, sayError } from "./ui.js";
import { effect, html, live, render, signal } from "./view.js";
import { t } from "./words.js";

const SEQUENCE_MS = 1500;
const OFF = "warmdesk.letters";
const maps = [];
const helping = signal(false);
const going = signal(null);
const letters = signal(read());
let first = "";
let firstAt = 0;

function read() {
  try {
    return localStorage.getItem(OFF) !== "off";
  } catch {
    return true;
  }
}

function turn(on) {
  letters.value = on;
  try {
    if (on) localStorage.removeItem(OFF);
    else localStorage.setItem(OFF, "off");
  } catch {
    // It holds as long as this page.
  }
}

/** The keys of a live component while it is in the page: {"n": [words, does]}. Names are those of
 * KeyboardEvent.key with "Ctrl+", "Shift+" (of named keys only) and "Alt+" before them, two after each
 * other with a space between. `does(event)` that gives false lets the key be; "field" behind it says that it asks
 * for one. In a dialog they are named with `depth` 1.
 */
export function keys(map, self, { title, depth = 0 } = {}) {
  self.keyMap = { map, title, depth };
  if (self.hasKeys) return;
  self.hasKeys = true;
  maps.push(self);
  const leave = self.componentWillUnmount;
  self.componentWillUnmount = function () {
    leave.call(this);
    maps.splice(maps.indexOf(this), 1);
  };
}

const slug = () => /^\/p\/([^/?]+)/.exec(address.peek())?.[1];
const toProject = (part) => () => (slug() ? go(`/p/${slug()}${part}`) : false);

const EVERYWHERE = {
  "?": ["keys.help", () => (helping.value = true)],
  "Ctrl+k": ["keys.goto", () => openGoto(), "field"],
  "g b": ["keys.board", toProject("")],
  "g c": ["keys.chat", toProject("/chat")],
  "g t": ["keys.topics", toProject("/topics")],
  "g m": ["keys.messages", () => go("/messages")],
  "g n": ["keys.notifications", () => go("/notifications")],
  "g p": ["keys.projects", () => go("/")],
};

async function openGoto() {
  try {
    const { Goto } = await dressed(import("./goto.js"));
    if (me.peek()) going.value = Goto;
  } catch (error) {
    notice(sayError(error), { bad: true });
  }
}

function nameOf(event) {
  const named = event.key.length > 1;
  const key = named ? event.key : event.key.toLowerCase();
  const parts = [];
  if (event.ctrlKey || event.metaKey) parts.push("Ctrl");
  if (event.altKey) parts.push("Alt");
  if (event.shiftKey && named) parts.push("Shift");
  return [...parts, key].join("+");
}

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.isComposing || !me.peek()) return;
  const name = nameOf(event);
  if (event.repeat && !/Arrow|Home|End/.test(name)) return; // a key that is held does nothing twice
  const typing = isTyping(event.target);
  const plain = !name.startsWith("Ctrl+") && !name.startsWith("Alt+");
  if (typing && plain) return;
  if (plain && event.key.length === 1 && event.key !== " " && !letters.peek()) return;
  if (document.querySelector('[popover="auto"]:popover-open')) return; // a menu has keys of its own
  const depth = document.querySelectorAll("dialog[open]").length;
  const pair = first && performance.now() - firstAt < SEQUENCE_MS ? `${first} ${name}` : "";
  first = "";
  const own = maps.filter((self) => self.keyMap.depth === depth).map((self) => self.keyMap.map).reverse();
  const all = depth === 0 ? [...own, EVERYWHERE] : own;
  for (const wanted of pair ? [pair, name] : [name]) {
    for (const map of all) {
      if (!Object.hasOwn(map, wanted)) continue;
      if (map[wanted][1](event) === false) continue;
      event.preventDefault();
      if (map[wanted][2] === "field") holdKeys();
      return;
    }
  }
  if (plain && all.some((map) => Object.keys(map).some((one) => one.startsWith(`${name} `)))) {
    first = name;
    firstAt = performance.now();
  }
});

document.addEventListener("warmdesk-help", () => (helping.value = true));

const SHOWN = {
  " ": "Space", ArrowUp: "↑", ArrowDown: "↓", ArrowLeft: "←", ArrowRight: "→", Escape: "Esc", Delete: "Del",
};

const shownKey = (name) =>
  name.split(name === " " ? /$^/ : " ").map((part) =>
    html`<kbd>${part.split(/\+(?=.)/).map((one) => SHOWN[one] ?? (one.length === 1 ? one.toUpperCase() : one)).join(" + ")}</kbd> `);

/** Keys that do the same stand in one line. */
function lines(map) {
  const byWords = new Map();
  for (const [name, [words]] of Object.entries(map)) {
    if (words) byWords.set(words, [...(byWords.get(words) ?? []), name]);
  }
  return [...byWords].map(([words, names]) => html`<tr key=${words}><td>${names.map(shownKey)}</td><td>${t(words)}</td></tr>`);
}

const Help = live(() => {
  const close = () => (helping.value = false);
  const Goto = going.value;
  return html`${Goto && html`<${Goto} close=${() => (going.value = null)} />`}
    ${helping.value && html`<${Dialog} title=${t("keys.help_title")} close=${close} class="keys">
      <div class="sheet-body">
        <${Field} kind="check" label=${t("keys.letters")} hint=${t("keys.letters_hint")} value=${letters.value} onInput=${turn} />
        ${maps.map((self) => html`<table key=${self.keyMap.title}><caption>${t(self.keyMap.title)}</caption><tbody>${lines(self.keyMap.map)}</tbody></table>`)}
        <table><caption>${t("keys.everywhere")}</caption><tbody>${lines(EVERYWHERE)}</tbody></table>
      </div><//>`}`;
});

effect(() => {
  if (me.value) return;
  helping.value = false;
  going.value = null;
});

const host = document.createElement("div");
document.body.append(host);
render(html`<${Help} />`, host);
