/* Keeps the files of the page, so that it starts while the server is away. What people wrote, and all
 * else that the API answers, passes by and is never kept.
 */
const KEPT = "warmdesk-files";
const SHELL = "/";

self.addEventListener("install", (event) => {
  event.waitUntil(self.skipWaiting());
});

self.addEventListener("activate", (event) => {
  event.waitUntil(self.clients.claim());
});

const isFile = (url) => /^\/app\/[0-9a-f]+\//.test(url.pathname);
const isPage = (url) => !/^\/(api|swagger|avatars)(\/|$)/.test(url.pathname);

/** A file of one release is for ever the same. */
async function file(request) {
  const kept = await caches.open(KEPT);
  const found = await kept.match(request);
  if (found) return found;
  const answer = await fetch(request);
  if (answer.ok) await kept.put(request, answer.clone()).catch(() => {});
  return answer;
}

/** The page as the server has it now; the one that was kept when there is no server. */
async function page(request) {
  const kept = await caches.open(KEPT);
  try {
    const answer = await fetch(request);
    if (answer.ok && answer.headers.get("Content-Type")?.startsWith("text/html")) {
      const text = await answer.clone().text();
      const release = /\/app\/([0-9a-f]+)\//.exec(text)?.[1];
      await keep(kept, answer.clone(), release).catch(() => {});
    }
    return answer;
  } catch (error) {
    const found = await kept.match(SHELL);
    if (found) return found;
    throw error;
  }
}

/** Keeps the page of a release, and forgets the files of all releases but it and the one before. */
async function keep(kept, answer, release) {
  if (!release) return;
  const before = await kept.match(SHELL);
  const last = before && /\/app\/([0-9a-f]+)\//.exec(await before.text())?.[1];
  await kept.put(SHELL, answer);
  if (last === release) return;
  for (const request of await kept.keys()) {
    const of = /^\/app\/([0-9a-f]+)\//.exec(new URL(request.url).pathname)?.[1];
    if (of && of !== release && of !== last) await kept.delete(request);
  }
}

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== self.location.origin) return;
  if (isFile(url)) event.respondWith(file(request));
  else if (request.mode === "navigate" && isPage(url)) {
    event.respondWith(page(request));
  }
});

/** Shows what a notification is about: in a page that is open, else in a new one. */
async function show(path) {
  const all = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
  const pages = all.filter((one) => isPage(new URL(one.url))); // Swagger UI is a window too
  const page = pages.find((one) => one.visibilityState === "visible") ?? pages[0];
  if (!page) return self.clients.openWindow(path);
  await page.focus().catch(() => {}); // some systems forbid it
  return page.postMessage({ go: path });
}

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(show(event.notification.data?.url ?? "/"));
});
