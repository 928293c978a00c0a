/* What my own pages share: a section with its title, and a change of my account that shows at once. */
import { call } from "./api.js";
import { choose } from "./identity.js";
import { notice, sayError } from "./ui.js";
import { html } from "./view.js";

/** A part of a page: its title, what it is for, and its content. */
export const Section = ({ title, text, children, foot }) => html`<section class="me-section" aria-label=${title}>
  <h2>${title}</h2>
  ${text && html`<p class="soft">${text}</p>`}
  ${children}
  ${foot && html`<div class="me-foot">${foot}</div>`}
</section>`;

/** Changes my account: at once here, and back again with a word where the server refuses. */
export async function change(changes) {
  const end = choose(changes);
  try {
    end(await call("PUT", "/users/me", changes));
  } catch (error) {
    end({});
    notice(sayError(error), { bad: true });
  }
}
