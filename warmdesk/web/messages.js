/* Direct messages and groups: the list of conversations, and the one that is open. */
import { go } from "./address.js";
import { dateOf, ago, day, time, today } from "./format.js";
import { Frame } from "./frame.js";
import { me } from "./identity.js";
import { plain } from "./markdown.js";
import { Conversation } from "./conversation.js";
import { NewConversation } from "./messages_new.js";
import { nameOf, pictureOf } from "./conversation_names.js";
import { wears } from "./sheets.js";
import { Button, Empty, Failed, Icon, Skeleton } from "./ui.js";
import { user } from "./user_store.js";
import { html, live, signal } from "./view.js";
import { t } from "./words.js";

wears("talk.css");

const LIST = 80;
const when = (iso) => (dateOf(iso) === today() ? time(iso) : day(iso));

function said(one) {
  const last = one.last_message;
  if (!last) return "";
  const text = plain(last.body ?? "") || t("messages.file");
  if (last.sender_id === me.value?.id) return t("messages.you", { text });
  return one.is_group ? `${last.sender?.display_name.split(" ")[0] ?? "?"}: ${text}` : text;
}

const One = live(({ one, on }) => html`<li><a href=${`/messages/${one.id}`} class=${`messages-one${one.unread_count ? " unread" : ""}`}
  aria-current=${on ? "page" : undefined}>
  ${pictureOf(one, 32)}
  <span class="messages-name">${nameOf(one)}</span>
  <time datetime=${one.updated_at} title=${ago(one.updated_at)}>${when(one.updated_at)}</time>
  <span class="messages-last">${said(one)}</span>
  ${one.muted && html`<${Icon} name="mute" /><span class="said">${t("messages.muted")}</span>`}
  ${one.unread_count > 0 && html`<b class="count" aria-hidden="true">${one.unread_count > 99 ? "99+" : one.unread_count}</b>
    <span class="said">${t("messages.unread", { n: one.unread_count })}</span>`}
</a></li>`);

const List = live(({ open, begin }, self) => {
  const typed = (self.typed ??= signal(""));
  const most = (self.most ??= signal(LIST));
  const all = user.conversations.value;
  const error = user.conversationsError.value;
  if (!all) {
    return error ? html`<${Failed} error=${error} again=${() => user.fetchConversations().catch(() => {})} />` : html`<${Skeleton} lines=${6} />`;
  }
  const text = typed.value.trim().toLowerCase();
  const found = text ? all.filter((one) => nameOf(one).toLowerCase().includes(text)) : all;
  return html`${error && html`<${Failed} error=${error} again=${() => user.fetchConversations().catch(() => {})} />`}
    ${all.length > 6 && html`<div class="messages-find"><input type="search" aria-label=${t("messages.find")}
      placeholder=${t("messages.find")} value=${typed.value} onInput=${(event) => (typed.value = event.currentTarget.value)} /></div>`}
    ${!all.length
      ? html`<${Empty} icon="mail" title=${t("messages.empty")} text=${t("messages.empty_text")}><${Button} kind="main" onClick=${begin}>${t("messages.new")}<//><//>`
      : !found.length
        ? html`<p class="messages-none faint" role="status">${t("ui.nothing_found")}</p>`
        : html`<ul>${found.slice(0, most.value).map((one) => html`<${One} key=${one.id} one=${one} on=${one.id === open} />`)}</ul>`}
    ${found.length > most.value && html`<${Button} kind="quiet" onClick=${() => (most.value += LIST)}>${t("ui.more")}<//>`}`;
});

export default live(({ conversation }, self) => {
  const isNew = (self.isNew ??= signal(false));
  const id = conversation ? Number(conversation) : null;
  if (!self.asked) {
    self.asked = true;
    if (!user.conversations.peek()) queueMicrotask(() => user.fetchConversations().catch(() => {}));
  }
  const begin = () => (isNew.value = true);
  return html`<${Frame} title=${t("messages.title")} plain>
    <div class=${`messages${id ? " open" : ""}`}>
      <nav class="messages-list" aria-label=${t("messages.title")}>
        <header><h2>${t("messages.title")}</h2><span class="grow" />
          <${Button} kind="quiet" icon="add" label=${t("messages.new")} onClick=${begin} /></header>
        <div class="messages-all"><${List} open=${id} begin=${begin} /></div>
      </nav>
      <section class="messages-open" aria-label=${t("messages.title")}>
        ${id
          ? html`<${Conversation} key=${id} id=${id} />`
          : html`<div class="messages-pick"><${Empty} icon="mail" title=${t("messages.choose")}><${Button} onClick=${begin}>${t("messages.new")}<//><//></div>`}
      </section>
    </div>
    ${isNew.value && html`<${NewConversation} close=${() => (isNew.value = false)} made=${(made) => {
      isNew.value = false;
      go(`/messages/${made.id}`);
    }} />`}
  <//>`;
});
