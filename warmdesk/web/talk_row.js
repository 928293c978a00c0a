/* One message: who, when, what, its files and reactions, and what can be done with it. */
import { EMOJI, QUICK } from "./talk_emoji.js";
import { dateTime, time } from "./format.js";
import { me } from "./identity.js";
import { keepDraft, readDraft } from "./drafts.js";
import { Markdown } from "./markdown.js";
import { Files } from "./talk_files.js";
import { Avatar, Button, Icon, Menu, Popup, confirm, notice, sayError } from "./ui.js";
import { opener } from "./ui_over.js";
import { html, live, signal } from "./view.js";
import { t } from "./words.js";

const BOT = { id: 4, username: "", display_name: "Bot", avatar_url: null };

/** Who wrote a message, whatever its list calls them. */
export const authorOf = (message) =>
  message.user ?? message.sender ?? { ...BOT, display_name: message.bot_name || BOT.display_name };
export const authorId = (message) => message.user_id ?? message.sender_id ?? null;

/** A grid of emojis, and a field for any other. */
const Emojis = ({ anchor, close, choose }) => html`<${Popup} anchor=${anchor} close=${close} class="talk-emojis" role="dialog" label=${t("talk.react")}>
  <div class="talk-emoji-grid">${EMOJI.map((one, index) => html`<button type="button" key=${one} autofocus=${index === 0} onClick=${() => choose(one)}>${one}</button>`)}</div>
  <form onSubmit=${(event) => {
    event.preventDefault();
    const typed = new FormData(event.currentTarget).get("emoji").trim();
    if (typed) choose(typed);
  }}><input type="text" name="emoji" maxlength="32" aria-label=${t("talk.other_emoji")} placeholder=${t("talk.other_emoji")} /></form>
<//>`;

/** A button that offers emojis; `choose(emoji)`. */
export const EmojiButton = live(({ choose, label, quick }, self) => {
  const open = (self.open ??= signal(false));
  const close = () => (open.value = false);
  return html`${quick && QUICK.slice(0, 3).map((one) => html`<button type="button" key=${one} class="talk-quick" onClick=${() => choose(one)}>${one}</button>`)}
    <${Button} kind="quiet" icon="smile" label=${label ?? t("talk.react")} aria-expanded=${String(open.value)} ...${opener(self, open)} />
    ${open.value && html`<${Emojis} anchor=${self.anchor} close=${close} choose=${(one) => {
      close();
      choose(one);
    }} />`}`;
});

