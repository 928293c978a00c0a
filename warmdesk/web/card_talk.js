/* What was said on a card, with the time that went into it, and what happened to it. */
import { address } from "./address.js";
import { call } from "./api.js";
import { minutesOf, minutesText } from "./days.js";
import { duration } from "./format.js";
import { me } from "./identity.js";
import { Fact } from "./history.js";
import { cardAt, shownBy } from "./places.js";
import { Talk } from "./talk.js";
import { Button, Failed, Icon, Skeleton, notice, sayError } from "./ui.js";
import { html, live, signal } from "./view.js";
import { t } from "./words.js";

const Time = live(({ time }) => {
  const { text, wrong } = time.value;
  const minutes = minutesOf(text);
  return html`<label class="card-time" title=${t("card.time_hint")}><${Icon} name="clock" /><span class="said">${t("card.time_of_comment")}</span>
    <input type="text" inputmode="text" placeholder="0:30" maxlength="8" value=${text} aria-invalid=${wrong ? "true" : undefined}
      onInput=${(event) => (time.value = { text: event.currentTarget.value, wrong: false })} />${minutes > 0 && html`<span class="faint">${duration(minutes)}</span>`}</label>`;
});

const Comments = live(({ card, canWrite }, self) => {
  const time = (self.time ??= signal({ text: "", wrong: false }));
  const { board } = card;
  const mine = me.value?.id;
  const readMore = () => {
    const minutes = minutesOf(time.peek().text);
    if (minutes === null) {
      time.value = { ...time.peek(), wrong: true };
      notice(t("card.time_wrong"), { bad: true });
      return false;
    }
    time.value = { text: "", wrong: false };
    return minutes ? { time_spent_minutes: minutes } : {};
  };
  const putMore = ({ time_spent_minutes: minutes }) => {
    if (minutes && !time.peek().text) time.value = { text: minutesText(minutes), wrong: false };
  };
  const path = `${card.path}/comments`;
  self.does ??= {
    send: async (body, { nonce, clientId, ...more }) => {
      const made = await call("POST", path, { body, ...more }, { key: nonce, clientId });
      card.keep("comments", made);
      return made;
    },
    edit: (message, body, version) => call("PUT", `${path}/${message.id}`, { body, version }),
    remove: (message) => call("DELETE", `${path}/${message.id}`),
    extra: (message) => message.time_spent_minutes > 0 && html`<p class="card-spent"><${Icon} name="clock" />${duration(message.time_spent_minutes)} h</p>`,
    more: () => card.older().catch((error) => notice(sayError(error), { bad: true })),
  };
  const { send, edit, remove, extra, more } = self.does;
  const messages = card.comments.value;
  const target = shownBy(address.value);
  if (target && self.target !== target) queueMicrotask(() => card.look(target).catch((error) => notice(sayError(error), { bad: true })));
  self.target = target;
  return html`
    ${card.olderComments.value && html`<${Button} kind="quiet" onClick=${more}>${t("card.older_comments")}<//>`}
    <${Talk} flow place=${`card.${board.slug}.${card.id}`} messages=${messages} send=${send} edit=${edit} remove=${remove} extra=${extra}
      canWrite=${canWrite} why=${board.project.value.is_archived ? t("project.archived") : t("project.viewer")}
      canEdit=${(message) => canWrite && message.user_id === mine} canRemove=${(message) => canWrite && (message.user_id === mine || board.canManage.value)}
      target=${target} linkOf=${(comment) => cardAt(board.slug, card.facts.peek().key, comment.id)}
      label=${t("card.comment_on", { key: card.facts.value.key })} word=${t("card.send_comment")} uploads=${{ project: board.slug }}
      tools=${html`<${Time} time=${time} />`} readMore=${readMore} putMore=${putMore} people=${() => [...board.members.peek().values()].map((one) => one.user)}
      nameOf=${(id) => board.people.get(id)?.display_name} />`;
});

const History = live(({ card }, self) => {
  const error = (self.error ??= signal(null));
  const read = (older) => {
    error.value = null;
    return card.readHistory({ older }).catch((refusal) => (error.value = refusal));
  };
  if (!self.once) {
    self.once = true;
    if (!card.history.peek()) queueMicrotask(() => read(false));
  }
  const facts = card.history.value;
  if (!facts) return error.value ? html`<${Failed} error=${error.value} again=${() => read(false)} />` : html`<${Skeleton} lines=${4} />`;
  return html`<ul class="facts">${facts.map((fact) => html`<${Fact} key=${fact.id} fact=${fact} />`)}</ul>
    ${error.value && html`<${Failed} error=${error.value} again=${() => read(true)} />`}
    ${card.olderHistory.value && html`<${Button} kind="quiet" onClick=${() => read(true)}>${t("ui.more")}<//>`}`;
});

/** Comments and history of a `CardStore`, one of them at a time. */
export const CardTalk = live(({ card, canWrite }, self) => {
  const tab = (self.tab ??= signal("comments"));
  const target = shownBy(address.value);
  if (target && self.target !== target) queueMicrotask(() => (tab.value = "comments"));
  self.target = target;
  const one = (name, label) => html`<button type="button" role="tab" id=${`card-tab-${name}`} aria-selected=${String(tab.value === name)} aria-controls="card-tab-panel"
    tabindex=${tab.value === name ? "0" : "-1"} onClick=${() => (tab.value = name)}>${label}</button>`;
  const walk = (event) => {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    event.preventDefault();
    tab.value = tab.peek() === "comments" ? "history" : "comments";
    document.getElementById(`card-tab-${tab.peek()}`)?.focus();
  };
  return html`<section class="card-part card-talk">
    <div class="card-tabs" role="tablist" onKeyDown=${walk}>${one("comments", t("card.comments"))}${one("history", t("card.history"))}</div>
    <div role="tabpanel" id="card-tab-panel" aria-labelledby=${`card-tab-${tab.value}`}>
      ${tab.value === "comments" ? html`<${Comments} card=${card} canWrite=${canWrite} />` : html`<${History} card=${card} />`}</div>
  </section>`;
});
