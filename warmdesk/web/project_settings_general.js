/* What a project is: its name, what it is for, its colour; peace from it; its end. */
import { go } from "./address.js";
import { call } from "./api.js";
import { Colors, FormEnd, follow, kept, sends, doing } from "./forms.js";
import { me } from "./identity.js";
import { Button, Field, confirm, notice } from "./ui.js";
import { html, live, signal } from "./view.js";
import { t } from "./words.js";

const About = live(({ store, slug }, self) => {
  const { name, description, color, key_prefix: prefix, is_archived: isArchived } = store.project.value;
  const now = { name, description: description ?? "", color };
  const form = kept(self, "form", () => now);
  follow(form, now);
  if (store.role.value !== "owner" || isArchived) {
    return html`<dl class="page-facts">
      <dt>${t("projects.name")}</dt><dd>${name}</dd>
      ${description && html`<dt>${t("projects.description")}</dt><dd class="page-text">${description}</dd>`}
      <dt>${t("projects.prefix")}</dt><dd>${prefix}-1</dd></dl>`;
  }
  const send = async () => {
    const body = form.changes();
    const project = await form.send(() => call("PUT", `/projects/${slug}`, body));
    if (project) form.saved({ name: project.name, description: project.description, color: project.color });
  };
  return html`<form class="forms" onSubmit=${sends(send)}>
    <${Field} ...${form.field("name")} label=${t("projects.name")} maxlength="200" required />
    <${Field} ...${form.field("description")} kind="area" rows="5" label=${t("projects.description")} maxlength="100000" hint=${t("project_settings.markdown")} />
    <${Colors} label=${t("projects.color")} value=${form.values.value.color} onInput=${(color) => form.set("color", color)} />
    <dl class="page-facts"><dt>${t("projects.prefix")}</dt><dd>${prefix}-1</dd><dt>${t("project_settings.address")}</dt><dd>/p/${slug}</dd></dl>
    <${FormEnd} form=${form} off=${() => !form.changed || !form.get("name").trim()} />
  </form>`;
});

const Peace = live(({ store, slug }, self) => {
  self.muted ??= signal(store.project.peek().muted);
  const set = (muted) => doing(async () => {
    self.muted.value = muted;
    try {
      await call("PUT", `/projects/${slug}/mute`, { muted });
      store.project.value = { ...store.project.peek(), muted };
    } catch (error) {
      self.muted.value = !muted;
      throw error;
    }
  });
  return html`<section class="page-part"><h2>${t("project_settings.peace")}</h2>
    <${Field} kind="check" label=${t("project_settings.mute")} hint=${t("project_settings.mute_hint")} value=${self.muted.value} onInput=${set} /></section>`;
});

async function leave(slug, name) {
  if (!(await confirm(t("projects.leave_ask", { name }), { danger: true, word: t("projects.leave") }))) return;
  await doing(async () => {
    await call("DELETE", `/projects/${slug}/members/${me.peek().id}`);
    notice(t("project_settings.left", { name }));
    go("/");
  });
}

async function archive(slug, name) {
  if (!(await confirm(t("projects.archive_ask", { name }), { word: t("projects.archive") }))) return;
  await doing(() => call("DELETE", `/projects/${slug}`));
}

const End = live(({ store, slug }) => {
  const { name, is_archived: isArchived } = store.project.value;
  const isOwner = store.role.value === "owner";
  const isMember = store.members.value.has(me.value?.id);
  if (!isOwner && !isMember) return null;
  return html`<section class="page-part"><h2>${t("project_settings.end")}</h2>
    ${isOwner && (isArchived
      ? html`<p>${t("project_settings.unarchive_text")}</p><${Button} icon="archive" onClick=${() => doing(() =>
          call("PUT", `/projects/${slug}`, { is_archived: false }))}>${t("projects.unarchive")}<//>`
      : html`<p>${t("project_settings.archive_text")}</p><${Button} icon="archive" onClick=${() => archive(slug, name)}>${t("projects.archive")}<//>`)}
    ${isMember && html`<p>${t("project_settings.leave_text")}</p>
      <${Button} class="page-danger" onClick=${() => leave(slug, name)}>${t("projects.leave")}<//>`}
  </section>`;
});

/** The first part of the settings. */
export const General = ({ store, slug }) => html`
  <${About} store=${store} slug=${slug} />
  <${Peace} store=${store} slug=${slug} />
  <${End} store=${store} slug=${slug} />`;
