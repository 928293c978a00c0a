/* Files of messages: shown, and on their way to the server. */
import { blobUrl, call, upload } from "./api.js";
import { size } from "./format.js";
import { Button, Dialog, Icon, notice, sayError } from "./ui.js";
import { html, live, signal } from "./view.js";
import { t } from "./words.js";

const PICTURE = /^image\/(png|jpeg|gif|webp|avif)$/;
const MOST = 10;
const pathOf = (file) => file.url.replace(/^.*?\/api\/v1/, "");

/** Saves a file by an address that needs no token for a minute. */
export async function download(file) {
  try {
    const { url } = await call("POST", `/attachments/${file.id}/link`, {});
    const link = document.createElement("a");
    link.href = url;
    link.download = file.filename;
    link.click();
  } catch (error) {
    notice(sayError(error), { bad: true });
  }
}

/** A picture behind a token, fetched while it is in the page. */
export const Picture = live(
  ({ file, small, onClick }, self) => {
    const url = (self.url ??= signal(null)).value;
    if (url === false) return html`<${Linked} file=${file} />`;
    const image = url ? html`<img src=${url} alt=${file.filename} />` : html`<span class="talk-picture-wait" />`;
    return small ? html`<button type="button" class="talk-picture" aria-label=${t("talk.show_picture", { name: file.filename })} onClick=${onClick}>${image}</button>` : image;
  },
  (self) => {
    const stop = new AbortController();
    const { file, small } = self.props;
    self.url ??= signal(null);
    blobUrl(pathOf(file) + (small ? "?size=320" : ""), { signal: stop.signal }).then(
      (url) => (stop.signal.aborted ? URL.revokeObjectURL(url) : (self.url.value = url)),
      () => stop.signal.aborted || (self.url.value = false),
    );
    self.end = () => {
      stop.abort();
      if (self.url.peek()) URL.revokeObjectURL(self.url.peek());
    };
  },
);

const Linked = ({ file }) => html`<button type="button" class="talk-file" onClick=${() => download(file)}>
  <${Icon} name="file" /><span>${file.filename}</span><small>${size(file.size_bytes)}</small><${Icon} name="download" />
</button>`;

/** The files of a message. */
export const Files = live(({ files }, self) => {
  const shown = (self.shown ??= signal(null));
  const pictures = files.filter((file) => PICTURE.test(file.mime_type));
  const rest = files.filter((file) => !PICTURE.test(file.mime_type));
  return html`<div class="talk-files">
    ${pictures.map((file) => html`<${Picture} key=${file.id} file=${file} small onClick=${() => (shown.value = file)} />`)}
    ${rest.map((file) => html`<${Linked} key=${file.id} file=${file} />`)}
    ${shown.value && html`<${Dialog} wide title=${shown.value.filename} class="talk-show" close=${() => (shown.value = null)}
      actions=${html`<${Button} kind="quiet" icon="download" label=${t("talk.download")} onClick=${() => download(shown.value)} />`}>
      <div class="sheet-body"><${Picture} file=${shown.value} /></div><//>`}
  </div>`;
});

/** Files that are on their way to a place, {project} or {conversation_id}: `list` is a signal of [{key,
 * name, size, part, id, error}].
 */
export class Uploads {
  list = signal([]);
  #count = 0;

  constructor(place, kept = []) {
    this.place = place;
    this.list.value = kept;
  }

  #set(key, values) {
    this.list.value = this.list.peek().map((one) => (one.key === key ? { ...one, ...values } : one));
  }

  add(files) {
    const room = MOST - this.list.peek().length;
    if (files.length > room) notice(t("talk.most_files", { n: MOST }), { bad: true });
    for (const file of [...files].slice(0, room)) this.#send(file);
  }

  async #send(file) {
    const key = `${Date.now()}.${(this.#count += 1)}`;
    const stop = new AbortController();
    const again = () => {
      this.drop(key);
      this.#send(file);
    };
    this.list.value = [...this.list.peek(), { key, name: file.name, size: file.size, part: 0, stop, again }];
    try {
      const onProgress = (part) => this.#set(key, { part });
      const sent = await upload("/attachments", "file", file, { fields: this.place, onProgress, signal: stop.signal });
      this.#set(key, { id: sent.id, part: 1, file: sent });
    } catch (error) {
      if (error.name !== "AbortError") this.#set(key, { error });
    }
  }

  /** Takes one away; what was sent already goes by itself when nothing has it. */
  drop(key) {
    this.list.peek().find((one) => one.key === key)?.stop?.abort();
    this.list.value = this.list.peek().filter((one) => one.key !== key);
  }

  get isBusy() {
    return this.list.value.some((one) => !one.id && !one.error);
  }

  /** Those that arrived; those that failed are left. */
  take() {
    const done = this.list.peek().filter((one) => one.id);
    this.list.value = this.list.peek().filter((one) => one.error);
    return done.map((one) => one.file ?? { id: one.id, filename: one.name, size_bytes: one.size });
  }
}

/** The files that are on their way, above the field. */
export const Pending = live(({ uploads }) => {
  const list = uploads.list.value;
  if (!list.length) return null;
  return html`<ul class="talk-pending">${list.map((one) => html`<li key=${one.key} class=${one.error ? "bad" : ""}>
    <${Icon} name=${one.error ? "warn" : "file"} /><span class="talk-pending-name">${one.name}</span>
    ${one.error
      ? html`<small>${sayError(one.error)}</small><${Button} kind="quiet" onClick=${one.again}>${t("ui.retry")}<//>`
      : one.id
        ? html`<small>${size(one.size)}</small>`
        : html`<progress max="1" value=${one.part} aria-label=${t("talk.uploading", { name: one.name })} />`}
    <${Button} kind="quiet" icon="close" label=${t("talk.drop_file", { name: one.name })} onClick=${() => uploads.drop(one.key)} />
  </li>`)}</ul>`;
});
