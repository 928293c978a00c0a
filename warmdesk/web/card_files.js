/* Files and links of a card. */
import { Wish, call, nextId, upload } from "./api.js";
import { ago, size } from "./format.js";
import { me } from "./identity.js";
import { Picture, download } from "./talk_files.js";
import { Button, Dialog, Failed, Field, Icon, confirm, notice, sayError } from "./ui.js";
import { html, live, signal } from "./view.js";
import { t } from "./words.js";

const PICTURE = /^image\/(png|jpeg|gif|webp|avif)$/;
const bad = (error) => notice(sayError(error), { bad: true });

/** Files that are on their way to a card; a file that fails stays with "try again". Its event tells that it
 * arrived, or its answer, whichever is first. The server knows no key for them: one whose answer was lost may
 * have arrived, so it is looked for before it is sent again.
 */
export class CardUploads {
  list = signal([]);
  count = 0;

  constructor(card) {
    this.card = card;
    this.arrived = new Set(); // ids, each of one upload
    card.whenTold = (frame) => this.#told(frame);
  }

  #told({ type, client_id: client, payload }) {
    const one = type === "board.attachment_added" && this.list.peek().find((each) => each.client === client);
    if (!one) return;
    this.arrived.add(payload.id);
    this.drop(one);
  }

  #set(one, more) {
    this.list.value = this.list.peek().map((each) => (each.id === one.id ? { ...each, ...more } : each));
  }

  add(files) {
    for (const file of files) this.#send({ id: (this.count += 1), client: nextId(), file, stop: new AbortController(), part: 0, after: this.#newest() });
  }

  again(one) {
    this.drop(one);
    this.#send({ ...one, stop: new AbortController(), part: 0, error: null, again: true });
  }

  #newest() {
    return Math.max(0, ...this.card.files.peek().map((each) => each.id));
  }

  /** The file as the server has it, if it came though its answer did not. */
  async #lost({ file, after, stop }) {
    const found = await call("GET", `${this.card.path}/attachments?limit=100`, undefined, { signal: stop.signal });
    const isIt = (each) => each.filename === file.name && each.size_bytes === file.size && each.uploader_id === me.peek()?.id;
    return found.find((each) => isIt(each) && each.id > after && !this.arrived.has(each.id));
  }

  drop(one) {
    one.stop.abort();
    this.list.value = this.list.peek().filter((each) => each.id !== one.id);
  }

  async #send(one) {
    this.list.value = [...this.list.peek(), one];
    try {
      const onProgress = (part) => this.#set(one, { part });
      const send = () => upload(`${this.card.path}/attachments`, "file", one.file, { onProgress, signal: one.stop.signal, clientId: one.client });
      const made = (one.again && (await this.#lost(one))) || (await send());
      this.arrived.add(made.id);
      this.list.value = this.list.peek().filter((each) => each.id !== one.id);
      this.card.keep("files", made);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.#set(one, { error });
      if (this.card.over) notice(`${one.file.name}: ${sayError(error)}`, { bad: true }); // nobody sees the list
    }
  }
}

const File = live(({ card, file, canRemove, show }) => {
  const remove = async () => {
    if (!(await confirm(t("card.sure_file", { name: file.filename }), { danger: true, word: t("ui.delete") }))) return;
    call("DELETE", `${card.path}/attachments/${file.id}`).catch((error) => error.status !== 404 && bad(error));
  };
  const isPicture = PICTURE.test(file.mime_type);
  return html`<li class="card-file">
    ${isPicture ? html`<${Picture} file=${file} small onClick=${() => show(file)} />` : html`<span class="card-file-sign"><${Icon} name="file" /></span>`}
    <div><button type="button" class="card-file-name" dir="auto" onClick=${() => (isPicture ? show(file) : download(file))}>${file.filename}</button>
      <small class="faint">${size(file.size_bytes)} · ${ago(file.created_at)}</small></div>
    <${Button} kind="quiet" icon="download" label=${t("card.download", { name: file.filename })} onClick=${() => download(file)} />
    ${canRemove && html`<${Button} kind="quiet" icon="trash" label=${t("card.delete_file", { name: file.filename })} onClick=${remove} />`}
  </li>`;
});

