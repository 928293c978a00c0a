/* Who is who: a signal for each user, so that a new name shows wherever the old one stood. */
import { call } from "./api.js";
import { signal } from "./view.js";

const AT_ONCE = 100;
const LATER_MS = 20;

/** The people of a project, by their ids. */
export class People {
  constructor() {
    this.known = new Map();
    this.asked = new Set();
  }

  learn(user) {
    const { id, username, display_name, avatar_url } = user;
    const one = this.known.get(id);
    const now = { id, username, display_name, avatar_url };
    if (!one) this.known.set(id, signal(now));
    else if (JSON.stringify(one.peek()) !== JSON.stringify(now)) one.value = now;
  }

  /** Somebody as a UserRef; of one who is not known yet, the name is empty until it is here. */
  get(id) {
    let one = this.known.get(id);
    if (!one) {
      one = signal({ id, username: "", display_name: "", avatar_url: null });
      this.known.set(id, one);
      this.#ask(id);
    }
    return one.value;
  }

  #ask(id) {
    this.asked.add(id);
    this.timer ??= setTimeout(async () => {
      const ids = [...this.asked].slice(0, AT_ONCE);
      for (const each of ids) this.asked.delete(each);
      this.timer = undefined;
      try {
        for (const user of await call("GET", `/users/refs?ids=${ids.join(",")}`)) this.learn(user);
      } catch {
        // Without their names they show as unknown; the next start asks again.
      }
      if (this.asked.size) this.#ask([...this.asked][0]);
    }, LATER_MS);
  }
}
