/* The settings of a project: what it is, its columns, labels and people, and the programs around it. */
import { PartTabs } from "./pages.js";
import { Archive } from "./project_settings_archive.js";
import { Columns } from "./project_settings_columns.js";
import { Deleted } from "./project_settings_deleted.js";
import { General } from "./project_settings_general.js";
import { Hooks } from "./project_settings_hooks.js";
import { Keys } from "./project_settings_keys.js";
import { Labels } from "./project_settings_labels.js";
import { People } from "./project_settings_people.js";
import { ProjectFrame, useProject } from "./project.js";
import { wears } from "./sheets.js";
import { html, live } from "./view.js";
import { t } from "./words.js";

wears("pages.css");

const RANKS = { viewer: 1, member: 2, admin: 3, owner: 4 };

/** Each part, and the least role that sees it. */
const PARTS = {
  general: [General, "viewer"],
  columns: [Columns, "viewer"],
  labels: [Labels, "viewer"],
  people: [People, "viewer"],
  archive: [Archive, "viewer"],
  deleted: [Deleted, "admin"],
  hooks: [Hooks, "owner"],
  keys: [Keys, "owner"],
};

const Body = live(({ slug, store, part }) => {
  const project = store.project.value;
  const role = store.role.value;
  const seen = Object.keys(PARTS).filter((one) => RANKS[role] >= RANKS[PARTS[one][1]]);
  const now = Object.hasOwn(PARTS, part) ? part : "general";
  const [Part, least] = PARTS[now];
  const base = `/p/${slug}/settings`;
  return html`<div class="page settings">
    <${PartTabs} label=${t("project_settings.title")} parts=${seen} now=${now} wordOf=${(one) => t(`project_settings.${one}`)}
      hrefOf=${(one) => (one === "general" ? base : `${base}/${one}`)} />
    ${project.is_archived && html`<p class="page-note warn">${t("project_settings.archived")}</p>`}
    ${seen.includes(now)
      ? html`<${Part} key=${now} store=${store} slug=${slug} />`
      : html`<p class="page-note">${t("project_settings.not_for_you", { role: t(`project_settings.role_${least}`) })}</p>`}
  </div>`;
});

export default live(({ slug, part }, self) => {
  const { store } = useProject(self, slug);
  return html`<${ProjectFrame} slug=${slug} tab="settings">
    <div class="page-body">${store.project.value && html`<${Body} slug=${slug} store=${store} part=${part} />`}</div>
  <//>`;
});
