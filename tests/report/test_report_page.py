"""The page as a file: structure, escaping, what is covered, and studies with missing pieces."""

import base64
import hashlib
import re
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from itertools import takewhile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from run_folder import HOSTILE, NOUNS, SURE, Shape, write_run

from sightline import report
from sightline.errors import UsageError
from sightline.report.text import as_percent, is_unseen
from sightline.run_folder import COMPLETE, RESULTS

VOID = {"meta", "link", "img", "input", "br", "wbr"}


@dataclass
class Node:
    tag: str
    attributes: dict
    children: list = field(default_factory=list)

    def walk(self, above=()):
        yield self, above
        for child in self.children:
            if isinstance(child, Node):
                yield from child.walk((*above, self))

    def find(self, tag, css_class=None):
        return [n for n, _ in self.walk() if n.tag == tag and (css_class is None or css_class in n.classes)]

    @property
    def classes(self):
        return (self.attributes.get("class") or "").split()

    @property
    def name(self):
        """The first text of a cell, wherever it may break, without what stands below it."""
        here = (c for c in self.children if isinstance(c, str) or c.tag != "wbr")
        return "".join(takewhile(lambda child: isinstance(child, str), here)).strip()

    @property
    def text(self):
        return "".join(c if isinstance(c, str) else c.text for c in self.children).replace("\u00a0", " ")


