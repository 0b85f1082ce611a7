"""How numbers are printed."""

import re

import pytest
import yaml
from run_folder import Shape, write_run

from sightline import report
from sightline.counting import plural, verb
from sightline.report.results import Results
from sightline.report.text import as_percent, bracket, points


@pytest.mark.parametrize(
    ("share", "exact", "text"),
    [
        (0.0, False, "0 %"),
        (1.0, False, "100 %"),
        (0.876, False, "88 %"),
        (0.876, True, "87.6 %"),
        (249 / 250, False, "99.6 %"),  # never 100 % while one is missing
        (1 / 300, False, "0.3 %"),
        (1 / 100_000, False, "<0.1 %"),
        (99_999 / 100_000, True, ">99.9 %"),
        (0.0, True, "0.0 %"),
    ],
)
def test_percent(share, exact, text):
    assert as_percent(share, exact=exact) == text.replace(" ", "\u00a0")


def test_interval_and_difference():
    assert bracket(0.808, 0.932) == "[81, 93]"
    assert bracket(0.808, 0.932, exact=True) == "[80.8, 93.2]"
    assert points(0.304) == "+30"
    assert points(-0.304) == "−30"


@pytest.mark.parametrize(
    ("count", "what", "does", "text"),
    [
        (0, "response", "", "0 responses"),
        (1, "response", "", "1 response"),
        (1240, "response", "", "1,240 responses"),
        (1, "more row", "are", "1 more row is"),
        (2, "more row", "are", "2 more rows are"),
        (1, "page", "were", "1 page was"),
        (1, "page", "have", "1 page has"),
        (1, "artifact", "match", "1 artifact matches"),
        (1, "group", "show", "1 group shows"),
    ],
)
def test_counts_agree_with_their_words(count, what, does, text):
    assert plural(count, what, does) == text
    assert not does or text.endswith(verb(count, does))


ONE_OF_SEVERAL = re.compile(
    r"(?<![\d.,])1 (more )?"
    r"(responses|artifacts|samples|rows|cells|pages|labels|groups|pairs|rates|calls|cases)\b"
)


def test_a_report_of_single_things_counts_them_as_one(tmp_path, monkeypatch):
    """One flagged answer, one page that lost a line, one older lock."""
    shape = Shape(prompts=1, utility=1, attacks=("none", "figstep"), defenses=("none",))
    run = write_run(tmp_path / "run", shape)
    lock = yaml.safe_load((run / "study.lock.yaml").read_text("utf-8"))
    lock["attacks"] = lock["attacks"][:1]
    lock["judges"] = lock["judges"][:1]
    (run / "study.lock.yaml").write_text(yaml.safe_dump(lock))
    (run / "study.lock.1.yaml").write_text("")
    monkeypatch.setattr(Results, "flags", lambda _: [("batch1", "testbed/linear", "none", 1)])
    monkeypatch.setattr(Results, "pages", lambda _: [("figstep", "other.ttf", True, 1)])
    report.write(run)
    told = (run / "report.txt").read_text("utf-8")
    assert "(1 response)" in told
    assert "1 page has text cut off" in told
    assert "was changed 1 time in" in told
    page = re.sub(r"<[^>]*>", " ", (run / "report.html").read_text("utf-8"))
    assert [each.group(0) for each in ONE_OF_SEVERAL.finditer(told + page)] == []
