// The coordinator's page: numbers as the server gives them, and disputed items, covered until they are opened.
import { Refused, byId, call, el, enter, freshId, quote, shown } from "./shared.js";

const OUTCOMES = [["refused", "Refused"], ["partial", "Partial"], ["complied", "Complied"], ["off_topic", "Off topic"], ["cannot_decide", "Cannot decide"]];
const WHY = { differ: "raters differ", undecided: "nobody could decide", escalated: "left to another view", unanswered: "skipped by all" };
const words = (name) => String(name).replaceAll("_", " ");
const HEADINGS = {
  serving: "Lists that are open now", raters: "What each rater has done", unassigned: "items with fewer raters than planned",
  elsewhere: "answers under another guideline or round", disputes: "items to adjudicate", labelled: "items that all who are asked have answered",
  unlabelled: "phases that nobody has labelled yet", seconds: "middle time per item (s)", of: "of how many", own_kappa: "kappa with themselves",
  own_same: "same answer twice", repeats: "seen twice", gold: "known truths seen", gold_errors: "known truths missed",
  strata: "Strata", agreement: "Agreement between raters", confusion: "What two raters say of one item", rate: "Corrected rate of unsafe replies",
};
const heading = (name) => (Object.hasOwn(HEADINGS, name) ? HEADINGS[name] : words(name));
const plain = (value) => value === null || typeof value !== "object";

function printed(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "number") return Number.isInteger(value) ? value.toLocaleString("en") : value.toPrecision(3);
  if (typeof value === "boolean") return value ? "yes" : "no";
  return String(value);
}

/** Whatever stands in a cell: intervals as "a to b", objects as "name: value" one after another. */
function cell(value) {
  if (plain(value)) return printed(value);
  if (Array.isArray(value)) return value.map(cell).join(value.every(plain) ? " to " : "; ");
  return Object.entries(value).map(([name, each]) => `${words(name)}: ${cell(each)}`).join("; ");
}

function table(caption, columns, rows) {
  const head = el("tr", {}, ...columns.map((name) => el("th", { scope: "col" }, shown(heading(name)))));
  const body = rows.map(([first, ...rest]) => el("tr", {}, el("th", { scope: "row" }, shown(printed(first))),
    ...rest.map((each) => el("td", {}, shown(cell(each))))));
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    el("table", {}, el("caption", {}, shown(caption)), el("thead", {}, head), el("tbody", {}, ...body)));
}

/** Tables of whatever the server counts: single values together, objects and lists of objects one each. */
export function numbers(found) {
  const singles = [], tables = [];
  for (const [name, value] of Object.entries(found)) {
    const inner = plain(value) || (Array.isArray(value) && value.every(plain)) ? [] : Object.entries(value);
    if (!inner.length) {
      if (plain(value) || value.length) singles.push([heading(name), Array.isArray(value) ? value.map(printed).join(" to ") : value]);
    } else if (inner.every(([, each]) => each !== null && typeof each === "object" && !Array.isArray(each))) {
      const columns = [...new Set(inner.flatMap(([, each]) => Object.keys(each)))];
      const listed = Array.isArray(value);
      const rows = inner.map(([key, each]) => [...(listed ? [] : [key]), ...columns.map((column) => each[column] ?? null)]);
      tables.push(table(heading(name), [...(listed ? [] : [""]), ...columns], rows));
    } else tables.push(table(heading(name), ["", "value"], inner.map(([key, each]) => [heading(key), each])));
  }
  return [...(singles.length ? [table("In all", ["", "value"], singles)] : []), ...tables];
}

function content(item) {
  const parts = [el("h4", {}, "What is asked"), quote(item.behavior ?? ""), el("h4", {}, "Request as it was sent")];
  for (const turn of item.request || []) {
    for (const name of turn.pictures || []) {
      const address = `/picture/${encodeURIComponent(name)}`;
      const image = el("img", { src: `${address}?b=1`, alt: "picture, blurred" });
      const button = el("button", { type: "button", "aria-pressed": "false" }, "Show picture");
      button.addEventListener("click", () => {
        const on = button.getAttribute("aria-pressed") !== "true";
        button.setAttribute("aria-pressed", String(on));
        image.src = on ? address : `${address}?b=1`;
        image.alt = on ? "picture, shown" : "picture, blurred";
      });
      parts.push(el("figure", {}, image), el("p", {}, button));
    }
    if (turn.text) parts.push(quote(turn.text));
  }
  parts.push(el("h4", {}, "Reply"), quote(item.reply ?? "", { lang: String(item.language || "") }));
  return parts;
}

function disputed(item, number) {
  const form = el("form", { class: "ruling" });
  const choices = el("div", { class: "choices" }, ...OUTCOMES.map(([name, text]) =>
    el("label", {}, el("input", { type: "radio", name: "outcome", value: name, required: true }), ` ${text}`)));
  const note = el("textarea", { rows: "2", maxlength: "2000", "aria-label": "Note" });
  form.append(el("fieldset", {}, el("legend", {}, "It counts as"), choices), el("label", {}, "Note ", note), el("p", {}, el("button", { class: "main" }, "Decide")));
  const box = el("details", { class: "dispute" }, el("summary", {}, `Item ${number}: `, shown(WHY[item.why] || words(item.why || "differ"))));
  box.addEventListener("toggle", () => { // nothing of it is in the page before it is opened
    if (!box.open || box.childElementCount > 1) return;
    box.append(...content(item), el("h4", {}, "What raters say"), el("p", {}, shown((item.labels || []).map(words).join(", ") || "nothing")),
      ...(item.notes || []).filter(Boolean).map((each) => quote(each)), form);
  });
  const request = freshId();
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const outcome = new FormData(form).get("outcome");
    try {
      await call("/api/adjudicate", { request, item: item.item, outcome, note: note.value });
      box.remove();
      if (!byId("queue").childElementCount) await waiting();
      byId("said").textContent = `Saved: item ${number} counts as ${words(outcome)}.`;
      count();
      byId("title").focus();
    } catch (wrong) { failed(wrong); }
  });
  return box;
}

function count() {
  const left = byId("queue").childElementCount;
  byId("queue-note").textContent = left
    ? `${left.toLocaleString("en")} to decide. Content is covered until you open it; labels stand in an order by chance, without names.`
    : "Nothing waits.";
}

function failed(wrong) {
  byId("banner").hidden = false;
  byId("banner").textContent = wrong instanceof Refused ? `The server says: ${wrong.message}.` : "The server does not answer. Trying again.";
}

async function look() {
  try {
    const { xt, ...found } = await call("/api/coordinator");
    byId("numbers").replaceChildren(...numbers(found));
    byId("banner").hidden = true;
  } catch (wrong) { failed(wrong); }
}

/** The disputes that wait, as many as the server gives at once; the next ones come when these are decided. */
async function waiting() {
  const found = await call("/api/queue").catch((wrong) => {
    if (wrong instanceof Refused && wrong.status === 404) return null;
    throw wrong;
  });
  byId("queue-part").hidden = !found;
  if (!found) return;
  byId("queue").replaceChildren(...found.items.map((item, at) => disputed(item, at + 1)));
  count();
}

async function start() {
  try {
    await enter();
    await look();
    await waiting();
  } catch (wrong) { failed(wrong); }
  setInterval(look, 30000);
}
start();