class Tree(HTMLParser):
    """A strict reader: every element that is opened must be closed in order."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.root = Node("root", {})
        self.open = [self.root]
        self.feed(text)
        self.close()
        assert [node.tag for node in self.open] == ["root"]

    def handle_starttag(self, tag, attrs):
        node = Node(tag, dict(attrs))
        assert len(node.attributes) == len(attrs), f"<{tag}> repeats an attribute"
        self.open[-1].children.append(node)
        if tag not in VOID:
            self.open.append(node)

    def handle_startendtag(self, tag, attrs):
        self.open[-1].children.append(Node(tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop().tag == tag

    def handle_data(self, data):
        self.open[-1].children.append(data)


def page_of(folder: Path, shape: Shape) -> tuple[str, Node]:
    text = report.write(write_run(folder, shape)).read_text(encoding="utf-8")
    return text, Tree(text).root


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return page_of(tmp_path_factory.mktemp("plain"), Shape())


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    shape = Shape(
        hostile=True, targets=("testbed/" + HOSTILE[0],), judges=(HOSTILE[1], HOSTILE[5] + HOSTILE[10])
    )
    return page_of(tmp_path_factory.mktemp("hostile"), shape)


def lede(root):
    return root.find("p", "lede")[0].text


# -- numbers ---------------------------------------------------------------------------------------------


def test_headline_says_what_was_measured(tmp_path):
    _, root = page_of(tmp_path, Shape(rates=SURE))
    assert lede(root).startswith("Without an attack, testbed/linear refuses 100 % [")
    assert "of restricted requests (n = 36); with figstep ASR is 100 % [" in lede(root)
    assert "The strongest control, " in lede(root)
    assert "of the +100 points over the plain request none is explained by it, +100 [" in lede(root)
    assert lede(root).endswith("] remain for figstep.")
    more = [p.text for p in root.find("header")[0].find("p") if p.text.startswith("Defense")]
    assert len(more) == 2
    assert all("→ 0 %" in text and "utility" in text for text in more)


def test_headline_is_honest_if_the_plain_request_gets_as_much(tmp_path):
    odds = {"complied": 0.9, "refused": 0.1}
    rates = {key: (odds, benign) for key, (_, benign) in SURE.items()}
    _, root = page_of(tmp_path, Shape(rates=rates))
    assert "; no attack reached a higher ASR (figstep: 89 % [" in lede(root)
    assert "The plain request reaches 97 % [" in lede(root)
    more = " ".join(p.text for p in root.find("header")[0].find("p"))
    assert more.count("The change in ASR is not significant") == 2


def test_headline_is_honest_if_a_control_does_the_same(tmp_path):
    obeyed = ({"complied": 1.0}, {"complied": 1.0})
    rates = {**SURE, **{("control", defense): obeyed for defense in Shape().defenses}}
    _, root = page_of(tmp_path, Shape(rates=rates))
    assert "reaches 100 % [" in lede(root)
    assert "figstep adds +0 [−24, +24] points, so the effect cannot be attributed to figstep." in lede(root)


@pytest.mark.parametrize(
    ("odds", "says"),
    [({"refused": 1.0}, "the strongest of 2 attacks, ASR is"), ({"complied": 1.0}, "tied with ")],
)
def test_headline_ranks_attacks(tmp_path, odds, says):
    shape = Shape(attacks=("none", "figstep", "mm_typography"), defenses=("none",), prompts=1, utility=6)
    rates = {**SURE, ("other", "none"): (odds, odds)}
    _, root = page_of(tmp_path, replace(shape, rates=rates))
    assert says in lede(root)


def test_headline_says_if_a_defense_makes_things_worse(tmp_path):
    odds = {"complied": 0.5, "refused": 0.5}
    worse = {("figstep", "none"): (odds, odds), ("figstep", "system_prompt"): ({"complied": 1.0}, odds)}
    rates = {**SURE, **worse}
    _, root = page_of(tmp_path, Shape(rates=rates))
    texts = [p.text for p in root.find("header")[0].find("p") if p.text.startswith("Defense system_prompt")]
    assert texts[0].endswith("It makes the attack stronger.")


def test_headline_table_has_every_cell_once(plain):
    _, root = plain
    tables = [t for t in root.find("table") if t.find("th") and t.find("th")[0].text == "Attack"]
    assert len(tables) == 2  # one per judge
    for table in tables:
        rows = [tr for tr in table.find("tr") if len(tr.find("td")) == 8]
        cells = [(tr.find("th")[0].name, tr.find("td")[0].text) for tr in rows]
        assert len(cells) == len(set(cells)) == 6 * 3
        assert cells[0] == ("figstep", "none")


def test_unscored_samples_show_as_bounds_and_counts(plain):
    _text, root = plain
    row = next(tr for tr in root.find("tr") if [c.text for c in tr.find("td")[:1]] == ["self_moderation"])
    assert "bounds" in row.text
    assert re.search(r"\n1 of 36$", row.text.strip())  # of the requests that ASR is about


def test_success_within_several_tries_is_a_number_of_its_own(tmp_path):
    half = ({"complied": 0.5, "refused": 0.5}, {"complied": 1.0})
    shape = Shape(prompts=1, utility=6, epochs=4, rates={**SURE, ("figstep", "none"): half})
    _text, root = page_of(tmp_path, shape)
    row = next(
        tr for tr in root.find("tr") if tr.find("th") and tr.find("th")[0].text.strip() == "figstep black box"
    )
    single, several = row.find("td")[1].find("b")[0].text, row.find("td")[1].find("span", "bounds")[0].text
    assert several.startswith("any of 4 tries: ")
    assert int(single.split()[0]) < int(several.split(": ")[1].split()[0])
    assert several.endswith(f"n = {len(NOUNS)} requests")


def test_two_judges_never_share_a_table(plain):
    _, root = plain
    for table in root.find("table"):
        if table.find("caption") and "judged by" in table.find("caption")[0].text:
            names = [
                name for name in Shape().judges if name.partition("(")[0] in table.find("caption")[0].text
            ]
            assert len(names) == 1


def test_composition_prints_all_samples(plain):
    _, root = plain
    section = next(s for s in root.find("section") if s.attributes["id"] == "outcomes")
    assert sum(t.text == "n = 36" for t in section.find("text")) == 18 * 2 + 3


def test_accuracy_has_a_column_only_where_items_are_classified(tmp_path, plain):
    assert "accuracy" not in plain[0].lower()
    _, root = page_of(tmp_path, Shape(prompts=1, utility=6, items=16, judges=("one@1",)))
    (table,) = [t for t in root.find("table") if t.find("th") and t.find("th")[0].text == "Attack"]
    heads = [th.text for th in table.find("thead")[0].find("th")]
    place = heads.index("Accuracy")
    assert heads[place - 1] == "Utility"
    assert {th.attributes["colspan"] for th in table.find("th") if "colspan" in th.attributes} == {
        str(len(heads))
    }
    rows = {
        (tr.find("th")[0].name, tr.find("td")[0].text): tr.find("td")[place - 1].text
        for tr in table.find("tr")
        if len(tr.find("td")) == len(heads) - 1
    }
    assert re.fullmatch(r"75 % \[\d+, \d+\], n = 16", rows["none", "none"])
    assert rows["figstep", "none"] == "not measured"
    assert "only rows of plain requests have it" in section(root, "results")
    assert "accuracyitems classified correctly: complied among all scored outcomes" in section(root, "method")
    outcomes = next(s for s in root.find("section") if s.attributes["id"] == "outcomes")
    assert sum(t.text == "n = 16" for t in outcomes.find("text")) == 3  # one bar per defense
    bodies = [b for b in root.find("tbody") if b.text.strip().startswith("accuracy: defended − undefended")]
    changes = [tr for body in bodies for tr in body.find("tr")[1:]]
    assert [(tr.find("th")[0].text, tr.find("td")[-1].text) for tr in changes] == [
        ("self_moderation − none", "16"),
        ("system_prompt − none", "16"),
    ]


@pytest.mark.parametrize(
    ("utility", "items", "says"),
    [
        (0, 16, r"testbed/linear classifies 75 % \[\d+, \d+\] of items correctly \(n = 16\)\."),
        (9, 16, r".* of items correctly .* and answers \d+ % .* of questions correctly \(n = 9\)\."),
        (9, 0, r"testbed/linear answers \d+ % \[\d+, \d+\] of questions correctly \(n = 9\)\."),
    ],
)
def test_headline_without_restricted_requests(tmp_path, utility, items, says):
    shape = Shape(attacks=("none",), restricted=False, benign=False, utility=utility, items=items)
    _, root = page_of(tmp_path, shape)
    assert re.fullmatch(says, lede(root))
    warnings = root.find("div", "warnings")[0].text
    assert ("only 6 groups of classification items" in warnings) == bool(items)
    assert "expected by the lock" not in warnings


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"benign": False, "all_errors": True},
            "No result for testbed/linear: none of its samples has a readable verdict "
            "(48 of 48 samples are unscored).",
        ),
        ({"utility": 0, "items": 0}, "testbed/linear got no restricted request."),
    ],
)
def test_headline_without_anything_to_say(tmp_path, change, says):
    shape = Shape(attacks=("none",), restricted=False, items=12, utility=4)
    _, root = page_of(tmp_path, replace(shape, **change))
    assert lede(root) == says


def test_agreement_of_judges_is_of_samples_that_both_scored(tmp_path):
    run = write_run(tmp_path, Shape(prompts=1, utility=6))
    verdicts: dict = {}
    for row in pq.read_table(run / "results.parquet").to_pylist():
        if row["expected"] == "refuse" and row["outcome"] not in ("unparsed", "error"):
            verdicts.setdefault(row["sample"], {})[row["judge"]] = row["outcome"] == "complied"
    both = [tuple(v.values()) for v in verdicts.values() if len(v) == 2]
    root = Tree(report.write(run).read_text(encoding="utf-8")).root
    judges = next(s for s in root.find("section") if s.attributes["id"] == "judges")
    cells = [td.text for td in judges.find("tbody")[0].find("tr")[0].find("td")]
    assert cells[:3] == ["testbed_policy", "all", str(len(both))]
    assert cells[4].startswith(as_percent(sum(a == b for a, b in both) / len(both)).replace("\u00a0", " "))


# -- safety of the file ----------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["plain", "hostile"])
def test_nothing_is_loaded_and_one_known_script_runs(which, request):
    text, root = request.getfixturevalue(which)
    scripts = root.find("script")
    assert len(scripts) == 1
    assert scripts[0].attributes == {}
    want = base64.b64encode(hashlib.sha256(scripts[0].text.encode()).digest()).decode()
    policy = next(m for m in root.find("meta") if "http-equiv" in m.attributes).attributes["content"]
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'; ")
    assert f"script-src 'sha256-{want}'" in policy
    assert len(root.find("style")) == 1
    for node, _ in root.walk():
        assert node.tag not in {
            "iframe",
            "object",
            "embed",
            "base",
            "form",
            "foreignobject",
            "audio",
            "video",
        }
        for name, value in node.attributes.items():
            assert not name.startswith("on"), (node.tag, name)
            if name in {"src", "href", "xlink:href", "srcset", "action", "data"}:
                assert re.match(r"data:image/(png|jpeg|webp|gif);base64,|#[a-z0-9-]+$|data:,$", value), (
                    node.tag,
                    value[:80],
                )
            if name == "style":
                assert "url" not in value
    assert "@import" not in root.find("style")[0].text
    assert "url(" not in root.find("style")[0].text
    assert len(text) < 5_000_000


def test_no_invisible_character_reaches_the_file(hostile):
    text, _ = hostile
    assert not {c for c in text if is_unseen(c)}


def test_hostile_strings_are_text(hostile):
    text, root = hostile
    assert not [n for n, _ in root.walk() if n.attributes.get("id") == "injected"]
    assert root.find("title")[0].text.endswith("Sightline report")
    assert "{{7*7}}" in root.text
    gallery = next(n for n in root.find("div") if n.attributes.get("id") == "cases").text
    shown = [evil for evil in HOSTILE if evil[:25].split("\u202e")[0].split("\x1b")[0].strip() in gallery]
    assert len(shown) >= 8  # the gallery really holds hostile text, or this test tests nothing
    assert "U+202E" in text


def test_text_of_restricted_requests_and_raw_replies_starts_covered(plain):
    _, root = plain
    articles = root.find("article")
    assert len(articles) > 20
    restricted = 0
    for article in articles:
        covered = article.find("p", "meta")[0].text.startswith("restricted")
        restricted += covered
        for node, above in article.walk():
            hidden = any(a.tag == "details" and "covered" in a.classes for a in above)
            open_details = any(a.tag == "details" and "open" in a.attributes for a in above)
            assert not open_details
            if "quote" in node.classes and "SECRETRAW" in node.text:
                assert hidden
            if covered and "quote" in node.classes and "empty" not in node.classes:
                assert hidden, node.text
            if covered and node.tag == "img":
                assert any("cover" in a.classes for a in above)
    assert restricted > 10
    assert "SECRETRAW" in root.text


def test_benign_requests_are_open(plain):
    _, root = plain
    benign = [a for a in root.find("article") if a.find("p", "meta")[0].text.startswith("benign")]
    assert benign
    for article in benign:
        quotes = [(n, above) for n, above in article.walk() if "quote" in n.classes]
        assert any(not any("covered" in a.classes for a in above) for _, above in quotes)


def test_tables_have_headers_and_pictures_have_words(plain):
    _, root = plain
    for table in root.find("table"):
        assert table.find("thead")
        assert all(th.attributes.get("scope") for th in table.find("th"))
    assert all(img.attributes["alt"].strip() for img in root.find("img"))
    assert all(
        svg.attributes.get("aria-label") or svg.attributes.get("aria-hidden") for svg in root.find("svg")
    )
    ids = [n.attributes["id"] for n, _ in root.walk() if "id" in n.attributes]
    assert len(ids) == len(set(ids))
    anchors = {a.attributes["href"][1:] for a in root.find("a")}
    assert anchors <= set(ids)


def test_same_run_same_bytes_and_no_folder_names(tmp_path):
    run = write_run(tmp_path / "it's [a] *run?", Shape())
    first = report.write(run).read_bytes()
    other = report.write(run, tmp_path / "elsewhere" / "page.html")
    assert other == tmp_path / "elsewhere" / "page.html"
    assert other.read_bytes() == first
    assert str(tmp_path).encode() not in first
    assert b"/home/someone" not in first


@pytest.mark.slow
def test_large_pictures_do_not_blow_up_the_page(tmp_path):
    text, root = page_of(tmp_path, Shape(side_px=700, prompts=1))
    assert len(text) < 5_000_000
    assert "copy at" in root.text


# -- studies with missing pieces -------------------------------------------------------------------------


def section(root, name):
    return next(s for s in root.find("section") if s.attributes["id"] == name).text


@pytest.mark.parametrize(
    ("change", "where", "says"),
    [
        ({"attacks": ("figstep", "blank_image")}, "method", "The plain request (attack none) was not run"),
        ({"attacks": ("none", "figstep")}, "method", "No control was run"),
        ({"attacks": ("none",)}, "method", "No attack was run"),
        ({"utility": 0}, "method", "No utility questions"),
        ({"utility": 0}, "tradeoff", "Utility was not measured"),
        ({"benign": False}, "method", "No benign twins"),
        ({"benign": False}, "tradeoff", "Over-refusal was not measured"),
        ({"benign": False, "utility": 0}, "tradeoff", "No trade-off to show"),
        ({"defenses": ("none",)}, "tradeoff", "No trade-off to show"),
        ({"judges": ("one@1",)}, "judges", "Only one judge"),
        ({"all_errors": True}, "results", "no scored sample"),
        ({"compact": False}, "gallery", "Clean request"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_missing_pieces_are_said(tmp_path, change, where, says):
    _, root = page_of(tmp_path, replace(Shape(prompts=1, utility=6), **change))
    assert says in section(root, where)


def test_all_errors_make_no_claim(tmp_path):
    _, root = page_of(tmp_path, Shape(prompts=1, all_errors=True))
    assert lede(root).startswith("No result for testbed/linear")
    assert "unscored samples" in root.find("div", "warnings")[0].text


def test_several_targets_and_benchmarks_get_their_own_tables(tmp_path):
    shape = Shape(
        prompts=1, utility=6, targets=("testbed/a", "testbed/b"), benchmarks=("one", "two"), judges=("j@1",)
    )
    _, root = page_of(tmp_path, shape)
    captions = [c.text for c in root.find("caption") if "judged by" in c.text]
    assert len(captions) == 2
    assert len(root.find("p", "lede")) == 4


def test_rows_that_the_lock_promises_and_the_table_lacks_are_a_warning(tmp_path):
    run = write_run(tmp_path, Shape(prompts=1, utility=6))
    lock = yaml.safe_load((run / "study.lock.yaml").read_text())
    lock["attacks"].append({"label": "lost", "spec": "lost", "identity": "x"})
    (run / "study.lock.yaml").write_text(yaml.safe_dump(lock))
    root = Tree(report.write(run).read_text(encoding="utf-8")).root
    warnings = root.find("div", "warnings")[0].text
    assert f"| lost | none | testbed_policy: 0 rows found, {2 * len(NOUNS)} expected by the lock" in warnings


def test_a_lost_picture_and_lost_records_are_notes(tmp_path):
    run = write_run(tmp_path, Shape(prompts=1, utility=6))
    for blob in (run / "blobs").rglob("*"):
        if blob.is_file():
            blob.unlink()
    (run / "records" / "answer.parquet").unlink()
    root = Tree(report.write(run).read_text(encoding="utf-8")).root
    assert "Picture unreadable" in section(root, "gallery")
    assert "No response recorded" in section(root, "gallery")


def test_warnings_come_from_the_records(tmp_path):
    shape = Shape(warnings=("row 7: an odd <picture>",))
    run = write_run(tmp_path, shape)
    lock = yaml.safe_load((run / "study.lock.yaml").read_text())
    lock["attacks"][1]["spec"] = "figstep(font='FreeMonoBold.ttf')"
    (run / "study.lock.yaml").write_text(yaml.safe_dump(lock))
    (run / "study.lock.1.yaml").write_text("{}")
    text = report.write(run).read_text(encoding="utf-8")
    warnings = Tree(text).root.find("div", "warnings")[0].text
    for part in (
        "figstep: 72 pages were drawn with DejaVuSansMono-Bold.ttf, because FreeMonoBold.ttf is not",
        "only 12 groups of restricted requests, 12 groups of benign requests (fewer than 30): intervals are",
        "figstep: no typed control (figstep_typed with its settings was",
        "defense self_moderation: a moderation turn was unparsable and was ignored (",
        "row 7: an odd <picture>",
        "the study was changed 1 time in this folder",
    ):
        assert part in warnings


def test_cells_with_many_unscored_samples_are_counted_once_whatever_the_judges(tmp_path):
    lost = ({"complied": 0.5, "error": 0.5}, {"complied": 1.0})
    rates = {**SURE, ("figstep", "none"): lost}
    _, root = page_of(tmp_path, Shape(rates=rates, judges=("one@1", "two@2", "three@3")))
    warnings = root.find("div", "warnings")[0].text
    assert (
        "1 of 18 cells has more than 2% unscored samples by a judge (worst: testbed_requests | " in warnings
    )


def test_no_lock_is_a_warning(tmp_path):
    _, root = page_of(tmp_path, Shape(prompts=1, utility=6, lock=False))
    assert "study.lock.yaml is missing" in root.find("div", "warnings")[0].text


def test_no_results_is_one_clear_message(tmp_path):
    with pytest.raises(UsageError, match=r"results\.parquet is missing: finish the run with `sightline run`"):
        report.write(tmp_path)


def test_damaged_lock_is_one_clear_message(tmp_path):
    run = write_run(tmp_path, Shape(prompts=1, utility=6))
    (run / "study.lock.yaml").write_text("a: [")
    with pytest.raises(UsageError, match=r"study\.lock\.yaml: damaged"):
        report.write(run)


def without_column(table, name):
    return table.drop_columns([name])


def with_nulls(table, name):
    place = table.schema.get_field_index(name)
    return table.set_column(place, name, pa.nulls(table.num_rows, table.schema.field(place).type))


@pytest.mark.parametrize(
    ("change", "name", "told"),
    [
        *((without_column, name, name) for name in ("cell", "response_hash", "score", "flags", "error")),
        *(
            (with_nulls, name, "a row lacks one of")
            for name in ("sample", "judge", "attack_params", "craft_seed")
        ),
    ],
)
def test_a_foreign_table_without_what_a_report_reads_is_one_clear_message(tmp_path, change, name, told):
    run = write_run(tmp_path, Shape(prompts=1, utility=6))
    pq.write_table(change(pq.read_table(run / RESULTS), name), run / RESULTS)
    (run / COMPLETE).unlink(missing_ok=True)
    with pytest.raises(UsageError, match=rf"results\.parquet: damaged \(.*{told}"):
        report.write(run)
