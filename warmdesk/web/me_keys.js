/* My API keys: what programs sign in with. */
import { Wish, call, callAll } from "./api.js";
import { Form, formOf } from "./door.js";
import { copy } from "./factor.js";
import { ago, dateTime } from "./format.js";
import { Section } from "./me_parts.js";
import { Button, Empty, Field, Loading, confirm, load, notice, sayError } from "./ui.js";
import { html, live, signal } from "./view.js";
import { t } from "./words.js";

const SCOPES = ["read", "write", "tickets", "metrics", "backup"];
const DAYS = ["", "7", "30", "90", "365"];
const EMPTY = { name: "", days: "90", scopes: [] };

/** What a key may do, when it was used, how long it lives. */
const factsOf = (one) => [
  one.scopes ? one.scopes.map((scope) => t(`me.scope_${scope}`)).join(", ") : t("me.key_all"),
  one.last_used_at ? t("me.key_used", { when: ago(one.last_used_at) }) : t("me.key_unused"),
  one.expires_at ? t("me.key_until", { when: dateTime(one.expires_at) }) : t("me.key_forever"),
];

const Made = ({ made, close }) => html`<div class="me-secret" role="status">
  <p>${t("me.key_made", { name: made.name })}</p><code tabindex="0">${made.key}</code>
  <div class="row wrap">${navigator.clipboard && html`<${Button} onClick=${() => copy(made.key)}>${t("ui.copy")}<//>`}
    <${Button} kind="quiet" onClick=${close}>${t("ui.done")}<//></div>
  <p>${t("me.once")}</p>
</div>`;

const New = live(({ made }, self) => {
  const form = formOf(self, EMPTY, async (values) => {
    const body = { name: values.name.trim() };
    if (values.days) body.expires_in_days = Number(values.days);
    if (values.scopes.length) body.scopes = values.scopes;
    self.wish ??= new Wish();
    made(await call("POST", "/auth/api-keys", body, { key: self.wish.key(body) }));
    self.wish.done();
    form.values.value = EMPTY;
  });
  const chosen = form.values.value.scopes;
  const toggle = (scope) => (on) => {
    form.values.value = { ...form.values.peek(), scopes: on ? [...chosen, scope] : chosen.filter((one) => one !== scope) };
  };
  return html`<${Form} form=${form} fields=${["name"]} word=${t("me.key_create")}>
    <${Field} ...${form.field("name")} label=${t("me.key_name")} hint=${t("me.key_name_hint")} autocomplete="off" required />
    <${Field} ...${form.field("days")} kind="select" label=${t("me.key_days")}
      options=${DAYS.map((value) => ({ value, label: value ? t("me.days", { n: Number(value) }) : t("me.key_forever") }))} />
    <fieldset class="me-choice"><legend>${t("me.key_scopes")}</legend><small class="soft">${t("me.key_scopes_hint")}</small>
      ${SCOPES.map((scope) => html`<${Field} key=${scope} kind="check" label=${t(`me.scope_${scope}`)}
        value=${chosen.includes(scope)} onInput=${toggle(scope)} />`)}
    </fieldset>
  <//>`;
});

/** My keys, each with its use; new ones are shown once. */
export const Keys = live((_, self) => {
  self.made ??= signal(null);
  const keys = load(self, "keys", () => callAll("/auth/api-keys?limit=100"));
  const add = (made) => {
    self.made.value = made;
    const now = keys.peek();
    if (now.value) keys.value = { ...now, value: [made, ...now.value] };
  };
  const revoke = async (one) => {
    if (!(await confirm(t("me.key_revoke_sure", { name: one.name }), { danger: true, word: t("me.key_revoke") }))) return;
    try {
      await call("DELETE", `/auth/api-keys/${one.id}`);
    } catch (error) {
      if (error.status !== 404) return void notice(sayError(error), { bad: true });
    }
    const now = keys.peek();
    keys.value = { ...now, value: now.value.filter((other) => other.id !== one.id) };
  };
  return html`<${Section} title=${t("me.keys")} text=${t("me.keys_text")}>
      ${self.made.value && html`<${Made} made=${self.made.value} close=${() => (self.made.value = null)} />`}
      <${Loading} of=${keys}>${(all) =>
        all.length
          ? html`<ul class="me-list">${all.map(
              (one) => html`<li key=${one.id}><div><b>${one.name}</b> <code>${one.key_prefix}…</code>
                <small class="soft">${factsOf(one).join(" · ")}</small></div>
              <${Button} kind="danger" onClick=${() => revoke(one)}>${t("me.key_revoke")}<//></li>`,
            )}</ul>`
          : html`<${Empty} title=${t("me.no_keys")} text=${t("me.no_keys_text")} />`}<//>
    <//>
    <${Section} title=${t("me.key_new")}><${New} made=${add} /><//>`;
});
