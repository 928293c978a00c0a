/* A new password by the link of a mail. */
import { address } from "./address.js";
import { Door, Form, formOf, passwordHint } from "./door.js";
import { ask } from "./identity.js";
import { Field } from "./ui.js";
import { html, live, signal } from "./view.js";
import { t } from "./words.js";

export default live((_, self) => {
  self.done ??= signal(false);
  self.token ??= new URL(address.peek(), location.href).searchParams.get("token") ?? "";
  const form = formOf(self, { password: "" }, async ({ password }) => {
    await ask("POST", "/auth/reset-password", { body: { token: self.token, password } });
    self.done.value = true;
    history.replaceState(null, "", "/reset-password"); // the token is used up, and none of the history's
  });
  if (self.done.value) {
    return html`<${Door} title=${t("door.reset_title")}><p role="status">${t("door.reset_done")}</p>
      <p class="door-also"><a class="button main" href="/sign-in">${t("door.sign_in")}</a></p><//>`;
  }
  return html`<${Door} title=${t("door.reset_title")}>
    <${Form} form=${form} fields=${["password"]} word=${t("door.reset_word")}>
      <${Field} ...${form.field("password")} kind="password" label=${t("door.new_password")} hint=${passwordHint()}
        autocomplete="new-password" autofocus required />
    <//>
    <p class="door-also"><a href="/forgot-password">${t("door.forgot_again")}</a></p>
  <//>`;
});
