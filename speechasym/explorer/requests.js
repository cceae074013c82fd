// Requests to our own server, and what went wrong with them in words.

export const STOPPED = "The server has stopped. Start “speechasym explore” again; " +
  "this page keeps what it has already drawn.";

/** A request that failed; `status` is 0 if no server answered. */
export class Failed extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

export async function get(address, options = {}) {
  let reply;
  try {
    reply = await fetch(address, { cache: "no-store", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failed(STOPPED, 0);
  }
  if (reply.ok) return reply;
  let message = `The server answered ${reply.status} to ${address}.`;
  try {
    message = (await reply.json()).error ?? message;
  } catch { /* not JSON: the sentence above */ }
  throw new Failed(message, reply.status);
}

export const getJson = async (address) => (await get(address)).json();

export async function post(address, body) {
  const binary = body instanceof ArrayBuffer || ArrayBuffer.isView(body);
  const reply = await get(address, {
    method: "POST", body: binary ? body : JSON.stringify(body),
    headers: {
      "X-Requested-With": "speechasym",
      "Content-Type": binary ? "application/octet-stream" : "application/json",
    },
  });
  return reply.json();
}

const box = document.getElementById("alerts");
const DONE_MS = 12000; // good news leaves by itself

/** Show a problem at the top until it is closed or solved; equal ones once. */
export function alertOf(text, kind = "problem") {
  if ([...box.children].some((child) => child.dataset.text === text)) return;
  const line = document.createElement("p");
  line.className = kind;
  line.dataset.text = text;
  line.append(text);
  const close = document.createElement("button");
  close.type = "button";
  close.setAttribute("aria-label", "Close this message");
  close.textContent = "×";
  close.addEventListener("click", () => line.remove());
  line.append(close);
  box.append(line);
  if (kind === "done") setTimeout(() => line.remove(), DONE_MS);
  while (box.children.length > 3) box.firstElementChild.remove();
}

export function withdraw(text) {
  for (const child of [...box.children]) if (child.dataset.text === text) child.remove();
}

/** Remove messages about the recording that was shown before. */
export function withdrawOld() {
  for (const child of [...box.children]) if (child.dataset.text !== STOPPED) child.remove();
}

/** Ask every 3 s whether the server lives, and say when it does not. */
export function watch() {
  let alive = true;
  setInterval(async () => {
    let now = true;
    try {
      await get("alive");
    } catch (error) {
      now = false;
    }
    if (now !== alive) {
      alive = now;
      if (now) withdraw(STOPPED);
      else alertOf(STOPPED);
    }
  }, 3000);
}

let timer;
/** Say something to screen readers, the last of several in quick succession. */
export function say(text, wait = 0) {
  clearTimeout(timer);
  timer = setTimeout(() => { document.getElementById("said").textContent = text; }, wait);
}

/** Make an element: el("button", {type: "button", onclick: f}, "text", child). */
export function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}
