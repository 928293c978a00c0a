/* What all pages before the sign-in are made of: the sheet in the middle, and a form that is sent. */
import { settings, Unreached } from "./identity.js";
import { wears } from "./sheets.js";
import { Button, Field, Icon, sayError } from "./ui.js";
import { sayField } from "./ui_load.js";
import { afterRender, html, live, signal } from "./view.js";
import { language, LANGUAGES, speak, t } from "./words.js";

wears("door.css");

/** A sheet in the middle of the page, with the installation's name and its own title. */
export const Door = live(
  ({ title, children, foot }, self) => {
    const { company_name: company, login_branding_enabled: branded, company_logo: logo } = settings.value;
    const name = (branded && company) || "WarmDesk";
    self.title = `${title} · ${name}`;
    if (self.shown) document.title = self.title;
    const isOwnLogo = branded && logo?.startsWith("/") && !logo.startsWith("//");
    return html`<div class="door"><main class="door-sheet" tabindex="-1">
        <header class="door-head">${isOwnLogo
          ? html`<img class="door-logo" src=${logo} alt="" />`
          : html`<i class="frame-mark" aria-hidden="true" />`}<span>${name}</span></header>
        <h1>${title}</h1>
        ${children}
      </main>
      <footer class="door-foot">${foot}<${Languages} /></footer></div>`;
  },
  (self) => {
    self.shown = true;
    document.title = self.title;
  },
);

const Languages = live(
  () => html`<${Field} kind="select" bare label=${t("door.language")} value=${language.value} class="door-language"
    options=${Object.entries(LANGUAGES).map(([value, label]) => ({ value, label }))}
    onInput=${(code) => speak(code).catch(() => {})} />`,
);

/** A form that a live component keeps: what is typed, whether it is on its way, what was refused.
 * `send(values)` is the deed; what it throws is said at the fields it names, else above the button.
 */
export function formOf(self, first, send) {
  if (self.form) return self.form;
  const form = {
    values: signal(first),
    busy: signal(false),
    error: signal(null),
    /** The props of the field of this name. */
    field: (name) => ({
      name,
      value: form.values.value[name],
      error: sayField(form.error.value, name),
      onInput: (value) => {
        form.values.value = { ...form.values.peek(), [name]: value };
      },
    }),
    async submit(event) {
      event.preventDefault();
      if (form.busy.peek()) return;
      const element = event.currentTarget;
      const focused = document.activeElement;
      form.busy.value = true;
      form.error.value = null;
      try {
        await send(form.values.peek());
      } catch (error) {
        form.error.value = error;
        // What has to be put right has the focus, once it is marked; who went on to another field stays there.
        afterRender(() => {
          if (![focused, document.body].includes(document.activeElement)) return;
          (element.querySelector("[aria-invalid]") ?? element.querySelector("input"))?.focus();
        });
      }
      form.busy.value = false;
    },
  };
  self.form = form;
  return form;
}

/** The form of a page: its fields, what is wrong with it, and the button that sends it. `fields` are the
 * names that stand in it, at which errors are said.
 */
export const Form = live(({ form, fields = [], word, children, kind = "main" }) => {
  const error = form.error.value;
  const named = Object.keys(error?.fields ?? {});
  const isSaid = named.length > 0 && named.every((name) => fields.includes(name));
  return html`<form class="door-form" novalidate onSubmit=${form.submit}>
    ${children}
    <div role="alert">${error && !isSaid && html`<p class="door-error"><${Icon} name="warn" />${words(error)}</p>`}</div>
    <${Button} type="submit" kind=${kind} busy=${form.busy.value}>${word}<//>
  </form>`;
});

/** Codes that the doors alone know. */
const SAID = {
  invalid_token: () => t("door.link_dead"),
  mfa_session_expired: () => t("door.again_with_password"),
  not_found: () => t("door.invitation_dead"),
  origin_not_allowed: () => t("door.origin"),
  registration_disabled: () => t("door.no_registration"),
};

function words(error) {
  if (error instanceof Unreached) return sayError(error);
  return SAID[error.code]?.() ?? sayError(error);
}

/** What a new password has to be like, by the settings of the installation. */
export function passwordHint() {
  const wished = settings.value;
  const parts = [t("door.password_least", { n: wished.password_min_length ?? 8 })];
  for (const kind of ["upper", "lower", "digit", "special"]) {
    if (wished[`password_require_${kind}`]) parts.push(t(`door.password_${kind}`));
  }
  return parts.join(", ");
}
