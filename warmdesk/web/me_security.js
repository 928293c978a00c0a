/* My password and my second factor. */
import { call } from "./api.js";
import { Form, formOf, passwordHint } from "./door.js";
import { Enrol } from "./factor.js";
import { enrolling, me, meIs } from "./identity.js";
import { Section } from "./me_parts.js";
import { Button, Field, notice } from "./ui.js";
import { html, live, signal } from "./view.js";
import { t } from "./words.js";

const EMPTY = { current_password: "", new_password: "" };

const Password = live((_, self) => {
  const form = formOf(self, EMPTY, async (values) => {
    await call("PUT", "/users/me/password", values);
    form.values.value = EMPTY;
    notice(t("me.password_changed"));
  });
  return html`<${Section} title=${t("me.password")} text=${t("me.password_text")}>
    <${Form} form=${form} fields=${["current_password", "new_password"]} word=${t("door.reset_word")}>
      <input type="hidden" name="username" autocomplete="username" value=${me.value.username} />
      <${Field} ...${form.field("current_password")} kind="password" label=${t("door.current_password")}
        autocomplete="current-password" required />
      <${Field} ...${form.field("new_password")} kind="password" label=${t("door.new_password")} hint=${passwordHint()}
        autocomplete="new-password" required />
    <//>
  <//>`;
});

const Off = live((_, self) => {
  const form = formOf(self, { password: "", code: "" }, async ({ password, code }) => {
    await call("POST", "/auth/mfa/disable", { password, code: code.replace(/\s/g, "") });
    meIs({ totp_enabled: false });
    notice(t("me.factor_off"));
  });
  return html`<${Form} form=${form} fields=${["password", "code"]} word=${t("me.factor_disable")} kind="danger">
    <${Field} ...${form.field("password")} kind="password" label=${t("door.password")} autocomplete="current-password" required />
    <${Field} ...${form.field("code")} label=${t("door.code")} hint=${t("door.code_hint")} autocomplete="one-time-code"
      spellcheck=${false} required />
  <//>`;
});

const Factor = live((_, self) => {
  self.open ??= signal(false);
  const isOn = me.value.totp_enabled;
  const done = () => {
    self.open.value = false;
    meIs({ totp_enabled: true });
  };
  const text = isOn ? t("me.factor_is_on") : t("me.factor_is_off");
  if (!self.open.value) {
    return html`<${Section} title=${t("me.factor")} text=${text} foot=${html`
      <${Button} onClick=${() => (self.open.value = true)}>${isOn ? t("me.factor_disable") : t("door.must_enrol")}<//>`} />`;
  }
  return html`<${Section} title=${t("me.factor")} text=${text}
    foot=${isOn && !enrolling.value && html`<${Button} kind="quiet" onClick=${() => (self.open.value = false)}>${t("ui.cancel")}<//>`}>
    ${isOn && !enrolling.value ? html`<${Off} />` : html`<${Enrol} done=${done} />`}
  <//>`;
});

/** Password and second factor. */
export const Security = () => html`<${Password} /><${Factor} />`;
