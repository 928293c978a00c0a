/* Where a message is written: its field, people by @, files, and what is kept of it over a reload. */
import { author, keepDraft, readDraft } from "./drafts.js";
import { Pending, Uploads } from "./talk_files.js";
import { EmojiButton } from "./talk_row.js";
import { Avatar, Button } from "./ui.js";
import { html, live, signal } from "./view.js";
import { t } from "./words.js";

const LONGEST = 20_000;
const TYPING_MS = 3000;
const NAME = /(?:^|[\s(])@([\w.-]{0,40})$/;
const isTouch = () => matchMedia("(pointer: coarse)").matches;

/** Who is meant by what was typed behind an @. */
function meant(people, typed) {
  const text = typed.toLowerCase();
  const starts = (one) => one.username.toLowerCase().startsWith(text) || one.display_name.toLowerCase().split(/\s+/).some((part) => part.startsWith(text));
  return people.filter(starts).slice(0, 8);
}

const asKept = (file) => ({ key: `kept.${file.id}`, id: file.id, name: file.filename, size: file.size_bytes, file, part: 1 });
const under = new Map();

/** The files of a place: those that are on their way arrive though somebody looks at another page meanwhile. */
function uploadsAt(talk, files) {
  const name = `${author()}.${talk.place}`;
  if (!under.get(name)?.list.peek().length) under.set(name, new Uploads(talk.uploads, files.map(asKept)));
  return under.get(name);
}

/** The composer of a talk. `talk` is the Talk's own object: place, send, enter, uploads (where files go),
 * people, typing, tools, readMore.
 */
export const Compose = live(
  ({ talk, last }, self) => {
    const kept = (self.kept ??= readDraft(talk.place) ?? {});
    const text = (self.text ??= signal(kept.text ?? ""));
    const uploads = (self.uploads ??= talk.uploads ? uploadsAt(talk, kept.files ?? []) : null);
    const names = (self.names ??= signal([]));
    const at = (self.at ??= signal(0));
    const long = text.value.length > LONGEST;
    // Asked again when it is sent: fingers are faster than frames.
    const isReady = () => {
      const files = uploads?.list.value.filter((one) => one.id).length ?? 0;
      return (text.value.trim() || files) && text.value.length <= LONGEST && !uploads?.isBusy;
    };
    self.keep = () => {
      const done = uploads?.list.peek().filter((one) => one.id).map((one) => one.file) ?? [];
      keepDraft(talk.place, text.peek() || done.length ? { text: text.peek(), files: done } : null);
    };
    // Before what is being written.
    self.put = ({ body, files, more }) => {
      text.value = [body, text.peek()].filter(Boolean).join("\n\n");
      talk.putMore?.(more);
      if (uploads && files.length) uploads.list.value = [...uploads.list.peek(), ...files.map(asKept)];
      self.keep();
      self.field?.focus();
    };
    talk.compose = self;
    const send = () => {
      if (!isReady()) return;
      const more = talk.readMore?.();
      if (more === false) return; // what stands beside it is not right, and says so
      talk.post(text.peek().trim(), uploads?.take() ?? [], more ?? {});
      text.value = "";
      names.value = [];
      keepDraft(talk.place, null);
      self.field?.focus();
    };
    const insert = (words, from) => {
      const { field } = self;
      const start = from ?? field.selectionStart;
      field.setRangeText(words, start, field.selectionEnd, "end");
      text.value = field.value;
      names.value = [];
      self.keep();
      field.focus();
    };
    const choose = (one) => {
      const { field } = self;
      const before = field.value.slice(0, field.selectionStart);
      insert(`@${one.username} `, before.length - NAME.exec(before)[1].length - 1);
    };
    const look = async () => {
      const { field } = self;
      const found = NAME.exec(field.value.slice(0, field.selectionStart));
      at.value = 0;
      if (!found) return void (names.value = []);
      names.value = meant(typeof talk.people === "function" ? talk.people() : (talk.people ?? []), found[1]);
      if (!talk.find || found[1].length < 1) return undefined;
      const turn = (self.turn = (self.turn ?? 0) + 1);
      const more = await talk.find(found[1]).catch(() => []);
      if (turn !== self.turn) return undefined;
      const known = new Set(names.peek().map((one) => one.id));
      return void (names.value = [...names.peek(), ...more.filter((one) => !known.has(one.id))].slice(0, 8));
    };
    const typed = (event) => {
      text.value = event.currentTarget.value;
      self.keep();
      look();
      const now = performance.now();
      if (talk.typing && text.peek() && !(self.told > now - TYPING_MS)) {
        self.told = now;
        talk.typing();
      }
    };
    const key = (event) => {
      event.stopPropagation();
      if (event.isComposing) return undefined;
      const list = names.peek();
      // A name that is there whole need not be chosen.
      const name = NAME.exec(self.field.value.slice(0, self.field.selectionStart))?.[1].toLowerCase();
      const isWhole = event.key === "Enter" && name === list[at.peek()]?.username.toLowerCase();
      if (list.length && !isWhole) {
        const steps = { ArrowDown: 1, ArrowUp: -1 };
        if (event.key in steps) at.value = (at.peek() + steps[event.key] + list.length) % list.length;
        else if (event.key === "Enter" || event.key === "Tab") choose(list[at.peek()]);
        else if (event.key === "Escape") names.value = [];
        else return undefined;
        return event.preventDefault();
      }
      const sends = event.ctrlKey || event.metaKey || (talk.enter && !event.shiftKey && !isTouch());
      if (event.key === "Enter" && sends) {
        event.preventDefault();
        send();
      } else if (event.key === "ArrowUp" && !event.currentTarget.value && last && talk.edit) {
        event.preventDefault();
        talk.begin(last);
      } else if (event.key === "Escape") {
        event.preventDefault(); // a dialog around it stays
        const field = event.currentTarget;
        (field.closest(".talk").querySelector(".talk-log[tabindex]") ?? field.closest(".sheet") ?? document.querySelector("main"))?.focus({ preventScroll: true });
      }
      return undefined;
    };
    const id = (self.id ??= `talk-${Math.random().toString(36).slice(2, 8)}`);
    return html`<form class="talk-compose" onSubmit=${(event) => {
      event.preventDefault();
      send();
    }}>
      ${names.value.length > 0 && html`<div class="talk-names" role="listbox" id=${id} aria-label=${t("talk.people")}>
        ${names.value.map((one, index) => html`<div key=${one.id} role="option" id=${`${id}-${index}`} class=${`option${index === at.value ? " at" : ""}`}
          aria-selected=${String(index === at.value)} onPointerDown=${(event) => event.preventDefault()} onClick=${() => choose(one)}>
          <${Avatar} user=${one} size=${20} /><span>${one.display_name}</span><small>@${one.username}</small></div>`)}
      </div>`}
      ${uploads && html`<${Pending} uploads=${uploads} />`}
      <textarea ref=${(element) => element && (self.field = element)} aria-label=${talk.label} placeholder=${talk.label} rows="1"
        value=${text.value} onInput=${typed} onKeyDown=${key} onBlur=${() => setTimeout(() => (names.value = []), 150)}
        aria-autocomplete="list" aria-controls=${names.value.length ? id : undefined} aria-invalid=${long ? "true" : undefined}
        aria-activedescendant=${names.value.length ? `${id}-${at.value}` : undefined}
        onPaste=${(event) => {
          const { files: pasted } = event.clipboardData ?? {};
          if (!uploads || !pasted?.length) return;
          event.preventDefault();
          uploads.add(pasted);
        }} />
      ${long && html`<p class="field-error" role="alert">${t("talk.too_long", { n: text.value.length - LONGEST })}</p>`}
      <div class="talk-bar">
        ${uploads && html`<${Button} kind="quiet" icon="attach" label=${t("talk.attach")} onClick=${() => self.files.click()} />
          <input type="file" multiple hidden ref=${(element) => element && (self.files = element)} onChange=${(event) => {
            uploads.add(event.currentTarget.files);
            event.currentTarget.value = "";
          }} />`}
        <${EmojiButton} label=${t("talk.emoji")} choose=${(one) => insert(one)} />
        ${talk.tools}
        <span class="grow" />
        <small class="talk-how">${talk.enter && !isTouch() ? t("talk.how_enter") : t("talk.how_ctrl")}</small>
        <${Button} type="submit" kind="main" icon="send" aria-disabled=${isReady() ? undefined : "true"}>${talk.word ?? t("talk.send")}<//>
      </div>
    </form>`;
  },
  (self) => {
    const { uploads } = self;
    const stop = uploads?.list.subscribe(() => self.kept && self.keep());
    const { end } = self;
    self.end = () => {
      stop?.();
      end?.();
    };
  },
);
