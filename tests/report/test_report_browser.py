"""The page in Debian's Chromium: hostile strings do nothing, covered text stays covered until clicked.

Set SIGHTLINE_NO_BROWSER=1 where there is no Chromium (Debian: apt-get install chromium chromium-driver).
"""

import json
from pathlib import Path

import pytest
from chromium import browser_or_skip
from run_folder import HOSTILE, Shape, write_run

from sightline import report

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    yield from browser_or_skip(tmp_path_factory.mktemp("profile"))


@pytest.fixture(scope="module")
def hostile_page(tmp_path_factory):
    shape = Shape(
        hostile=True,
        targets=("testbed/" + HOSTILE[0],),
        judges=("testbed_policy(" + HOSTILE[2], HOSTILE[1] + HOSTILE[10]),
    )
    return report.write(write_run(tmp_path_factory.mktemp("hostile"), shape))


@pytest.fixture(scope="module")
def plain_page(tmp_path_factory):
    return report.write(write_run(tmp_path_factory.mktemp("plain"), Shape()))


FOLDS = "details.part, details.pile, details.fold"


def visit(browser, page: Path, *, unfolded: bool = True):
    """Open a page; its sections and cases are unfolded, what is covered stays so."""
    browser.get_log("browser")
    browser.get_log("performance")
    browser.get(page.as_uri())
    if unfolded:
        browser.execute_script(
            f"document.querySelectorAll('{FOLDS}').forEach((fold) => {{ fold.open = true }})"
        )


def requests(browser):
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]


def test_hostile_strings_do_nothing(browser, hostile_page):
    from selenium.common.exceptions import NoAlertPresentException

    visit(browser, hostile_page)
    for summary in browser.find_elements("css selector", "details > summary"):
        browser.execute_script("arguments[0].parentElement.open = true", summary)
    for box in browser.find_elements("css selector", "article, .quote, img"):
        browser.execute_script(
            "arguments[0].dispatchEvent(new MouseEvent('mouseover', {bubbles: true}))", box
        )
    with pytest.raises(NoAlertPresentException):
        browser.switch_to.alert  # noqa: B018
    assert browser.title.endswith("Sightline report")
    assert (
        browser.find_elements("css selector", "#injected, iframe, object, embed, form, base, foreignObject")
        == []
    )
    assert len(browser.find_elements("css selector", "script")) == 1
    assert len(browser.find_elements("css selector", "style, link[rel=stylesheet]")) == 1
    assert (
        browser.find_elements("css selector", "a:not([href^='#']), link[href^='http'], link[href^='//']")
        == []
    )
    assert browser.find_element("css selector", "body").is_displayed()
    assert [entry["message"] for entry in browser.get_log("browser")] == []
    asked = requests(browser)
    assert asked[0].startswith("file://")
    assert [url for url in asked[1:] if not url.startswith("data:")] == []
    # the strings are on the page, as text
    body = browser.execute_script("return document.body.textContent")
    for evil in (HOSTILE[0], HOSTILE[2], HOSTILE[9], HOSTILE[10]):
        assert evil in body


def test_the_policy_stops_what_escaping_would_miss(browser, plain_page, tmp_path):
    """A broken page of the same policy: a handler, a foreign script and a request are all refused."""
    evil = (
        "<img src='https://example.invalid/x.png' onerror=\"document.title='owned'\">"
        "<script>document.title='owned'</script>"
    )
    broken = tmp_path / "broken.html"
    broken.write_text(plain_page.read_text(encoding="utf-8").replace("<h1>", evil + "<h1>"), encoding="utf-8")
    visit(browser, broken)
    assert browser.title != "owned"
    violations = [
        e["message"] for e in browser.get_log("browser") if "Content Security Policy" in e["message"]
    ]
    assert len(violations) >= 2


def test_covered_text_appears_on_click_only(browser, plain_page):
    visit(browser, plain_page)
    secret = next(
        q
        for q in browser.find_elements("css selector", ".quote")
        if "SECRETRAW" in q.get_attribute("textContent")
    )
    assert not secret.is_displayed()
    assert "SECRETRAW" not in browser.execute_script("return document.body.innerText")
    summary = secret.find_element("xpath", "..").find_element("css selector", "summary")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", summary)
    summary.click()
    assert secret.is_displayed()
    assert "SECRETRAW" in secret.text


