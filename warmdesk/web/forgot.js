/* A forgotten password: a mail with a link is asked for. */
import { Door, Form, formOf } from "./door.js";
import { ask, settings } from "./identity.js";
import { Field } from "./ui.js";
import { html, live, signal } from "./view.js";
import { t } from "./words.js";

export default live((_, self) => {
  self.sent ??= signal(false);
  const form = formOf(self, { email: "" }, async ({ email }) => {
    await ask("POST", "/auth/forgot-password", { body: { email: email.trim() } });
    self.sent.value = true;
  });
  return html`<${Door} title=${t("door.forgot_title")}>
    ${settings.value.sends_mail === false
      ? html`<p>${t("door.forgot_no_mail")}</p>`
      : self.sent.value
      ? html`<p role="status">${t("door.forgot_sent", { email: form.values.value.email })}</p>`
      : html`<p>${t("door.forgot_text")}</p>
        <${Form} form=${form} fields=${["email"]} word=${t("door.forgot_send")}>
          <${Field} ...${form.field("email")} kind="email" label=${t("door.mail")} autocomplete="email" autofocus required />
        <//>`}
    <p class="door-also"><a href="/sign-in">${t("door.back_to_sign_in")}</a></p>
  <//>`;
});
