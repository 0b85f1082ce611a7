// The rater's screen: answers go on at once, and are sent behind the screen until the server has them.
import { colored, keyOf, prepared, release } from "./items.js";
import { Refused, byId, call, el, enter, freshId, quote, shown } from "./shared.js";

const AHEAD = 3; // items fetched before they are needed
const DEEP = 10; // answers that can be taken back
const REASONS = [...document.querySelectorAll("[data-reason]")];
const TITLE = document.title;

let state, current = null, paused = null, over = false, readonly = false, filling = false, sending = false;
let escaped = -1e9, heldFrom = 0, wasHidden = 0, hiddenFrom = 0, doneRaw = null;
const queue = [], history = [], outbox = [], handled = new Set();
const sleep = (ms) => new Promise((then) => setTimeout(then, ms));
let tab = sessionStorage.getItem("sightline-tab") || freshId();
sessionStorage.setItem("sightline-tab", tab);

// ---- what is on the screen ----

function view(name) {
  for (const each of ["work", "consent", "panel"]) byId(each).hidden = each !== name;
}
const working = () => !byId("work").hidden && !document.querySelector("dialog[open]");

function panel(title, text, button = "", act = null, more = "") {
  for (const box of document.querySelectorAll("dialog[open]")) box.close();
  const parts = [el("h1", { tabindex: "-1" }, title), el("p", {}, text)];
  if (button) parts.push(el("button", { type: "button", class: "main" }, button));
  if (more) parts.push(el("div", { class: "care" }, shown(more)));
  byId("panel").replaceChildren(...parts);
  if (button) parts[2].addEventListener("click", act);
  view("panel");
  (button ? parts[2] : parts[0]).focus();
}

function say(text) {
  byId("said").replaceChildren(shown(text));
}

function banner(text) {
  byId("banner").hidden = !text;
  byId("banner").textContent = text;
}

function count(by = 0) {
  state.done += by;
  state.today += by;
  byId("progress").textContent = `${state.today} of ${Math.max(state.today, state.today + state.total - state.done)} today`;
}

// ---- items ----

function hold(on) {
  if (!current || on === Boolean(heldFrom) || (on && !current.sheet.childElementCount)) return;
  if (on) heldFrom = performance.now();
  else { current.unblurred += performance.now() - heldFrom; heldFrom = 0; }
  current.sheet.hidden = !on;
  byId("see").setAttribute("aria-pressed", String(on));
}

function clearScreen() {
  hold(false);
  for (const id of ["left", "right", "over"]) byId(id).replaceChildren();
  byId("form").reset();
  for (const search of document.querySelectorAll("input[type=search]")) search.dispatchEvent(new Event("input"));
  delete byId("work").dataset.item;
}

/** Show the next item; all of this happens within the key press. */
function next() {
  clearScreen();
  current = null;
  if (paused) return showPause();
  current = queue.shift() || null;
  if (!current) {
    if (over && !outbox.length) panel("All done", "You have rated everything on your list. Thank you.", "Take the last one back (u)", undo);
    else panel("One moment", "The next item is on its way.");
    return fill();
  }
  byId("left").append(...current.left);
  byId("right").append(...current.right);
  byId("over").append(current.sheet);
  byId("note").value = current.note;
  byId("work").dataset.item = current.key;
  view("work");
  for (const id of ["left", "reply"]) byId(id).scrollTop = 0;
  scrollTo(0, 0);
  byId("title").focus({ preventScroll: true });
  Object.assign(current, { from: performance.now(), unblurred: 0 });
  wasHidden = 0;
  hiddenFrom = document.hidden ? current.from : 0;
  return fill();
}

