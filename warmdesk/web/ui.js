/* The parts that every page is made of. Those that few need stand beside it. */
export { Toasts, confirm } from "./ui_ask.js";
export { Avatar, Button, Chip, Empty, Icon, Pile, Skeleton, Tabs } from "./ui_parts.js";
export { Field } from "./ui_field.js";
export { Failed, Loading, load, reload, sayError } from "./ui_load.js";
export { Dialog, Popup } from "./ui_over.js";
export { Menu, Picker } from "./ui_pick.js";
export { notice } from "./ui_notice.js";
