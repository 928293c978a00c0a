/* The style sheets: each page wears base.css, and another one with the first file that needs it. */
const HOME = new URL(".", import.meta.url).href;
const missing = new Map(); // those that are to come, and their coming

const worn = () => [...document.querySelectorAll('link[rel="stylesheet"]')];

/** Says that a file needs a style sheet. The server reads these lines too: the page that it sends wears
 * what the files need that it begins with.
 */
export function wears(name) {
  if (!worn().some((one) => one.href === HOME + name)) missing.set(name, null);
}

function putOn(name) {
  const link = Object.assign(document.createElement("link"), { rel: "stylesheet", href: HOME + name });
  const coming = new Promise((done, fail) => {
    link.onload = () => done(missing.delete(name));
    link.onerror = () => {
      link.remove();
      missing.set(name, null);
      fail(new Error(name));
    };
  });
  // In the order of the names, as the server puts them: which rule wins is the same wherever one comes from.
  const [base, ...rest] = worn();
  const after = rest.filter((one) => one.href < link.href).at(-1) ?? base;
  after.after(link);
  return coming;
}

let coming = 0;

/** Whether files are on their way. */
export const isComing = () => coming > 0;

/** A file that is on its way, once it is here with the style sheets that it needs. */
export async function dressed(file) {
  coming += 1;
  try {
    const found = await file;
    const names = [...missing.keys()];
    await Promise.all(
      names.map((name) => {
        if (!missing.get(name)) missing.set(name, putOn(name));
        return missing.get(name);
      }),
    );
    return found;
  } finally {
    coming -= 1;
  }
}
