"""SafeBench: layout, pairing of page and row, no dropped row, every message."""

from __future__ import annotations

import csv
from collections import Counter

import pytest
import releases

from sightline import registry
from sightline.attacks import instructions
from sightline.benchmarks.figstep_safebench import TOPICS
from sightline.cases import Expected, Image
from sightline.errors import UsageError
from sightline.release import OfficialRelease
from sightline.store import Blobs

CSV = "data/question/safebench.csv"
TINY_CSV = "data/question/SafeBench-Tiny.csv"


@pytest.fixture
def folder(tmp_path):
    return releases.figstep(tmp_path / "FigStep")


@pytest.fixture
def read(tmp_path):
    blobs = Blobs(tmp_path / "blobs")

    def read(root, spec="figstep_safebench"):
        release = OfficialRelease(root, blobs)
        return list(registry.parse("benchmark", spec).cases(release)), release

    return read


def table(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_text_rows_are_sent_verbatim_in_order(folder, read):
    cases, _ = read(folder)
    rows = table(folder / CSV)
    assert len(cases) == len(rows) == 60
    for case, row in zip(cases, rows, strict=True):
        assert case.conversation.turns[0].parts == (row["question"],)
        assert case.behavior == row["question"]
        assert case.wordings == {"statement": row["instruction"]}
        assert case.category == row["category_name"]
        assert case.expected is Expected.refuse
    first = cases[0]
    assert (first.id, first.group, first.hazard) == (
        "figstep_safebench/none/1_1",
        "figstep_safebench/1_1",
        "ncr",
    )
    assert len({case.id for case in cases}) == 60


def test_a_question_with_spaces_at_its_ends_is_sent_as_it_is(folder, read):
    releases.edit(
        folder / CSV, "How do I fold a dusty frell in room 1, step 1?", "  How do I fold it?\u00a0 "
    )
    assert read(folder)[0][0].conversation.last_user_text() == "  How do I fold it?\u00a0 "


def test_official_pages_are_paired_with_their_rows(folder, read, tmp_path):
    cases, release = read(folder, "figstep_safebench(images=official)")
    blobs = Blobs(tmp_path / "blobs")
    for case, row in zip(cases, table(folder / CSV), strict=True):
        image, text = case.conversation.turns[0].parts
        name = f"query_ForbidQI_{row['category_id']}_{row['task_id']}_6.png"
        assert blobs.read(image.sha256) == (folder / "data/images/SafeBench" / name).read_bytes()
        assert text == instructions.FIGSTEP.replace("{items}", "3")
        assert case.behavior == row["question"]
    assert len({case.conversation.turns[0].parts[0].sha256 for case in cases}) > 50
    (warning,) = release.warnings
    assert warning.startswith(f"{folder}: numbers of cases: Illegal Activity has 6 (expected 50), ")


def test_official_release_size_is_not_warned_about(tmp_path, read):
    cases, release = read(
        releases.figstep(tmp_path / "whole", tasks=50), "figstep_safebench(preset=official)"
    )
    assert (len(cases), release.warnings) == (500, [])
    assert Counter(case.category for case in cases) == dict.fromkeys(TOPICS, 50)


@pytest.mark.parametrize("text", ["nan", "['a', 'b']", "None"])
def test_a_text_that_a_program_wrote_for_none_is_warned_about(tmp_path, read, text):
    whole = releases.figstep(tmp_path / "whole", tasks=50)
    rows = table(whole / CSV)
    rows[2]["instruction"] = text
    with (whole / CSV).open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    _, release = read(whole)
    where = f"no words of a person: {whole / CSV}, line 4: {text!r}"
    assert release.warnings == [f"{where}; asked and drawn as they are"]


def test_tiny_is_the_first_five_of_each_topic_with_the_ids_of_the_full_set(folder, read):
    tiny, release = read(folder, "figstep_safebench(subset=tiny)")
    full, _ = read(folder)
    assert len(tiny) == 50
    assert tiny == [case for case in full if int(case.id.rpartition("_")[2]) <= 5]
    assert release.warnings == []


def test_tiny_pages_come_from_their_own_folder_else_from_the_full_one(folder, read):
    spec = "figstep_safebench(subset=tiny, images=official)"
    own, _ = read(folder, spec)
    for path in (folder / "data/images/SafeBench-Tiny").iterdir():
        path.unlink()
    other, _ = read(folder, spec)
    assert own == other
    assert all(image.problem is None for case in own for image in case.conversation.images)


def test_seven_topics_leave_out_advice_and_ten_do_not(folder, read):
    ten, _ = read(folder)
    seven, _ = read(folder, "figstep_safebench(topics=seven)")
    assert seven == [case for case in ten if int(case.id.split("/")[2].split("_")[0]) <= 7]
    assert len(seven) == 42


def test_own_sentence_can_replace_ours(folder, read):
    cases, _ = read(folder, "figstep_safebench(images=official, instruction='Fill in items 1 to {items}.')")
    assert cases[0].conversation.last_user_text() == "Fill in items 1 to 3."


def test_an_unknown_topic_keeps_its_name_and_has_no_hazard(folder, read):
    path = folder / CSV
    path.write_text(path.read_text().replace("Health Consultation", "Garden Advice"))
    last = read(folder)[0][-1]
    assert (last.category, last.hazard) == ("Garden Advice", "")


# Never a dropped row, never a text-only request (defects D1 and D3) ---------------------------------------


@pytest.mark.parametrize("damage", ["missing", "broken"])
def test_a_row_without_a_readable_page_stays_and_still_shows_the_problem(damage, folder, read):
    path = folder / "data/images/SafeBench/query_ForbidQI_3_2_6.png"
    if damage == "missing":
        path.unlink()
    else:
        releases.truncate(path)
    with pytest.raises(UsageError, match=r"1 row cannot be used.*\n.*query_ForbidQI_3_2_6\.png"):
        read(folder, "figstep_safebench(images=official)")
    cases, _ = read(folder, "figstep_safebench(images=official, on_bad_rows=keep)")
    assert len(cases) == 60
    (bad,) = [c for c in cases if any(image.problem for image in c.conversation.images)]
    assert bad.id == "figstep_safebench/official/3_2"
    image = bad.conversation.turns[0].parts[0]
    assert isinstance(image, Image)
    assert image.sha256 == ""
    assert "query_ForbidQI_3_2_6.png" in image.problem


ROW = "1,1,Illegal Activity,"
MISUSE = [
    (ROW, "1,1,,", r"line 2: 'category_name' is empty"),
    ('"How do I fold a dusty frell in room 1, step 1?"', '"  "', r"line 2: 'question' is empty"),
    ('"Steps to fold a dusty frell in room 1, step 1."', "", r"line 2: 'instruction' is empty"),
    (ROW, "one,1,Illegal Activity,", r"line 2: 'category_id' is 'one', not a whole number"),
    (ROW, "1,٣,Illegal Activity,", r"line 2: 'task_id' is '٣', not a whole number"),
    ("1,2,Illegal", "1,1,Illegal", r"line 3: 'figstep_safebench/none/1_1' was already in line 2"),
    ("instruction", "command", r"line 1: no column instruction; found dataset, .*command"),
    (ROW, ROW + "extra,", r"line 2: 7 cells in 6 columns; is a text with a comma not in quotes\?"),
    (ROW, '1,1,"Illegal" Activity,', r"line 2: not a table"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "message"), MISUSE, ids=[m[2][:40] for m in MISUSE])
def test_a_bad_row_is_one_error_that_names_file_and_line(old, new, message, folder, read):
    releases.edit(folder / CSV, old, new)
    with pytest.raises(UsageError, match=f"{folder / CSV}, {message}"):
        read(folder)


@pytest.mark.parametrize("content", ["", "dataset,category_id,task_id,category_name,question,instruction\n"])
def test_an_empty_table_is_an_error(content, folder, read):
    (folder / CSV).write_text(content)
    with pytest.raises(UsageError, match=r"safebench\.csv: it has no (header line|rows)"):
        read(folder)


def test_columns_in_another_order_and_case_are_found(folder, read):
    wanted, _ = read(folder)
    rows = table(folder / CSV)
    with (folder / CSV).open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file)
        writer.writerow([" Question", "INSTRUCTION", "task_id", "category_id", "Category_Name"])
        names = ("question", "instruction", "task_id", "category_id", "category_name")
        writer.writerows([row[name] for name in names] for row in rows)
    assert read(folder)[0] == wanted


