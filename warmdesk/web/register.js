/* A new account. */
import { go } from "./address.js";
import { Door, Form, formOf, passwordHint } from "./door.js";
import { ask, finishLeaving, me, settings, signedIn } from "./identity.js";
import { Field } from "./ui.js";
import { html, live } from "./view.js";
import { language, t } from "./words.js";

const FIELDS = ["display_name", "username", "email", "password"];

/** Makes an account, with an `invitation` also where registration is closed; `done()` when it is signed in. */
export const RegisterForm = live(({ invitation, email = "", done }, self) => {
  const form = formOf(self, { display_name: "", username: "", email, password: "" }, async (values) => {
    const body = { ...values, username: values.username.trim(), email: values.email.trim(), cookie: true };
    body.locale = language.peek();
    body.timezone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    if (invitation) body.invitation = invitation;
    await finishLeaving().catch(() => {}); // else it would end what begins here
    const send = async () => signedIn((await ask("POST", "/auth/register", { body })).data);
    await send().catch((error) => {
      if (!error.fields?.timezone) throw error;
      delete body.timezone; // one that this server does not know
      return send();
    });
    done?.();
  });
  return html`<${Form} form=${form} fields=${FIELDS} word=${t("door.make_account")}>
    <${Field} ...${form.field("display_name")} label=${t("door.your_name")} autocomplete="name" autofocus />
    <${Field} ...${form.field("username")} label=${t("door.username")} hint=${t("door.username_hint")} autocomplete="username"
      autocapitalize="none" spellcheck=${false} required />
    <${Field} ...${form.field("email")} kind="email" label=${t("door.mail")} autocomplete="email" required />
    <${Field} ...${form.field("password")} kind="password" label=${t("door.password")} hint=${passwordHint()}
      autocomplete="new-password" required />
  <//>`;
});

export default live(() => {
  if (me.value) go("/", { replace: true });
  const { first_account: isFirst, registration_enabled: isOpen } = settings.value;
  return html`<${Door} title=${t(isFirst ? "door.first" : "door.register")}>
    ${isFirst && html`<p>${t("door.first_text")}</p>`}
    ${isOpen === false && !isFirst
      ? html`<p>${t("door.no_registration")}</p>`
      : html`<${RegisterForm} done=${() => go("/", { replace: true })} />`}
    <p class="door-also"><a href="/sign-in">${t("door.have_account")}</a></p>
  <//>`;
});
