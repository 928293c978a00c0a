/* What somebody has to do before anything else: another password, or a second factor. */
import { call } from "./api.js";
import { Door, Form, formOf, passwordHint } from "./door.js";
import { Enrol } from "./factor.js";
import { me, meIs } from "./identity.js";
import { Button, Field } from "./ui.js";
import { leave } from "./ui_leave.js";
import { html, live } from "./view.js";
import { t } from "./words.js";

const Leave = () =>
  html`<p class="door-also"><${Button} kind="quiet" onClick=${leave}>${t("door.sign_out")}<//></p>`;

const Change = live((_, self) => {
  const form = formOf(self, { current_password: "", new_password: "" }, async (values) => {
    await call("PUT", "/users/me/password", values);
    meIs(await call("GET", "/users/me"));
  });
  return html`<${Form} form=${form} fields=${["current_password", "new_password"]} word=${t("door.reset_word")}>
    <${Field} ...${form.field("current_password")} kind="password" label=${t("door.current_password")}
      autocomplete="current-password" autofocus required />
    <${Field} ...${form.field("new_password")} kind="password" label=${t("door.new_password")} hint=${passwordHint()}
      autocomplete="new-password" required />
  <//>`;
});

export default live(() => {
  if (me.value?.must_change_password) {
    return html`<${Door} title=${t("door.must_change")}><p>${t("door.must_change_text")}</p><${Change} /><${Leave} /><//>`;
  }
  const done = async () => {
    meIs(await call("GET", "/users/me"));
  };
  return html`<${Door} title=${t("door.must_enrol")}><p>${t("door.must_enrol_text")}</p><${Enrol} done=${done} /><${Leave} /><//>`;
});
