/* Preact, htm and signals, and the one way in which they meet here: a component made by `live`
 * renders itself again when a signal changes that it has read. Everything renders once in a frame.
 */
import { Component, Fragment, h, options, render } from "./vendor/preact.js";
import { batch, computed, effect, signal, untracked } from "./vendor/signals.js";
import htm from "./vendor/htm.js";

export const html = htm.bind(h);
export { Component, Fragment, batch, computed, effect, h, render, signal, untracked };

/** How often components rendered and frames were made, for the tests that count. */
export const work = { renders: 0, frames: 0 };

const HIDDEN_MS = 100; // a hidden page has no animation frames
const FRAME_MS = 16;
let waiting = [];
let slower = 0;
let painted = 0;
let gathering = false;

/** From one render to the next about this many ms pass from now on; 0: one render a frame. */
export function renderEvery(ms) {
  slower = ms;
}

/** Runs `then` when the page has rendered what is waiting. */
export function afterRender(then) {
  nextFrame(() => nextFrame(then));
}

function nextFrame(then) {
  if (document.hidden) setTimeout(then, HIDDEN_MS);
  else if (slower) setTimeout(() => requestAnimationFrame(then), painted + slower - FRAME_MS - performance.now());
  else requestAnimationFrame(then);
}

/** Runs `then` with the next render: what it writes into the page is laid out together with that. */
export function withRender(then) {
  if (waiting.push(then) === 1 && !gathering) nextFrame(paint);
}

options.debounceRendering = withRender;

function paint() {
  if (!waiting.length) return;
  const runs = waiting;
  waiting = [];
  work.frames += 1;
  painted = performance.now();
  for (const one of runs) {
    try {
      one();
    } catch (error) {
      // A fault of one is heard of, and the others are rendered all the same.
      queueMicrotask(() => {
        throw error;
      });
    }
  }
}

/** Whether something changed that does not show yet. */
export const isRendering = () => waiting.length > 0;

/** Renders what `then` changes at its end. Who changes something in an animation frame need not wait for
 * the next one: each is laid out and painted, also when nothing changes in it.
 */
export function inFrame(then) {
  gathering = !slower;
  try {
    then();
  } finally {
    if (gathering) {
      gathering = false;
      paint();
    }
  }
}

/** A node to be given to the renderer again and again. It takes a copy each time: one that it took itself would hold
 * all that stood around it, long after that left the page. (`__b` is its depth; it copies what has one.)
 */
export function kept(node) {
  node.__b = 1;
  return node;
}

function same(one, other) {
  for (const name in one) if (one[name] !== other[name]) return false;
  for (const name in other) if (!(name in one)) return false;
  return true;
}

/** A component of `view(props, self)`, which must read its signals while it runs. `self` is the
 * same object as long as the component lives: what the view keeps (its own signals, elements) goes
 * there. `begin(self)` runs once it is in the page, `self.end` when it leaves.
 */
export function live(view, begin) {
  return class Live extends Component {
    shouldComponentUpdate(props, state) {
      this.#let(this.__v);
      return state !== this.state || !same(props, this.props);
    }

    componentDidUpdate() {
      this.#let(this.__v);
    }

    componentDidMount() {
      this.node = this.__v;
      begin?.(this);
    }

    // Preact gives a component another node (`__v`, as its file names it) each time. The first one stays with
    // the children of whoever contains it, and would hold what it rendered (`__k`) long after that left the page.
    #let(node) {
      if (this.past) this.past.__k = null;
      this.past = node === this.node ? null : this.node;
      this.node = node;
    }

    componentWillUnmount() {
      this.stop?.();
      this.end?.();
    }

    render(props) {
      this.stop?.();
      work.renders += 1;
      let made;
      let first = true;
      this.stop = effect(() => {
        if (!first) return this.setState({});
        first = false;
        made = view(props, this);
        return undefined;
      });
      // The effect lives on: it must not hold the nodes that it made once (they would never go).
      const out = made;
      made = null;
      return out;
    }
  };
}
