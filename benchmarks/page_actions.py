"""Milliseconds per action of a report's table of 10,000 rows in Chromium, layout and painting included.

    python benchmarks/page_actions.py [ROWS]

Makes a small synthetic run, repeats the rows of its first table, and searches, filters and sorts them five
times each. Prints one line of JSON: the median and the largest time of each action, by the clock and of the
page's thread (which other processes do not lengthen), and the time to the first paint of the page.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests" / "fixtures")]

from chromium import chromium  # noqa: E402
from run_folder import Shape, write_run  # noqa: E402

from sightline import report  # noqa: E402

TIMED = """
const [how, done] = arguments;
const tools = document.querySelector("#results .tools");
const search = tools.querySelector("[type=search]");
const acts = {
  search: () => {
    search.value = search.value ? "" : "figstep 77";
    search.dispatchEvent(new Event("input"));
  },
  filter: () => tools.querySelector("[type=checkbox]").click(),
  sort: () => document.querySelectorAll("#results thead button.sort")[2].click(),
};
const start = performance.now();
acts[how]();
document.querySelector("#results table").getBoundingClientRect();
requestAnimationFrame(() => setTimeout(() => done(performance.now() - start)));
"""


def longer(page: str, rows: int) -> str:
    """The page with the rows of its first table repeated, each with a number of its own."""
    start, end = page.index('<tr class="band">'), page.index("</table>", page.index('<tr class="band">'))
    body = page[start:end]
    found = re.findall(r"<tr(?: class=\"control\")?(?: data-broke)?>.*?</tr>", body, re.S)
    more = "".join(
        found[n % len(found)].replace('<th scope="row">', f'<th scope="row">{n} ', 1) for n in range(rows)
    )
    return f"{page[:start]}{more}</tbody>{page[end:]}"


def spent(browser: Any) -> float:
    """Milliseconds of the page's thread so far."""
    metrics = browser.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
    return 1000 * float(next(each["value"] for each in metrics if each["name"] == "TaskDuration"))


def timed(browser: Any, how: str) -> tuple[float, float]:
    """What one action takes by the clock and of the page's thread, in milliseconds."""
    before = spent(browser)
    return float(browser.execute_async_script(TIMED, how)), spent(browser) - before


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        page = report.write(write_run(folder / "run", Shape(prompts=1, utility=6)))
        page.write_text(longer(page.read_text(encoding="utf-8"), rows), encoding="utf-8")
        with chromium(folder / "profile") as browser:
            browser.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})
            browser.get(page.as_uri())
            paint = browser.execute_script("return performance.getEntriesByName('first-paint')[0]?.startTime")
            browser.execute_script("document.querySelector('details.part').open = true")
            told: dict[str, object] = {"rows": rows, "bytes": page.stat().st_size, "first_paint_ms": paint}
            for how in ("search", "filter", "sort"):
                clock, thread = zip(*(timed(browser, how) for _ in range(6)), strict=True)
                told[f"{how}_ms"] = {"median": round(statistics.median(clock)), "most": round(max(clock))}
                told[f"{how}_thread_ms"] = {
                    "median": round(statistics.median(thread)),
                    "most": round(max(thread)),
                }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
