/* Reads long Markdown beside the page: whoever waits for it ends it when it takes too long. */
import { readTokens } from "./markdown_tokens.js";

addEventListener("message", ({ data: { id, text } }) => {
  let tokens = null;
  try {
    tokens = readTokens(text);
  } catch {
    // Nested too deeply: shown as it was written.
  }
  postMessage({ id, tokens });
});
postMessage({ id: 0 });
