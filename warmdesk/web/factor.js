/* A second factor is set up: the secret for the authenticator, its first code, the recovery codes. */
import { call } from "./api.js";
import { Form, formOf } from "./door.js";
import { enrolling } from "./identity.js";
import { wears } from "./sheets.js";
import { Button, Field, Loading, load, notice } from "./ui.js";
import { html, live, signal } from "./view.js";
import { t } from "./words.js";

wears("door.css");

/** Sets up a second factor; `done()` once the recovery codes were seen. */
export const Enrol = live(({ done }, self) => {
  self.codes ??= signal(null);
  const setup = load(self, "setup", () => call("GET", "/auth/mfa/setup"));
  const form = formOf(self, { code: "" }, async ({ code }) => {
    enrolling.value = true; // before my own feed says that it is on
    const body = { code: code.replace(/\s/g, "") };
    const found = await call("POST", "/auth/mfa/enable", body).catch((error) => {
      enrolling.value = false;
      throw error;
    });
    self.codes.value = found.recovery_codes;
  });
  self.end = () => (enrolling.value = false);
  const kept = () => {
    enrolling.value = false;
    done();
  };
  if (self.codes.value) return html`<${Codes} codes=${self.codes.value} done=${kept} />`;
  return html`<${Loading} of=${setup} lines=${4}>${({ secret, uri }) => html`
    <ol class="door-steps">
      <li>${t("door.enrol_secret")}
        <${Picture} text=${uri} />
        <code class="door-secret" tabindex="0">${secret.replace(/(.{4})(?=.)/g, "$1 ")}</code>
        <a href=${uri}>${t("door.enrol_here")}</a></li>
      <li>${t("door.enrol_code")}</li>
    </ol>
    <${Form} form=${form} fields=${["code"]} word=${t("door.enrol_word")}>
      <${Field} ...${form.field("code")} label=${t("door.code")} inputmode="numeric" autocomplete="one-time-code"
        spellcheck=${false} required />
    <//>`}<//>`;
});

/** A text as a picture that cameras read. */
export const Picture = live(({ text }, self) => {
  const drawn = load(self, text, async () => {
    const { encode } = await import("./vendor/qr.js");
    const { data, size } = encode(text, { border: 3 });
    const runs = data.flatMap((row, y) => row.map((isDark, x) => (isDark ? `M${x} ${y}h1v1h-1z` : "")));
    return { size, path: runs.join("") };
  });
  return html`<${Loading} of=${drawn} lines=${4}>${({ size, path }) => html`<svg class="door-picture" role="img"
    aria-label=${t("door.enrol_scan")} viewBox=${`0 0 ${size} ${size}`} shape-rendering="crispEdges"><path d=${path} /></svg>`}<//>`;
});

const Codes = ({ codes, done }) => {
  const text = codes.join("\n");
  return html`<p role="status">${t("door.codes_text")}</p>
    <pre class="door-codes" tabindex="0">${text}</pre>
    <p class="door-also">
      ${navigator.clipboard && html`<${Button} onClick=${() => copy(text)}>${t("door.copy")}<//>`}
      <${Button} kind="main" onClick=${done}>${t("door.codes_kept")}<//></p>`;
};

/** Puts a text where it can be pasted from, and says so. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    notice(t("door.copied"));
  } catch {
    notice(t("door.not_copied"), { bad: true });
  }
}
