/* The service worker: it keeps the files of the page, and never what people wrote. */
import { workerAddress } from "./trusted.js";

navigator.serviceWorker.register(workerAddress("/worker.js")).catch(() => {
  // Without it everything works, but for the start while the server is away.
});
