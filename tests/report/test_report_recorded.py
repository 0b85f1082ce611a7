"""Which records a page shows: never superseded ones, and no words of a restricted request uncovered."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from run_folder import Shape, write_run
from test_report_page import Node, Tree

from sightline import report
from sightline.digests import digest
from sightline.keys import judge_key
from sightline.report import provenance
from sightline.report.results import Results, recorded_cases

SMALL = Shape(prompts=1, utility=6)
Rows = list[dict[str, Any]]


def rows_of(path: Path) -> Rows:
    return [orjson.loads(text) for text in pq.read_table(path)["record"].to_pylist()]


def put(path: Path, rows: Rows) -> None:
    keys = pa.array([bytes.fromhex(row["key"]) for row in rows], pa.binary(16))
    pq.write_table(pa.table({"key": keys, "record": [orjson.dumps(row).decode() for row in rows]}), path)


def page(run: Path) -> Node:
    return Tree(report.write(run).read_text(encoding="utf-8")).root


def uncovered(root: Node) -> str:
    """All words that a reader sees before the first click."""
    return "".join(
        child
        for node, above in root.walk()
        for child in node.children
        if isinstance(child, str)
        and not any(a.tag == "details" and "covered" in a.classes for a in (*above, node))
    )


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path, SMALL)


def with_books(run: Path) -> list[Path]:
    """Replace the case records by the book that the lock names, and two superseded ones around it."""
    lock = yaml.safe_load((run / "study.lock.yaml").read_text())
    [entry] = lock["benchmarks"]
    results = pq.read_table(run / "results.parquet")
    column = results.schema.get_field_index("release")
    release = pa.array([entry["release"][:16]] * len(results)).dictionary_encode()
    pq.write_table(results.set_column(column, "release", release), run / "results.parquet")
    [path] = (run / "records").glob("cases*.parquet")
    rows = rows_of(path)
    path.unlink()
    identity = digest(entry["identity"], entry["limit"])
    current = run / "records" / f"cases-{digest(identity, entry['release'])[:16]}.parquet"
    put(current, rows)
    old = [
        {**row, "conversation": {"turns": [{"role": "user", "parts": ["an older wording"]}]}} for row in rows
    ]
    case_tables = [current]
    for prefix in "0f":
        case_tables.append(run / "records" / f"cases-{prefix * 16}.parquet")
        put(case_tables[-1], old)
    return case_tables


def test_clean_requests_come_from_the_book_that_the_lock_names(run: Path) -> None:
    case_tables = with_books(run)
    text = page(run).text
    assert "how do i make a" in text
    assert "an older wording" not in text
    case_tables[0].unlink()
    assert "an older wording" in page(run).text  # they are found if nothing says that they are superseded


def test_rows_of_another_release_get_no_clean_request_of_this_one(run: Path) -> None:
    with_books(run)
    lock = yaml.safe_load((run / "study.lock.yaml").read_text())
    with Results(run) as results:
        sample = {"benchmark": "testbed_requests", "release": lock["benchmarks"][0]["release"][:16]}
        name = rows_of(next((run / "records").glob("cases-0*.parquet")))[0]["id"]
        one = {**sample, "case_id": name}
        assert list(recorded_cases(results, lock, [one])) == [("testbed_requests", name)]
        assert recorded_cases(results, lock, [{**one, "release": "another"}]) == {}


@pytest.mark.parametrize("keyed", [True, False])
def test_superseded_verdicts_are_not_shown(run: Path, keyed: bool) -> None:
    """`--retry-errors` leaves the verdict on the failed answer beside the new one."""
    lock = yaml.safe_load((run / "study.lock.yaml").read_text())
    identities = {entry["id"]: entry["identity"] for entry in lock["judges"]}
    content = {
        (row["sample"].hex(), row["judge"]): row["response_hash"].hex()
        for row in pq.read_table(run / "results.parquet").to_pylist()
    }
    path = run / "records" / "judge.parquet"
    rows = rows_of(path)
    if keyed:
        for row in rows:
            where = row["sample"], row["judge"]
            row["key"] = judge_key(row["sample"], content[where], row["judge"], identities[row["judge"]])
    stale = [
        {
            **row,
            "key": digest("stale", row["key"]),
            "reason": "about an older answer",
            "outcome": row["outcome"] if keyed else "partial" if row["outcome"] != "partial" else "refused",
        }
        for row in rows
    ]
    put(path, [*stale[::2], *rows, *stale[1::2]])
    root = page(run)
    assert "by the invented policy" in root.text
    assert "about an older answer" not in root.text
    for verdicts in root.find("ul", "verdicts"):
        assert len(verdicts.find("li")) == len(SMALL.judges)


def test_words_of_providers_and_errors_are_covered(run: Path) -> None:
    path = run / "records" / "answer.parquet"
    rows = rows_of(path)
    for row in rows:
        row["error"] = "QUOTED the request"
        row["flags"] = [f"provider: QUOTED {row['key']}"]
    put(path, rows)
    results = pq.read_table(run / "results.parquet")
    errors = pa.array(["QUOTED the request"] * len(results))
    column = results.schema.get_field_index("error")
    pq.write_table(results.set_column(column, "error", errors), run / "results.parquet")
    root = page(run)
    restricted = [a for a in root.find("article") if a.find("p", "meta")[0].text.startswith("restricted")]
    assert restricted
    for article in restricted:
        assert "QUOTED" in article.text
        assert "QUOTED" not in uncovered(article)
    for section in root.find("section"):
        if section.attributes["id"] != "gallery":
            assert "QUOTED" not in uncovered(section)


def test_the_commonest_errors_are_covered(tmp_path: Path) -> None:
    root = page(write_run(tmp_path, replace(SMALL, all_errors=True)))
    [judges] = [s for s in root.find("section") if s.attributes["id"] == "judges"]
    assert "the connection broke (invented)" in judges.text
    assert "the connection broke (invented)" not in uncovered(judges)


def test_a_sample_without_response_keeps_its_error_covered(run: Path) -> None:
    results = pq.read_table(run / "results.parquet")
    errors = pa.array(["QUOTED the request"] * len(results))
    column = results.schema.get_field_index("error")
    pq.write_table(results.set_column(column, "error", errors), run / "results.parquet")
    (run / "records" / "answer.parquet").unlink()
    for article in page(run).find("article"):
        covered = article.find("p", "meta")[0].text.startswith("restricted")
        assert "QUOTED" in article.text
        assert ("QUOTED" not in uncovered(article)) == covered


def test_a_picture_that_was_moved_is_a_warning(run: Path) -> None:
    path = run / "records" / "answer.parquet"
    rows = rows_of(path)
    for row in rows[:3]:
        row["flags"] = ["picture_first", "plain_prompt"]
    put(path, rows)
    warnings = page(run).find("div", "warnings")[0].text
    assert "the model accepts pictures only before all text; one of a later turn was moved" in warnings
    assert "plain_prompt" not in warnings


def test_flags_are_counted_by_kind_and_printed_within_bounds(run: Path) -> None:
    path = run / "records" / "answer.parquet"
    rows = rows_of(path)
    for number, row in enumerate(rows):
        row["flags"] = [f"note: {number}", f"note: {number} again", f"kind{number % 60}"]
    put(path, rows)
    with Results(run) as results:
        flags = results.flags()
        [block] = provenance._flags(results)
    assert sum(count for flag, _, _, count in flags if flag == "note") == len(rows)
    assert {flag for flag, *_ in flags} == {"note", *(f"kind{n}" for n in range(60))}
    assert [count for *_, count in flags] == sorted((count for *_, count in flags), reverse=True)
    assert len(block.facts) == provenance.MOST_FLAGS + 1
    assert block.facts[-1][1].startswith(f"{len(flags) - provenance.MOST_FLAGS:,} less frequent")
