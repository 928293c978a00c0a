/* The start: who is signed in, in which language, and which page shows at which address. */
import { address } from "./address.js";
import { me, refresh } from "./identity.js";
import { html, live, render, signal } from "./view.js";
import { preferred, speak, t } from "./words.js";

/** Every address, and the file of its page: a default export, a live component whose props are the
 * address's parts. What stands before the sign-in is `open`.
 */
export const PAGES = [
  [/^\/$/, () => import("./projects.js")],
  [/^\/p\/(?<slug>[^/]+)(?:\/c\/(?<card>[^/]+))?$/, () => import("./board.js")],
  [/^\/p\/(?<slug>[^/]+)\/chat$/, () => import("./chat.js")],
  [/^\/p\/(?<slug>[^/]+)\/topics(?:\/(?<topic>\d+))?$/, () => import("./topics.js")],
  [/^\/p\/(?<slug>[^/]+)\/activity$/, () => import("./activity.js")],
  [/^\/p\/(?<slug>[^/]+)\/settings(?:\/(?<part>\w+))?$/, () => import("./project_settings.js")],
  [/^\/messages(?:\/(?<conversation>\d+))?$/, () => import("./messages.js")],
  [/^\/notifications$/, () => import("./notifications.js")],
  [/^\/search$/, () => import("./search.js")],
  [/^\/time(?:\/(?<part>\w+))?$/, () => import("./time.js")],
  [/^\/me(?:\/(?<part>\w+))?$/, () => import("./me.js")],
  [/^\/admin(?:\/(?<part>\w+))?$/, () => import("./admin.js")],
];