def test_no_restricted_quote_is_visible_at_first(browser, plain_page):
    visit(browser, plain_page)
    seen = 0
    for article in browser.find_elements("css selector", "article.case"):
        if not article.find_element("css selector", ".meta").text.startswith("restricted"):
            continue
        seen += 1
        quotes = article.find_elements("css selector", ".quote:not(.empty)")
        assert quotes
        assert not any(quote.is_displayed() for quote in quotes)
        for image in article.find_elements("css selector", "img"):
            assert "blur" in image.value_of_css_property("filter")
    assert seen > 10


def test_picture_is_blurred_until_clicked_or_toggled_by_keyboard(browser, plain_page):
    visit(browser, plain_page)
    cover = browser.find_element("css selector", "label.cover")
    image, box = (cover.find_element("css selector", name) for name in ("img", "input"))
    browser.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", cover)
    assert image.value_of_css_property("filter").startswith("blur")
    cover.click()
    assert image.value_of_css_property("filter") == "none"
    box.send_keys(" ")
    assert image.value_of_css_property("filter").startswith("blur")


def test_one_button_uncovers_and_covers_everything(browser, plain_page):
    visit(browser, plain_page)
    button = browser.find_element("id", "uncover")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", button)
    state = "return [...document.querySelectorAll('#cases details.covered')].map((d) => d.open)"
    button.click()
    opened = browser.execute_script(state)
    assert len(opened) > 20
    assert all(opened)
    assert button.get_attribute("aria-pressed") == "true"
    button.click()
    assert not any(browser.execute_script(state))


def test_without_scripts_everything_still_works(browser, plain_page):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        visit(browser, plain_page)
        assert not browser.find_element("id", "uncover").is_displayed()
        box = browser.find_element("css selector", "details.covered")
        box.find_element("css selector", "summary").click()
        assert box.find_element("css selector", ".quote").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


@pytest.mark.parametrize("page", ["plain_page", "hostile_page"])
def test_all_pictures_decode(browser, page, request):
    visit(browser, request.getfixturevalue(page))
    sizes = browser.execute_script("return [...document.images].map((i) => i.complete && i.naturalWidth)")
    assert len(sizes) > 20
    assert all(sizes)


@pytest.mark.parametrize("page", ["plain_page", "hostile_page"])
def test_page_fits_a_phone(browser, page, request):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True},
    )
    try:
        visit(browser, request.getfixturevalue(page))
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


