/* Requests as the one who is signed in. */
import { accessToken, ask, distrust, era, nobody, Refused, refresh, signedOut, Unreached } from "./identity.js";

export { Refused, Unreached };

const random = (bytes) =>
  Array.from(crypto.getRandomValues(new Uint8Array(bytes)), (one) => one.toString(16).padStart(2, "0")).join("");

const TAB = random(6);
const AGAIN_MS = [500, 2000, 5000];
const READ_MS = 60_000;
let count = 0;

/** A name for one wish of this tab: the event that fulfils it carries the same. */
export const nextId = () => `${TAB}.${(count += 1)}`;

/** A key under which a request acts once, however often it is sent. */
export const newKey = () => random(16);

/** A wish that may have to be sent more than once: the same key as long as its body is the same, and another
 * one once it was carried out or is another wish.
 */
export class Wish {
  #sent = ["", ""];

  /** The key of this body. */
  key(body) {
    const text = JSON.stringify(body);
    if (this.#sent[0] !== text) this.#sent = [text, newKey()];
    return this.#sent[1];
  }

  /** The next one is another wish, though it may look the same. */
  done() {
    this.#sent = ["", ""];
  }
}

/** Like `call`, with the headers: `{data, headers, status}`. */
export async function request(method, path, body, { headers, key, clientId, signal } = {}) {
  const all = { ...headers };
  if (method !== "GET") all["X-Client-Id"] = clientId ?? nextId();
  if (key) all["Idempotency-Key"] = key === true ? newKey() : key;
  const mine = era();
  const ms = method === "GET" ? READ_MS : undefined; // what it should do is not given up
  const once = (token) => ask(method, path, { body, signal, ms, headers: { ...all, Authorization: `Bearer ${token}` } });
  let unheard = false;
  for (let tries = 0; ; tries += 1) {
    try {
      return forAsker(mine, await signed(mine, once));
    } catch (error) {
      forAsker(mine);
      // The answer that was lost said that it was done.
      if (unheard && method === "DELETE" && error.status === 404) return { data: null, headers: new Headers(), status: 204 };
      unheard ||= error instanceof Unreached;
      // What acts once may be sent again; what is only read may too.
      const away = error instanceof Unreached || error.status === 503;
      if (!away || !(key || method === "GET") || tries >= AGAIN_MS.length) throw error;
      await new Promise((done) => setTimeout(done, error.wait ? error.wait * 1000 : AGAIN_MS[tries]));
    }
  }
}

/** Passes an answer on to who asked; throws `Refused` 401 where that session has ended meanwhile. */
const forAsker = (mine, value) => {
  if (mine !== era()) throw nobody();
  return value;
};

/** Asks by `send(token)`; once more with another token where that one is not taken. */
async function signed(mine, send) {
  const once = async () => send(forAsker(mine, await accessToken()));
  try {
    return await once();
  } catch (error) {
    if (error.status !== 401) throw error;
    forAsker(mine);
    distrust();
  }
  try {
    await refresh();
    return await once();
  } catch (error) {
    if (error.status === 401 && mine === era()) signedOut();
    throw error;
  }
}

/** One request; resolves to the answer's JSON (null when it has none). A request with a `key`
 * (true: a new one) and a GET are tried again while the server is away. Throws `Refused` with the
 * server's sentence, or `Unreached`; `Refused` 401 also where who asked is signed out when it comes.
 */
export async function call(method, path, body, options) {
  return (await request(method, path, body, options)).data;
}

/** The path of the page that follows an answer of these headers; null after the last. */
export function nextPath(headers) {
  const link = /<([^>]+)>;\s*rel="next"/.exec(headers.get("Link") ?? "");
  return link && link[1].replace(/^.*?\/api\/v1/, "");
}

/** All items of a list, page after page. */
export async function callAll(path) {
  const all = [];
  let next = path;
  while (next) {
    const { data, headers } = await request("GET", next);
    all.push(...data);
    next = nextPath(headers);
  }
  return all;
}

/** The bytes behind a path as an address for `img` or a download; free it by URL.revokeObjectURL. */
export async function blobUrl(path, { signal } = {}) {
  const mine = era();
  const once = (token) => ask("GET", path, { blob: true, signal, headers: { Authorization: `Bearer ${token}` } });
  return URL.createObjectURL(forAsker(mine, await signed(mine, once)).data);
}

/** Sends a file as `field` of a form, with other `fields`; `onProgress(part 0..1)`. Resolves to the answer's JSON. */
export async function upload(path, field, file, { fields = {}, onProgress, signal, clientId } = {}) {
  const mine = era();
  const key = newKey();
  if (!file.size) throw Object.assign(new Error("empty"), { code: "empty_file" });
  return forAsker(mine, await signed(mine, send));

  function send(token) {
    const form = new FormData();
    for (const [name, value] of Object.entries(fields)) form.append(name, value);
    form.append(field, file, file.name);
    return new Promise((resolve, reject) => {
      const aborted = () => reject(new DOMException("aborted", "AbortError"));
      if (signal?.aborted) return aborted();
      const sending = new XMLHttpRequest();
      sending.open("POST", `/api/v1${path}`);
      sending.responseType = "json";
      sending.setRequestHeader("Authorization", `Bearer ${token}`);
      sending.setRequestHeader("X-Client-Id", clientId ?? nextId());
      sending.setRequestHeader("Idempotency-Key", key);
      sending.upload.onprogress = (event) => event.lengthComputable && onProgress?.(event.loaded / event.total);
      sending.onload = () => {
        if (sending.status < 300) resolve(sending.response);
        else reject(new Refused(sending.status, sending.response, Number(sending.getResponseHeader("Retry-After")) || 0));
      };
      sending.onerror = () => reject(new Unreached("upload"));
      sending.onabort = aborted;
      signal?.addEventListener("abort", () => sending.abort());
      return sending.send(form);
    });
  }
}
