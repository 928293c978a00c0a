/* My own pages: profile, appearance, notifications, security, devices, keys. */
import { Away, Frame } from "./frame.js";
import { Appearance } from "./me_look.js";
import { Devices } from "./me_devices.js";
import { Keys } from "./me_keys.js";
import { Notifications } from "./me_notify.js";
import { Profile } from "./me_profile.js";
import { Security } from "./me_security.js";
import { wears } from "./sheets.js";
import { html, live } from "./view.js";
import { t } from "./words.js";

wears("door.css");

const PARTS = {
  profile: Profile,
  appearance: Appearance,
  notifications: Notifications,
  security: Security,
  devices: Devices,
  keys: Keys,
};

export default live(({ part = "profile" }) => {
  const tabs = Object.keys(PARTS).map((name) => ({
    href: name === "profile" ? "/me" : `/me/${name}`,
    label: t(`me.${name}`),
    on: name === part,
  }));
  const Part = Object.hasOwn(PARTS, part) ? PARTS[part] : null;
  return html`<${Frame} title=${t("me.title")} tabs=${tabs}>
    ${Part ? html`<div class="me"><${Part} key=${part} /></div>` : html`<${Away} kind="missing" />`}
  <//>`;
});