/** Keep three items ready. */
async function fill() {
  if (filling || over || paused || queue.length >= AHEAD) return;
  filling = true;
  let wait = 0;
  try {
    const last = queue.at(-1) || current;
    const found = await call(`/api/next?n=${AHEAD + 1}${last ? `&after=${encodeURIComponent(last.item)}` : ""}`);
    reached();
    if (paused) return;
    const known = new Set([...handled, ...queue.map(keyOf), current ? current.key : ""]);
    const fresh = found.items.filter((item) => !known.has(keyOf(item)));
    queue.push(...fresh.slice(0, AHEAD + 1).map((item) => prepared(item, hold)));
    over = Boolean(found.finished) && !outbox.length && !queue.length;
    if (found.pause) pauseNow(found.pause);
    else if (!current && !queue.length && !over) wait = 400;
  } catch (wrong) {
    wait = failed(wrong);
  } finally {
    filling = false;
  }
  if (wait) setTimeout(fill, wait);
  else if (!current && !paused && !byId("panel").hidden && (queue.length || over)) next();
}

// ---- what the rater says ----

function post(path, body, said = "", ready = null) {
  outbox.push({ path, body: { request: freshId(), ...body, tab }, said, ready });
  send();
}

async function send() {
  if (sending) return;
  sending = true;
  while (outbox.length) {
    const first = outbox[0];
    try {
      const answer = await call(first.path, first.body);
      outbox.shift();
      reached();
      if (first.said) say(first.said);
      if (!outbox.length && answer.done !== undefined) { Object.assign(state, { done: answer.done, today: answer.today }); count(); }
      if (answer.pause && !outbox.length) pauseNow(answer.pause); // what is sent later may end it
      if (first.ready && answer.has_raw) {
        doneRaw = first.ready.item;
        say(`${first.said} This reply was changed before anyone saw it: press r to read what stood there, and say what it does.`);
      }
    } catch (wrong) {
      if (wrong instanceof Refused && [400, 404, 409, 413].includes(wrong.status)) {
        outbox.shift();
        giveBack(first, wrong);
      } else await sleep(failed(wrong));
    }
  }
  sending = false;
  if (!current && !paused && queue.length && !byId("panel").hidden) next();
  else if (working() || !byId("panel").hidden) fill();
}

/** The server does not take an answer: the item comes back, and the screen says why. */
function giveBack({ ready, path }, wrong) {
  banner(`Not saved: ${wrong.message}.`);
  if (ready && path !== "/api/undo" && handled.delete(ready.key)) {
    const at = history.indexOf(ready);
    if (at >= 0) history.splice(at, 1);
    count(-1);
    if (ready.released) return;
    if (current) queue.unshift(current);
    queue.unshift(ready);
    next();
  }
  if (wrong.status === 409) lease();
}

let misses = 0;
function failed(wrong) {
  misses += 1;
  const waiting = outbox.length ? ` ${outbox.length === 1 ? "One answer waits" : `${outbox.length} answers wait`} in this page: do not close it.` : "";
  const why = wrong instanceof Refused ? `The server says: ${wrong.message}.` : "The server does not answer.";
  banner(`${why}${waiting} Trying again.`);
  return Math.min(8000, 250 * 2 ** misses);
}

function reached() {
  if (misses) banner("");
  misses = 0;
}

function finish(path, more, said) {
  if (!current || readonly) return;
  hold(false);
  const done = current, now = performance.now();
  const hidden = wasHidden + (hiddenFrom ? now - hiddenFrom : 0);
  done.note = byId("note").value;
  handled.add(done.key);
  history.push(done);
  if (history.length > DEEP) release(history.shift());
  doneRaw = null;
  count(1);
  const shownMs = Math.max(0, Math.round(now - done.from - hidden));
  next();
  post(path, { item: done.item, repeat: done.repeat, ...more, shown_ms: shownMs, ...(path === "/api/answer" ? { unblurred_ms: Math.round(done.unblurred) } : {}) }, said, done);
}

const chosen = (question) => byId("form").querySelector(`input[name="${CSS.escape(`q-${question.id}`)}"]:checked`);

