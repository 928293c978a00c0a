/* Markdown as elements: made of tokens, never of HTML; raw HTML stays text. */
import { me } from "./identity.js";
import { readBeside } from "./markdown_reader.js";
import { wears } from "./sheets.js";
import { Icon } from "./ui_parts.js";
import { user } from "./user_store.js";
import { computed, html, live, signal } from "./view.js";

wears("talk.css");

const SHORT = 4000;
const FEW = 250; // of the marks that make reading slow
const KEPT = 2000;
const MOST_NAMES = 400;
// Linear: what stands between two @ is looked at once.
const MARKS = /[`*_~#>[\]<|&\\]|:\/\/|www\.|[^\s@]@[^\s@]+\.\w|^ {0,3}(?:[-+]|\d{1,9}[.)])(?:\s|$)|^(?: {4}|\t)|^ {0,3}[=-]+\s*$/m;
const NAMES = /((?<![\w@/.-])@[\w.-]*\w|(?<![\w-])[A-Z][A-Z0-9]{0,9}-\d{1,9}(?![\w-]))/g;
const SLOW = /[*_~[>`]/g;
const SAFE = /^(https?:\/\/|mailto:)/i;

/** Whether a text may be more than its words. */
export const hasMarks = (text) => MARKS.test(text);

const kept = new Map();
let readTokens = null; // comes with the first text that has marks
let reading = null;

const prefixList = computed(() => JSON.stringify(user.projects.value.map((one) => [one.key_prefix, one.slug])));
const slugs = computed(() => new Map(JSON.parse(prefixList.value)));

/** What a text is, as a signal: tokens, or null as long as it is shown as it was written. */
function tokensOf(text) {
  let one = kept.get(text);
  if (one) return one;
  one = signal(null);
  kept.set(text, one);
  if (kept.size > KEPT) kept.delete(kept.keys().next().value);
  if (text.length > SHORT || (text.match(SLOW)?.length ?? 0) > FEW) readBeside(text).then((tokens) => (one.value = tokens));
  else if (readTokens) one.value = readHere(text);
  else {
    reading ??= import("./markdown_tokens.js").then((file) => (readTokens = file.readTokens));
    reading.then(() => (one.value = readHere(text))).catch(() => (reading = null));
  }
  return one;
}

function readHere(text) {
  try {
    return readTokens(text);
  } catch {
    return null;
  }
}

/** A text with its people and cards: `@name` stands out, `DEMO-7` leads to the card. */
function pieces(text) {
  const parts = text.split(NAMES, MOST_NAMES * 2);
  if (parts.length === 1) return text;
  // split() drops what is behind its limit.
  const had = parts.reduce((sum, part) => sum + part.length, 0);
  if (had < text.length) parts.push(text.slice(had));
  const mine = me.peek()?.username?.toLowerCase();
  return parts.map((part, index) => {
    if (index % 2 === 0) return part;
    if (part[0] === "@") {
      const isMe = part.slice(1).toLowerCase() === mine;
      return html`<span class=${isMe ? "md-at mine" : "md-at"}>${part}</span>`;
    }
    const slug = slugs.value.get(part.slice(0, part.lastIndexOf("-")));
    return slug ? html`<a class="md-card" href=${`/p/${slug}/c/${part}`}>${part}</a>` : part;
  });
}

function link(token, inside) {
  if (!SAFE.test(token.href)) return html`<span>${inside}</span>`;
  const icon = token.picture && html`<${Icon} name="file" />`;
  let here = false;
  try {
    here = new URL(token.href).origin === location.origin;
  } catch {
    return html`<span>${inside}</span>`;
  }
  return here
    ? html`<a href=${token.href}>${icon}${inside}</a>`
    : html`<a href=${token.href} target="_blank" rel="noopener noreferrer nofollow">${icon}${inside}</a>`;
}

const many = (tokens, inLink) => tokens.map((token) => element(token, inLink));

function element(token, inLink) {
  const inside = () => many(token.inside, inLink);
  switch (token.kind) {
    case "text":
      return inLink ? token.text : pieces(token.text);
    case "span":
      return inside();
    case "paragraph":
      return html`<p dir="auto">${inside()}</p>`;
    case "heading":
      return html`<p class=${`md-h md-h${token.depth}`} role="heading" aria-level=${Math.min(6, token.depth + 2)} dir="auto">${inside()}</p>`;
    case "blockquote":
      return html`<blockquote>${inside()}</blockquote>`;
    case "strong":
      return html`<strong>${inside()}</strong>`;
    case "em":
      return html`<em>${inside()}</em>`;
    case "del":
      return html`<del>${inside()}</del>`;
    case "br":
      return html`<br />`;
    case "hr":
      return html`<hr />`;
    case "block":
      return html`<span class="md-plain" dir="auto">${token.text}</span>`;
    case "code":
      return html`<pre tabindex="0"><code data-lang=${token.lang}>${token.text}</code></pre>`;
    case "codespan":
      return html`<code>${token.text}</code>`;
    case "checkbox":
      return html`<input type="checkbox" disabled checked=${token.checked} aria-hidden="true" />`;
    case "link":
      return link(token, many(token.inside, true));
    case "list": {
      const items = token.items.map((item) => html`<li class=${item.task && "md-task"} dir="auto">${many(item.inside, inLink)}</li>`);
      return token.ordered ? html`<ol start=${token.start === 1 ? undefined : token.start}>${items}</ol>` : html`<ul>${items}</ul>`;
    }
    case "table":
      return html`<div class="md-table" tabindex="0"><table>
        <thead><tr>${token.header.map((cell, at) => html`<th class=${token.align[at] && `md-${token.align[at]}`}>${many(cell)}</th>`)}</tr></thead>
        <tbody>${token.rows.map((row) => html`<tr>${row.map((cell, at) => html`<td class=${token.align[at] && `md-${token.align[at]}`}>${many(cell)}</td>`)}</tr>`)}</tbody>
      </table></div>`;
    default:
      return null;
  }
}

/** The beginning of a text in one line, without what only forms it. */
export function plain(text, most = 160) {
  const line = text
    .slice(0, most * 3)
    .replace(/^ {0,3}(?:#{1,6}|>|[-+*]|\d{1,9}[.)])\s+(?:\[[ xX]\]\s)?/gm, "")
    .replace(/!?\[([^\]]*)\]\([^)\s]*\)/g, "$1")
    .replace(/(\*\*|__|~~|`+)(?=\S)|(?<=\S)(\*\*|__|~~|`+)/g, "")
    .replace(/\s+/g, " ")
    .trim();
  return line.length > most ? `${line.slice(0, most).trimEnd()}…` : line;
}

/** A text of somebody as elements. What takes too long to read, or is nested too deeply, is shown as it
 * was written.
 */
export const Markdown = live(({ text, class: more }) => {
  const name = more ? `md ${more}` : "md";
  const tokens = text && hasMarks(text) ? tokensOf(text).value : null;
  if (tokens) return html`<div class=${name}>${many(tokens)}</div>`;
  return html`<div class=${name}><p class="md-plain" dir="auto">${pieces(text ?? "")}</p></div>`;
});
