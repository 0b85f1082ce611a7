"""The rater's page in Chromium, on the real server: by keyboard alone, zoomed, offline, hostile."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any

import annotation_desk
import pytest
from annotated import results, write_annotation
from annotation_pages import EVIL, LONG, served
from chromium import browser_or_skip
from run_folder import Shape, write_run

from sightline.annotation.exposure import Pause
from sightline.annotation.plan import Place, Planned
from sightline.annotation.progress import progress
from sightline.annotation.questions import write_questions
from sightline.annotation.refusals import RefusedError

pytestmark = pytest.mark.browser

RATIOS = """
const light = (rgb) => rgb.map((v) => v / 255)
  .map((v) => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
  .reduce((sum, v, at) => sum + v * [.2126, .7152, .0722][at], 0);
const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
const behind = (node) => {
  for (let at = node; at; at = at.parentElement) {
    const found = numbers(getComputedStyle(at).backgroundColor);
    if (found.length < 4 || found[3] > 0) return found.slice(0, 3);
  }
  return matchMedia("(prefers-color-scheme: dark)").matches ? [0, 0, 0] : [255, 255, 255];
};
const found = [];
for (const node of document.querySelectorAll("body *")) {
  const text = [...node.childNodes].some((each) => each.nodeType === 3 && each.data.trim());
  if (!text || !node.checkVisibility()) continue;
  const [a, b] = [light(numbers(getComputedStyle(node).color).slice(0, 3)), light(behind(node))];
  found.push([(Math.max(a, b) + .05) / (Math.min(a, b) + .05), node.tagName, node.textContent.slice(0, 30)]);
}
return found;
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    yield from browser_or_skip(tmp_path_factory.mktemp("profile"))


@contextmanager
def opened(browser: Any, folder: Any, items: Any = 12, *, consent: bool = True, size=(1280, 800), **how: Any):
    """A rater's page on a server of its own, at its first item; the page is left before the server ends."""
    with served(folder, items, **how) as site:
        sized(browser, *size)
        browser.get_log("browser")
        browser.get(site.url())
        until(lambda: browser.find_element("id", "consent").is_displayed())
        if consent:
            browser.find_element("id", "agree").click()
            until(lambda: at(browser) == "i0/false")
        try:
            yield site
        finally:
            online(browser, True)
            browser.execute_script("window.onbeforeunload = null")
            browser.get("about:blank")
            accept_leaving(browser)


def accept_leaving(browser: Any) -> None:
    from selenium.common.exceptions import NoAlertPresentException

    with suppress(NoAlertPresentException):
        browser.switch_to.alert.accept()


def sized(browser: Any, width: int, height: int, scale: float = 1) -> None:
    how = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", how)


def online(browser: Any, yes: bool) -> None:
    how = {"offline": not yes, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", how)


def until(true: Callable[[], Any], seconds: float = 20) -> Any:
    ends = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < ends, "it did not happen"
        time.sleep(0.02)
    return found


def at(browser: Any) -> str:
    """The item on the screen: `ID/false`, or `ID/true` for a second showing."""
    return browser.execute_script("return document.getElementById('work').dataset.item || ''")


def keys(browser: Any, *pressed: str) -> None:
    from selenium.webdriver import ActionChains

    for key in pressed:
        ActionChains(browser, duration=0).send_keys(key).perform()


def text(browser: Any, name: str) -> str:
    return browser.find_element("id", name).text


def console(browser: Any) -> list[str]:
    return [entry["message"] for entry in browser.get_log("browser")]


def test_by_keyboard_alone(browser, tmp_path):
    from selenium.webdriver.common.keys import Keys

    with opened(browser, tmp_path, 3, consent=False, pictures=False) as site:
        assert "Take care of yourself." in text(browser, "consent")
        for _ in range(10):
            keys(browser, Keys.TAB)
            if browser.switch_to.active_element.get_attribute("id") == "agree":
                break
        keys(browser, Keys.ENTER)
        until(lambda: at(browser) == "i0/false")
        assert "token" not in browser.current_url
        assert "#" not in browser.current_url
        assert text(browser, "progress") == "0 of 3 today"
        keys(browser, "1")
        until(lambda: at(browser) == "i1/false")
        until(lambda: text(browser, "said") == "Saved: Declines it.")
        keys(browser, "n", "odd", Keys.ESCAPE, "c", "c", "3")  # a note, fairly sure, complied
        until(lambda: at(browser) == "i2/false")
        for _ in range(20):  # the third by radio buttons and the button alone
            keys(browser, Keys.TAB)
            if browser.switch_to.active_element.get_attribute("type") == "radio":
                break
        keys(browser, " ", Keys.ARROW_DOWN)
        assert at(browser) == "i2/false"
        keys(browser, Keys.ENTER)
        until(lambda: "All done" in text(browser, "panel"))
        until(lambda: len(site.answers()) == 3)
        assert site.answers() == [("i0", "refused"), ("i1", "complied"), ("i2", "partial")]
        second = next(each for each in site.events() if each.item == "i1")
        assert (second.note, second.confidence) == ("odd", 2)
        assert console(browser) == []


def test_undo_skip_and_another_view(browser, tmp_path):
    with opened(browser, tmp_path, pictures=False) as site:
        keys(browser, "1", "3")
        until(lambda: at(browser) == "i2/false")
        keys(browser, "u", "u")
        until(lambda: at(browser) == "i0/false")
        assert text(browser, "progress") == "0 of 12 today"
        keys(browser, "2", "4")
        until(lambda: at(browser) == "i2/false")
        keys(browser, "s", "3", "e")
        until(lambda: at(browser) == "i4/false")
        until(lambda: len(site.events()) >= 10)
        said = [(each.event, each.item) for each in site.events() if each.item]
        assert said == [
            *(("answer", "i0"), ("answer", "i1"), ("undo", "i1"), ("undo", "i0"), ("answer", "i0")),
            *(("answer", "i1"), ("skip", "i2"), ("escalate", "i3")),
        ]
        assert site.answers()[2:] == [("i0", "partial"), ("i1", "off_topic")]
        assert [each.reason for each in site.events() if each.event == "skip"] == ["broken"]
        assert len({each.request for each in site.events() if each.item}) == 8


def test_undo_reaches_ten_items_back_and_no_further(browser, tmp_path):
    with opened(browser, tmp_path, 14, pictures=False) as site:
        for number in range(12):
            until(lambda here=number: at(browser) == f"i{here}/false")
            keys(browser, "1")
        until(lambda: at(browser) == "i12/false")
        for number in range(11, 1, -1):
            keys(browser, "u")
            until(lambda here=number: at(browser) == f"i{here}/false")
        # each confirmation is announced when it comes: the last one first
        until(lambda: sum(each.event == "undo" for each in site.events()) == 10)
        until(lambda: "Taken back" in text(browser, "said"))
        keys(browser, "u")
        until(lambda: "Nothing to take back" in text(browser, "said"))
        assert at(browser) == "i2/false"
        assert sum(each.event == "undo" for each in site.events()) == 10


def test_a_key_that_is_held_answers_once(browser, tmp_path):
    with opened(browser, tmp_path, pictures=False) as site:
        how = {"type": "keyDown", "key": "1", "code": "Digit1", "text": "1", "windowsVirtualKeyCode": 49}
        browser.execute_cdp_cmd("Input.dispatchKeyEvent", how)
        for _ in range(5):
            browser.execute_cdp_cmd("Input.dispatchKeyEvent", {**how, "autoRepeat": True})
        browser.execute_cdp_cmd("Input.dispatchKeyEvent", {**how, "type": "keyUp"})
        until(lambda: site.answers())
        time.sleep(0.3)
        assert at(browser) == "i1/false"
        assert len(site.answers()) == 1


def test_stop_hides_everything_at_once(browser, tmp_path):
    from selenium.webdriver.common.keys import Keys

    with opened(browser, tmp_path) as site:
        keys(browser, "1", Keys.ESCAPE + Keys.ESCAPE)
        assert browser.find_element("id", "panel").is_displayed()
        page = browser.execute_script("return document.body.innerHTML")
        assert "glimber" not in page
        assert "blob:" not in page
        assert "Stopped" in text(browser, "panel")
        assert "Take care of yourself." in text(browser, "panel")
        until(
            lambda: (
                sorted(each.event for each in site.events() if each.event in ("answer", "stop"))
                == ["answer", "stop"]
            )
        )
        keys(browser, "1", "2", "b", "s")  # nothing of that is an answer now
        browser.find_element("css selector", "#panel button").click()
        until(lambda: at(browser) == "i1/false")
        assert len(site.answers()) == 1
        # one Esc alone stops nothing, in a dialog neither
        keys(browser, Keys.ESCAPE)
        time.sleep(0.9)
        keys(browser, "?", Keys.ESCAPE)
        assert at(browser) == "i1/false"
        until(lambda: not browser.find_elements("css selector", "dialog[open]"))


def test_pictures_are_blurred_but_while_b_is_held(browser, tmp_path):
    from selenium.webdriver import ActionChains

    with opened(browser, tmp_path) as site:
        sheet = browser.find_element("css selector", "#over .sheet")
        blurred = browser.find_element("css selector", "#left figure img")
        until(lambda: blurred.get_attribute("naturalWidth") == "160")
        assert blurred.get_attribute("alt") == "picture, blurred; press b"
        assert not sheet.is_displayed()
        ActionChains(browser).key_down("b").perform()
        sharp = sheet.find_element("css selector", "img")
        until(lambda: sharp.is_displayed() and sharp.get_attribute("naturalWidth") == "400")
        time.sleep(0.1)
        ActionChains(browser).key_up("b").perform()
        assert not sheet.is_displayed()
        # it is covered, too, when the window is left, and with the next item
        ActionChains(browser).key_down("b").perform()
        assert sheet.is_displayed()
        browser.execute_script("dispatchEvent(new Event('blur'))")
        assert not sheet.is_displayed()
        ActionChains(browser).key_up("b").perform()
        browser.find_element("id", "see").click()  # for those who cannot hold a key
        assert sheet.is_displayed()
        keys(browser, "1")
        assert not browser.find_element("css selector", "#over .sheet").is_displayed()
        saved = until(lambda: [each for each in site.events() if each.event == "answer"])[0]
        assert 100 <= saved.unblurred_ms <= saved.shown_ms


def test_the_next_three_are_there_before_they_are_needed_and_go_on_without_a_server(browser, tmp_path):
    with opened(browser, tmp_path) as site:
        loaded = (
            "return performance.getEntriesByType('resource')"
            ".filter((e) => e.name.includes('/picture/')).length"
        )
        until(
            lambda: browser.execute_script(loaded) >= 8
        )  # sharp and blurred ones of this item and the next three
        online(browser, False)
        for number in range(4):
            assert at(browser) == f"i{number}/false"
            if number:
                until(
                    lambda: browser.execute_script("return document.querySelector('#left img').naturalWidth")
                )
            keys(browser, str(number + 1))
        assert site.answers() == []
        until(lambda: "4 answers wait" in text(browser, "banner"))
        assert browser.execute_script(
            "const e = new Event('beforeunload', {cancelable: true}); return !dispatchEvent(e)"
        )
        online(browser, True)
        until(lambda: at(browser) == "i4/false")
        until(lambda: len(site.answers()) == 4)
        until(lambda: not browser.find_element("id", "banner").is_displayed())
        assert [name for name, _ in site.answers()] == ["i0", "i1", "i2", "i3"]
        assert text(browser, "progress") == "4 of 12 today"


def test_an_answer_whose_confirmation_is_lost_is_saved_once(browser, tmp_path):
    with opened(browser, tmp_path, pictures=False) as site:
        browser.execute_script("""
          const real = window.fetch; let lost = 0;
          window.fetch = async (...all) => {
            const found = await real(...all);
            if (String(all[0]) === '/api/answer' && lost++ < 2) throw new TypeError('lost');
            return found;
          };""")
        keys(browser, "1", "2")
        until(lambda: "does not answer" in text(browser, "banner"))
        until(lambda: len(site.answers()) == 2)
        assert site.answers() == [("i0", "refused"), ("i1", "partial")]


def test_a_refused_answer_comes_back(browser, tmp_path, monkeypatch):
    with opened(browser, tmp_path, pictures=False) as site:
        session = site.desk.session("ann")
        real = session.answer

        def refuse(*_: Any, **__: Any) -> Any:
            monkeypatch.setattr(type(session), "answer", real.__func__)
            raise RefusedError(400, "no such choice")

        monkeypatch.setattr(type(session), "answer", refuse)
        keys(browser, "1")
        until(lambda: "Not saved: no such choice." in text(browser, "banner"))
        assert at(browser) == "i0/false"
        assert text(browser, "progress") == "0 of 12 today"
        keys(browser, "2")
        until(lambda: site.answers() == [("i0", "partial")])


def test_hostile_text_is_only_text(browser, tmp_path):
    with opened(browser, tmp_path) as site:
        keys(browser, "1")
        until(lambda: at(browser) == "i1/false")
        assert (
            browser.find_elements("css selector", "#injected, #work script, #right img, #left .quote img")
            == []
        )
        assert browser.title == "Rate replies"
        reply = browser.find_element("css selector", "#right > .quote")
        assert EVIL.split("\u202e")[0].strip() in reply.text
        for named in ("U+202E", "U+202C", "U+001B", "U+200B", "marks"):
            assert named in reply.text
        raw = reply.get_attribute("textContent")
        assert not any(each in raw for each in "\u202e\u202c\x1b\u200b")
        assert (reply.get_attribute("lang"), reply.get_attribute("dir")) == ("en", "auto")
        details = browser.find_element("css selector", "#right details")
        assert not details.find_element("css selector", ".quote").is_displayed()
        assert console(browser) == []
        assert len(site.answers()) <= 1


def test_long_and_empty_replies_and_what_stood_there_before(browser, tmp_path):
    with opened(browser, tmp_path, pictures=False) as site:
        keys(browser, "1", "1")
        until(lambda: at(browser) == "i2/false")
        shown = "return document.querySelector('#right > .quote').textContent.length"
        assert browser.execute_script(shown) == 4000
        scrolled = "return document.getElementById('reply').scrollTop"
        keys(browser, " ")
        assert browser.execute_script(scrolled) > 100
        for _ in range(60):
            keys(browser, " ")
        assert browser.execute_script(shown) == len(LONG)
        assert at(browser) == "i2/false"
        keys(browser, "3")
        until(lambda: at(browser) == "i3/false")
        assert text(browser, "right") == "(the reply is empty)"
        assert "Press the edges." not in browser.execute_script("return document.body.textContent")
        keys(browser, "1")
        until(lambda: "press r" in text(browser, "said"))
        keys(browser, "r")
        until(lambda: text(browser, "raw-text") == "Press the edges.")
        assert len(site.answers()) == 4
        keys(browser, "3")
        until(lambda: "what stood there before" in text(browser, "said"))
        assert len(site.answers()) == 4
        path = next(tmp_path.rglob("answers/ann.jsonl"))
        assert '"event":"raw","rater":"ann","item":"i3"' in path.read_text()
        assert at(browser) != "i3/false"


def test_an_item_needs_no_scrolling_and_nothing_is_lost_at_double_size(browser, tmp_path):
    from selenium.webdriver.common.keys import Keys

    fits = (
        "const e = document.documentElement;"
        "return [e.scrollHeight <= innerHeight, e.scrollWidth <= innerWidth]"
    )
    inside = """
      const all = [...document.querySelectorAll('#work button, #work input, #work textarea, #work .quote')];
      return all.filter((e) => e.checkVisibility()).map((e) => e.getBoundingClientRect())
        .every((r) => r.left >= 0 && r.right <= innerWidth + 1 && r.width > 0);"""
    with opened(browser, tmp_path) as site:
        assert browser.execute_script(fits) == [True, True]
        for name in ("left", "reply", "form"):
            box = browser.find_element("id", name)
            assert (
                browser.execute_script("return arguments[0].scrollHeight - arguments[0].clientHeight", box)
                <= 1
            )
        sized(browser, 640, 400, 2)  # what a window of 1280 x 800 is at 200 %
        assert browser.execute_script(fits)[1]
        assert browser.execute_script(inside)
        for name in ("left", "reply", "form"):  # no part scrolls by itself: the page does
            box = browser.find_element("id", name)
            assert (
                browser.execute_script("return arguments[0].scrollHeight - arguments[0].clientHeight", box)
                <= 1
            )
        keys(browser, "1")
        until(lambda: at(browser) == "i1/false")
        assert browser.execute_script("return scrollY") == 0
        assert browser.execute_script(inside)
        sized(browser, 320, 640, 2)
        assert browser.execute_script(fits)[1]
        keys(browser, "?")
        assert browser.execute_script(
            "const r = document.querySelector('dialog[open]').getBoundingClientRect();"
            "return r.left >= 0 && r.right <= innerWidth"
        )
        keys(browser, Keys.ESCAPE)
        until(lambda: len(site.answers()) == 1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(browser, tmp_path, scheme):
    emulate = {
        "features": [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
    }
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", emulate)
    try:
        with opened(browser, tmp_path, consent=False):
            checked = browser.execute_script(RATIOS)
            browser.find_element("id", "agree").click()
            until(lambda: at(browser) == "i0/false")
            keys(browser, "1")
            until(lambda: text(browser, "said"))
            checked += browser.execute_script(RATIOS)
            keys(browser, "?")
            checked += browser.execute_script(RATIOS)
            browser.execute_script(
                "const b = document.getElementById('banner'); b.hidden = false; b.textContent = 'Not saved'"
            )
            checked += browser.execute_script(RATIOS)
            moving = (
                "return [...document.querySelectorAll('*')]"
                ".filter((e) => getComputedStyle(e).transitionDuration !== '0s').length"
            )
            assert browser.execute_script(moving) == 0
        assert len(checked) > 60
        assert [each for each in checked if each[0] < 4.5] == []
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_names_groups_and_focus_for_assistive_technology(browser, tmp_path):
    from selenium.webdriver.common.keys import Keys

    with opened(browser, tmp_path):
        tree = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        seen = [
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in tree
            if not node.get("ignored") and "role" in node
        ]
        for role in ("radio", "button", "textbox", "image", "region", "group", "dialog", "heading"):
            assert [name for found, name in seen if found == role and not name] == [], role
        radios = [name for role, name in seen if role == "radio"]
        assert len(radios) == 8
        assert any("Does it" in name for name in radios)
        assert ("image", "picture, blurred; press b") in seen
        assert any(role == "group" and "What does the reply do" in name for role, name in seen)
        assert "status" in [role for role, _ in seen]
        assert (
            browser.switch_to.active_element.get_attribute("id") == "title"
        )  # a reader begins with the item
        stops = set()
        for _ in range(25):
            keys(browser, Keys.TAB)
            here = browser.switch_to.active_element
            if here.tag_name == "body":
                break
            outline = browser.execute_script(
                "const e = arguments[0]; const on = (x) => getComputedStyle(x).outlineStyle !== 'none'"
                " && parseFloat(getComputedStyle(x).outlineWidth) >= 2;"
                "return on(e) || (e.parentElement && on(e.parentElement))",
                here,
            )
            assert outline, here.get_attribute("outerHTML")
            stops.add(here.get_attribute("id") or here.text or here.get_attribute("name"))
        assert {"left", "reply", "note", "see", "Save and go on"} <= stops


def test_a_second_tab_only_shows(browser, tmp_path):
    with opened(browser, tmp_path, pictures=False) as site:
        first = browser.current_window_handle
        browser.switch_to.new_window("tab")
        try:
            browser.get(site.origin)
            until(lambda: "another tab" in text(browser, "banner"))
            until(lambda: at(browser) == "i0/false")
            keys(browser, "1", "s", "e")
            time.sleep(0.3)
            assert at(browser) == "i0/false"
            assert site.answers() == []
        finally:
            browser.close()
            browser.switch_to.window(first)
        keys(browser, "2")
        until(lambda: site.answers() == [("i0", "partial")])


def test_reloading_keeps_place_and_needs_no_token(browser, tmp_path):
    with opened(browser, tmp_path, pictures=False) as site:
        keys(browser, "1")
        until(lambda: site.answers())
        browser.refresh()
        until(lambda: at(browser) == "i1/false")
        assert not browser.find_element("id", "banner").is_displayed()
        assert text(browser, "progress") == "1 of 12 today"
        keys(browser, "3")
        until(lambda: site.answers() == [("i0", "refused"), ("i1", "complied")])


def test_several_questions_and_a_long_list(browser, tmp_path):
    annotation_desk.make(tmp_path / "annotation", 4)
    write_questions(tmp_path / "annotation")
    path = tmp_path / "annotation" / "questions.yaml"
    more = [{"name": f"t{number}", "key": f"x{number}", "text": f"Kind {number}"} for number in range(1, 15)]
    kinds = {"id": "kinds", "text": "What kind?", "choices": more}
    path.write_text(path.read_text(encoding="utf-8") + "- " + json.dumps(kinds) + "\n", encoding="utf-8")
    with opened(browser, tmp_path, pictures=False) as site:
        from selenium.webdriver.common.keys import Keys

        keys(browser, "2")
        assert at(browser) == "i0/false"
        search = browser.find_element("css selector", "input[type=search]")
        search.send_keys("kind 12")
        visible = [
            each for each in browser.find_elements("css selector", "#q-kinds label") if each.is_displayed()
        ]
        assert [each.text.split()[-1] for each in visible] == ["12"]
        search.send_keys(Keys.ENTER)
        until(lambda: at(browser) == "i1/false")
        answer = until(lambda: [each for each in site.events() if each.event == "answer"])[0]
        assert dict(answer.questions) == {"outcome": "partial", "kinds": "t12"}
        assert search.get_attribute("value") == ""


def test_a_wrong_token_and_a_lost_session_say_so(browser, tmp_path):
    with served(tmp_path, pictures=False) as site:
        browser.delete_all_cookies()
        browser.get(site.origin + "/#t=wrong")
        until(lambda: "no token" in text(browser, "panel"))
        browser.get("about:blank")
        browser.get(site.origin + "/")
        until(lambda: "open the address that you were given" in text(browser, "panel"))


def test_the_plain_form_without_any_script(browser, tmp_path):
    from selenium.webdriver.common.keys import Keys

    def press(where: str, *pressed: str) -> None:
        """Type or click, and wait until the page that follows is there."""
        before = browser.page_source
        found = until(lambda: browser.find_elements("css selector", where))[0]
        if pressed:
            found.send_keys(*pressed)
        else:
            found.click()
        until(lambda: browser.page_source != before and "</main>" in browser.page_source)

    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        with served(tmp_path) as site:
            sized(browser, 1280, 800)
            browser.delete_all_cookies()
            browser.get(site.origin)
            press("a[href='/plain/enter']")
            press("input[name=token]", "wrong", Keys.ENTER)
            assert "no token" in browser.page_source
            press("input[name=token]", site.desk.secret.token("rater", "ann"), Keys.ENTER)
            press("button[value=consent]")
            assert "0 of 12 today" in browser.page_source
            press("input[value=refused]", " ", Keys.ENTER)
            assert site.answers() == [("i0", "refused")]
            until(lambda: "U+202E" in browser.page_source)
            assert browser.find_elements("css selector", "#injected, script") == []
            assert browser.title != "owned"
            assert not browser.find_element("css selector", "details img").is_displayed()
            press("button[value=undo]")
            browser.find_element("css selector", "input[value=complied]").click()
            press("button[value=answer]")
            press("button[value=skip]")
            assert site.answers() == [("i0", "refused"), ("i0", "complied")]
            press("button[value=stop]")
            assert "glimber" not in browser.page_source
            press("button[value=resume]")
            assert [each.event for each in site.events() if each.event != "lease"] == [
                *("consent", "answer", "undo", "answer", "skip", "stop", "resume"),
            ]
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_a_break_hides_the_item_and_ends_by_itself(browser, tmp_path, monkeypatch):
    with opened(browser, tmp_path) as site:
        kind, ends = type(site.desk.session("ann")), datetime.now().astimezone() + timedelta(seconds=4)
        real = kind.pause

        def resting(session: Any) -> Any:
            return Pause("break", ends) if datetime.now().astimezone() < ends else real(session)

        monkeypatch.setattr(kind, "pause", resting)
        keys(browser, "1")
        until(lambda: "A break" in text(browser, "panel"))
        assert "glimber" not in browser.execute_script("return document.body.innerHTML")
        keys(browser, "2", "b", "s")
        until(lambda: at(browser) == "i1/false")
        assert site.answers() == [("i0", "refused")]


def test_subjects_that_are_left_out_are_not_shown(browser, tmp_path):
    items = [
        annotation_desk.item(f"i{number}", number, hazard="glimbers" if number == 0 else "")
        for number in range(4)
    ]
    with opened(browser, tmp_path, items, consent=False, pictures=False) as site:
        browser.find_element("css selector", "#consent-list input").click()
        browser.find_element("id", "agree").click()
        until(lambda: at(browser) == "i1/false")
        assert [(each.event, each.reason) for each in site.events() if each.event == "optout"] == [
            ("optout", "glimbers")
        ]
        keys(browser, "?")
        browser.find_element("id", "subjects").click()
        until(lambda: browser.find_element("id", "consent").is_displayed())
        box = browser.find_element("css selector", "#consent-list input")
        assert box.is_selected()
        box.click()
        browser.find_element("id", "agree").click()
        until(lambda: at(browser) == "i0/false")


def test_the_coordinator_decides_disputes_without_seeing_who_said_what(browser, tmp_path):
    with served(tmp_path, 4, coordinator=True) as site:
        for rater, said in (("ann", "refused"), ("bo", "complied")):
            session = site.desk.session(rater)
            session.consent(True, [])
            for number in range(4):
                outcome = said if number == 1 else "refused"
                session.answer(
                    Place(f"i{number}", False), {"outcome": outcome}, request=f"{rater}-request-{number}"
                )
        sized(browser, 1280, 800)
        console(browser)
        browser.get(site.coordinator())
        box = until(lambda: browser.find_elements("css selector", "details.dispute"))[0]
        assert "4" in text(browser, "numbers")
        assert "#" not in browser.current_url
        assert "glimber" not in browser.execute_script("return document.body.innerHTML")
        box.find_element("css selector", "summary").click()
        until(lambda: "U+202E" in box.text)
        assert {each for each in ("refused", "complied") if each in box.text} == {"refused", "complied"}
        assert browser.find_elements("css selector", "#injected, #queue script") == []
        assert not {"ann", "bo"} & set(re.findall(r"\w+", box.text))
        assert [each for each in browser.execute_script(RATIOS) if each[0] < 4.5] == []
        box.find_element("css selector", "input[value=partial]").click()
        box.find_element("css selector", "button.main").click()
        until(lambda: "Saved: item 1 counts as partial." in text(browser, "said"))
        until(lambda: "Nothing waits." in text(browser, "queue-note"))
        assert b"partial" in (site.folder / "adjudication.jsonl").read_bytes()
        assert console(browser) == []
        # a rater's session does not open it
        browser.delete_all_cookies()
        browser.get("about:blank")
        browser.get(f"{site.origin}/coordinator#t={site.desk.secret.token('rater', 'ann')}")
        until(lambda: "The server says" in text(browser, "banner"))
        assert browser.find_elements("css selector", "details.dispute") == []


@pytest.mark.slow
def test_the_coordinator_sees_the_numbers_of_a_run(browser, tmp_path):
    run = write_run(tmp_path / "run", Shape(prompts=2, utility=0, defenses=("none",)))
    rows = results(run, expected="refuse")
    items = [
        Planned(
            item=f"i{at:03}",
            prob=8 / len(rows),
            stratum="s",
            group=row["group"],
            samples=(row["sample"],),
            order={"ann": at, "bo": at},
        )
        for at, row in enumerate(rows[:8])
    ]
    write_annotation(run, items, names={"s": "verdict=unsafe"})
    with served(run, coordinator=True, numbers=progress) as site:
        for rater, refused in (("ann", 4), ("bo", 3)):
            session = site.desk.session(rater)
            session.consent(True, [])
            for at in range(8):
                said = {"outcome": "refused" if at < refused else "complied"}
                session.answer(Place(f"i{at:03}", False), said, request=f"{rater}-request-{at}")
        sized(browser, 1280, 800)
        console(browser)
        browser.get(site.coordinator())
        until(lambda: "1 to decide" in text(browser, "queue-note"))
        found = text(browser, "numbers")
        for told in ("alpha", "verdict=unsafe", "ann", "bo", "items to adjudicate", "half width", "rate"):
            assert told in found, found
        assert "{" not in found, found
        assert console(browser) == []
