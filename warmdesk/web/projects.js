/* The start: my projects, those with my star first, what is new in them and who is there. */
import { go } from "./address.js";
import { callAll } from "./api.js";
import { Frame } from "./frame.js";
import { me, settings } from "./identity.js";
import { ProjectTile } from "./projects_tile.js";
import { NewProject } from "./projects_new.js";
import { wears } from "./sheets.js";
import { Button, Empty, Field, Loading, load } from "./ui.js";
import { user } from "./user_store.js";
import { html, live, signal } from "./view.js";
import { t } from "./words.js";

wears("pages.css");

const ROWS = 12; // more than these get a field to find them by

/** Whether I may begin a project. */
const mayMake = () => {
  const role = me.value?.global_role;
  return role === "admin" || (role === "user" && settings.value.users_can_create_projects !== false);
};

const byName = (one, other) => one.name.localeCompare(other.name) || one.id - other.id;
const byActivity = (one, other) => other.last_activity_at.localeCompare(one.last_activity_at) || one.id - other.id;

function fits(project, words) {
  const text = `${project.name} ${project.slug} ${project.key_prefix}`.toLowerCase();
  return words.every((word) => text.includes(word));
}

const Group = ({ id, title, list, isMine }) =>
  list.length > 0 && html`<section class="projects-group" aria-labelledby=${id}>
    <h2 id=${id}>${title} <span>${list.length}</span></h2>
    <ul class="projects-grid">${list.map((one) => html`<${ProjectTile} key=${one.slug} project=${one} isMine=${isMine(one)} />`)}</ul>
  </section>`;

/** Projects that take no changes any more: fetched when somebody looks for them. */
const Archived = live((props, self) => {
  self.open ??= signal(false);
  const held = self.open.value && load(self, "archived", async () => {
    const all = await callAll("/projects?include_archived=true&mine=true&limit=500");
    return all.filter((one) => one.is_archived);
  });
  return html`<details class="projects-archived" onToggle=${(event) => (self.open.value = event.currentTarget.open)}>
    <summary>${t("projects.archived")}</summary>
    ${held && html`<${Loading} of=${held} lines=${3}>${(list) => list.length
      ? html`<ul class="projects-grid">${list.map((one) => html`<${ProjectTile} key=${one.slug} project=${one} changed=${() => held.peek().again()} />`)}</ul>`
      : html`<p class="page-note">${t("projects.archived_none")}</p>`}<//>`}
  </details>`;
});

/** The projects as `Loading` shows them. */
const known = {
  get value() {
    const again = () => user.fetchProjects().catch(() => {});
    return { state: user.projectsState.value, value: user.projects.value, error: user.projectsError, again };
  },
};

/** Administrators may see projects that they are not in: which of them are theirs. Null for everybody else. */
function mineOf(self) {
  if (me.value?.global_role !== "admin") return null;
  const held = load(self, `mine ${user.projects.value.length}`, () => callAll("/projects?mine=true&limit=500"));
  const mine = held.value.value;
  return mine ? new Set(mine.map((one) => one.slug)) : null;
}

const Mine = live(({ page }, self) => {
  const words = page.find.value.toLowerCase().split(/\s+/).filter(Boolean);
  const all = user.projects.value.filter((one) => !one.is_archived);
  if (!all.length) {
    return html`<${Empty} icon="board" title=${t("projects.none")} text=${mayMake() ? t("projects.none_text") : t("projects.none_wait")}>
      ${mayMake() && html`<${Button} kind="main" icon="add" onClick=${() => (page.making.value = true)}>${t("projects.new")}<//>`}<//>`;
  }
  const list = all.filter((one) => fits(one, words)).sort(page.sort.value === "name" ? byName : byActivity);
  if (!list.length) return html`<p class="page-note" role="status">${t("projects.not_found", { q: page.find.value })}</p>`;
  const mine = mineOf(self);
  const isMine = (one) => !mine || mine.has(one.slug);
  return html`
    <${Group} id="projects-starred" title=${t("projects.starred")} list=${list.filter((one) => one.starred)} isMine=${isMine} />
    <${Group} id="projects-mine" title=${t("projects.mine")} list=${list.filter((one) => !one.starred && isMine(one))} isMine=${isMine} />`;
});

export default live((props, self) => {
  self.find ??= signal("");
  self.sort ??= signal("activity");
  self.making ??= signal(false);
  const many = user.projects.value.length > ROWS;
  return html`<${Frame} title=${t("projects.title")}>
    <div class="page projects">
      <header class="page-head">
        <span class="grow"></span>
        ${many && html`<${Field} kind="search" bare label=${t("projects.find")} placeholder=${t("projects.find")}
          value=${self.find.value} onInput=${(text) => (self.find.value = text)} />`}
        <${Field} kind="select" bare label=${t("projects.sort")} value=${self.sort.value}
          onInput=${(value) => (self.sort.value = value)}
          options=${["activity", "name"].map((value) => ({ value, label: t(`projects.by_${value}`) }))} />
        ${mayMake() && user.projects.value.some((one) => !one.is_archived) && html`<${Button} kind="main" icon="add"
          onClick=${() => (self.making.value = true)}>${t("projects.new")}<//>`}
      </header>
      <${Loading} of=${known} lines=${6}>${() => html`<${Mine} page=${self} />`}<//>
      <${Archived} />
      ${me.value?.global_role === "admin" && html`<p class="page-note"><a href="/admin/projects">${t("projects.others")}</a></p>`}
      ${self.making.value && html`<${NewProject} close=${() => (self.making.value = false)}
        made=${(project) => go(`/p/${project.slug}`)} />`}
    </div>
  <//>`;
});
