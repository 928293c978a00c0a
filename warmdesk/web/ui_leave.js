/* Signing out by hand, and what is said where the server has not heard of it. */
import { signOut } from "./identity.js";
import { notice } from "./ui_notice.js";
import { t } from "./words.js";

/** Signs out. */
export const leave = () => signOut().catch(() => notice(t("door.left"), { bad: true }));
