/* The server that takes our mail, and a mail to try it. */
import { call } from "./api.js";
import { SettingsForm, WithSettings } from "./admin_settings.js";
import { FormEnd, kept, sends } from "./forms.js";
import { me } from "./identity.js";
import { Field, notice } from "./ui.js";
import { html, live } from "./view.js";
import { t } from "./words.js";

const NAMES = ["smtp_host", "smtp_port", "smtp_security", "smtp_username", "smtp_password", "smtp_from"];

const Trial = live((props, self) => {
  const form = kept(self, "form", () => ({ to: me.peek()?.email ?? "" }));
  const send = async () => {
    const to = form.get("to").trim();
    if (await form.send(() => call("POST", "/admin/system-settings/test-email", { to }))) notice(t("admin.mail_went", { to }));
  };
  return html`<form class="forms" onSubmit=${sends(send)}>
    <${Field} ...${form.field("to")} kind="email" label=${t("admin.mail_to")} required />
    <${FormEnd} form=${form} kind="" word=${t("admin.mail_try")} off=${() => !form.get("to").trim()} />
  </form>`;
});

/** The settings of mail. */
export const Mail = () => html`
  <section class="page-part" aria-labelledby="admin-mail"><h2 id="admin-mail">${t("admin.mail_server")}</h2>
    <${WithSettings}>${(values, done) => html`
      ${!values.smtp_host && html`<p class="page-note">${t("admin.mail_off")}</p>`}
      <${SettingsForm} names=${NAMES} values=${values} done=${done} />`}<//></section>
  <section class="page-part" aria-labelledby="admin-trial"><h2 id="admin-trial">${t("admin.mail_trial")}</h2><${Trial} /></section>`;
