/* An invitation: what it offers, and how it is taken by somebody with an account or without. */
import { go } from "./address.js";
import { call } from "./api.js";
import { Door, Form, formOf } from "./door.js";
import { ask, me } from "./identity.js";
import { RegisterForm } from "./register.js";
import { SignInForm } from "./sign_in.js";
import { Button, Loading, load } from "./ui.js";
import { leave } from "./ui_leave.js";
import { html, live, signal } from "./view.js";
import { t } from "./words.js";

const ROLES = ["viewer", "member", "admin", "owner", "user", "metrics", "backup"];

export default live(({ token }, self) => {
  const path = `/invitations/${encodeURIComponent(token)}`;
  const offer = load(self, token, async () => {
    try {
      return (await ask("GET", path)).data;
    } catch (error) {
      if (error.status === 404) return null;
      throw error;
    }
  });
  return html`<${Door} title=${t("door.invitation")}>
    <${Loading} of=${offer} lines=${3}>${(found) =>
      found ? html`<${Offer} offer=${found} token=${token} path=${path} />` : html`<p>${t("door.invitation_dead")}</p>
        <p class="door-also"><a class="button main" href="/">${t("door.to_projects")}</a></p>`}<//>
  <//>`;
});

const Offer = live(({ offer, token, path }, self) => {
  self.isNew ??= signal(true);
  const role = ROLES.includes(offer.role) ? t(`door.role_${offer.role}`) : offer.role;
  const values = { inviter: offer.inviter.display_name, project: offer.project?.name, role };
  const text = html`<p>${offer.project ? t("door.invites_project", values) : t("door.invites_server", values)}</p>`;
  if (me.value) return html`${text}<${Accept} path=${path} />`;
  const choose = (isNew) => () => (self.isNew.value = isNew);
  return html`${text}
    <div class="door-choice" role="group">
      <${Button} kind="quiet" aria-pressed=${self.isNew.value} onClick=${choose(true)}>${t("door.register")}<//>
      <${Button} kind="quiet" aria-pressed=${!self.isNew.value} onClick=${choose(false)}>${t("door.sign_in")}<//>
    </div>
    ${self.isNew.value
      ? html`<${RegisterForm} invitation=${token} email=${offer.email ?? ""} done=${() => accept(path).catch(() => go("/"))} />`
      : html`<${SignInForm} name=${offer.email ?? ""} />`}`;
});

const Accept = live(({ path }, self) => {
  const form = formOf(self, {}, () => accept(path));
  const mine = me.value;
  if (!mine) return null;
  return html`<p>${t("door.signed_in_as", { name: mine.display_name })}</p>
    <${Form} form=${form} word=${t("door.accept")} />
    <p class="door-also"><${Button} kind="quiet" onClick=${leave}>${t("door.somebody_else")}<//></p>`;
});

/** Takes the invitation and goes where it leads; who is there already just goes. */
async function accept(path) {
  const { project } = await call("POST", `${path}/accept`, {});
  go(project ? `/p/${project.slug}` : "/", { replace: true });
}
