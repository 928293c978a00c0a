/* One conversation: its head with what can be done with it, and its messages. */
import { address, go } from "./address.js";
import { call, upload } from "./api.js";
import { Away, awayOf } from "./frame.js";
import { me } from "./identity.js";
import { shownBy } from "./places.js";
import { nameOf, pictureOf } from "./conversation_names.js";
import { ConversationStore, othersOf } from "./conversation_store.js";
import { findPeople } from "./messages_new.js";
import { Talk } from "./talk.js";
import { Left } from "./talk_left.js";
import { Avatar, Button, Dialog, Failed, Field, Icon, Menu, Picker, Skeleton, confirm, notice, sayError } from "./ui.js";
import { user } from "./user_store.js";
import { html, live, signal } from "./view.js";
import { t } from "./words.js";

const attempt = (work) => work.catch((error) => notice(sayError(error), { bad: true }));

/** Who is in a group: added and taken out, renamed, with a picture. */
const Group = live(({ one, close }, self) => {
  const name = (self.name ??= signal(one.name ?? ""));
  const error = (self.error ??= signal(null));
  const busy = (self.busy ??= signal(false));
  const mine = me.value?.id;
  const rename = async (event) => {
    event.preventDefault();
    busy.value = true;
    try {
      await call("PUT", `/conversations/${one.id}`, { name: name.peek().trim() || null });
      error.value = null;
      close();
    } catch (failed) {
      error.value = failed;
    } finally {
      busy.value = false;
    }
  };
  const remove = async (member) => {
    if (!(await confirm(t("messages.remove_sure", { name: member.user.display_name }), { danger: true, word: t("ui.remove") }))) return;
    attempt(call("DELETE", `/conversations/${one.id}/members/${member.user_id}`));
  };
  return html`<${Dialog} title=${nameOf(one)} close=${close}>
    <form class="sheet-body" onSubmit=${rename}>
      <${Field} label=${t("messages.group_name")} hint=${t("messages.group_hint")} value=${name.value} maxlength="200"
        onInput=${(value) => (name.value = value)} error=${error.value && sayError(error.value)} />
      <div><h3>${t("messages.members")}</h3>
        <ul class="messages-members">${one.members.map((member) => html`<li key=${member.user_id}>
          <${Avatar} user=${member.user} size=${24} /><span>${member.user.display_name}</span><small class="faint">@${member.user.username}</small><span class="grow" />
          ${member.user_id !== mine && (one.created_by_id === mine || me.value?.global_role === "admin") && html`<${Button} kind="quiet" icon="close"
            label=${`${t("ui.remove")}: ${member.user.display_name}`} onClick=${() => remove(member)} />`}</li>`)}</ul>
        <${Picker} label=${t("messages.add")} icon="add" options=${[]} value=${null} find=${(text) => findPeople(text, one.members.map((each) => each.user_id))}
          onChange=${(id) => attempt(call("POST", `/conversations/${one.id}/members`, { user_id: id }, { key: true }))} />
      </div>
      <div class="row"><span class="grow" /><${Button} onClick=${close}>${t("ui.close")}<//><${Button} kind="main" type="submit" busy=${busy.value}>${t("ui.save")}<//></div>
    </form>
  <//>`;
});

