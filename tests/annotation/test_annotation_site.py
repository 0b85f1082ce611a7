"""The files of the annotation's pages: nothing inline or from elsewhere, no markup made of data, small."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

SITE = {
    each.name: each.read_text(encoding="utf-8")
    for each in (files("sightline.annotation") / "site").iterdir()
    if each.is_file()
}
PAGES = sorted(name for name in SITE if name.endswith((".html", ".j2")))
SCRIPTS = sorted(name for name in SITE if name.endswith(".js"))


def test_the_pages_come_along() -> None:
    assert {"index.html", "coordinator.html", "plain.html.j2", "style.css", "icon.svg"} <= set(SITE)
    assert SCRIPTS == ["coordinator.js", "items.js", "rater.js", "shared.js"]


@pytest.mark.parametrize("name", PAGES)
def test_nothing_stands_inline(name: str) -> None:
    page = SITE[name]
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", page)
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", page))
    assert not re.search(r"</?(iframe|object|embed|base)\b", page)


@pytest.mark.parametrize("name", sorted(SITE))
def test_nothing_comes_from_elsewhere(name: str) -> None:
    text = SITE[name].replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?:|[\"'(]//|@import|url\(", text)


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_make_no_markup_and_run_no_text(name: str) -> None:
    forbidden = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment|srcdoc"
        r"|\beval\(|new Function|setTimeout\([\"'`]|localStorage|document\.cookie"
    )
    assert not re.search(forbidden, SITE[name])
    assert len(SITE[name].encode()) < 20_000


def test_every_key_of_the_help_is_one_of_the_script_and_the_other_way_round() -> None:
    commands = SITE["rater.js"].split("const COMMANDS = {", 1)[1].split("\n};", 1)[0]
    bound = set(re.findall(r'^  "?([a-z? ])"?(?::|,)', commands, re.MULTILINE)) - {"?"} | {"u", "r"}
    told = set(
        re.findall(r"<kbd>([^<]+)</kbd>", SITE["index.html"].split('<dl class="keys">')[1].split("</dl>")[0])
    )
    assert {" " if each == "space" else each for each in told} - {"1", "2", "Esc"} == bound
