/* The sign-in: name and password, and the second factor of whoever has one. */
import { address, go } from "./address.js";
import { Door, Form, formOf } from "./door.js";
import { ask, finishLeaving, settings, signedIn } from "./identity.js";
import { Button, Field } from "./ui.js";
import { html, live, signal } from "./view.js";
import { t } from "./words.js";

/** Asks for name and password, then for a code where the account has a second factor; `done()` when
 * somebody is signed in.
 */
export const SignInForm = live(({ done, name = "" }, self) => {
  self.factor ??= signal(null);
  const token = self.factor.value;
  const enter = (data) => {
    if (data.mfa_required) self.factor.value = data.mfa_token;
    else {
      signedIn(data);
      done?.();
    }
  };
  if (token) {
    return html`<${Factor} key=${token} token=${token} enter=${enter} back=${() => (self.factor.value = null)} />`;
  }
  return html`<${Password} name=${name} enter=${enter} />`;
});

const Password = live(({ name, enter }, self) => {
  const form = formOf(self, { username: name, password: "" }, async (values) => {
    const body = { ...values, username: values.username.trim(), cookie: true };
    await finishLeaving().catch(() => {}); // else it would end what begins here
    enter((await ask("POST", "/auth/login", { body })).data);
  });
  return html`<${Form} form=${form} fields=${["username", "password"]} word=${t("door.sign_in")}>
    <${Field} ...${form.field("username")} label=${t("door.name_or_mail")} autocomplete="username" autocapitalize="none"
      spellcheck=${false} autofocus=${!name} required />
    <${Field} ...${form.field("password")} kind="password" label=${t("door.password")} autocomplete="current-password"
      autofocus=${!!name} required />
  <//>`;
});

const Factor = live(({ token, enter, back }, self) => {
  const form = formOf(self, { code: "" }, async ({ code }) => {
    const body = { mfa_token: token, code: code.replace(/\s/g, ""), cookie: true };
    try {
      enter((await ask("POST", "/auth/mfa/verify", { body })).data);
    } catch (error) {
      if (error.code === "mfa_session_expired") self.isOver = true;
      throw error;
    }
  });
  return html`<p>${t("door.factor_text")}</p>
    <${Form} form=${form} fields=${["code"]} word=${t("door.go_on")}>
      <${Field} ...${form.field("code")} label=${t("door.code")} hint=${t("door.code_hint")} autocomplete="one-time-code"
        inputmode="text" autocapitalize="none" spellcheck=${false} autofocus required />
    <//>
    <p class="door-also"><${Button} kind="quiet" onClick=${back}>${t("door.back_to_password")}<//></p>`;
});

export default live(() => {
  const isOpen = settings.value.registration_enabled;
  const here = address.value.startsWith("/sign-in");
  return html`<${Door} title=${t("door.sign_in")}>
    <${SignInForm} done=${() => here && go("/", { replace: true })} />
    <p class="door-also"><a href="/forgot-password">${t("door.forgot")}</a>
      ${isOpen && html`<a href="/register">${t("door.register")}</a>`}</p>
  <//>`;
});
