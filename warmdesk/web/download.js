/* Files that only who is signed in may read, put where the browser keeps downloads. */
import { blobUrl } from "./api.js";

const KEPT_MS = 60_000; // the browser reads the bytes after the click

/** Fetches the file behind a path of the API and hands it to the browser under a name. Throws as `call`. */
export async function download(path, name) {
  const url = await blobUrl(path);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), KEPT_MS);
}
