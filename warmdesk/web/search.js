/* The search of everything that people wrote, as its words are typed. */
import { address, go } from "./address.js";
import { call } from "./api.js";
import { ago } from "./format.js";
import { Frame } from "./frame.js";
import { placeOfFound } from "./places.js";
import { wears } from "./sheets.js";
import { Avatar, Empty, Failed, Icon, Skeleton } from "./ui.js";
import { user } from "./user_store.js";
import { effect, html, live, signal, untracked } from "./view.js";
import { t } from "./words.js";

wears("pages.css");

const KINDS = ["card", "card_comment", "topic", "topic_reply", "chat_message", "dm_message"];
const ICONS = { card: "file", card_comment: "reply", topic: "topic", topic_reply: "topic", chat_message: "chat", dm_message: "mail" };
const LEAST = 2;
const PAUSE_MS = 250; // between the last letter and the question
const SKELETON_MS = 200;

/** What an address of this page asks for. */
function asked(at) {
  const query = new URLSearchParams(at.split("?")[1] ?? "");
  const type = query.get("type");
  return { q: query.get("q")?.trim() ?? "", type: KINDS.includes(type) ? type : null };
}

function addressOf(q, type) {
  const query = new URLSearchParams();
  if (q) query.set("q", q);
  if (type) query.set("type", type);
  return query.size ? `/search?${query}` : "/search";
}

/** A text with the words that were found in it; places count the characters of Unicode. */
function Marked({ text, marks }) {
  const letters = [...text];
  const parts = [];
  let at = 0;
  for (const { start, end } of marks) {
    parts.push(letters.slice(at, start).join(""), html`<mark>${letters.slice(start, end).join("")}</mark>`);
    at = end;
  }
  return html`<span class="search-text">${parts}${letters.slice(at).join("")}</span>`;
}

const Found = live(({ found }) => {
  const { type, item, heading, project_slug: slug, card_key: key } = found;
  const who = item.user ?? item.sender;
  const isTitled = type === "card" || type === "topic";
  const title = isTitled ? item.title : heading;
  return html`<li class="search-found">
    <a href=${placeOfFound(found)}>
      <span class="search-title">
        <${Icon} name=${ICONS[type]} />
        ${key && html`<span class="search-key">${key}</span>`}
        <span class=${type === "card" && item.closed ? "search-name closed" : "search-name"}>
          ${title || t(`search.kind_${type}`, { n: 1 })}</span>
        ${type === "card" && item.archived_at && html`<span class="search-note">${t("search.archived")}</span>`}
      </span>
      ${found.snippet && found.snippet !== title && html`<${Marked} text=${found.snippet} marks=${found.marks} />`}
      <span class="search-facts">
        ${who && html`<${Avatar} user=${who} size=${16} />${who.display_name}<i></i>`}
        ${item.is_bot && html`${item.bot_name}<i></i>`}
        ${slug && html`<span>${nameOf(slug)}</span><i></i>`}
        ${type === "card" && item.column_name && html`<span>${item.column_name}</span><i></i>`}
        <span>${ago(item.updated_at)}</span>
      </span>
    </a></li>`;
});

const nameOf = (slug) => user.projects.value.find((one) => one.slug === slug)?.name ?? slug;

async function look(self, { q, type }) {
  self.asking?.abort();
  self.asking = null;
  if (q.length < LEAST) {
    self.found.value = { state: q ? "short" : "nothing", items: [] };
    return;
  }
  const asking = new AbortController();
  self.asking = asking;
  const before = self.found.peek();
  const slow = setTimeout(() => (self.found.value = { ...before, state: before.items.length ? "again" : "loading" }), SKELETON_MS);
  const query = new URLSearchParams({ q, ...(type && { type }) });
  try {
    const items = await call("GET", `/search?${query}`, undefined, { signal: asking.signal });
    if (self.asking === asking) self.found.value = { state: "ready", items, q };
  } catch (error) {
    if (self.asking === asking) self.found.value = { state: "failed", error, items: [] };
  } finally {
    clearTimeout(slow);
  }
}

