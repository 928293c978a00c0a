/* What a project talks about at length: its topics, and one of them with its replies. */
import { go } from "./address.js";
import { newKey } from "./api.js";
import { keepDraft, readDraft } from "./drafts.js";
import { ago, dateTime } from "./format.js";
import { plain } from "./markdown.js";
import { Topic } from "./topic.js";
import { topicsOf } from "./topic_store.js";
import { ProjectFrame, useProject } from "./project.js";
import { wears } from "./sheets.js";
import { Avatar, Button, Dialog, Empty, Failed, Field, Icon, Skeleton, notice, sayError } from "./ui.js";
import { html, live, signal } from "./view.js";
import { t } from "./words.js";

wears("talk.css");

/** The dialog of a new topic; what is written is kept until it is begun. */
const NewTopic = live(({ store, close }, self) => {
  const draft = `topic.new.${store.slug}`;
  const values = (self.values ??= signal(readDraft(draft) ?? { title: "", body: "" }));
  const error = (self.error ??= signal(null));
  const busy = (self.busy ??= signal(false));
  const set = (name) => (value) => {
    values.value = { ...values.peek(), [name]: value };
    self.key = null;
    keepDraft(draft, values.peek());
  };
  const begin = async (event) => {
    event.preventDefault();
    if (busy.peek()) return;
    busy.value = true;
    try {
      const { title, body } = values.peek();
      const made = await topicsOf(store).create({ title, body: body || null }, (self.key ??= newKey()));
      keepDraft(draft, null);
      close();
      go(`/p/${store.slug}/topics/${made.id}`);
    } catch (failed) {
      error.value = failed;
      busy.value = false;
    }
  };
  return html`<${Dialog} title=${t("topics.new")} close=${close} wide>
    <form class="sheet-body" onSubmit=${begin}>
      <${Field} label=${t("topics.name")} value=${values.value.title} onInput=${set("title")} required maxlength="500" autofocus />
      <${Field} kind="area" label=${t("topics.body")} hint=${t("topics.markdown")} value=${values.value.body} onInput=${set("body")} rows="8" maxlength="100000" />
      ${error.value && html`<p class="field-error" role="alert">${sayError(error.value)}</p>`}
      <div class="row"><span class="grow" /><${Button} onClick=${close}>${t("ui.cancel")}<//>
        <${Button} kind="main" type="submit" busy=${busy.value}>${t("topics.begin")}<//></div>
    </form>
  <//>`;
});

const One = ({ topic, slug }) => html`<li><a class="topics-one" href=${`/p/${slug}/topics/${topic.id}`}>
  <${Avatar} user=${topic.user} size=${28} />
  <span class="topics-text"><b>${topic.is_pinned && html`<${Icon} name="pin" /><span class="said">${t("topics.pinned")}: </span>`}${topic.title}</b>
    ${topic.body && html`<span class="topics-body">${plain(topic.body)}</span>`}
    <small class="faint">${topic.user.display_name} · <time datetime=${topic.last_activity_at} title=${dateTime(topic.last_activity_at)}>${t("topics.last", { when: ago(topic.last_activity_at) })}</time></small></span>
  <span class="topics-count" title=${t("topics.replies", { n: topic.reply_count })}><${Icon} name="chat" />${topic.reply_count}<span class="said"> ${t("topics.replies", { n: topic.reply_count })}</span></span>
</a></li>`;

const List = live(({ store, begin }, self) => {
  const topics = topicsOf(store);
  if (!self.asked) {
    self.asked = true;
    queueMicrotask(() => topics.load().catch(() => {}));
  }
  const { state, error, more } = topics.state.value;
  const list = topics.topics.value;
  const canWrite = store.canWrite.value;
  const older = () => topics.load({ more: true }).catch((failed) => notice(sayError(failed), { bad: true }));
  if (!list.length) {
    if (state === "failed") return html`<${Failed} error=${error} again=${() => topics.load().catch(() => {})} />`;
    if (state !== "ready") return html`<${Skeleton} lines=${6} />`;
    return html`<${Empty} icon="topic" title=${t("topics.empty")} text=${t("topics.empty_text")}>
      ${canWrite && html`<${Button} kind="main" icon="add" onClick=${begin}>${t("topics.new")}<//>`}<//>`;
  }
  return html`<header class="row"><h2>${t("topics.title")}</h2><span class="grow" />
      ${canWrite && html`<${Button} kind="main" icon="add" onClick=${begin}>${t("topics.new")}<//>`}</header>
    <ul class="topics-list">${list.map((topic) => html`<${One} key=${topic.id} topic=${topic} slug=${store.slug} />`)}</ul>
    ${more && html`<p class="topics-more"><${Button} busy=${state === "loading"} onClick=${older}>${t("topics.more")}<//></p>`}`;
});

export default live(({ slug, topic }, self) => {
  const isNew = (self.isNew ??= signal(false));
  const { store, away } = useProject(self, slug);
  const here = !away?.value && store?.project?.value;
  return html`<${ProjectFrame} slug=${slug} tab="topics">
    ${here && html`<div class="topics-page scroll"><div class="topics">${topic
      ? html`<${Topic} key=${topic} store=${store} id=${Number(topic)} />`
      : html`<${List} store=${store} begin=${() => (isNew.value = true)} />`}</div></div>`}
    ${here && isNew.value && html`<${NewTopic} store=${store} close=${() => (isNew.value = false)} />`}
  <//>`;
});