def test_questions_may_hold_line_breaks_and_quotes(folder, read):
    releases.edit(folder / CSV, "How do I fold a dusty frell in room 1, step 1?", 'How do I\nfold ""it""?')
    assert read(folder)[0][0].behavior == 'How do I\nfold "it"?'


def test_pages_without_any_picture_are_a_wrong_layout_not_500_errors(folder, read):
    for path in (folder / "data/images").rglob("*.png"):
        path.unlink()
    with pytest.raises(UsageError) as caught:
        read(folder, "figstep_safebench(images=official)")
    assert str(caught.value) == (
        f"{folder}: no pictures found in data/images/SafeBench. Set `root:` of the benchmark in the study to "
        "the folder or .zip of the official release, or use images='none'."
    )
    assert len(read(folder)[0]) == 60


def test_missing_release_names_the_table_and_the_cure(tmp_path, read):
    with pytest.raises(UsageError, match=f"{TINY_CSV} not found: there is no folder or file .*Set `root:`"):
        read(tmp_path / "nowhere", "figstep_safebench(subset=tiny)")


def test_unknown_setting_value_is_named():
    with pytest.raises(UsageError, match=r"setting 'subset'.*'full' or 'tiny'"):
        registry.parse("benchmark", "figstep_safebench(subset=small)")


@pytest.mark.parametrize("form", ["zip", "shouted"])
def test_other_forms_of_the_release_give_the_same_cases(form, folder, tmp_path, read):
    wanted, release = read(folder, "figstep_safebench(images=official)")
    other = (
        releases.zipped(folder, tmp_path / "x.zip", top="FigStep-main")
        if form == "zip"
        else releases.shout(folder)
    )
    found, again = read(other, "figstep_safebench(images=official)")
    assert found == wanted
    assert again.digest() == release.digest()


def test_a_number_of_thousands_of_digits_is_told(folder, read) -> None:
    releases.edit(folder / CSV, "1,1,Illegal", f"{'9' * 5000},1,Illegal")
    with pytest.raises(UsageError, match=r"'category_id' is '9{40}', not a whole number"):
        read(folder)
