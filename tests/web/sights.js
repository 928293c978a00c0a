/* What somebody may miss on a page, each a list of complaints: asked by `ask` of screens.py. */
({
  /** Text that is cut off where nobody can scroll to it. What ends in an ellipsis says so. */
  lost() {
    const found = [];
    const root = document.documentElement;
    if (root.scrollWidth > root.clientWidth) found.push(`the page is ${root.scrollWidth} wide`);
    const main = document.querySelector("main");
    if (main.scrollWidth > main.clientWidth + 1 && !main.matches(".plain"))
      found.push(`the main part is ${main.scrollWidth} of ${main.clientWidth} wide`);
    const over = [...document.querySelectorAll("dialog:modal, :popover-open:not(.toasts)")].at(-1);
    const walk = document.createTreeWalker(over ?? document.body, NodeFilter.SHOW_TEXT);
    const range = document.createRange();
    while (walk.nextNode()) {
      const text = walk.currentNode;
      if (!text.data.trim() || !text.parentElement.checkVisibility()) continue;
      if (text.parentElement.closest(".said, .frame-skip, script, style, option, textarea")) continue;
      range.selectNodeContents(text);
      const box = range.getBoundingClientRect();
      if (!box.width) continue;
      for (let up = text.parentElement; up; up = up.parentElement) {
        const style = getComputedStyle(up);
        if (style.textOverflow === "ellipsis" || style.webkitLineClamp !== "none") break;
        const scrolls = (way) => way === "auto" || way === "scroll";
        const clips = (way) => way === "hidden" || way === "clip";
        const edge = up.getBoundingClientRect();
        const aside = box.left < edge.left - 2 || box.right > edge.right + 2;
        const below = box.top < edge.top - 2 || box.bottom > edge.bottom + 2;
        if ((aside && clips(style.overflowX)) || (below && clips(style.overflowY))) {
          found.push(`cut: "${text.data.trim().slice(0, 60)}" in ${up.outerHTML.slice(0, 100)}`);
          break;
        }
        if (scrolls(style.overflowX) || scrolls(style.overflowY)) break;
        if (style.position === "fixed") break;
      }
    }
    return found;
  },

  /** What somebody may want to press, and cannot scroll to or not get at. */
  hidden() {
    const found = [];
    const over = [...document.querySelectorAll("dialog:modal, :popover-open:not(.toasts)")].at(-1);
    const all = (over ?? document).querySelectorAll(
      "a[href], button, input, select, textarea, summary, [tabindex='0']");
    for (const each of all) {
      if (!each.checkVisibility() || each.disabled || each.closest(".frame-skip")) continue;
      if (each.matches("input[type=file], .talk-log, .page-scroll, .projects-words > a")) continue;
      each.scrollIntoView({ block: "center", inline: "center", behavior: "instant" });
      const box = each.getClientRects()[0]; // the first line of a link that has several
      const x = box.left + box.width / 2, y = box.top + box.height / 2;
      const shown = each.outerHTML.slice(0, 120);
      if (x < 0 || y < 0 || x > innerWidth || y > innerHeight) found.push(`out of reach: ${shown}`);
      else {
        const there = document.elementFromPoint(x, y);
        if (!there || !(each.contains(there) || there.closest("label")))
          found.push(`under ${there?.outerHTML.slice(0, 80)}: ${shown}`);
      }
    }
    return found;
  },

  /** What moves by itself, or on its way to somewhere. */
  moves() {
    const found = new Set();
    for (const each of document.querySelectorAll("*")) {
      for (const part of [null, "::before", "::after"]) {
        const style = getComputedStyle(each, part);
        const of = `${each.tagName}.${each.className}`;
        if (style.animationName !== "none") found.add(`${of} is animated`);
        if (style.transitionDuration.split(", ").some((one) => parseFloat(one) > 0))
          found.add(`${of} has a transition`);
        if (style.scrollBehavior === "smooth") found.add(`${of} scrolls smoothly`);
      }
    }
    return [...found];
  },

  /** Notes what is nothing but a colour. */
  mark() {
    const paints = (style) => style.backgroundColor !== "rgba(0, 0, 0, 0)" || style.backgroundImage !== "none";
    for (const each of document.querySelectorAll("#app *")) {
      const box = each.getBoundingClientRect();
      const style = getComputedStyle(each);
      if (each.childNodes.length || box.width < 3 || box.height < 3 || !paints(style)) continue;
      if (!each.matches("input, textarea, select, img, button, svg *, .skeleton *"))
        each.dataset.lone = style.backgroundColor;
    }
  },

  /** What a reader with the system's own colours cannot see: what was nothing but a colour, what is chosen,
   * where a button ends.
   */
  unseen() {
    const found = [];
    const shows = (style) => ["borderTop", "borderInlineStart", "outline"].some((one) =>
      style[`${one}Style`] !== "none" && parseFloat(style[`${one}Width`]) > 0);
    for (const each of document.querySelectorAll("[data-lone]")) {
      const style = getComputedStyle(each);
      if (style.forcedColorAdjust !== "none" && !shows(style)) found.push(`no colour: ${each.outerHTML.slice(0, 120)}`);
    }
    const looks = (one) => ["::before", "::after", null].map((part) => {
      const style = getComputedStyle(one, part);
      return [style.outlineStyle, style.outlineWidth, style.borderTopWidth, style.borderBottomWidth,
        style.borderBottomColor, style.backgroundColor, style.color, style.content, style.textDecorationLine].join();
    }).concat(one.querySelector("svg") ? getComputedStyle(one.querySelector("svg")).fill : []).join();
    const on = "[aria-current], [aria-pressed=true], [aria-selected=true], .option.at, .tile.chosen, .tile.held";
    for (const each of document.querySelectorAll(on)) {
      const bare = (one) => one.className.replace(/ ?\b(at|on|chosen|held|keys)\b/g, "");
      const other = [...document.querySelectorAll(each.tagName)].find((one) =>
        one !== each && bare(one) === bare(each) && !one.matches(on) && !one.matches(":focus"));
      if (other && looks(other) === looks(each)) found.push(`no different: ${each.outerHTML.slice(0, 120)}`);
    }
    for (const each of document.querySelectorAll("button.button:not(.quiet), a.button:not(.quiet), input:not(.said), textarea, select")) {
      const box = each.getBoundingClientRect();
      const style = getComputedStyle(each);
      if (box.width && style.appearance === "none" && !shows(style)) found.push(`no edge: ${each.outerHTML.slice(0, 120)}`);
    }
    return found;
  },
})
