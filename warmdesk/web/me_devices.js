/* Where I am signed in. */
import { call, callAll } from "./api.js";
import { ago, dateTime } from "./format.js";
import { Section } from "./me_parts.js";
import { Button, Loading, confirm, load, notice, sayError } from "./ui.js";
import { leave } from "./ui_leave.js";
import { html, live } from "./view.js";
import { t } from "./words.js";

const BROWSERS = [/(Edg)[A-Z]*\/([\d]+)/, /(OPR)\/([\d]+)/, /(Firefox)\/([\d]+)/, /(Chrome)\/([\d]+)/, /Version\/([\d]+).* (Safari)\//];
const SYSTEMS = { Android: /Android/, iPhone: /iPhone/, iPad: /iPad/, Windows: /Windows/, macOS: /Mac OS X/, Linux: /Linux/ };
const NAMES = { Edg: "Edge", OPR: "Opera" };

/** A browser and its system from what it calls itself; else the beginning of that. */
export function deviceOf(agent) {
  const browser = BROWSERS.map((one) => one.exec(agent)).find(Boolean);
  const system = Object.keys(SYSTEMS).find((name) => SYSTEMS[name].test(agent));
  if (!browser) return agent.slice(0, 60) || t("me.unknown_device");
  const [, one, other] = browser;
  const name = /\d/.test(one) ? `${other} ${one}` : `${NAMES[one] ?? one} ${other}`;
  return system ? `${name} · ${system}` : name;
}

/** My sessions; each can be ended, and all others at once. */
export const Devices = live((_, self) => {
  const sessions = load(self, "sessions", () => callAll("/auth/sessions?limit=100"));
  const end = async (one) => {
    try {
      if (one.current) return await leave();
      await call("DELETE", `/auth/sessions/${one.id}`);
    } catch (error) {
      if (error.status !== 404) return notice(sayError(error), { bad: true });
    }
    const now = sessions.peek();
    sessions.value = { ...now, value: now.value.filter((other) => other.id !== one.id) };
    return undefined;
  };
  const endOthers = async (all) => {
    if (!(await confirm(t("me.end_others_sure"), { danger: true, word: t("me.end_others") }))) return;
    for (const one of all) if (!one.current) await end(one);
  };
  return html`<${Section} title=${t("me.devices")} text=${t("me.devices_text")}>
    <${Loading} of=${sessions}>${(all) => html`
      <ul class="me-list">${all.map(
        (one) => html`<li key=${one.id}><div>
            <b>${deviceOf(one.user_agent)}</b>${one.current && html` <span class="me-here">${t("me.this_device")}</span>`}
            <small class="soft">${one.ip} · <time datetime=${one.last_used_at} title=${dateTime(one.last_used_at)}>${ago(one.last_used_at)}</time></small>
          </div>
          <${Button} onClick=${() => end(one)} title=${dateTime(one.created_at)}>${one.current ? t("door.sign_out") : t("me.end_session")}<//></li>`,
      )}</ul>
      ${all.length > 1 && html`<div class="me-foot"><${Button} kind="danger" onClick=${() => endOthers(all)}>${t("me.end_others")}<//></div>`}
    `}<//>
  <//>`;
});
