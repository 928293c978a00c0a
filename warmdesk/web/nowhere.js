/* The page at an address that is none. */
import { Away, Frame } from "./frame.js";
import { html, live } from "./view.js";
import { t } from "./words.js";

export default live(() => html`<${Frame} title=${t("door.nowhere")}><${Away} kind="missing" /><//>`);
