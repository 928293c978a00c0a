/* What administrators decide for the whole installation, and the form that other parts show theirs by. */
import { call } from "./api.js";
import { FormEnd, follow, kept, sends } from "./forms.js";
import { Button, Field, Loading, load, notice } from "./ui.js";
import { html, live } from "./view.js";
import { t } from "./words.js";

const LOCALES = { en: "English", nl: "Nederlands", de: "Deutsch", fr: "Français", es: "Español", da: "Dansk", sv: "Svenska",
  nb: "Norsk bokmål", fi: "Suomi", is: "Íslenska", pt: "Português", it: "Italiano" };

/** How a setting is asked for; what is not here is a line of text. */
const KINDS = {
  registration_enabled: "check",
  users_can_create_projects: "check",
  login_branding_enabled: "check",
  gravatar_enabled: "check",
  mfa_required: "check",
  password_require_upper: "check",
  password_require_lower: "check",
  password_require_digit: "check",
  password_require_special: "check",
  backup_include_uploads: "check",
  backup_email_enabled: "check",
  backup_email_each: "check",
  default_locale: Object.keys(LOCALES),
  default_theme: ["system", "light", "dark"],
  smtp_security: ["auto", "tls", "starttls", "none"],
  backup_schedule: ["disabled", "6h", "8h", "12h", "24h"],
  smtp_port: [1, 65535],
  session_timeout_minutes: [0, 525600],
  password_min_length: [8, 128],
  password_change_period_days: [0, 3660],
  backup_keep: [1, 1000],
  upload_quota_mb: [0, 1073741824],
  default_columns: "area",
  default_labels: "area",
  backup_start_time: "time",
  smtp_password: "password",
};

const GROUPS = {
  general: ["company_name", "company_logo", "company_logo_dark", "login_branding_enabled", "registration_enabled", "users_can_create_projects", "gravatar_enabled"],
  accounts: ["default_locale", "default_timezone", "default_date_time_format", "default_theme", "default_font", "default_font_size"],
  new_projects: ["default_columns", "default_labels"],
  security: ["password_min_length", "password_require_upper", "password_require_lower", "password_require_digit", "password_require_special",
    "password_change_period_days", "mfa_required", "session_timeout_minutes"],
  network: ["api_allowed_ips", "webhook_allow_private", "upload_quota_mb"],
};

const isNumber = (kind) => Array.isArray(kind) && typeof kind[0] === "number";

/** Words for one of a few values: a language by its own name, all others by theirs here. */
const valueWord = (name, value) => (name === "default_locale" ? LOCALES[value] : t(`admin.value_${value}`));

/** What a form begins with: texts, and an empty one for a secret, which is never shown. */
const startOf = (names, values) => Object.fromEntries(names.map((name) => {
  const value = values[name];
  return [name, name === "smtp_password" ? "" : typeof value === "boolean" ? value : String(value)];
}));

const One = live(({ form, name, isSet, forget }) => {
  const kind = KINDS[name] ?? "text";
  const hint = t(`admin.set_${name}_hint`);
  const props = { ...form.field(name), label: t(`admin.set_${name}`), hint: hint.startsWith("admin.") ? undefined : hint };
  if (isNumber(kind)) return html`<${Field} ...${props} kind="number" min=${kind[0]} max=${kind[1]} required class="forms-short" />`;
  if (Array.isArray(kind)) return html`<${Field} ...${props} kind="select" options=${kind.map((value) => ({ value, label: valueWord(name, value) }))} />`;
  if (kind === "area") return html`<${Field} ...${props} kind="area" rows="5" />`;
  if (kind !== "password") return html`<${Field} ...${props} kind=${kind} autocomplete="off" class=${kind === "time" ? "forms-short" : undefined} />`;
  return html`<${Field} ...${props} kind="password" autocomplete="new-password" placeholder=${isSet ? "••••••••" : ""} />
    ${isSet && html`<${Button} class="forms-aside" onClick=${forget}>${t("admin.forget_password")}<//>`}`;
});

/** The form of some settings; `done(values)` has all of them after a change. */
export const SettingsForm = live(({ names, values, done }, self) => {
  const now = startOf(names, values);
  const form = kept(self, "form", () => now);
  follow(form, now);
  const put = async (body) => {
    const answer = await form.send(() => call("PUT", "/admin/system-settings", body));
    if (!answer) return;
    form.saved(startOf(names, answer));
    done(answer);
    notice(t("admin.saved"));
  };
  const send = () => {
    const body = form.changes();
    for (const name in body) if (isNumber(KINDS[name])) body[name] = Number(body[name]);
    return put(body);
  };
  return html`<form class="forms" onSubmit=${sends(send)}>
    ${names.map((name) => html`<${One} key=${name} form=${form} name=${name} isSet=${values[`${name}_set`]} forget=${() => put({ [name]: "" })} />`)}
    <${FormEnd} form=${form} off=${() => !form.changed} />
  </form>`;
});

/** All settings, fetched once for a part; the children are a function of them and of what takes new ones. */
export const WithSettings = live(({ children }, self) => {
  const held = load(self, "settings", () => call("GET", "/admin/system-settings"));
  const done = (values) => (held.value = { ...held.peek(), value: values });
  return html`<${Loading} of=${held} lines=${8}>${(values) => [children].flat()[0](values, done)}<//>`;
});

/** The settings, by what they are about. */
export const Settings = () => html`<${WithSettings}>${(values, done) => Object.entries(GROUPS).map(([group, names]) => html`
  <section key=${group} class="page-part" aria-labelledby=${`admin-${group}`}><h2 id=${`admin-${group}`}>${t(`admin.group_${group}`)}</h2>
    <${SettingsForm} names=${names} values=${values} done=${done} /></section>`)}<//>`;
