/* What is fetched: its state, what stands there meanwhile, and what is said when it fails. */
import { Refused, Unreached } from "./identity.js";
import { Button, Icon, Skeleton } from "./ui_parts.js";
import { html, live, signal, untracked } from "./view.js";
import { t } from "./words.js";

const SKELETON_MS = 200;
const KEPT = 12; // names of one component, those that were asked for last

/** Fetches once for a live component, under a name: a signal of {state: "loading" | "ready" | "failed",
 * value, error, again()}, kept on `self`. Another name is fetched anew, so put into it what it depends on.
 * `again()` keeps the old value until the new one is there.
 */
export function load(self, name, get) {
  self.loads ??= new Map();
  let held = self.loads.get(name);
  if (held) {
    self.loads.delete(name);
    self.loads.set(name, held);
    return held;
  }
  let turn = 0;
  const again = async () => {
    const mine = (turn += 1);
    held.value = { ...held.peek(), state: held.peek().state === "ready" ? "ready" : "loading", error: null };
    try {
      const value = await get();
      if (mine === turn) held.value = { state: "ready", value, error: null, again };
    } catch (error) {
      if (mine === turn && error.name !== "AbortError") held.value = { ...held.peek(), state: "failed", error };
    }
  };
  held = signal({ state: "loading", value: undefined, error: null, again });
  self.loads.set(name, held);
  if (self.loads.size > KEPT) self.loads.delete(self.loads.keys().next().value);
  untracked(() => queueMicrotask(again));
  return held;
}

/** What a component loaded is out of date: what it shows, `held`, is fetched anew, the rest when it is asked for. */
export function reload(self, held) {
  for (const [name, one] of self.loads) if (one !== held) self.loads.delete(name);
  return held.peek().again();
}

/** Shows what `load` gave: children is a function of its value; a skeleton, but only after 200 ms; or
 * what went wrong, with "try again".
 */
export const Loading = live(
  ({ of, lines, children, skeleton }, self) => {
    self.late ??= signal(false);
    const { state, value, error, again } = of.value;
    if (state === "ready") return [children].flat()[0](value);
    if (state === "failed") return html`<${Failed} error=${error} again=${again} />`;
    return self.late.value ? (skeleton ?? html`<${Skeleton} lines=${lines} />`) : null;
  },
  (self) => {
    const timer = setTimeout(() => (self.late.value = true), SKELETON_MS);
    self.end = () => clearTimeout(timer);
  },
);

// What these codes mean is said in the reader's language; of all others the server's own sentence.
const SAID = {
  account_deactivated: () => t("ui.error_account_deactivated"),
  busy: () => t("ui.error_busy"),
  day_is_full: () => t("ui.error_day_is_full"),
  deleted: () => t("ui.error_deleted"),
  empty_file: () => t("ui.error_empty_file"),
  forbidden: () => t("ui.error_forbidden"),
  internal: () => t("ui.error_internal"),
  invalid_code: () => t("ui.error_invalid_code"),
  invalid_credentials: () => t("ui.error_invalid_credentials"),
  last_owner: () => t("ui.error_last_owner"),
  not_found: () => t("ui.error_not_found"),
  project_archived: () => t("ui.error_project_archived"),
  quota_exceeded: () => t("ui.error_quota_exceeded"),
  same_password: () => t("ui.error_same_password"),
  taken: () => t("ui.error_taken"),
  too_large: () => t("ui.error_too_large"),
  unknown_outcome: () => t("ui.error_unknown_outcome"),
  version_conflict: () => t("ui.error_version_conflict"),
  wrong_password: () => t("ui.error_wrong_password"),
};
const FIELDS = {
  bad_format: () => t("ui.field_bad_format"),
  blank: () => t("ui.field_blank"),
  conflicting: () => t("ui.field_conflicting"),
  immutable: () => t("ui.field_immutable"),
  incorrect: () => t("ui.field_incorrect"),
  not_a_member: () => t("ui.field_not_a_member"),
  not_one_of: () => t("ui.field_not_one_of"),
  out_of_range: () => t("ui.field_out_of_range"),
  required: () => t("ui.field_required"),
  taken: () => t("ui.field_taken"),
  too_long: () => t("ui.field_too_long"),
  too_short: () => t("ui.field_too_short"),
  too_simple: () => t("ui.field_too_simple"),
  unknown: () => t("ui.field_unknown"),
  unreachable: () => t("ui.field_unreachable"),
};

// Fields that are refused where no form marks them.
const NAMES = { due_date: () => t("card.due"), minutes: () => t("time.time"), start_date: () => t("card.start") };

/** What is wrong with one field of a refused request, in words; undefined if nothing is. */
export function sayField(error, name) {
  const code = error?.fields?.[name];
  return code && (FIELDS[code]?.() ?? code);
}

/** An error in words, with the fields that it names. */
export function sayError(error) {
  if (!error) return "";
  if (error instanceof Unreached) return t("ui.error_unreached");
  if (!(error instanceof Refused) && !error.code) return t("ui.error_here", { what: error.message ?? error });
  if (error.status === 429 || error.code === "rate_limited") return t("ui.error_wait", { n: Math.max(1, Math.ceil(error.wait ?? error.retry_after ?? 1)) });
  if (error.status === 503) return t("ui.error_unavailable");
  const fields = Object.entries(error.fields ?? {});
  if (fields.length) return fields.map(([name, code]) => `${NAMES[name]?.() ?? name}: ${FIELDS[code]?.() ?? code}`).join("; ");
  return SAID[error.code]?.() ?? error.message ?? String(error.status);
}

/** One box for what failed, with "try again" where that may help. */
export const Failed = ({ error, again, title }) => html`<div class="failed" role="alert">
  <${Icon} name="warn" /><p>${title && html`<b>${title} </b>`}${sayError(error)}</p>
  ${again && html`<${Button} onClick=${again}>${t("ui.retry")}<//>`}
</div>`;
