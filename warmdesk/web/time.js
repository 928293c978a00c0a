/* My time: what I wrote down, my week, and the report. */
import { address } from "./address.js";
import { Frame } from "./frame.js";
import { me } from "./identity.js";
import { wears } from "./sheets.js";
import { TimeList } from "./time_list.js";
import { TimeReport } from "./time_report.js";
import { TimeWeek } from "./time_week.js";
import { html, live } from "./view.js";
import { t } from "./words.js";

wears("pages.css");

const PARTS = { entries: TimeList, week: TimeWeek, report: TimeReport };

/** Whether I may write down time at all. */
export const mayLog = () => ["admin", "user"].includes(me.value?.global_role);

export default live(({ part }) => {
  const now = Object.hasOwn(PARTS, part) ? part : "entries";
  const Part = PARTS[now];
  const tabs = Object.keys(PARTS).map((one) => ({
    href: one === "entries" ? "/time" : `/time/${one}`,
    label: t(`time.${one}`),
    icon: { entries: "clock", week: "calendar", report: "list" }[one],
    on: one === now,
  }));
  return html`<${Frame} title=${t("time.title")} tabs=${tabs}>
    <div class="page time"><${Part} key=${now} at=${address.value} mayLog=${mayLog()} /></div>
  <//>`;
});
