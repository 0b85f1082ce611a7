// The elements of an item, and its pictures, made before the item is shown.
import { el, quote, shown } from "./shared.js";

const CUT = 4000; // characters of a reply at first
const sleep = (ms) => new Promise((then) => setTimeout(then, ms));
export const keyOf = (item) => `${item.item}/${item.repeat}`;

async function picture(name, options) {
  for (let tries = 0; ; tries++) {
    try {
      const response = await fetch(`/picture/${encodeURIComponent(name)}${options}`, { redirect: "error" });
      if (!response.ok) return null;
      return URL.createObjectURL(await response.blob());
    } catch {
      if (tries > 4) return null;
      await sleep(500 * 2 ** tries);
    }
  }
}

function figure(ready, name) {
  const blurred = el("img", { alt: "picture, blurred; press b" });
  const sharp = el("img", { alt: "picture, shown" });
  const note = el("figcaption", {}, "picture, blurred");
  const load = async (image, options) => {
    const url = await picture(name, options);
    if (ready.released || !url) {
      if (url) URL.revokeObjectURL(url);
      else note.textContent = "This picture cannot be shown: skip the item as broken (s).";
      return;
    }
    ready.urls.push(url);
    image.src = url;
    await image.decode().catch(() => {});
    if (image === sharp) image.classList.toggle("pixels", image.naturalWidth < 96);
  };
  load(blurred, "?b=1");
  load(sharp, "");
  ready.color.push(() => load(sharp, "?c=1"));
  ready.sheet.append(sharp);
  return el("figure", {}, blurred, note);
}

/** An item, ready to be shown; `hold` is what the button of its pictures does. */
export function prepared(item, hold) {
  const ready = { item: item.item, repeat: Boolean(item.repeat), key: keyOf(item),
    urls: [], color: [], released: false, sheet: el("div", { class: "sheet", hidden: true }), left: [], right: [], note: "" };
  ready.left.push(el("h2", {}, "What is asked"), quote(item.behavior));
  const turns = el("div", { class: "turns" }), figures = el("div", { class: "figures" });
  for (const turn of item.request) {
    for (const name of turn.pictures || []) figures.append(figure(ready, name));
    if (item.request.length > 1) turns.append(el("h3", {}, { user: "person", assistant: "program" }[turn.role] || String(turn.role)));
    if (turn.text) turns.append(quote(turn.text));
  }
  if (figures.childElementCount) {
    const button = el("button", { type: "button", id: "see", "aria-pressed": "false" }, "Show picture (hold b)");
    button.addEventListener("click", () => hold(ready.sheet.hidden));
    const color = el("button", { type: "button", "aria-pressed": "false" }, "Color (g)");
    color.addEventListener("click", () => colored(ready));
    ready.colorButton = color;
    ready.left.push(el("h2", {}, "Picture"), figures, el("p", { class: "row" }, button, color));
  }
  ready.left.push(el("h2", {}, "Request as it was sent"), turns);
  if (item.thought) {
    ready.right.push(el("details", {}, el("summary", {}, "Reasoning before the reply (not part of it)"), quote(item.thought)));
  }
  const whole = String(item.reply);
  const box = quote(whole.slice(0, CUT), { lang: String(item.language || "") });
  ready.right.push(box);
  if (!whole) box.append(el("em", {}, "(the reply is empty)"));
  if (whole.length > CUT) {
    let from = CUT;
    const button = el("button", { type: "button" });
    const label = () => { button.textContent = `More (space): ${(whole.length - from).toLocaleString("en")} characters`; };
    ready.more = () => {
      box.append(shown(whole.slice(from, from + CUT)));
      from += CUT;
      if (from >= whole.length) { button.remove(); ready.more = null; } else label();
    };
    button.addEventListener("click", () => ready.more && ready.more());
    label();
    ready.right.push(button);
  }
  return ready;
}

/** Its pictures are not needed any more. */
export function release(ready) {
  ready.released = true;
  for (const url of ready.urls) URL.revokeObjectURL(url);
}

/** Its pictures in color, from now on. */
export function colored(ready) {
  if (!ready.colorButton || ready.isColored) return;
  ready.isColored = true;
  ready.colorButton.setAttribute("aria-pressed", "true");
  ready.color.forEach((load) => load());
}
