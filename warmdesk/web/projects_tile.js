/* A project in the list of projects. */
import { call } from "./api.js";
import { doing } from "./forms.js";
import { ago } from "./format.js";
import { me } from "./identity.js";
import { wears } from "./sheets.js";
import { Icon, Menu, Pile, confirm, notice } from "./ui.js";
import { user } from "./user_store.js";
import { html, live, signal } from "./view.js";
import { t } from "./words.js";

wears("pages.css");

/** The first letters of a project's key, on its colour. */
export const ProjectMark = ({ project }) => html`<span class="projects-mark" aria-hidden="true"
  style=${{ "--label": project.color }}>${project.key_prefix.slice(0, 3)}</span>`;

/** Gives a star or takes it: shown at once, until the feed says so or the server refuses. */
function star(self, project) {
  const wanted = !(self.wish.peek() ?? project.starred);
  self.wish.value = wanted;
  return doing(() => call(wanted ? "POST" : "DELETE", `/projects/${project.slug}/star`), () => (self.wish.value = null));
}

/** What an answer said of a project, and no event tells. */
function learn(slug, values) {
  user.projects.value = user.projects.peek().map((one) => (one.slug === slug ? { ...one, ...values } : one));
}

async function archive(project, changed) {
  const { slug, name } = project;
  if (!(await confirm(t("projects.archive_ask", { name }), { word: t("projects.archive") }))) return;
  if (!(await doing(() => call("DELETE", `/projects/${slug}`)))) return;
  changed?.();
  notice(t("projects.archived_now", { name }), { undo: () => unarchive(project, changed) });
}

const unarchive = async (project, changed) =>
  (await doing(() => call("PUT", `/projects/${project.slug}`, { is_archived: false }))) && changed?.();

async function leave({ slug, name }, changed) {
  if (!(await confirm(t("projects.leave_ask", { name }), { danger: true, word: t("projects.leave") }))) return;
  if (await doing(() => call("DELETE", `/projects/${slug}/members/${me.peek().id}`))) changed?.();
}

const mute = ({ slug }, muted, changed) => doing(async () => {
  await call("PUT", `/projects/${slug}/mute`, { muted });
  learn(slug, { muted });
  changed?.();
});

function acts(project, isMine, changed) {
  const { slug, muted, is_archived: isArchived, my_role: role } = project;
  return [
    { label: t("projects.settings"), icon: "gear", href: `/p/${slug}/settings` },
    isMine && { label: muted ? t("projects.unmute") : t("projects.mute"), icon: "mute", do: () => mute(project, !muted, changed) },
    role === "owner" && !isArchived && { label: t("projects.archive"), icon: "archive", do: () => archive(project, changed) },
    role === "owner" && isArchived && { label: t("projects.unarchive"), icon: "archive", do: () => unarchive(project, changed) },
    isMine && { label: t("projects.leave"), icon: "forward", danger: true, line: true, do: () => leave(project, changed) },
  ].filter(Boolean);
}

/** A tile: name, what it is for, what is new in it, who is there; a star and a menu. `isMine`: I am a
 * member; `changed()` is told where no event says what was done.
 */
export const ProjectTile = live(({ project, isMine = true, changed }, self) => {
  self.wish ??= signal(null);
  const starred = self.wish.value ?? project.starred;
  if (self.wish.value === project.starred) queueMicrotask(() => (self.wish.value = null));
  const { name, unread_count: unread, mention_count: mentions, here, muted } = project;
  return html`<li class=${project.is_archived ? "projects-tile archived" : "projects-tile"}>
    <${ProjectMark} project=${project} />
    <div class="projects-words">
      <a href=${`/p/${project.slug}`}>${name}</a>
      ${project.description && html`<p>${project.description.slice(0, 200)}</p>`}
      <div class="projects-facts">
        <span>${t("projects.open_cards", { n: project.open_card_count })}</span>
        ${project.is_archived
          ? html`<span>${t("projects.is_archived")}</span>`
          : html`<span>${ago(project.last_activity_at)}</span>`}
        ${project.my_role === "viewer" && html`<span>${t("projects.read_only")}</span>`}
        ${muted && html`<span title=${t("projects.is_muted")}><${Icon} name="mute" /><span class="said">${t("projects.is_muted")}</span></span>`}
        ${mentions > 0 && html`<b class="count loud" title=${t("projects.mentions", { n: mentions })}
          aria-label=${t("projects.mentions", { n: mentions })}>@${mentions}</b>`}
        ${unread > 0 && html`<b class="count" title=${t("projects.unread", { n: unread })}
          aria-label=${t("projects.unread", { n: unread })}>${unread > 999 ? "999+" : unread}</b>`}
        ${here?.count > 0 && html`<${Pile} users=${here.users} count=${here.count} max=${3} size=${18} label=${t("projects.here")} />`}
      </div>
    </div>
    <div class="projects-acts">
      <button type="button" class=${starred ? "button quiet square on" : "button quiet square"} aria-pressed=${starred ? "true" : "false"}
        title=${starred ? t("projects.unstar") : t("projects.star")}
        aria-label=${t("projects.star_of", { name })} onClick=${() => star(self, project)}><${Icon} name="star" filled=${starred} /></button>
      <${Menu} label=${t("projects.more", { name })} items=${acts(project, isMine, changed)} />
    </div>
  </li>`;
});