CONTRAST = """
const luminance = (text) => {
  const [r, g, b] = text.match(/[0-9.]+/g).slice(0, 3).map((v) => v / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const ground = (node) => {
  for (let n = node; n; n = n.parentElement) {
    const color = getComputedStyle(n).backgroundColor;
    if (!/, 0\\)$/.test(color) && color !== "transparent") return color;
  }
  return "rgb(255, 255, 255)";
};
return [...document.querySelectorAll(arguments[0])].filter((n) => n.getClientRects().length).map((n) => {
  const [a, b] = [luminance(getComputedStyle(n).color), luminance(ground(n))].sort((x, y) => y - x);
  return [(a + 0.05) / (b + 0.05), n.tagName + "." + n.className + ": " + n.textContent.slice(0, 40)];
}).filter(([ratio]) => ratio < 4.5);
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_in_light_and_dark(browser, plain_page, scheme):
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    try:
        visit(browser, plain_page)
        body = browser.find_element("css selector", "body").value_of_css_property("background-color")
        assert (body == "rgba(20, 24, 29, 1)") == (scheme == "dark")
        weak = browser.execute_script(
            CONTRAST, "p, th, td, td b, td small, h1, h2, h3, h4, li, a, summary, dt, dd, .ci, .chip"
        )
        assert weak == []
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


TOOLS = "const box = document.querySelector('#results .tools'); "
ROWS = "return document.querySelector('#results table').querySelectorAll('tbody tr:not(.band)').length"


def test_the_first_screen_is_short_and_everything_else_is_folded(browser, plain_page):
    visit(browser, plain_page, unfolded=False)
    assert browser.execute_script("return document.documentElement.scrollHeight") < 2500
    assert browser.find_element("css selector", ".verdict").is_displayed()
    assert not any(table.is_displayed() for table in browser.find_elements("css selector", "main table"))
    browser.find_element("css selector", "nav a[href='#results']").click()
    assert browser.find_element("css selector", "#results table").is_displayed()


def test_rows_are_searched_filtered_and_sorted(browser, plain_page):
    visit(browser, plain_page)
    rows = browser.execute_script(ROWS)
    browser.find_element("css selector", "#results input[type=search]").send_keys("figstep system")
    assert browser.execute_script(ROWS) == 1
    assert "1 of 18 rows" in browser.find_element("css selector", "#results .tools").text
    browser.execute_script(TOOLS + "box.querySelector('[type=search]').value = '';")
    browser.find_element("css selector", "#results .tools input[type=checkbox]").click()
    assert 0 < browser.execute_script(ROWS) < rows
    browser.find_element("css selector", "#results .tools input[type=checkbox]").click()
    assert browser.execute_script(ROWS) == rows == 18
    head = browser.find_elements("css selector", "#results thead th")[2]
    points = (
        "return [...document.querySelectorAll('#results tbody')[0].rows].slice(1)"
        ".map((row) => parseInt(row.cells[2].textContent))"
    )
    head.find_element("css selector", "button").click()
    assert browser.execute_script(points) == sorted(browser.execute_script(points), reverse=True)
    assert head.get_attribute("aria-sort") == "descending"
    head.find_element("css selector", "button").click()
    assert browser.execute_script(points) == sorted(browser.execute_script(points))
    head.find_element("css selector", "button").click()
    assert head.get_attribute("aria-sort") is None


def test_a_row_leads_to_its_case_and_its_text_stays_covered(browser, plain_page):
    visit(browser, plain_page, unfolded=False)
    browser.execute_script("document.querySelector('details.part').open = true")
    link = browser.find_element("css selector", "#results tbody a[href^='#case-']")
    goal = link.get_attribute("href").partition("#")[2]
    browser.execute_script("arguments[0].click()", link)
    assert browser.execute_script("return location.hash") == f"#{goal}"
    meta = browser.find_element("id", goal)
    assert meta.is_displayed()
    card = meta.find_element("xpath", "ancestor::article")
    assert card.find_elements("css selector", "details.covered[open]") == []
    assert sum(d.is_displayed() for d in browser.find_elements("css selector", "article.case .meta")) == 1


def test_what_held_can_be_hidden(browser, plain_page):
    visit(browser, plain_page)
    browser.execute_script("document.getElementById('broken').click()")
    shown = [d for d in browser.find_elements("css selector", ".pile") if d.is_displayed()]
    assert shown
    assert all(d.get_attribute("data-held") is None for d in shown)


@pytest.mark.slow
def test_of_a_long_table_some_rows_stand_in_the_document_and_all_are_found(browser, plain_page, tmp_path):
    page = plain_page.read_text(encoding="utf-8")
    start = page.index('<tr class="band">')
    end = page.index("</tbody>", start)
    more = "".join(
        f'<tr data-broke><th scope="row">row{n}</th><td>{n}</td></tr>'
        if n % 2
        else f'<tr><th scope="row">row{n}</th><td>{n}</td></tr>'
        for n in range(1000)
    )
    (tmp_path / "long.html").write_text(page[:end] + more + page[end:], encoding="utf-8")
    visit(browser, tmp_path / "long.html")
    assert browser.execute_script(ROWS) == 50
    search = browser.find_element("css selector", "#results input[type=search]")
    search.send_keys("row999")
    assert browser.execute_script(ROWS) == 1
    assert browser.find_element("css selector", "#results tbody th").is_displayed()
    search.send_keys("\b\b\b")
    tools = browser.find_element("css selector", "#results .tools")
    assert "first 50 of 1,000 of 1,018 rows" in tools.text
    tools.find_element("css selector", "button").click()
    assert browser.execute_script(ROWS) == 1000
