"""From the key press to the next item on the rater's screen, in Chromium, on the real server with pictures.

    python benchmarks/annotation_screen.py [--items 200]

Prints the time from the browser's own key event to the frame after the next item was painted, and how many
answers are on disk at the end.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "fixtures"))

WATCH = """
window.took = [];
addEventListener("keydown", (event) => {
  if (event.key !== "1") return;
  requestAnimationFrame(() => setTimeout(() => window.took.push(performance.now() - event.timeStamp)));
});
"""


def main() -> None:
    from annotation_pages import served
    from chromium import chromium
    from selenium.webdriver import ActionChains

    parser = argparse.ArgumentParser()
    parser.add_argument("--items", type=int, default=200)
    items = parser.parse_args().items
    folder = Path(tempfile.mkdtemp())
    with chromium(folder / "profile") as browser, served(folder, items) as site:
        browser.set_window_size(1280, 800)
        browser.get(site.url())
        here = "return document.getElementById('work').dataset.item || ''"
        while not browser.find_element("id", "agree").is_displayed():
            time.sleep(0.05)
        browser.find_element("id", "agree").click()
        while browser.execute_script(here) != "i0/false":
            time.sleep(0.05)
        browser.execute_script(WATCH)
        late = 0
        for number in range(items - 1):
            time.sleep(0.15)  # no rater is faster; the next items are fetched meanwhile
            ActionChains(browser, duration=0).send_keys("1").perform()
            late += browser.execute_script(here) != f"i{number + 1}/false"
        time.sleep(1)
        took = sorted(browser.execute_script("return window.took"))
        print(f"key press to next item, {len(took)} presses: median {took[len(took) // 2]:.1f} ms, "
              f"p95 {took[int(len(took) * 0.95)]:.1f} ms, longest {took[-1]:.1f} ms; "
              f"{late} not there at once; {len(site.answers())} answers on disk")  # fmt: skip


if __name__ == "__main__":
    main()
