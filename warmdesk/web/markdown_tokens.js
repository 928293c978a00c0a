/* Markdown read into small tokens, of which markdown.js makes elements. Raw HTML stays text. */
import { Lexer } from "./vendor/marked.js";

const MOST = 3000; // tokens of one text; what follows stays as it was written
const DEEPEST = 24;
const ENTITIES = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0", hellip: "…", mdash: "—", ndash: "–", copy: "©" };

function named(all, name) {
  if (name[0] !== "#") return ENTITIES[name] ?? all;
  const code = name[1] === "x" || name[1] === "X" ? parseInt(name.slice(2), 16) : parseInt(name.slice(1), 10);
  return code > 31 && code < 0x110000 && (code < 0xd800 || code > 0xdfff) ? String.fromCodePoint(code) : all;
}

const decode = (text) => text.replace(/&(#\d{1,7}|#[xX][\da-fA-F]{1,6}|[a-z]{2,6});/g, named);

const raw = (tokens) => tokens.map((token) => token.raw).join("");

class Budget {
  left = MOST;

  all(tokens, depth) {
    const out = [];
    const list = tokens ?? [];
    for (let at = 0; at < list.length; at += 1) {
      if (this.left <= 0 || depth > DEEPEST) {
        // One piece of text, whatever it would have been.
        out.push({ kind: "block", text: raw(list.slice(at)) });
        break;
      }
      this.left -= 1;
      const one = this.one(list[at], depth + 1);
      if (one) out.push(one);
    }
    return out;
  }

  /** As many parts of a list or table as may be. */
  some(parts, make, rest) {
    const out = [];
    for (const [at, part] of parts.entries()) {
      if (this.left <= 0) {
        if (rest) out.push(rest(parts.slice(at)));
        break;
      }
      this.left -= 1;
      out.push(make(part));
    }
    return out;
  }

  one(token, depth) {
    const inside = () => this.all(token.tokens, depth);
    switch (token.type) {
      case "space":
      case "def":
        return null;
      case "heading":
        return { kind: "heading", depth: token.depth, inside: inside() };
      case "paragraph":
      case "blockquote":
      case "strong":
      case "em":
      case "del":
        return { kind: token.type, inside: inside() };
      case "text":
        return token.tokens ? { kind: "span", inside: inside() } : { kind: "text", text: decode(token.text) };
      case "escape":
        return { kind: "text", text: token.text };
      case "html":
        return { kind: token.block ? "block" : "text", text: token.block ? token.raw.trimEnd() : token.raw };
      case "code":
        return { kind: "code", text: token.text, lang: /^\w[\w+#-]{0,19}/.exec(token.lang ?? "")?.[0] };
      case "codespan":
        return { kind: "codespan", text: token.text };
      case "br":
      case "hr":
        return { kind: token.type };
      case "checkbox":
        return { kind: "checkbox", checked: token.checked };
      case "link":
        return { kind: "link", href: decode(token.href), inside: inside() };
      case "image":
        return { kind: "link", href: decode(token.href), picture: true, inside: [{ kind: "text", text: token.text || token.href }] };
      case "list":
        return {
          kind: "list",
          ordered: token.ordered,
          start: token.start,
          items: this.some(
            token.items,
            (item) => ({ task: item.task, inside: this.all(item.tokens, depth) }),
            (items) => ({ inside: [{ kind: "block", text: raw(items) }] }),
          ),
        };
      case "table":
        return {
          kind: "table",
          align: token.align,
          header: this.some(token.header, (cell) => this.all(cell.tokens, depth)),
          rows: this.some(
            token.rows,
            (row) => this.some(row, (cell) => this.all(cell.tokens, depth)),
            (rows) => [[{ kind: "block", text: rows.map((row) => row.map((cell) => cell.text).join(" | ")).join("\n") }]],
          ),
        };
      default:
        return { kind: "text", text: token.raw };
    }
  }
}

/** The tokens of a text. Throws where it is nested too deeply to be read. */
export const readTokens = (text) => new Budget().all(new Lexer({ gfm: true, breaks: true }).lex(text), 0);
