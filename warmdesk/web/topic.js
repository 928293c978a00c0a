/* One topic with its replies. */
import { address, go } from "./address.js";
import { keepDraft, readDraft } from "./drafts.js";
import { dateOf, dateTime, day, time, today } from "./format.js";
import { Away, awayOf } from "./frame.js";
import { Markdown } from "./markdown.js";
import { shownBy, topicAt } from "./places.js";
import { Talk } from "./talk.js";
import { Left } from "./talk_left.js";
import { OpenTopic } from "./topic_store.js";
import { Avatar, Button, Empty, Failed, Field, Icon, Menu, Skeleton, confirm, notice, sayError } from "./ui.js";
import { html, live, signal } from "./view.js";
import { t } from "./words.js";

const when = (one) => (dateOf(one.created_at) === today() ? time(one.created_at) : dateTime(one.created_at));

/** The topic's title and text while they are edited; on a conflict both texts stand side by side. */
const Edit = live(({ open, topic, done }, self) => {
  const draft = `topic.${topic.id}`;
  const values = (self.values ??= signal(readDraft(draft) ?? { title: topic.title, body: topic.body, base: topic.version }));
  const error = (self.error ??= signal(null));
  const busy = (self.busy ??= signal(false));
  const other = error.value?.code === "version_conflict" ? (error.value.body?.current ?? topic) : null;
  const set = (name) => (value) => {
    values.value = { ...values.peek(), [name]: value };
    keepDraft(draft, values.peek());
  };
  const end = () => {
    keepDraft(draft, null);
    done();
  };
  const save = async (event) => {
    event.preventDefault();
    if (busy.peek()) return;
    busy.value = true;
    const { title, body, base } = values.peek();
    try {
      await open.change({ title, body }, base);
      end();
    } catch (failed) {
      error.value = failed;
      if (failed.code === "version_conflict") values.value = { title, body, base: failed.body?.current?.version ?? topic.version };
    } finally {
      busy.value = false;
    }
  };
  return html`<form class="stack" onSubmit=${save}>
    ${other && html`<div class="talk-both" role="alert"><b>${t("ui.error_version_conflict")}</b><p><b>${other.title}</b></p><p>${other.body}</p>
      <${Button} onClick=${() => (values.value = { ...values.peek(), title: other.title, body: other.body })}>${t("talk.take_theirs")}<//></div>`}
    <${Field} label=${t("topics.name")} value=${values.value.title} onInput=${set("title")} required maxlength="500" />
    <${Field} kind="area" label=${t("topics.body")} hint=${t("topics.markdown")} value=${values.value.body} onInput=${set("body")} rows="10" maxlength="100000" />
    ${error.value && !other && html`<p class="field-error" role="alert">${sayError(error.value)}</p>`}
    <div class="row"><${Button} kind="main" type="submit" busy=${busy.value}>${other ? t("talk.keep_mine") : t("ui.save")}<//><${Button} onClick=${end}>${t("ui.cancel")}<//></div>
  </form>`;
});

/** A topic by its id, in the store of its project. */
export const Topic = live(
  ({ store, id }, self) => {
    const open = (self.open ??= new OpenTopic(store, id));
    const editing = (self.editing ??= signal(false));
    const { state, topic, error } = open.shown.value;
    if (state === "failed" && !topic) {
      return awayOf(error) === "error" ? html`<${Failed} error=${error} again=${() => open.load()} />` : html`<${Away} kind=${awayOf(error)} />`;
    }
    if (state === "loading") return html`<${Skeleton} lines=${8} />`;
    if (state === "deleted") {
      return html`<${Empty} icon="trash" title=${t("topics.deleted")}><${Left} drafts=${[`topic.${store.slug}.${id}`, `topic.${id}`]} /><a class="button" href=${`/p/${store.slug}/topics`}>${t("topics.all")}</a><//>`;
    }
    const canWrite = store.canWrite.value;
    const canEdit = canWrite && open.canRemove(topic);
    const pin = () => open.change({ is_pinned: !topic.is_pinned }).catch((failed) => notice(sayError(failed), { bad: true }));
    const remove = async () => {
      if (!(await confirm(t("topics.delete_sure"), { danger: true, word: t("ui.delete") }))) return;
      try {
        await open.delete();
        go(`/p/${store.slug}/topics`);
      } catch (failed) {
        notice(sayError(failed), { bad: true });
      }
    };
    const { list } = open;
    const target = shownBy(address.value);
    if (self.target !== target && list.state.value.state === "ready") open.look((self.target = target));
    return html`<a class="topics-back soft" href=${`/p/${store.slug}/topics`}><${Icon} name="back" />${t("topics.all")}</a>
      <article class="topic">
        ${editing.value
          ? html`<${Edit} open=${open} topic=${topic} done=${() => (editing.value = false)} />`
          : html`<header><h2>${topic.is_pinned && html`<span title=${t("topics.pinned")}><${Icon} name="pin" /></span>`}${topic.title}</h2>
              ${canEdit && html`<${Menu} label=${t("ui.more")} items=${[
                { label: t("ui.edit"), icon: "edit", do: () => (editing.value = true) },
                { label: topic.is_pinned ? t("topics.unpin") : t("topics.pin"), icon: "pin", do: pin },
                { label: t("ui.delete"), icon: "trash", danger: true, line: true, do: remove },
              ]} />`}</header>
            <p class="topic-who faint"><${Avatar} user=${topic.user} size=${20} />${topic.user.display_name} · <time datetime=${topic.created_at} title=${dateTime(topic.created_at)}>${day(topic.created_at)}, ${time(topic.created_at)}</time>
              ${topic.is_edited && html` · ${t("talk.edited")}`}</p>
            ${topic.body && html`<${Markdown} text=${topic.body} />`}`}
      </article>
      <section class="topic-replies" aria-label=${t("topics.replies", { n: topic.reply_count })}>
        <h3 class="faint">${list.rows.value.length || list.newer.value ? t("topics.replies", { n: list.newer.value ? topic.reply_count : list.rows.value.length }) : t("topics.no_replies")}</h3>
        ${list.newer.value && html`<p><${Button} onClick=${() => open.moreAfter().catch((failed) => notice(sayError(failed), { bad: true }))}>${t("topics.rest")}<//></p>`}
        <${Talk} flow place=${`topic.${store.slug}.${id}`} messages=${list.rows.value} canWrite=${canWrite} label=${t("topics.reply")} word=${t("topics.send")}
          linkOf=${(reply) => topicAt(store.slug, id, reply.id)} send=${open.send} edit=${open.edit} remove=${open.remove} canRemove=${open.canRemove} people=${open.people} nameOf=${open.nameOf} when=${when} target=${target} />
      </section>`;
  },
  (self) => {
    self.open.begin();
    self.end = () => self.open.end();
  },
);
