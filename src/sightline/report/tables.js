{
  // Tables that are searched, filtered and sorted in the page. Without script they stand whole, as written.
  const LONG = 200; // rows; of longer tables only the first MOST that fit stand in the document: layout stays cheap
  const MOST = 50;
  const FEW = 8;
  const collator = new Intl.Collator("en", { numeric: true });
  const UNITS = { k: 1e3, M: 1e6, G: 1e9, T: 1e12 };
  const arranged = [];

  const amount = (text) => {
    const found = /^[^\d-]{0,3}(-?[\d,]*\.?\d+)\s?([kMGT](?![a-z]))?/.exec(text.trim().replaceAll("\u2212", "-"));
    return found ? Number(found[1].replaceAll(",", "")) * (UNITS[found[2]] || 1) : NaN;
  };

  const make = (name, properties, ...children) => {
    const node = Object.assign(document.createElement(name), properties);
    node.append(...children);
    return node;
  };

  const arrange = (table) => {
    let order = 0;
    const groups = [...table.tBodies].map((body) => {
      const band = [...body.rows].filter((row) => row.classList.contains("band"));
      const rows = [...body.rows].filter((row) => !row.classList.contains("band"));
      return {
        body,
        band,
        entries: rows.map((row) => ({
          row,
          order: order++,
          text: [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase(),
          broke: "broke" in row.dataset,
          keys: [],
        })),
      };
    });
    const entries = groups.flatMap((group) => group.entries);
    if (entries.length < FEW) return;
    const heads = [...table.tHead.rows[0].cells];
    const search = make("input", { type: "search", placeholder: "Search rows" });
    search.setAttribute("aria-label", "Search the rows of this table");
    const status = make("span", { className: "soft" });
    status.setAttribute("role", "status");
    const broke = make("input", { type: "checkbox" });
    const more = make("button", { type: "button", hidden: true });
    const tools = make("div", { className: "tools" }, search);
    if (entries.some((entry) => entry.broke) && !entries.every((entry) => entry.broke)) {
      tools.append(make("label", {}, broke, " Only what broke"));
    }
    tools.append(status, more);
    const usual = entries.length > LONG ? MOST : Infinity;
    const state = { column: -1, down: false, most: usual };

    const key = (entry) => {
      if (!(state.column in entry.keys)) {
        const text = entry.row.cells[state.column]?.textContent.trim() ?? "";
        entry.keys[state.column] = { text, number: amount(text) };
      }
      return entry.keys[state.column];
    };
    const compared = (one, other) => {
      const [a, b] = [key(one), key(other)];
      if (Number.isNaN(a.number) !== Number.isNaN(b.number)) return Number.isNaN(a.number) ? 1 : -1;
      const by = Number.isNaN(a.number) ? collator.compare(a.text, b.text) : a.number - b.number;
      return (state.down ? -by : by) || one.order - other.order;
    };
    const show = () => {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      const fits = (entry) => (!broke.checked || entry.broke) && words.every((word) => entry.text.includes(word));
      let found = 0;
      let room = state.most;
      for (const group of groups) {
        const chosen = group.entries.filter(fits);
        if (state.column >= 0) chosen.sort(compared);
        const some = chosen.slice(0, room);
        group.body.replaceChildren(...(some.length ? group.band : []), ...some.map((entry) => entry.row));
        found += chosen.length;
        room -= some.length;
      }
      const shown = Math.min(found, state.most);
      const of = `${found.toLocaleString("en")} of ${entries.length.toLocaleString("en")} rows`;
      status.textContent = shown < found ? `first ${shown} of ${of}` : of;
      more.hidden = shown === found;
      more.textContent = `Show all ${found.toLocaleString("en")}`;
    };
    for (const [column, head] of heads.entries()) {
      const button = make("button", { type: "button", className: "sort" }, ...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const again = state.column === column;
        if (again && !state.down) state.column = -1;
        else [state.column, state.down] = [column, !again];
        for (const other of heads) other.removeAttribute("aria-sort");
        if (state.column >= 0) head.setAttribute("aria-sort", state.down ? "descending" : "ascending");
        show();
      });
    }
    search.addEventListener("input", show);
    broke.addEventListener("change", show);
    more.addEventListener("click", () => { state.most = Infinity; show(); });
    table.parentElement.before(tools);
    arranged.push((most = usual) => { state.most = most; show(); });
    show();
  };
  document.querySelectorAll(".scroll > table:not(.heat)").forEach(arrange);

  // Print shows what is folded, never what is covered.
  const folds = () => [...document.querySelectorAll("details:not(.covered, .fold)")];
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = folds().filter((fold) => !fold.open);
    closed.forEach((fold) => { fold.open = true; });
    arranged.forEach((show) => show(Infinity));
  });
  addEventListener("afterprint", () => {
    closed.forEach((fold) => { fold.open = false; });
    arranged.forEach((show) => show());
  });

  // A link to a case or a section unfolds what it stands in.
  const reveal = () => {
    const goal = document.getElementById(location.hash.slice(1));
    for (let node = goal; node; node = node.parentElement) {
      if (node.tagName === "DETAILS" && !node.classList.contains("covered")) node.open = true;
    }
    if (goal?.tagName === "DETAILS") goal.open = true;
    goal?.scrollIntoView();
  };
  addEventListener("hashchange", reveal);
  document.addEventListener("click", (event) => {
    if (event.target.closest?.("a[href^='#']")?.hash === location.hash && location.hash) reveal();
  });
  if (location.hash) reveal();

  const only = document.getElementById("broken");
  if (only) {
    only.parentElement.hidden = false;
    only.addEventListener("change", () => {
      document.querySelectorAll("#cases [data-held]").forEach((node) => { node.hidden = only.checked; });
    });
  }
  const every = document.getElementById("unfold");
  if (every) {
    every.hidden = false;
    every.addEventListener("click", () => {
      const open = every.getAttribute("aria-pressed") !== "true";
      every.setAttribute("aria-pressed", String(open));
      every.textContent = open ? "Fold all sections" : "Unfold all sections";
      document.querySelectorAll("details.part").forEach((fold) => { fold.open = open; });
    });
  }
}