/** The text of a message while it is edited. On a conflict both texts stand side by side. */
const Edit = live(({ message, talk, done }, self) => {
  const draft = `${talk.place}.edit.${message.id}`;
  const text = (self.text ??= signal(readDraft(draft) ?? message.body));
  const error = (self.error ??= signal(null));
  const busy = (self.busy ??= signal(false));
  const other = error.value?.code === "version_conflict" ? (error.value.body?.current?.body ?? message.body) : null;
  self.base ??= message.version;
  const end = () => {
    keepDraft(draft, null);
    done();
  };
  const save = async () => {
    if (busy.peek() || !text.peek().trim()) return;
    if (text.peek() === message.body) return end();
    busy.value = true;
    try {
      await talk.edit(message, text.peek(), self.base);
      end();
    } catch (failed) {
      error.value = failed;
      if (failed.code === "version_conflict") self.base = failed.body?.current?.version ?? message.version;
    } finally {
      busy.value = false;
    }
    return undefined;
  };
  return html`<form class="talk-edit" onSubmit=${(event) => {
    event.preventDefault();
    save();
  }}>
    ${other !== null && html`<div class="talk-both" role="alert"><b>${t("ui.error_version_conflict")}</b><p>${other}</p>
      <${Button} onClick=${() => (text.value = other)}>${t("talk.take_theirs")}<//></div>`}
    <textarea autofocus aria-label=${t("talk.edit_text")} value=${text.value} ref=${(element) => {
      if (!element || self.field === element) return;
      self.field = element;
      element.focus();
      element.setSelectionRange(element.value.length, element.value.length);
    }} onInput=${(event) => {
      text.value = event.currentTarget.value;
      keepDraft(draft, text.peek());
    }} onKeyDown=${(event) => {
      event.stopPropagation();
      if (event.key === "Escape") {
        event.preventDefault();
        end();
      } else if (event.key === "Enter" && !event.isComposing && (event.ctrlKey || event.metaKey || (talk.enter && !event.shiftKey))) {
        event.preventDefault();
        save();
      }
    }} />
    ${error.value && other === null && html`<p class="field-error" role="alert">${sayError(error.value)}</p>`}
    <div class="row"><${Button} type="submit" kind="main" busy=${busy.value}>${other === null ? t("ui.save") : t("talk.keep_mine")}<//>
      <${Button} onClick=${end}>${t("ui.cancel")}<//></div>
  </form>`;
});

const names = (ids, talk) => ids.map((id) => (id === me.peek()?.id ? t("talk.you") : (talk.nameOf?.(id) ?? "?"))).join(", ");

/** The reactions of a message, with what I wish laid over them. */
const Reactions = live(({ message, talk, wishes }) => {
  const mine = me.value?.id;
  const shown = new Map((message.reactions ?? []).map((one) => [one.emoji, one.user_ids]));
  for (const [emoji, on] of wishes.value) {
    const rest = (shown.get(emoji) ?? []).filter((id) => id !== mine);
    shown.set(emoji, on ? [...rest, mine] : rest);
  }
  const list = [...shown].filter(([, ids]) => ids.length);
  if (!list.length) return null;
  return html`<div class="talk-reactions">${list.map(([emoji, ids]) => {
    const on = ids.includes(mine);
    return html`<button type="button" key=${emoji} class="talk-reaction" aria-pressed=${String(on)} disabled=${!talk.canWrite}
      title=${names(ids, talk)} aria-label=${t("talk.reaction", { emoji, n: ids.length, who: names(ids, talk) })}
      onClick=${() => talk.wish(message, emoji, !on, wishes)}>${emoji} <span>${ids.length}</span></button>`;
  })}</div>`;
});

const Tools = live(({ message, talk, wishes }) => {
  const mine = authorId(message) === me.value?.id;
  const canEdit = talk.edit && talk.canWrite && (talk.canEdit ? talk.canEdit(message) : mine && !message.is_bot);
  const canRemove = talk.remove && talk.canWrite && (talk.canRemove ? talk.canRemove(message) : mine);
  const copy = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
      notice(t("ui.copied"));
    } catch {
      notice(t("talk.no_clipboard"), { bad: true });
    }
  };
  const remove = async () => {
    if (!(await confirm(t("talk.delete_sure"), { danger: true, word: t("ui.delete") }))) return;
    await talk.remove(message).catch((error) => notice(sayError(error), { bad: true }));
  };
  return html`<div class="talk-tools">
    ${talk.react && talk.canWrite && html`<${EmojiButton} quick choose=${(emoji) => talk.wish(message, emoji, true, wishes)} />`}
    ${canEdit && html`<${Button} kind="quiet" icon="edit" label=${t("ui.edit")} onClick=${() => talk.begin(message)} />`}
    <${Menu} label=${t("ui.more")} items=${[
      message.body && { label: t("talk.copy_text"), icon: "copy", do: () => copy(message.body) },
      talk.linkOf && { label: t("talk.copy_link"), icon: "link", do: () => copy(location.origin + talk.linkOf(message)) },
      canRemove && { label: t("ui.delete"), icon: "trash", danger: true, line: true, do: remove },
    ]} />
  </div>`;
});

/** A message in its list. `first` of its author's: with face and name. */
export const Row = live(({ message, talk, first, editing, target }, self) => {
  const near = (self.near ??= signal(false));
  const wishes = (self.wishes ??= signal(new Map()));
  const author = authorOf(message);
  const leave = (event) => {
    // A popup of the row keeps its tools.
    if (event.currentTarget.querySelector(":popover-open")) return;
    if (event.type === "pointerleave" && event.currentTarget.contains(document.activeElement)) return;
    // The pointer may still be there when the field of an edit has gone.
    if (event.type === "focusout" && (event.currentTarget.contains(event.relatedTarget) || event.currentTarget.matches(":hover"))) return;
    near.value = false;
  };
  return html`<article class=${`talk-row${first ? " first" : ""}${target ? " target" : ""}`} data-id=${message.id} tabindex="-1"
    onPointerEnter=${() => (near.value = true)} onPointerLeave=${leave} onFocusIn=${() => (near.value = true)} onFocusOut=${leave}>
    ${first && html`<${Avatar} user=${author} size=${28} />
      <header><b>${author.display_name}</b>${message.is_bot && html`<small class="talk-bot">${t("talk.bot")}</small>`}
        <time datetime=${message.created_at} title=${dateTime(message.created_at)}>${talk.when ? talk.when(message) : time(message.created_at)}</time></header>`}
    <div class="talk-body">
      ${!first && html`<span class="said">${author.display_name}, ${time(message.created_at)}: </span>`}
      ${editing ? html`<${Edit} message=${message} talk=${talk} done=${talk.finish} />` : html`${message.body && html`<${Markdown} text=${message.body} />`}
        ${message.is_edited && html`<small class="talk-edited" title=${dateTime(message.updated_at)}>${t("talk.edited")}</small>`}`}
      ${message.attachments?.length > 0 && html`<${Files} files=${message.attachments} />`}
      ${talk.extra?.(message)}
      <${Reactions} message=${message} talk=${talk} wishes=${wishes} />
    </div>
    ${near.value && !editing && html`<${Tools} message=${message} talk=${talk} wishes=${wishes} />`}
  </article>`;
});

/** A message that is on its way, or was not taken. */
export const Waiting = ({ one, box, first, back }) => html`<article class=${`talk-row wish ${one.state}${first ? " first" : ""}`}>
  ${first && html`<${Avatar} user=${me.value} size=${28} /><header><b>${me.value.display_name}</b><time>${time(one.created_at)}</time></header>`}
  <div class="talk-body">${one.body && html`<${Markdown} text=${one.body} />`}
    ${one.files.length > 0 && html`<p class="faint">${one.files.map((file) => file.filename).join(", ")}</p>`}
    ${one.state === "waiting" && html`<p class="talk-trouble"><${Icon} name="clock" /><span>${t("talk.waiting")}</span>
      <button type="button" class="link" onClick=${() => box.again(one.nonce)}>${t("talk.send_now")}</button></p>`}
    ${one.state === "refused" && html`<p class="talk-trouble bad" role="alert"><${Icon} name="warn" /><span>${t("talk.refused")} ${sayError(one.error)}</span>
      <button type="button" class="link" onClick=${() => box.again(one.nonce)}>${t("ui.retry")}</button>
      <button type="button" class="link" onClick=${() => back(one)}>${t("ui.edit")}</button></p>`}
  </div>
</article>`;