const Head = live(({ one }, self) => {
  const shown = (self.shown ??= signal(false));
  const others = othersOf(one);
  const picture = async (file) => {
    if (file) await attempt(upload(`/conversations/${one.id}/avatar`, "avatar", file));
  };
  const mute = async () => {
    await call("PUT", `/conversations/${one.id}/mute`, { muted: !one.muted });
    await user.fetchConversation(one.id);
  };
  const leave = async () => {
    if (!(await confirm(t("messages.leave_sure"), { danger: true, word: t("messages.leave") }))) return;
    try {
      await call("DELETE", `/conversations/${one.id}/members/${me.peek().id}`);
      go("/messages");
    } catch (error) {
      notice(sayError(error), { bad: true });
    }
  };
  return html`<header class="messages-head">
    <a class="button quiet square messages-back" href="/messages" aria-label=${t("ui.back")}><${Icon} name="back" /></a>
    ${pictureOf(one, 28)}
    <div><h2>${nameOf(one)}</h2>${one.is_group ? html`<small class="faint">${t("messages.people", { n: one.members.length })}</small>` : others[0] && html`<small class="faint">@${others[0].username}</small>`}</div>
    <span class="grow" />
    ${one.muted && html`<span class="faint" title=${t("messages.muted")}><${Icon} name="mute" /></span>`}
    <input type="file" hidden accept="image/png,image/jpeg,image/gif,image/webp,image/avif" ref=${(element) => element && (self.file = element)}
      onChange=${(event) => picture(event.currentTarget.files[0])} />
    <${Menu} label=${t("ui.more")} items=${[
      { label: t("messages.mute"), on: one.muted, do: () => attempt(mute()) },
      one.is_group && { label: t("messages.members"), icon: "people", do: () => (shown.value = true), line: true },
      one.is_group && { label: t("messages.rename"), icon: "edit", do: () => (shown.value = true) },
      one.is_group && { label: t("messages.picture"), icon: "file", do: () => self.file.click() },
      one.is_group && one.avatar && { label: t("messages.no_picture"), icon: "close", do: () => attempt(call("DELETE", `/conversations/${one.id}/avatar`)) },
      one.is_group && { label: t("messages.leave"), icon: "forward", danger: true, line: true, do: leave },
    ]} />
    ${shown.value && html`<${Group} one=${one} close=${() => (shown.value = false)} />`}
  </header>`;
});

/** A conversation by its id. */
export const Conversation = live(
  ({ id }, self) => {
    const store = (self.store ??= new ConversationStore(id));
    const gone = (self.gone ??= signal(null));
    const one = user.conversations.value?.find((each) => each.id === id);
    const target = shownBy(address.value);
    if (self.target !== target) {
      self.target = target;
      if (self.begun) store.look(target);
    }
    if (gone.value && !one) {
      const kind = awayOf(gone.value);
      return html`<${Away} kind=${kind} again=${kind === "error" ? self.ask : undefined} />${kind !== "error" && html`<${Left} drafts=${[`dm.${id}`]} />`}`;
    }
    if (!one) return html`<${Skeleton} lines=${8} />`;
    const { state, error } = store.list.state.value;
    const rows = store.list.rows.value;
    const body =
      state === "failed" && !rows.length
        ? html`<${Failed} error=${error} again=${() => store.list.load()} />`
        : state === "loading" && !rows.length
          ? html`<${Skeleton} lines=${8} />`
          : html`<${Talk} place=${`dm.${id}`} messages=${rows} canWrite=${true} label=${t("messages.label", { name: nameOf(one) })} enter=${true}
              uploads=${store.uploads} hasMore=${store.list.older.value} hasAfter=${store.list.newer.value} more=${store.more} moreAfter=${store.moreAfter} back=${store.back}
              newest=${store.newest} send=${store.send} edit=${store.edit} remove=${store.remove} react=${store.react} canRemove=${store.canRemove}
              nameOf=${store.nameOf} people=${store.people} linkOf=${store.linkOf} typing=${store.typing.value} tell=${store.tell}
              unreadFrom=${store.unreadFrom.value} seen=${store.seen} target=${target} empty=${[t("messages.nothing"), t("messages.nothing_text")]} />`;
    return html`<${Head} one=${one} /><div class="messages-talk">${body}</div>`;
  },
  (self) => {
    self.ask = () => {
      self.gone.value = null;
      user.fetchConversation(self.props.id).catch((error) => (self.gone.value = error));
    };
    // A conversation that is not in my list may still be new to it, or not mine at all.
    if (!self.store.find()) self.ask();
    self.begun = true;
    self.store.begin(self.target);
    const stop = user.listen("dm.conversation_deleted", ({ payload }) => {
      if (payload.conversation_id === self.props.id) self.gone.value = { status: 404 };
    });
    self.end = () => {
      stop();
      self.store.end();
    };
  },
);