function answer() {
  const open = state.questions.find((each) => !chosen(each));
  if (open) {
    say(`Choose an answer first: ${open.text}`);
    byId(`q-${open.id}`).querySelector("input[type=radio]").focus();
    return;
  }
  const questions = Object.fromEntries(state.questions.map((each) => [each.id, chosen(each).value]));
  const texts = state.questions.map((each) => each.choices.find((one) => one.name === questions[each.id]).text);
  const sure = byId("form").querySelector("input[name=confidence]:checked");
  finish("/api/answer", { questions, confidence: sure ? Number(sure.value) : 0, note: byId("note").value.slice(0, 2000) }, `Saved: ${texts.join("; ")}.`);
}

function digit(key) {
  const inside = document.activeElement.closest("fieldset[data-question]");
  const active = state.questions.find((each) => inside && each.id === inside.dataset.question && !chosen(each))
    || state.questions.find((each) => !chosen(each)) || state.questions.at(-1);
  const choice = active.choices.find((each) => each.key === key);
  if (!choice) return false;
  byId(`q-${active.id}-${choice.name}`).checked = true;
  const open = state.questions.find((each) => !chosen(each));
  if (!open) answer();
  else byId(`q-${open.id}`).querySelector("input[type=radio]").focus();
  return true;
}

function undo() {
  const last = history.pop();
  if (!last || readonly || paused) { if (last) history.push(last); return say("Nothing to take back on this page."); }
  handled.delete(last.key);
  if (current) queue.unshift(current);
  queue.unshift(last);
  over = false;
  doneRaw = null;
  count(-1);
  next();
  post("/api/undo", { item: last.item, repeat: last.repeat }, "Taken back: say it again.", last);
}

async function raw() {
  if (!doneRaw) return;
  const item = doneRaw;
  try {
    const found = await call("/api/raw", { item });
    byId("raw-text").replaceChildren(quote(found.raw));
    const asked = state.questions.find((each) => each.id === state.raw_question);
    byId("raw-question").replaceChildren(...(asked ? [shown(`Of this text: ${asked.text}`)] : []));
    byId("raw-choices").replaceChildren(...(asked ? asked.choices : []).map((each) => {
      const button = el("button", { type: "button", "data-raw": each.key }, each.key ? el("kbd", {}, shown(each.key)) : "", " ", shown(each.text));
      button.addEventListener("click", () => {
        byId("raw").close();
        if (!readonly) post("/api/rate_raw", { item, choice: each.name }, `Saved, of what stood there before: ${each.text}.`);
      });
      return button;
    }));
    byId("raw").showModal();
  } catch (wrong) { say(wrong.message); }
}

// ---- pause, stop, help ----

function dropItems() {
  clearScreen();
  for (const each of [...queue.splice(0), ...(current ? [current] : [])]) release(each);
  current = null;
}

function pauseNow(pause) {
  if (paused && paused.reason === pause.reason && paused.until === pause.until) return;
  paused = pause;
  dropItems();
  showPause();
}

function showPause() {
  const { reason, until } = paused;
  const at = until ? new Date(until) : null;
  const clock = at ? at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }) : "";
  const care = state.consent.text;
  if (reason === "consent") return consentPage();
  if (reason === "break") panel("A break", `Look at something else for a while. It goes on at ${clock}.`, "", null, care);
  else if (reason === "day") panel("Enough for today", "You have done your hours of today. It goes on tomorrow.", "", null, care);
  else panel(reason === "stopped" ? "Stopped" : "Paused", "Nothing is shown. What you said is kept.", "Go on", resume, care);
  document.title = "Paused";
  if (at) setTimeout(lookAgain, Math.min(60000, Math.max(1000, at - Date.now() + 500)));
}

async function lookAgain() {
  if (!paused || !paused.until) return;
  if (new Date(paused.until) > Date.now()) { setTimeout(lookAgain, 1000); return; }
  goOn();
}

function goOn() {
  paused = null;
  document.title = TITLE;
  next();
}

function resume() {
  post("/api/resume", {});
  paused = null;
  document.title = TITLE;
  panel("One moment", "The next item is on its way.");
}

