/* The installation, for its administrators. */
import { address } from "./address.js";
import { Audit } from "./admin_audit.js";
import { Backups } from "./admin_backups.js";
import { Logins } from "./admin_logins.js";
import { Mail } from "./admin_mail.js";
import { AllProjects } from "./admin_projects.js";
import { Settings } from "./admin_settings.js";
import { Users } from "./admin_users.js";
import { Away, Frame } from "./frame.js";
import { me } from "./identity.js";
import { PartTabs } from "./pages.js";
import { wears } from "./sheets.js";
import { html, live } from "./view.js";
import { t } from "./words.js";

wears("pages.css");

const PARTS = { users: Users, projects: AllProjects, settings: Settings, mail: Mail, backups: Backups, logins: Logins, audit: Audit };

export default live(({ part }) => {
  const title = t("admin.title");
  if (me.value?.global_role !== "admin") return html`<${Frame} title=${title}><${Away} kind="forbidden" /><//>`;
  const now = Object.hasOwn(PARTS, part) ? part : "users";
  const Part = PARTS[now];
  return html`<${Frame} title=${title}>
    <div class="page admin">
      <${PartTabs} label=${title} parts=${Object.keys(PARTS)} now=${now} wordOf=${(one) => t(`admin.${one}`)}
        hrefOf=${(one) => (one === "users" ? "/admin" : `/admin/${one}`)} />
      <${Part} key=${now} at=${address.value} />
    </div>
  <//>`;
});
