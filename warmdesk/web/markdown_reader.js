/* Long Markdown is read by a worker, which is ended when it takes too long. */
import { workerAddress } from "./trusted.js";

const LIMIT_MS = 250;
const START_MS = 5000; // its files have to come first

let worker = null;
let ready = null;
let count = 0;
let last = Promise.resolve();

function begin() {
  worker = new Worker(workerAddress("markdown"), { type: "module" });
  ready = new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("the reader of Markdown does not start")), START_MS);
    worker.addEventListener("message", () => {
      clearTimeout(timer);
      resolve();
    }, { once: true });
    worker.addEventListener("error", reject, { once: true });
  });
}

function end() {
  worker?.terminate();
  worker = null;
}

async function read(text) {
  try {
    if (!worker) begin();
    await ready;
  } catch {
    end();
    return null;
  }
  const id = (count += 1);
  const mine = worker;
  return new Promise((resolve) => {
    const done = (tokens) => {
      clearTimeout(timer);
      mine.removeEventListener("message", heard);
      resolve(tokens);
    };
    const heard = ({ data }) => data.id === id && done(data.tokens);
    const timer = setTimeout(() => {
      end();
      done(null);
    }, LIMIT_MS);
    mine.addEventListener("message", heard);
    mine.postMessage({ id, text });
  });
}

/** The tokens of a text, or null where it takes longer than 250 ms or cannot be read. One after another,
 * so that no text is blamed for the one before.
 */
export function readBeside(text) {
  const mine = last.then(() => read(text));
  last = mine;
  return mine;
}
