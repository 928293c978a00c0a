/* A list of messages and the field to write one: for chats, conversations, comments and replies. */
import { dateOf, day, today } from "./format.js";
import { me } from "./identity.js";
import { keys } from "./keys.js";
import { outboxOf } from "./outbox.js";
import { wears } from "./sheets.js";
import { Compose } from "./talk_compose.js";
import { Row, Waiting, authorId } from "./talk_row.js";
import { TalkWindow } from "./talk_window.js";
import { Empty, notice, sayError } from "./ui.js";
import { html, kept, live, signal } from "./view.js";
import { t } from "./words.js";

wears("talk.css");

const TOGETHER_MS = 5 * 60_000;

/** What the rows and the composer need of the talk: the same object as long as it lives. */
class Talking {
  editing = signal(null);
  turns = new Map(); // by message and emoji: what is asked for last

  constructor(props) {
    this.box = outboxOf(props.place);
    this.begin = (message) => (this.editing.value = message.id);
    this.finish = () => {
      this.editing.value = null;
      this.compose?.field?.focus();
    };
    this.post = (body, files, more) => {
      this.window?.toEnd();
      this.box.add(body, files, more);
    };
  }

  /** Lays a reaction over the message until the server has answered the last that was asked for; one is asked
   * for after the other.
   */
  async wish(message, emoji, on, wishes) {
    wishes.value = new Map(wishes.peek()).set(emoji, on);
    const key = `${message.id} ${emoji}`;
    const turn = this.#ask(this.turns.get(key), message, emoji, on);
    this.turns.set(key, turn);
    await turn;
    if (this.turns.get(key) !== turn) return;
    this.turns.delete(key);
    const rest = new Map(wishes.peek());
    rest.delete(emoji);
    wishes.value = rest;
  }

  async #ask(before, message, emoji, on) {
    await before;
    try {
      await this.react(message, emoji, on);
    } catch (error) {
      notice(sayError(error), { bad: true });
    }
  }
}

/** The rows of messages by their ids, as long as they stay what they are: hundreds stand in a talk, and one comes. */
class Rows {
  made = new Map();
  last = new Map();

  /** From now on those that are not asked for again are forgotten. */
  begin() {
    this.last = this.made;
    this.made = new Map();
  }

  of(message, before, talk, editing, target) {
    let one = this.last.get(message.id);
    if (one?.message !== message || one.before !== before || one.editing !== editing || one.target !== target) {
      const row = kept(html`<${Row} key=${message.id} message=${message} talk=${talk} first=${isFirst(message, before)} editing=${editing} target=${target} />`);
      one = { message, before, editing, target, row };
    }
    this.made.set(message.id, one);
    return one.row;
  }
}

const isFirst = (message, before) =>
  !before ||
  authorId(before) !== authorId(message) ||
  before.bot_name !== message.bot_name ||
  Date.parse(message.created_at) - Date.parse(before.created_at) > TOGETHER_MS;

function dayName(iso) {
  const date = dateOf(iso);
  if (date === today()) return t("talk.today");
  return day(date, { weekday: "long" });
}

const byItself = () => false;
/** For the help; the log and the field do it. */
const KEYS = {
  ArrowUp: ["talk.keys_walk", byItself],
  ArrowDown: ["talk.keys_walk", byItself],
  Enter: ["talk.how_enter", byItself],
};

/** Messages and a composer.
 *
 * - `messages`: [message], oldest first; those of the API as they are. `place`: a name for what is being
 *   written here, the same each time.
 * - `send(body, {nonce, clientId, attachment_ids, …})` → promise of the message, under the same nonce when
 *   it is tried again; `edit(message, body, version)`, `remove(message)`, `react(message, emoji, on)` →
 *   promises; what is absent is not offered. `canEdit(message)`, `canRemove(message)`: in place of "mine".
 * - `canWrite`, and `why` not. `label` of the field, `word` on its button. `enter`: Enter sends, else
 *   Ctrl+Enter. `uploads`: where files go, {project} or {conversation_id}. `tools`: elements in the field's
 *   bar; `readMore()` gives what they say to `send`, false if that is not right; `putMore(more)` puts it back.
 * - `more()`, `moreAfter()`: fetch what stands before and after; `hasMore`, `hasAfter` say whether there is.
 * - `typing`: [UserRef] who write; `tell()` that I do. `people`: [UserRef] or a function, for @; `find(text)`
 *   → promise of more. `nameOf(id)`.
 * - `unreadFrom`: the last message that was read when it was opened; `seen(id)`: the newest is in sight.
 *   `back(isBack)`: whether what is far back is read.
 *   `target`: the id of a message to show, and to mark. `linkOf(message)`: its address. `extra(message)`: elements in a
 *   row, `when(message)` in place of its time.
 * - `flow`: it stands in a page that scrolls, and has no window of its own. `empty`: [title, text].
 */
