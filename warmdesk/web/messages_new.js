/* A new conversation: with one person, or with a group. */
import { call, newKey } from "./api.js";
import { me } from "./identity.js";
import { Avatar, Button, Dialog, Field, Picker, sayError } from "./ui.js";
import { user } from "./user_store.js";
import { html, live, signal } from "./view.js";
import { t } from "./words.js";

const option = (one) => ({ value: one.id, label: one.display_name, hint: `@${one.username}`, mark: html`<${Avatar} user=${one} size=${20} />`, user: one });

/** People whom I may write to, as options of a picker, without those in `but`. */
export async function findPeople(text, but = []) {
  const found = await call("GET", `/users/search?${new URLSearchParams({ q: text.trim() })}`);
  return found.filter((one) => one.id !== me.peek()?.id && !but.includes(one.id)).map(option);
}

/** People with whom I talk already. */
function known() {
  const all = new Map();
  for (const one of user.conversations.value ?? []) {
    for (const { user: each } of one.members) if (each.id !== me.value?.id) all.set(each.id, each);
  }
  return [...all.values()].slice(0, 50).map(option);
}

/** The dialog of a new conversation; `made(conversation)` once it is there. */
export const NewConversation = live(({ close, made }, self) => {
  const who = (self.who ??= signal([]));
  const name = (self.name ??= signal(""));
  const error = (self.error ??= signal(null));
  const busy = (self.busy ??= signal(false));
  const options = (self.options ??= signal(known()));
  const find = async (text) => {
    if (!text.trim()) return [];
    const found = await findPeople(text);
    const ids = new Set(options.peek().map((one) => one.value));
    options.value = [...options.peek(), ...found.filter((one) => !ids.has(one.value))];
    return [];
  };
  const begin = async (event) => {
    event.preventDefault();
    if (!who.peek().length || busy.peek()) return;
    busy.value = true;
    try {
      const group = who.peek().length > 1 && name.peek().trim();
      const body = { user_ids: who.peek(), ...(group ? { name: group } : {}) };
      const one = await call("POST", "/conversations", body, { key: (self.key ??= newKey()) });
      user.keepConversation(one);
      made(one);
    } catch (failed) {
      error.value = failed;
      busy.value = false;
    }
  };
  return html`<${Dialog} title=${t("messages.new")} close=${close}>
    <form class="sheet-body" onSubmit=${begin}>
      <div class="field"><span class="field-name">${t("messages.to")}</span>
        <${Picker} label=${t("messages.to")} none=${t("messages.whom")} many options=${options.value} value=${who.value} find=${find} onChange=${(value) => (who.value = value)} /></div>
      ${who.value.length > 1 && html`<${Field} label=${t("messages.group_name")} hint=${t("messages.group_hint")} value=${name.value} maxlength="200" onInput=${(value) => (name.value = value)} />`}
      ${error.value && html`<p class="field-error" role="alert">${sayError(error.value)}</p>`}
      <div class="row"><span class="grow" /><${Button} onClick=${close}>${t("ui.cancel")}<//>
        <${Button} kind="main" type="submit" busy=${busy.value} disabled=${!who.value.length}>${t("messages.begin")}<//></div>
    </form>
  <//>`;
});