/** The arrows go from one result to the next, and back up into the field. */
function arrows(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step || event.ctrlKey || event.metaKey || event.altKey) return;
  const all = [...event.currentTarget.querySelectorAll("input[type=search], .search-found > a")];
  const at = all.indexOf(document.activeElement);
  if (at < 0 || !all[at + step]) return;
  event.preventDefault();
  all[at + step].focus();
}

const Results = live(({ page }) => {
  const { state, items, error, q } = page.found.value;
  const { q: wanted, type } = asked(address.value);
  if (state === "failed") return html`<${Failed} error=${error} again=${() => look(page, { q: wanted, type })} />`;
  if (state === "loading") return html`<${Skeleton} lines=${6} />`;
  if (state === "nothing" || state === "short") {
    return html`<${Empty} title=${t("search.start")} text=${t("search.start_text")} />`;
  }
  const projects = type ? [] : user.projects.value.filter((one) => one.name.toLowerCase().includes(q.toLowerCase()));
  if (!items.length && !projects.length) {
    return html`<${Empty} title=${t("search.none", { q })} text=${t("search.none_text")} />`;
  }
  return html`<div class=${state === "again" ? "search-results again" : "search-results"}>
    ${projects.length > 0 && html`<section aria-labelledby="search-projects">
      <h2 id="search-projects">${t("search.projects")}</h2>
      <ul>${projects.slice(0, 8).map((one) => html`<li key=${one.slug} class="search-found">
        <a href=${`/p/${one.slug}`}><span class="search-title"><i class="search-mark" style=${{ "--label": one.color }}></i>
          <span class="search-name">${one.name}</span></span></a></li>`)}</ul></section>`}
    ${KINDS.map((kind) => {
      const those = items.filter((one) => one.type === kind);
      if (!those.length) return null;
      return html`<section key=${kind} aria-labelledby=${`search-${kind}`}>
        <h2 id=${`search-${kind}`}>${t(`search.kind_${kind}`, { n: 2 })} <span>${those.length}</span></h2>
        <ul>${those.map((one) => html`<${Found} key=${`${kind}${one.item.id}`} found=${one} />`)}</ul>
      </section>`;
    })}
  </div>`;
});

function begin(self) {
  self.stop_looking = effect(() => {
    const wanted = asked(address.value);
    untracked(() => {
      if (!self.writing && self.typed.peek().trim() !== wanted.q) self.typed.value = wanted.q;
      look(self, wanted);
    });
  });
  self.field?.focus();
  self.end = () => {
    self.stop_looking();
    self.asking?.abort();
    clearTimeout(self.writing);
  };
}

function type(self, text) {
  self.typed.value = text;
  clearTimeout(self.writing);
  self.writing = setTimeout(() => {
    self.writing = 0;
    go(addressOf(text.trim(), asked(address.peek()).type), { replace: true });
  }, PAUSE_MS);
}

export default live((props, self) => {
  self.typed ??= signal(asked(address.peek()).q);
  self.found ??= signal({ state: "nothing", items: [] });
  const { q, type: chosen } = asked(address.value);
  const { state, items } = self.found.value;
  return html`<${Frame} title=${t("search.title")}>
    <div class="page search" onKeyDown=${arrows}>
      <form role="search" onSubmit=${(event) => {
        event.preventDefault();
        go(addressOf(self.typed.peek().trim(), chosen), { replace: true });
      }}>
        <input type="search" class="search-field" aria-label=${t("search.field")} placeholder=${t("search.field")}
          value=${self.typed.value} maxlength="200" autocomplete="off" ref=${(field) => (self.field = field)}
          onInput=${(event) => type(self, event.currentTarget.value)} />
      </form>
      <nav class="page-chips" aria-label=${t("search.kinds")}>
        ${[null, ...KINDS].map((kind) => html`<a key=${kind ?? "all"} class="page-chip" href=${addressOf(q, kind)}
          aria-current=${kind === chosen ? "true" : undefined}>${kind ? t(`search.kind_${kind}`, { n: 2 }) : t("search.all")}</a>`)}
      </nav>
      <p class="said" role="status">${state === "ready" ? t("search.count", { n: items.length }) : ""}</p>
      <${Results} page=${self} />
    </div>
  <//>`;
}, begin);