export const Talk = live(
  (props, self) => {
    const { messages, flow, unreadFrom, target, typing } = props;
    const talk = (self.talk ??= new Talking(props));
    for (const name of NAMES) talk[name] = props[name];
    talk.typing = props.tell;
    talk.box.send = props.send;
    if (!flow) keys(KEYS, self, { title: "talk.keys" });
    const win = (self.win ??= new TalkWindow(flow));
    talk.window = win;
    props.back?.(!win.atEnd.value);
    const [from, to] = win.range(messages, props);
    const editing = talk.editing.value;
    const made = (self.rows ??= new Rows());
    made.begin();
    const rows = [];
    let before = null;
    let date = "";
    let isNew = false;
    for (let at = from; at < to; at += 1) {
      const message = messages[at];
      const that = dateOf(message.created_at);
      if (that !== date) {
        date = that;
        before = null;
        rows.push(html`<p class="talk-day" key=${`day ${that}`}><span>${dayName(message.created_at)}</span></p>`);
      }
      if (!isNew && unreadFrom && message.id > unreadFrom && authorId(message) !== me.value?.id) {
        isNew = true;
        if (at > 0) {
          rows.push(html`<div class="talk-new" key="new" role="separator"><span>${t("talk.new")}</span></div>`);
          before = null;
        }
      }
      rows.push(made.of(message, before, talk, editing === message.id, target === message.id));
      before = message;
    }
    const isHere = ({ nonce, id }) => messages.slice(-50).some((one) => one.id === id || (one.nonce && one.nonce === nonce));
    const waiting = talk.box.items.value.filter((one) => !isHere(one));
    if (to === messages.length) {
      for (const one of waiting) {
        const like = { ...one, user_id: me.value?.id };
        rows.push(html`<${Waiting} key=${one.nonce} one=${one} box=${talk.box} first=${isFirst(like, before)} back=${(back) => {
          talk.box.drop(back.nonce);
          talk.compose?.put(back);
        }} />`);
        before = like;
      }
    }
    const last = messages.findLast((one) => authorId(one) === me.value?.id && !one.is_bot);
    const unseen = win.unseen(messages);
    const isEmpty = !messages.length && !waiting.length;
    return html`<div class=${`talk${flow ? " flow" : ""}`} ref=${(element) => element && (self.element = element)}>
      <div class="talk-log" role="log" aria-label=${props.label} tabindex=${flow ? undefined : "0"} aria-live=${win.atEnd.value ? "polite" : "off"}
        aria-busy=${win.busy.value ? "true" : undefined} ref=${(element) => win.use(element)} onScroll=${() => win.scrolled()} onKeyDown=${walk}>
        <div class="talk-rows">
          ${(props.hasMore || from > 0) && html`<p class="talk-older faint">${props.hasMore && from === 0 ? t("ui.loading") : " "}</p>`}
          ${isEmpty && props.empty ? html`<${Empty} icon="chat" title=${props.empty[0]} text=${props.empty[1]} />` : rows}
        </div>
      </div>
      ${!flow && !win.atEnd.value && html`<button type="button" class=${`talk-newer button${unseen ? " main" : ""}`} onClick=${() => win.toEnd()}>
        ${unseen ? t("talk.newer", { n: unseen }) : t("talk.to_end")} <span aria-hidden="true">↓</span></button>`}
      ${typing !== undefined && html`<p class="talk-typing" aria-live="polite">${sayTyping(typing)}</p>`}
      ${props.canWrite
        ? html`<${Compose} talk=${talk} last=${last} />`
        : html`<p class="talk-closed">${props.why ?? t("talk.read_only")}</p>`}
    </div>`;
  },
  (self) => {
    self.win.begin();
    self.end = () => {
      self.win.end();
      self.props.back?.(false);
    };
  },
);

const NAMES = ["place", "edit", "remove", "react", "canEdit", "canRemove", "canWrite", "label", "word", "enter", "uploads", "tools", "readMore", "putMore", "people", "find", "nameOf", "linkOf", "extra", "when"];

function sayTyping(users) {
  const names = users.map((one) => one.display_name.split(" ")[0]);
  if (!names.length) return "";
  if (names.length > 3) return t("talk.typing_many");
  return t("talk.typing", { n: names.length, who: names.join(", ") });
}

/** Arrows walk over the messages. */
function walk(event) {
  const { target, key } = event;
  if (!target.matches(".talk-log, .talk-row") || event.ctrlKey || event.metaKey || event.altKey) return;
  const rows = [...event.currentTarget.querySelectorAll(".talk-row")];
  const at = rows.indexOf(target);
  const to = { ArrowUp: at < 0 ? rows.length - 1 : at - 1, ArrowDown: at + 1, Home: 0, End: rows.length - 1 }[key];
  if (to === undefined || !rows[to] || (at < 0 && key === "ArrowDown")) return;
  event.preventDefault();
  event.stopPropagation();
  rows[to].focus();
  rows[to].scrollIntoView({ block: "nearest" });
}