/** The files of a `CardStore`, and those on their way. */
export const CardFiles = live(({ card, canWrite, uploads }, self) => {
  const shown = (self.shown ??= signal(null));
  const files = card.files.value;
  const coming = uploads.list.value;
  const mine = me.value?.id;
  const choose = (event) => {
    uploads.add(event.currentTarget.files);
    event.currentTarget.value = "";
  };
  return html`<section class="card-part" aria-label=${t("card.files")}>
    ${(files.length > 0 || coming.length > 0) && html`<header><h3>${t("card.files")}</h3></header>`}
    <ul class="card-files">${files.map((file) => html`<${File} key=${file.id} card=${card} file=${file} show=${(one) => (shown.value = one)}
        canRemove=${canWrite && (file.uploader_id === mine || card.board.canManage.value)} />`)}
      ${coming.map((one) => html`<li key=${`up${one.id}`} class="card-file coming"><span class="card-file-sign"><${Icon} name=${one.error ? "warn" : "file"} /></span>
        <div><span dir="auto">${one.file.name}</span>${one.error
          ? html`<small class="bad-text" role="alert">${sayError(one.error)}</small>`
          : html`<progress max="1" value=${one.part} aria-label=${t("card.uploading", { name: one.file.name })} />`}</div>
        ${one.error && html`<${Button} onClick=${() => uploads.again(one)}>${t("ui.retry")}<//>`}
        <${Button} kind="quiet" icon="close" label=${t("card.drop_file", { name: one.file.name })} onClick=${() => uploads.drop(one)} /></li>`)}</ul>
    ${canWrite && html`<label class="button quiet card-attach"><${Icon} name="attach" />${t("card.attach")}<input type="file" multiple class="said" onChange=${choose} /></label>`}
    ${shown.value && html`<${Dialog} wide title=${shown.value.filename} class="talk-show" close=${() => (shown.value = null)}
      actions=${html`<${Button} kind="quiet" icon="download" label=${t("card.download", { name: shown.value.filename })} onClick=${() => download(shown.value)} />`}>
      <div class="sheet-body"><${Picture} file=${shown.value} /></div><//>`}
  </section>`;
});

const LinkForm = live(({ card, close }, self) => {
  const url = (self.url ??= signal(""));
  const error = (self.error ??= signal(null));
  const wish = (self.wish ??= new Wish());
  const save = async (event) => {
    event.preventDefault();
    try {
      const body = { url: url.peek().trim() };
      card.keep("links", await call("POST", `${card.path}/links`, body, { key: wish.key(body) }));
      close();
    } catch (refusal) {
      error.value = refusal;
    }
  };
  return html`<form class="stack" onSubmit=${save}>
    <${Field} kind="url" autofocus required label=${t("card.link_address")} placeholder="https://" value=${url.value} onInput=${(value) => (url.value = value)}
      field=${(field) => field && field !== self.field && (self.field = field).focus()} onKeyDown=${(event) => {
        if (event.key !== "Escape") return;
        event.preventDefault();
        event.stopPropagation();
        close();
      }} />
    ${error.value && html`<${Failed} error=${error.value} />`}
    <div class="row"><${Button} kind="main" type="submit">${t("ui.add")}<//><${Button} onClick=${close}>${t("ui.cancel")}<//></div></form>`;
});

/** The links of a `CardStore`: to commits, pull requests and whatever else. */
export const CardLinks = live(({ card, canWrite }, self) => {
  const open = (self.open ??= signal(false));
  const links = card.links.value;
  const remove = (one) => call("DELETE", `${card.path}/links/${one.id}`).catch((error) => error.status !== 404 && bad(error));
  return html`<section class="card-part" aria-label=${t("card.links")}>
    ${links.length > 0 && html`<header><h3>${t("card.links")}</h3></header>`}
    <ul class="card-links">${links.map((one) => html`<li key=${one.id}>
      <${Icon} name="link" /><a href=${/^https?:/i.test(one.url) ? one.url : undefined} target="_blank" rel="noopener noreferrer nofollow" dir="auto">${one.title || one.url}</a>
      ${one.link_type !== "link" && html`<small class=${`card-link-state ${one.status}`}>${t(`card.link_${one.status}`)}</small>`}
      ${one.author && html`<small class="faint">${one.author}</small>`}
      ${canWrite && html`<${Button} kind="quiet" icon="trash" label=${t("card.delete_link", { name: one.title || one.url })} onClick=${() => remove(one)} />`}</li>`)}</ul>
    ${canWrite && (open.value ? html`<${LinkForm} card=${card} close=${() => (open.value = false)} />`
      : html`<${Button} kind="quiet" onClick=${() => (open.value = true)}><${Icon} name="link" />${t("card.add_link")}<//>`)}
  </section>`;
});