function halt(reason) {
  if (!state || !state.consent.given || (paused && paused.reason === reason)) return;
  paused = { reason, until: null };
  dropItems();
  showPause();
  post(reason === "stopped" ? "/api/stop" : "/api/pause", {});
}

function consentPage() {
  const { text, categories, others } = state.consent;
  byId("subjects-part").hidden = !categories.length;
  byId("who-else").textContent = others ? "somebody else gets them" : "fewer people read them then";
  byId("consent-text").replaceChildren(shown(text));
  byId("consent-list").replaceChildren(...categories.map(({ code, name, out = false }) =>
    el("label", {}, el("input", { type: "checkbox", value: code, checked: out }), " ", shown(name))));
  view("consent");
  byId("consent").querySelector("h1").focus();
}

async function consent(accepted) {
  const optout = [...byId("consent").querySelectorAll("input:checked")].map((each) => each.value);
  try {
    await call("/api/consent", { accepted, optout, request: freshId(), tab });
    if (!accepted) return panel("Not now", "You have agreed to nothing, and see nothing. You can close this page, or begin later.", "Back", consentPage);
    dropItems();
    over = false;
    paused = null;
    state = await call("/api/state");
    count();
    if (state.pause) pauseNow(state.pause);
    else next();
  } catch (wrong) { failed(wrong); }
  return undefined;
}

async function lease() {
  try {
    const found = await call("/api/lease", { tab });
    if (found.readonly !== readonly) {
      readonly = found.readonly;
      byId("work").inert = readonly;
      banner(readonly ? "You have this page open in another tab, and this one only shows. Close the other one: this page notices within a minute." : "");
    }
  } catch { /* the next item or answer tells */ }
}

/** A copied tab has the first one's name: the first one keeps it. */
const tabs = new BroadcastChannel("sightline-tabs");
tabs.addEventListener("message", ({ data }) => {
  if (data.ask === tab) tabs.postMessage({ taken: tab });
  if (data.taken === tab) { tab = freshId(); sessionStorage.setItem("sightline-tab", tab); lease(); }
});

// ---- keys ----

function space() {
  const box = byId("reply"), inner = box.scrollHeight > box.clientHeight + 4 && getComputedStyle(box).overflowY === "auto";
  const left = inner ? box.scrollHeight - box.clientHeight - box.scrollTop : document.documentElement.scrollHeight - innerHeight - scrollY;
  if (left > 4) inner ? box.scrollBy(0, box.clientHeight * 0.9) : scrollBy(0, innerHeight * 0.9);
  else if (current.more) { current.more(); if (inner) box.scrollBy(0, box.clientHeight * 0.9); }
}

const COMMANDS = {
  b: () => hold(true),
  g: () => colored(current),
  s: () => { byId("skip").showModal(); },
  e: () => finish("/api/escalate", { note: byId("note").value.slice(0, 2000) }, "Saved: left to somebody else's view."),
  u: undo,
  r: raw,
  p: () => halt("paused"),
  n: () => byId("note").focus(),
  c: () => {
    const all = [...byId("form").querySelectorAll("input[name=confidence]")];
    const now = all.findIndex((each) => each.checked);
    all.forEach((each, at) => { each.checked = at === now + 1; });
    say(now + 1 < all.length ? `Confidence: ${all[now + 1].parentElement.textContent.trim()}` : "Confidence: not given");
  },
  "?": () => byId("help").showModal(),
  " ": space,
};

