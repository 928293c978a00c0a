/* What lies over the page: a dialog that takes it over, and a popup at an element. */
import { Notices } from "./ui_notice.js";
import { Button, classes } from "./ui_parts.js";
import { html, live, signal } from "./view.js";
import { t } from "./words.js";

/** The dialogs that are open; the last lies over all others. */
export const dialogs = signal([]);
let count = 0;

/** A dialog over the page. `close()` is asked for by its cross, Escape and a click beside it; the owner
 * then takes it away. It opens with the focus on itself, or on a child with `autofocus`, and gives the
 * focus back to where it was. `wide` is for two columns; `actions` stand beside the cross; `head`
 * replaces the title in its bar, `title` is then its name alone.
 */
export const Dialog = live(
  ({ title, close, wide, children, actions, head, class: more }, self) => {
    const id = (self.id ??= `dialog-${(count += 1)}`);
    return html`<dialog ref=${(element) => element && (self.element = element)} class=${classes("dialog", wide && "wide", more)}
      aria-label=${head ? title : undefined} aria-labelledby=${head ? undefined : id}
      onCancel=${(event) => {
        if (event.target !== self.element) return; // a popup or a file field within it
        event.preventDefault();
        self.props.close();
      }}
      onClose=${(event) => event.target === self.element && !self.leaving && self.props.close()}
      onPointerDown=${(event) => (self.beside = event.target === self.element)}
      onClick=${(event) => event.target === self.element && self.beside && self.props.close()}>
      <div class="sheet" tabindex="-1" ref=${(element) => element && (self.sheet = element)}>
        <header class="sheet-head">${head ?? html`<h2 id=${id}>${title}</h2>`}
          <span class="grow" />${actions}
          <${Button} kind="quiet" icon="close" label=${t("ui.close")} onClick=${close} />
        </header>
        ${children}
      </div>
      ${dialogs.value.at(-1) === self && html`<${Notices} />`}
    </dialog>`;
  },
  (self) => {
    const before = document.activeElement;
    self.element.showModal();
    dialogs.value = [...dialogs.peek(), self];
    (self.sheet.querySelector("[autofocus]") ?? self.sheet).focus({ preventScroll: true });
    self.end = () => {
      self.leaving = true;
      dialogs.value = dialogs.peek().filter((one) => one !== self);
      self.element.close();
      if (before?.isConnected && before !== document.body) before.focus({ preventScroll: true });
    };
  },
);

/** Something at an element (`anchor`), above the page and above dialogs; `close()` when it is left by
 * Escape or a click elsewhere.
 */
export const Popup = live(
  ({ children, class: more, label, role, onKeyDown, id }, self) => html`<div popover="auto" class=${classes("popup", more)}
    ref=${(element) => element && (self.element = element)} role=${role} aria-label=${label} id=${id}
    onKeyDown=${(event) => {
      onKeyDown?.(event);
      event.stopPropagation();
    }}>${children}</div>`,
  (self) => {
    const { element } = self;
    const place = () => {
      const { anchor } = self.props;
      if (!anchor?.isConnected) return self.props.close();
      const at = anchor.getBoundingClientRect();
      const { offsetWidth: width, offsetHeight: height } = element;
      const room = document.documentElement;
      const x = Math.max(4, Math.min(at.left, room.clientWidth - width - 4));
      const isBelow = at.bottom + 4 + height <= room.clientHeight || at.top < room.clientHeight - at.bottom;
      const y = isBelow ? Math.min(at.bottom + 4, Math.max(4, room.clientHeight - height - 4)) : Math.max(4, at.top - 4 - height);
      element.style.setProperty("--x", `${Math.round(x)}px`);
      element.style.setProperty("--y", `${Math.round(y)}px`);
      return undefined;
    };
    const toggled = (event) => event.newState === "closed" && !self.leaving && self.props.close();
    const scrolled = (event) => !element.contains(event.target) && place();
    element.addEventListener("toggle", toggled);
    addEventListener("resize", place);
    addEventListener("scroll", scrolled, true);
    const watcher = new ResizeObserver(place);
    watcher.observe(element);
    element.showPopover();
    place();
    self.end = () => {
      self.leaving = true;
      watcher.disconnect();
      removeEventListener("resize", place);
      removeEventListener("scroll", scrolled, true);
      if (element.matches(":popover-open")) element.hidePopover();
    };
  },
);

/** The handlers of a button that opens and closes a popup: a click on it while the popup is open leaves
 * the popup first, and must not open it again.
 */
export const opener = (self, open) => ({
  onPointerDown: () => (self.wasOpen = open.peek()),
  onClick: (event) => {
    self.anchor = event.currentTarget;
    const next = !(self.wasOpen || open.peek());
    self.wasOpen = false;
    open.value = next;
  },
});
