// What both pages need: elements made of text alone, calls of the server, and entering with a token.
export const byId = (id) => document.getElementById(id);

/** An element; children that are strings become text, never markup. */
export function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "boolean") made.toggleAttribute(key, value);
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

const UNSEEN = /[\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]|(?![\n\t])\p{Cc}|(?<=[\p{Mn}\p{Me}]{3})[\p{Mn}\p{Me}]+/gu;

/** Text in which characters that cannot be seen, or that turn the direction of others, are named. */
export function shown(text) {
  const whole = document.createDocumentFragment();
  const plain = String(text).replaceAll("\r\n", "\n");
  let from = 0;
  for (const found of plain.matchAll(UNSEEN)) {
    const code = found[0].codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
    const named = /^[\p{Mn}\p{Me}]/u.test(found[0]) ? "marks" : `U+${code}`;
    whole.append(plain.slice(from, found.index), el("span", { class: "unseen" }, named));
    from = found.index + found[0].length;
  }
  whole.append(plain.slice(from));
  return whole;
}

/** A box of foreign text: its own direction and language, nothing in it is markup. */
export function quote(text, { lang = "", name = "div" } = {}) {
  const box = el(name, { class: "quote", dir: "auto" }, shown(text));
  if (/^[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*$/.test(lang)) box.setAttribute("lang", lang);
  return box;
}

/** The server understood, and refused with a sentence. */
export class Refused extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

/** An id that nobody guesses. */
export const freshId = () => [...crypto.getRandomValues(new Uint8Array(16))].map((each) => each.toString(16).padStart(2, "0")).join("");

let header = sessionStorage.getItem("sightline-header") || "token";

/** GET, or POST if there is a body. Throws Refused, or another error if no answer came. */
export async function call(path, body) {
  const post = body !== undefined;
  const response = await fetch(path, {
    method: post ? "POST" : "GET",
    headers: post ? { "Content-Type": "application/json", "X-Sightline": header } : { "X-Sightline": header },
    body: post ? JSON.stringify(body) : undefined,
    cache: "no-store",
    redirect: "error",
    signal: AbortSignal.timeout(15000),
  });
  const found = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refused(response.status, String(found.error || `the server answers ${response.status}`));
  return found;
}

/** Exchange the token of the address for a session; the address forgets it at once. */
export async function enter() {
  const token = new URLSearchParams(location.hash.slice(1)).get("t");
  if (!token) return;
  history.replaceState(null, "", location.pathname);
  const found = await call("/api/enter", { token });
  header = String(found.xt || "token");
  sessionStorage.setItem("sightline-header", header);
}