addEventListener("keydown", (event) => {
  if (event.isComposing) return;
  if (event.key === "Escape") {
    if (event.repeat) return;
    if (event.timeStamp - escaped < 800) { event.preventDefault(); escaped = -1e9; halt("stopped"); }
    else { escaped = event.timeStamp; if (document.activeElement === byId("note")) byId("title").focus(); }
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("textarea, input[type=search]")) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (byId("skip").open && REASONS[key - 1]) { event.preventDefault(); if (!event.repeat) skip(REASONS[key - 1]); return; }
  if (byId("raw").open) {
    const chose = [...byId("raw-choices").children].find((each) => each.dataset.raw === key);
    if (chose) { event.preventDefault(); if (!event.repeat) chose.click(); }
    return;
  }
  if (key === "u" && !current && history.length && !byId("panel").hidden && !event.repeat) { undo(); return; }
  if (!working() || !current) return;
  if (event.repeat && key !== " ") return; // a key that is held never answers twice
  if (key === " " && event.target.closest("button, input, summary, a")) return;
  if (readonly && key !== " " && key !== "?") return;
  if (digit(key)) event.preventDefault();
  else if (Object.hasOwn(COMMANDS, key)) { event.preventDefault(); COMMANDS[key](); }
}, true);
addEventListener("keyup", (event) => { if (event.key.toLowerCase() === "b") hold(false); }, true);
addEventListener("blur", () => hold(false));
document.addEventListener("visibilitychange", () => {
  hold(false);
  if (document.hidden) hiddenFrom = performance.now();
  else if (hiddenFrom) { wasHidden += performance.now() - hiddenFrom; hiddenFrom = 0; }
});
addEventListener("beforeunload", (event) => { if (outbox.length) event.preventDefault(); });

function skip(button) {
  byId("skip").close();
  finish("/api/skip", { reason: button.dataset.reason }, "Saved: skipped.");
}

// ---- start ----

function field(question) {
  const box = el("fieldset", { id: `q-${question.id}`, "data-question": question.id }, el("legend", {}, shown(question.text)));
  const list = el("div", { class: "choices" });
  for (const each of question.choices) {
    const input = el("input", { type: "radio", name: `q-${question.id}`, id: `q-${question.id}-${each.name}`, value: each.name });
    list.append(el("label", {}, input, each.key ? el("kbd", {}, shown(each.key)) : "", " ", shown(each.text)));
  }
  if (question.choices.length > 9) {
    const search = el("input", { type: "search", "aria-label": `Search answers: ${question.text}` });
    search.addEventListener("input", () => {
      for (const label of list.children) label.hidden = !label.textContent.toLowerCase().includes(search.value.toLowerCase());
    });
    search.addEventListener("keydown", (event) => { 
      if (event.key !== "Enter") return;
      event.preventDefault(); // the first that was found is the answer
      const first = [...list.children].find((label) => !label.hidden);
      if (first && search.value) { first.querySelector("input").checked = true; answer(); }
    });
    list.classList.add("long");
    box.append(search);
  }
  box.append(list);
  return box;
}

async function start() {
  for (;;) {
    try {
      await enter();
      state = await call("/api/state");
      break;
    } catch (wrong) {
      if (wrong instanceof Refused && wrong.status < 500) return panel("This page cannot be opened", `${wrong.message}.`);
      await sleep(failed(wrong));
    }
  }
  reached();
  byId("questions").replaceChildren(...state.questions.map(field));
  byId("guideline").replaceChildren(shown(state.guideline));
  for (const button of REASONS) button.addEventListener("click", () => skip(button));
  byId("form").addEventListener("submit", (event) => { event.preventDefault(); answer(); });
  for (const button of document.querySelectorAll("[data-key]")) {
    button.addEventListener("click", () => { if (current && (!readonly || button.dataset.key === "?")) COMMANDS[button.dataset.key](); });
  }
  byId("agree").addEventListener("click", () => consent(true));
  byId("decline").addEventListener("click", () => consent(false));
  byId("subjects").addEventListener("click", () => { byId("help").close(); consentPage(); });
  count();
  await lease();
  tabs.postMessage({ ask: tab });
  setInterval(lease, 30000);
  setInterval(() => { if (readonly) lease(); }, 5000);
  if (!state.consent.given) consentPage();
  else if (state.pause) pauseNow(state.pause);
  else next();
  return undefined;
}
start();
