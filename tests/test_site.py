"""The documentation site: every page is in its contents, every anchor is a heading, and it builds offline."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [*ROOT.glob("*.md"), *sorted(DOCS.glob("*.md"))]
TREE = re.compile(r"^:::\{toctree\}\n(.*?)^:::", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]*)#([^)\s]+)\)")
INCLUDE = re.compile(r"^:::\{include\} (\S+)$", re.MULTILINE)


def prose(path: Path) -> str:
    """A page without its blocks of code, and with what it includes."""
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return text + "".join(prose(path.parent / each) for each in INCLUDE.findall(text))


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and the site make them."""
    titles = (
        re.sub(r"[`*]|\]\([^)]*\)|\[", "", each) for each in re.findall(r"^#+ (.*)$", prose(path), re.M)
    )
    return {re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") for title in titles}


def anchored_links(path: Path) -> Iterator[tuple[str, str]]:
    """The links of a page that name an anchor: the file ('' is the page), and the anchor."""
    return ((file, anchor) for file, anchor in LINK.findall(prose(path)) if "://" not in file)


def test_every_page_is_in_the_contents_once() -> None:
    trees = TREE.findall((DOCS / "index.md").read_text(encoding="utf-8"))
    listed = [line for tree in trees for line in tree.splitlines() if line and not line.startswith(":")]
    assert sorted(listed) == sorted(path.stem for path in DOCS.glob("*.md") if path.stem != "index")


def test_every_anchor_is_a_heading() -> None:
    links = [(page, file, anchor) for page in PAGES for file, anchor in anchored_links(page)]
    assert len(links) >= 3
    wrong = [
        f"{page.name}: {file}#{anchor}"
        for page, file, anchor in links
        if anchor not in anchors(page.parent / file if file else page)
    ]
    assert not wrong


@pytest.mark.skipif(find_spec("furo") is None, reason="needs sightline[docs]; `make site` installs it")
@pytest.mark.slow
def test_the_site_builds_offline_without_a_warning(tmp_path: Path) -> None:
    site = tmp_path / "site"
    build = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    ran = subprocess.run(
        [*build, "-d", str(tmp_path / "trees"), str(DOCS), str(site)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    listed = (site / "llms.txt").read_text(encoding="utf-8")
    for page in DOCS.glob("*.md"):
        html = (site / f"{page.stem}.html").read_text(encoding="utf-8")
        assert not re.search(r"<(script|img|iframe)[^>]+src=\"(https?:)?//", html), (
            f"{page.stem} loads from the net"
        )
        assert page.stem == "index" or f"({page.stem}.html): " in listed
    assert "sightline.open_model" in (site / "api.html").read_text(encoding="utf-8")
