/* All projects of the installation. */
import { call } from "./api.js";
import { FormEnd, doing, kept, sends } from "./forms.js";
import { ago } from "./format.js";
import { Find, PageList, pages } from "./pages.js";
import { ProjectMark } from "./projects_tile.js";
import { Dialog, Empty, Field, Menu, notice } from "./ui.js";
import { html, live, signal } from "./view.js";
import { t } from "./words.js";

/** Asks for a project's short name before it is ended for good. */
const Purge = live(({ project, close, gone }, self) => {
  const form = kept(self, "form", () => ({ slug: "" }));
  const send = async () => {
    if (!(await form.send(() => call("DELETE", `/admin/projects/${project.slug}`)))) return;
    close();
    gone(project.id);
    notice(t("admin.purged", { name: project.name }));
  };
  return html`<${Dialog} title=${t("admin.project_purge", { name: project.name })} close=${close}>
    <form class="forms sheet-body" onSubmit=${sends(send)}>
      <p>${t("admin.project_purge_text")}</p>
      <${Field} ...${form.field("slug")} label=${t("admin.type_word", { word: project.slug })} autofocus autocomplete="off" />
      <${FormEnd} form=${form} kind="danger" word=${t("admin.purge")} cancel=${close} off=${() => form.get("slug") !== project.slug} />
    </form><//>`;
});

/** The projects by name, archived ones too. */
export const AllProjects = live((props, self) => {
  self.find ??= signal("");
  self.purging ??= signal(null);
  const q = self.find.value.trim();
  const list = pages(self, "projects", `/admin/projects?limit=50${q ? `&q=${encodeURIComponent(q)}` : ""}`);
  const archive = (project, is_archived) => doing(async () => list.put(await call("PUT", `/admin/projects/${project.slug}`, { is_archived })));
  const acts = (project) => [
    { label: t("projects.settings"), icon: "gear", href: `/p/${project.slug}/settings` },
    { label: project.is_archived ? t("projects.unarchive") : t("projects.archive"), icon: "archive", do: () => archive(project, !project.is_archived) },
    project.is_archived && { label: t("admin.purge"), icon: "trash", danger: true, line: true, do: () => (self.purging.value = project) },
  ];
  return html`
    <header class="page-head"><h2>${t("admin.projects")}</h2>
      <${Find} label=${t("projects.find")} find=${(text) => (self.find.value = text)} /></header>
    <${PageList} of=${list} lines=${6} empty=${html`<${Empty} icon="board" title=${t("projects.none")} />`}>
      ${(items) => html`<ul class="page-rows">${items.map((one) => html`<li key=${one.id} class=${one.is_archived ? "page-row off" : "page-row"}>
        <${ProjectMark} project=${one} />
        <span class="grow"><a class="page-open" href=${`/p/${one.slug}`}>${one.name}</a>
          <small class="page-fact">${one.slug} · ${t("admin.members", { n: one.member_count })} · ${t("projects.open_cards", { n: one.open_card_count })}
            ${one.is_archived ? ` · ${t("projects.is_archived")}` : ""}</small></span>
        <span class="page-fact admin-when">${ago(one.last_activity_at)}</span>
        <${Menu} label=${t("projects.more", { name: one.name })} items=${acts(one)} /></li>`)}</ul>`}<//>
    ${self.purging.value && html`<${Purge} project=${self.purging.value} close=${() => (self.purging.value = null)} gone=${(id) => list.drop(id)} />`}`;
});
