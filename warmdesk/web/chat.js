/* A project's chat. */
import { chatOf } from "./chat_store.js";
import { chatAt, shownBy } from "./places.js";
import { ProjectFrame, useProject } from "./project.js";
import { Talk } from "./talk.js";
import { Failed, Skeleton } from "./ui.js";
import { address } from "./address.js";
import { wears } from "./sheets.js";
import { html, live } from "./view.js";
import { t } from "./words.js";

wears("talk.css");

/** The chat with its list and field, for the page and for a drawer beside the board. */
export const Chat = live(
  ({ store, feed }, self) => {
    const here = address.value;
    const target = here.startsWith(chatAt(store.slug)) ? shownBy(here) : null;
    const chat = (self.chat ??= chatOf(store, feed));
    if (self.target !== target) chat.begin((self.target = target));
    const { state, error } = chat.list.state.value;
    const rows = chat.list.rows.value;
    if (state === "failed" && !rows.length) return html`<${Failed} error=${error} again=${() => chat.list.load()} />`;
    if (state === "loading" && !rows.length) return html`<${Skeleton} lines=${8} />`;
    const project = store.project.value;
    const canWrite = store.canWrite.value;
    return html`<${Talk} key=${store.slug} place=${`chat.${store.slug}`} messages=${rows} canWrite=${canWrite}
      why=${project.is_archived ? t("chat.archived") : t("chat.viewer")}
      label=${t("chat.label", { name: project.name })} enter=${true} uploads=${chat.uploads}
      hasMore=${chat.list.older.value} hasAfter=${chat.list.newer.value}
      more=${chat.more} moreAfter=${chat.moreAfter} back=${chat.back} newest=${chat.newest}
      send=${chat.send} edit=${chat.edit} remove=${chat.remove} react=${chat.react}
      canRemove=${chat.canRemove} nameOf=${chat.nameOf} people=${chat.people} linkOf=${chat.linkOf}
      typing=${chat.typing.value} tell=${chat.tell} unreadFrom=${chat.unreadFrom.value} seen=${chat.seen}
      target=${target} empty=${[t("chat.empty"), canWrite ? t("chat.empty_text") : ""]} />`;
  },
  (self) => {
    self.end = () => self.chat?.leave();
  },
);

export default live(({ slug }, self) => {
  const { store, feed, away } = useProject(self, slug);
  return html`<${ProjectFrame} slug=${slug} tab="chat">${!away?.value && store?.project?.value
    ? html`<div class="talk-page"><${Chat} store=${store} feed=${feed} /></div>`
    : null}<//>`;
});
