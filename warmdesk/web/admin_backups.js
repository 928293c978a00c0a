/* Backups: to make, to keep elsewhere, and to put back. */
import { call, upload } from "./api.js";
import { SettingsForm, WithSettings } from "./admin_settings.js";
import { download } from "./download.js";
import { FormEnd, doing, kept, sends } from "./forms.js";
import { dateTime, size } from "./format.js";
import { Button, Dialog, Empty, Field, Icon, Loading, Menu, confirm, load, notice } from "./ui.js";
import { user } from "./user_store.js";
import { html, live, signal } from "./view.js";
import { t } from "./words.js";

const NAMES = ["backup_schedule", "backup_start_time", "backup_keep", "backup_include_uploads",
  "backup_email_enabled", "backup_email_each", "backup_email_address"];

/** How far a long task is: `part` from 0 to 1, or nothing where nobody knows. */
const Progress = ({ word, part }) => html`<div class="admin-progress" role="status">
  <span>${word}</span><progress value=${part} max=${part === undefined ? undefined : 1} aria-label=${word}></progress></div>`;

const Told = ({ told }) => told && html`<${Progress} word=${t(`admin.stage_${told.stage}`)} part=${told.total ? told.done / told.total : undefined} />`;

/** Asks before everything is put back as it was; then says what came of it. */
const Restore = live(({ backup, close, told }, self) => {
  const form = kept(self, "form", () => ({ word: "", passphrase: "" }));
  self.done ??= signal(null);
  const wanted = t("admin.restore_word");
  const send = async () => {
    const passphrase = form.get("passphrase");
    const body = { filename: backup.filename, ...(passphrase && { passphrase }) };
    const answer = await form.send(() => call("POST", "/admin/restore", body));
    if (answer) self.done.value = answer;
  };
  const done = self.done.value;
  if (done) {
    const { sessions, keys, members, users } = done.carried_over;
    return html`<${Dialog} title=${t("admin.restored")} close=${() => location.reload()}>
      <div class="sheet-body"><p>${t("admin.restored_text", { time: dateTime(done.created_at), tables: done.tables, rows: done.rows, files: done.files })}</p>
        ${sessions + keys + members + users > 0 && html`<p>${t("admin.carried_over", { sessions, keys, members, users })}</p>`}
        <p class="page-note">${t("admin.safety", { file: done.safety_backup })}</p></div>
      <footer class="sheet-foot"><${Button} kind="main" autofocus onClick=${() => location.reload()}>${t("admin.reload")}<//></footer><//>`;
  }
  return html`<${Dialog} title=${t("admin.restore_of", { time: dateTime(backup.created_at) })} close=${() => !form.busy.peek() && close()}>
    <form class="forms sheet-body" onSubmit=${sends(send)}>
      <p>${t("admin.restore_text")}</p>
      ${backup.filename.endsWith(".age") && html`<${Field} ...${form.field("passphrase")} kind="password" label=${t("admin.passphrase")} autocomplete="off" hint=${t("admin.passphrase_hint")} />`}
      <${Field} ...${form.field("word")} label=${t("admin.type_word", { word: wanted })} autofocus autocomplete="off" />
      ${form.busy.value && html`<${Told} told=${told ?? { stage: "check", total: 0 }} />`}
      <${FormEnd} form=${form} kind="danger" word=${t("admin.restore")} cancel=${close} off=${() => form.get("word").trim() !== wanted} />
    </form><//>`;
});

async function make(self) {
  self.making.value = true;
  self.told.value = null;
  const ok = await doing(() => call("POST", "/admin/backup", {}));
  self.making.value = false;
  self.told.value = null;
  if (ok) notice(t("admin.backup_made"));
  self.held.peek().again();
}

async function take(self, file) {
  if (!file) return;
  self.sending.value = { name: file.name, part: 0 };
  const ok = await doing(() => upload("/admin/backups", "file", file, { onProgress: (part) => (self.sending.value = { name: file.name, part }) }));
  self.sending.value = null;
  if (ok) notice(t("admin.backup_taken", { file: file.name }));
  self.held.peek().again();
}

function acts(self, backup) {
  const path = `/admin/backups/${encodeURIComponent(backup.filename)}`;
  const remove = async () => {
    if (!(await confirm(t("admin.backup_delete_ask", { time: dateTime(backup.created_at) }), { danger: true, word: t("ui.delete") }))) return;
    await doing(() => call("DELETE", path));
    self.held.peek().again();
  };
  return [
    { label: t("admin.download"), icon: "download", do: () => doing(() => download(path, backup.filename)) },
    { label: t("admin.restore"), icon: "history", do: () => (self.restoring.value = backup) },
    { label: t("ui.delete"), icon: "trash", danger: true, line: true, do: remove },
  ];
}

/** The backups that this host keeps. */
export const Backups = live(
  (props, self) => {
    self.making ??= signal(false);
    self.told ??= signal(null);
    self.sending ??= signal(null);
    self.restoring ??= signal(null);
    self.held = load(self, "backups", () => call("GET", "/admin/backups"));
    const sending = self.sending.value;
    return html`
      <header class="page-head"><h2>${t("admin.backups")}</h2>
        <label class=${sending ? "button busy" : "button"}><${Icon} name="attach" />${t("admin.upload")}
          <input type="file" class="said" accept=".gz,.age" disabled=${Boolean(sending)} onChange=${(event) => {
            take(self, event.currentTarget.files[0]);
            event.currentTarget.value = "";
          }} /></label>
        <${Button} kind="main" icon="archive" busy=${self.making.value} onClick=${() => make(self)}>${t("admin.backup_make")}<//></header>
      <p class="page-note">${t("admin.backups_text")}</p>
      ${self.making.value && html`<${Told} told=${self.told.value ?? { stage: "tables", total: 0 }} />`}
      ${sending && html`<${Progress} word=${t("admin.sending", { file: sending.name })} part=${sending.part} />`}
      <${Loading} of=${self.held}>${(list) => list.length
        ? html`<ul class="page-rows">${list.map((one) => html`<li key=${one.filename} class="page-row">
            <span class="grow"><span class="page-name">${dateTime(one.created_at)}</span> <small class="page-fact">${one.filename}</small></span>
            <span class="page-fact">${size(one.size_bytes)}</span>
            <${Menu} label=${t("admin.acts_of_backup", { time: dateTime(one.created_at) })} items=${acts(self, one)} /></li>`)}</ul>`
        : html`<${Empty} icon="archive" title=${t("admin.backups_none")} text=${t("admin.backups_none_text")} />`}<//>
      <section class="page-part" aria-labelledby="admin-schedule"><h2 id="admin-schedule">${t("admin.schedule")}</h2>
        <${WithSettings}>${(values, done) => html`<${SettingsForm} names=${NAMES} values=${values} done=${done} />`}<//></section>
      ${self.restoring.value && html`<${Restore} backup=${self.restoring.value} told=${self.told.value} close=${() => (self.restoring.value = null)} />`}`;
  },
  (self) => {
    self.end = user.listen("backup.progress", ({ payload }) => (self.told.value = payload));
  },
);
