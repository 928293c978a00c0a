/* My profile: picture, names, mail address, language, and how I see times. */
import { call, upload } from "./api.js";
import { Form, formOf } from "./door.js";
import { dateTime } from "./format.js";
import { me, meIs } from "./identity.js";
import { change, Section } from "./me_parts.js";
import { Avatar, Button, Field, notice, sayError } from "./ui.js";
import { html, live, signal } from "./view.js";
import { LANGUAGES, t } from "./words.js";

const FIELDS = ["display_name", "first_name", "last_name", "email"];
const FORMATS = ["YYYY-MM-DD HH:mm", "DD-MM-YYYY HH:mm", "DD.MM.YYYY HH:mm", "DD/MM/YYYY HH:mm", "D MMM YYYY HH:mm", "MM/DD/YYYY h:mm A"];
const NOW = new Date().toISOString();

const zones = () => {
  const all = Intl.supportedValuesOf?.("timeZone") ?? [];
  const mine = me.value.timezone;
  return [...new Set(["UTC", mine, ...all])];
};

const Picture = live((_, self) => {
  self.part ??= signal(null);
  const mine = me.value;
  const send = async (event) => {
    const [file] = event.currentTarget.files;
    event.currentTarget.value = "";
    if (!file) return;
    self.part.value = 0;
    try {
      meIs(await upload("/users/me/avatar", "avatar", file, { onProgress: (part) => (self.part.value = part) }));
    } catch (error) {
      notice(sayError(error), { bad: true });
    }
    self.part.value = null;
  };
  const remove = async () => {
    try {
      await call("DELETE", "/users/me/avatar");
      meIs({ avatar_url: null });
    } catch (error) {
      notice(sayError(error), { bad: true });
    }
  };
  return html`<div class="me-picture"><${Avatar} user=${mine} size=${72} />
    <div class="row wrap">
      <label class="button me-file"><input type="file" class="said" accept="image/png,image/jpeg,image/gif,image/webp,image/avif"
        onChange=${send} disabled=${self.part.value !== null} />${t("me.choose_picture")}</label>
      ${mine.avatar_url && html`<${Button} kind="quiet" onClick=${remove}>${t("me.remove_picture")}<//>`}
      ${self.part.value !== null && html`<progress max="1" value=${self.part.value} aria-label=${t("me.choose_picture")} />`}
      <small class="soft">${t("me.picture_hint")}</small>
    </div></div>`;
});

const Names = live((_, self) => {
  const mine = me.value;
  const first = Object.fromEntries(FIELDS.map((name) => [name, mine[name] ?? ""]));
  // The address is the way back in: who changes it shows that they know the password.
  const form = formOf(self, { ...first, current_password: "" }, async ({ current_password, ...values }) => {
    const proof = values.email === me.peek().email ? {} : { current_password };
    meIs(await call("PUT", "/users/me", { ...values, ...proof }));
    form.values.value = { ...form.values.peek(), current_password: "" };
    notice(t("me.saved"));
  });
  const moves = form.values.value.email !== mine.email;
  return html`<${Form} form=${form} fields=${[...FIELDS, "current_password"]} word=${t("ui.save")}>
    <${Field} label=${t("me.username")} value=${mine.username} readonly hint=${t("me.username_hint")} autocomplete="username" />
    <${Field} ...${form.field("display_name")} label=${t("me.display_name")} hint=${t("me.display_name_hint")} autocomplete="name" />
    <div class="me-two">
      <${Field} ...${form.field("first_name")} label=${t("me.first_name")} autocomplete="given-name" />
      <${Field} ...${form.field("last_name")} label=${t("me.last_name")} autocomplete="family-name" />
    </div>
    <${Field} ...${form.field("email")} kind="email" label=${t("me.email")} autocomplete="email" required />
    ${moves && html`<${Field} ...${form.field("current_password")} kind="password" label=${t("door.current_password")}
      autocomplete="current-password" required />`}
  <//>`;
});

const Times = live(() => {
  const mine = me.value;
  const formats = FORMATS.includes(mine.date_time_format) ? FORMATS : [mine.date_time_format, ...FORMATS];
  const set = (name) => (value) => change({ [name]: value });
  return html`<div class="me-grid">
    <${Field} kind="select" label=${t("me.language")} value=${mine.locale} onInput=${set("locale")}
      options=${Object.entries(LANGUAGES).map(([value, label]) => ({ value, label }))} />
    <${Field} kind="select" label=${t("me.timezone")} value=${mine.timezone} onInput=${set("timezone")}
      options=${zones().map((value) => ({ value, label: value.replaceAll("_", " ") }))} />
    <${Field} kind="select" label=${t("me.date_time_format")} value=${mine.date_time_format} onInput=${set("date_time_format")}
      hint=${dateTime(NOW)} options=${formats.map((value) => ({ value, label: value }))} />
    <${Field} kind="select" label=${t("me.week_start")} value=${mine.week_start} onInput=${set("week_start")}
      options=${["monday", "sunday"].map((value) => ({ value, label: t(`me.${value}`) }))} />
    <${Field} kind="select" label=${t("me.time_notation")} value=${mine.time_notation} onInput=${set("time_notation")}
      options=${["hhmm", "decimal"].map((value) => ({ value, label: t(`me.time_${value}`) }))} />
  </div>`;
});

/** Picture, names and how I see times. */
export const Profile = () => html`
  <${Section} title=${t("me.picture")}><${Picture} /><//>
  <${Section} title=${t("me.names")}><${Names} /><//>
  <${Section} title=${t("me.times")} text=${t("me.times_text")}><${Times} /><//>`;
