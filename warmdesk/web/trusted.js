/* The only addresses from which the page starts programs of its own, by the policy that it is served with. */

const PROGRAMS = {
  "/worker.js": "/worker.js",
  markdown: new URL("./markdown_worker.js", import.meta.url).pathname,
};
const policy = globalThis.trustedTypes?.createPolicy("warmdesk", {
  createScriptURL(name) {
    if (!(name in PROGRAMS)) throw new TypeError(`${name} is no program of this page`);
    return PROGRAMS[name];
  },
});

/** The address of a program by its name, "/worker.js" or "markdown", as the browser wants it. */
export const workerAddress = (name) => (policy ? policy.createScriptURL(name) : PROGRAMS[name]);
