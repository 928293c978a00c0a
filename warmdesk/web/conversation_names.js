/* How a conversation is called, and its picture. */
import { othersOf } from "./conversation_store.js";
import { Avatar, Icon } from "./ui_parts.js";
import { html } from "./view.js";
import { t } from "./words.js";

/** What a conversation is called: its name, or who is in it. */
export function nameOf(one) {
  if (one.name) return one.name;
  const others = othersOf(one);
  return others.length ? others.map((each) => each.display_name).join(", ") : t("messages.alone");
}

/** The picture of a conversation: of a group its own, else the other's face. */
export function pictureOf(one, size) {
  if (!one.is_group) return html`<${Avatar} user=${othersOf(one)[0]} size=${size} />`;
  if (one.avatar?.startsWith("/")) return html`<${Avatar} user=${{ id: one.id, display_name: nameOf(one), avatar_url: one.avatar }} size=${size} />`;
  return html`<span class="avatar messages-group" style=${{ "--size": `${size}px`, "--hue": String((one.id * 47) % 360) }} aria-hidden="true"><${Icon} name="people" /></span>`;
}
