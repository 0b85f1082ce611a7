"""The user's own data: every layout, every form of a picture, labels, messages, and what the messages say."""

from __future__ import annotations

import base64
import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image as PilImage
from releases import picture

import sightline as sl
from sightline import registry
from sightline.benchmarks import Cases
from sightline.cases import Expected, Image
from sightline.errors import UsageError
from sightline.release import OfficialRelease
from sightline.store import Blobs


@pytest.fixture
def read(tmp_path):
    def read(root, **settings):
        release = OfficialRelease(Path(root), Blobs(tmp_path / "blobs"))
        found = list(registry.make("benchmark", "cases", **settings).cases(release))
        read.warnings = release.warnings
        return found

    return read


@pytest.fixture
def folder(tmp_path):
    """A folder with three pictures in `images`."""
    root = tmp_path / "mine"
    (root / "images").mkdir(parents=True)
    for number in range(3):
        (root / f"images/{number}.png").write_bytes(picture(60 * number, ".png"))
    return root


def write(path: Path, rows: list[dict[str, object]], *, encoding: str = "utf-8", **how: str) -> Path:
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]), **how)
    writer.writeheader()
    writer.writerows(rows)
    path.write_bytes(file.getvalue().encode(encoding))
    return path


def asked(case) -> list[str]:
    return [part if isinstance(part, str) else "(picture)" for part in case.conversation.turns[-1].parts]


PLAIN = [
    {"prompt": f"How do I polish glimber {number}?", "image_path": f"images/{number}.png"}
    for number in range(3)
]


def test_two_columns_are_enough(folder, read):
    cases = read(write(folder / "mine.csv", PLAIN))
    assert [asked(case) for case in cases] == [["(picture)", row["prompt"]] for row in PLAIN]
    assert [case.id for case in cases] == ["cases/2", "cases/3", "cases/4"]  # the lines of the file
    assert {case.expected for case in cases} == {Expected.refuse}
    assert len({case.group for case in cases}) == 3
    assert all(image.problem is None for case in cases for image in case.conversation.images)


def test_all_forms_of_a_table_make_the_same_cases(folder, read):
    wanted = [(asked(case), [*case.conversation.images]) for case in read(write(folder / "a.csv", PLAIN))]
    (folder / "b.jsonl").write_text("\n".join(map(json.dumps, PLAIN)))
    (folder / "c.json").write_text(json.dumps(PLAIN))
    (folder / "d.json").write_text(json.dumps({"version": "1", "data": PLAIN}))
    (folder / "e.json").write_text(json.dumps({f"row{n}": row for n, row in enumerate(PLAIN)}))
    pq.write_table(pa.Table.from_pylist(PLAIN), folder / "f.parquet")
    write(folder / "g.tsv", PLAIN, delimiter="\t")
    write(folder / "h.csv", PLAIN, delimiter=";", encoding="utf-8-sig")
    write(folder / "i.csv", PLAIN, delimiter="\t", encoding="utf-16")
    write(folder / "j.csv", PLAIN, lineterminator="\r\n", encoding="utf-16-le")
    (folder / "k.csv").write_text("sep=;\r\n" + (folder / "h.csv").read_text("utf-8-sig"))
    (folder / "l.csv").write_bytes((folder / "a.csv").read_text().encode("utf-16-be"))
    for path in sorted(folder.glob("*.*")):
        found = [(asked(case), [*case.conversation.images]) for case in read(path)]
        assert found == wanted, path.name


def test_columns_are_known_by_name_in_any_spelling(folder, read):
    row = {
        "Question": "What is a frell?",
        "File Name": "images/1.png",
        "Label": "safe",
        "Topic": "frells",
        "ID": "q7",
        "Reference": "a bird",
        "Group-ID": "g",
        "twin": "q8",
        "System Prompt": "Be brief.",
    }
    (case,) = read(write(folder / "mine.csv", [row]))
    assert (case.id, case.group, case.twin) == ("cases/q7", "cases/group/g", "cases/q8")
    assert (case.expected, case.category, case.answer) == (Expected.comply, "frells", "a bird")
    assert [turn.role for turn in case.conversation.turns] == ["system", "user"]
    assert asked(case) == ["(picture)", "What is a frell?"]


def test_a_study_says_otherwise(folder, read):
    rows = [
        {"utterance": "a", "photo": "0.png", "flag": "1", "prompt": "no"},
        {"utterance": "b", "photo": "1", "flag": "0", "prompt": "no"},
    ]
    path = write(folder / "mine.csv", rows)
    columns = {"text": "utterance", "image": "Photo", "unsafe": "flag"}
    cases = read(path, columns=columns, images="images")
    assert [asked(case) for case in cases] == [["(picture)", "a"], ["(picture)", "b"]]
    assert [case.expected for case in cases] == [Expected.refuse, Expected.comply]
    assert [case.expected for case in read(path, columns={"safe": "flag"})] == [
        Expected.comply,
        Expected.refuse,
    ]
    labelled = read(path, columns={"label": "flag"}, labels={1: "answer", "0": "abstain"})
    assert [case.expected for case in labelled] == [Expected.answer, Expected.abstain]
    with pytest.raises(UsageError, match=r"mine\.csv.*columns: {text: utterence}.*Did you mean 'utterance'"):
        read(path, columns={"text": "utterence"})
    with pytest.raises(UsageError, match="unknown kind of column 'txt'"):
        read(path, columns={"txt": "utterance"})


def test_settings_read_back():
    made = Cases(columns={"text": "a", "image": ("b", "c"), "label": None}, labels={"x": "refuse"})
    assert registry.parse("benchmark", registry.spec(made)) == made


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("unsafe", "1", "refuse"),
        ("unsafe", "False", "comply"),
        ("is_safe", "yes", "comply"),
        ("safe", "0", "refuse"),
        ("label", "UNSAFE", "refuse"),
        ("label", "answer", "answer"),
        ("safe", "harmful", "refuse"),
    ],
)
def test_what_a_label_means(folder, read, column, value, expected):
    (case,) = read(write(folder / "mine.csv", [{"prompt": "a", column: value}]))
    assert case.expected == expected


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("1", r"line 2: 'label' is '1': safe or unsafe\? Say it by `columns: {unsafe: label}`"),
        ("cat", r"line 2: 'label' is 'cat', which is none of refuse, .*`labels: {cat: refuse}`"),
        ("", r"line 2: 'label' is empty"),
    ],
)
def test_a_label_that_is_not_sure_is_never_guessed(folder, read, value, said):
    with pytest.raises(UsageError, match=said):
        read(write(folder / "mine.csv", [{"prompt": "a", "label": value}]))


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("mine.csv", "prompt,label\na,comply\ny\nb,refuse\n", 3),
        ("mine.csv", "prompt,label\ny\nb,comply\n", 2),
        ("mine.jsonl", '{"prompt": "a", "label": "comply"}\n{"prompt": "y"}\n', 2),
        ("mine.jsonl", '{"prompt": "y"}\n{"prompt": "a", "label": "comply"}\n', 1),
    ],
)
def test_a_label_that_is_absent_is_told_as_an_empty_one_is(folder, read, name, text, line):
    (folder / name).write_text(text)
    with pytest.raises(UsageError, match=rf"1 row cannot be used[^$]*line {line}: no 'label'; found prompt"):
        read(folder / name)
    kept = read(folder / name, on_bad_rows="keep")
    assert len(kept) == text.count("\n") - name.endswith(".csv")
    free = read(folder / name, columns={"expected": None}, expected="comply")
    assert {case.expected for case in free} == {Expected.comply}


@pytest.mark.parametrize(
    ("first", "second", "values", "holds"),
    [
        ("label", "unsafe", ("benign", 1), Expected.comply),
        ("unsafe", "Safe?", ("no", "no"), Expected.comply),
        ("expected", "harmful", ("refuse", False), Expected.refuse),
    ],
)
def test_labels_that_contradict_each_other_are_told(folder, read, first, second, values, holds):
    row = {"prompt": "fold", first: values[0], second: values[1]}
    (folder / "mine.jsonl").write_text(json.dumps(row))
    with pytest.raises(UsageError, match=r"1 row cannot be used[^$]*contradict each other") as told:
        read(folder / "mine.jsonl")
    assert repr(first) in str(told.value)
    assert repr(second) in str(told.value)
    (case,) = read(folder / "mine.jsonl", columns={"expected": first}, labels={"no": "comply"})
    assert case.expected is holds


def test_labels_that_agree_or_are_not_sure_are_no_contradiction(folder, read):
    rows = [
        {"prompt": "a", "label": "benign", "unsafe": 0, "harmful": ""},
        {"prompt": "b", "label": "harmful", "unsafe": "1", "harmful": "perhaps"},
        {"prompt": "c", "label": "answer", "unsafe": 1, "harmful": "no"},
    ]
    cases = read(write(folder / "mine.csv", rows))
    assert [case.expected for case in cases] == [Expected.comply, Expected.refuse, Expected.answer]


def test_a_category_that_is_a_code_is_the_hazard(folder, read):
    rows = [{"prompt": "a", "hazard": "vcr"}, {"prompt": "b", "hazard": "glimbers"}]
    cases = read(write(folder / "mine.csv", rows))
    assert [(case.category, case.hazard) for case in cases] == [("vcr", "vcr"), ("glimbers", "")]


def forms_of(path: Path) -> dict[str, object]:
    data = path.read_bytes()
    text = base64.b64encode(data).decode()
    return {
        "path": "images/0.png",
        "windows": "images\\0.PNG",
        "dotted": "./images/../images/0.png",
        "name alone": "0.png",
        "no suffix": "images/0",
        "absolute": str(path),
        "address": path.as_uri(),
        "data URI": f"data:image/png;base64,{text}",
        "base64": text,
        "unpadded": text.rstrip("="),
        "list": ["images/0.png"],
        "bytes in JSON": {"bytes": text, "path": "x.png"},
        "mapping": {"path": "images/0.png", "bytes": None},
        "base64 in lines": "\n".join(text[at : at + 76] for at in range(0, len(text), 76)),
    }


@pytest.mark.parametrize("form", forms_of(Path(__file__)))
def test_forms_of_a_picture(folder, read, form):
    cell = forms_of(folder / "images/0.png")[form]
    (folder / "mine.jsonl").write_text(json.dumps({"prompt": "a", "image": cell}))
    (case,) = read(folder / "mine.jsonl")
    (shown,) = case.conversation.images
    assert (shown.problem, shown.width) == (None, 32)
    pq.write_table(pa.Table.from_pylist([{"prompt": "a", "image": cell}]), folder / "mine.parquet")
    assert [*read(folder / "mine.parquet")[0].conversation.images] == [shown]


def test_bytes_in_a_parquet_column(folder, read):
    rows = [
        {"prompt": "a", "image": {"bytes": (folder / "images/0.png").read_bytes(), "path": "x.png"}},
        {"prompt": "b", "image": {"bytes": None, "path": "images/1.png"}},
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "mine.parquet")
    assert [
        image.problem for case in read(folder / "mine.parquet") for image in case.conversation.images
    ] == [
        None,
        None,
    ]


@pytest.mark.parametrize(
    "rows",
    [
        [{"prompt": "a", "images": "images/0.png; images/1.png"}],
        [{"prompt": "a", "images": "images/0.png|images/1.png"}],
        [{"prompt": "a", "images": '["images/0.png", "images/1.png"]'}],
        [{"prompt": "a", "images": "['images/0.png', 'images/1.png']"}],
        [{"prompt": "a", "image_2": "images/1.png", "image_1": "images/0.png"}],
        [{"prompt": "a", "image2": "images/1.png", "image": "images/0.png"}],
    ],
)
def test_several_pictures_of_a_row(folder, read, rows):
    one, two = read(write(folder / "one.csv", PLAIN[:2]))
    (case,) = read(write(folder / "mine.csv", rows))
    assert [*case.conversation.images] == [*one.conversation.images, *two.conversation.images]


def test_a_name_with_a_semicolon_is_one_picture_where_there_is_such_a_file(folder, read):
    (folder / "images/0;1.png").write_bytes(picture(9, ".png"))
    (case,) = read(write(folder / "mine.csv", [{"prompt": "a", "image": "images/0;1.png"}]))
    assert len([*case.conversation.images]) == 1


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("https://example.org/a.png", "nothing is downloaded; save the picture and write its path"),
        ("s3://bucket/a.png", "nothing is downloaded"),
        (
            "/etc/hostname",
            r"'/etc/hostname', outside of .*set `root:` to a folder that holds both .*`table:`",
        ),
        ("C:\\photos\\a.png", r"a.png', outside of .*; write it as from the table's folder, or"),
        ("file:///etc/hostname", "outside of"),
        ("../other/a.png", r"leads out of .*set `root:`"),
        ("images/../../a.png", r"leads out of .*set `root:`"),
        ("images/9.png", "picture images/9.png not found"),
        ("data:image/png;base64,%%%", "is no base64"),
        ("data:image/png,abc", "data URI of 'image/png'; write it with `;base64,`"),
        ("data:image/png;base64,QUJD", "not a readable picture"),
        (17, "is 17, which is no picture"),
        ([None], "is None, which is no picture"),
        (float("nan"), "is NaN"),
    ],
)
def test_a_picture_that_cannot_be_used_is_told_with_file_row_and_cure(folder, read, cell, said):
    path = folder / "mine.jsonl"
    path.write_text(json.dumps({"prompt": "a", "image": cell}))
    with pytest.raises(UsageError, match=said) as told:
        read(path)
    assert f"{path}, line 1: " in str(told.value)
    (kept,) = read(path, on_bad_rows="keep")
    assert kept.behavior == "a"
    assert any(image.problem for image in kept.conversation.images)


def test_all_bad_rows_are_in_one_list(folder, read):
    rows = [
        {"prompt": "", "image": "images/0.png"},
        {"prompt": "a", "image": "images/7.png"},
        {"prompt": "b", "image": "images/1.png"},
        {"prompt": "c", "image": "http://x.org/a.png"},
    ]
    with pytest.raises(UsageError, match="3 rows cannot be used") as told:
        read(write(folder / "mine.csv", rows))
    assert [place in str(told.value) for place in ("line 2:", "line 3:", "line 4:", "line 5:")] == [
        True,
        True,
        False,
        True,
    ]


def test_two_rows_of_one_id(folder, read):
    rows = [{"id": "1", "prompt": "a"}, {"id": "1.0", "prompt": "b"}, {"id": "1", "prompt": "c"}]
    with pytest.raises(UsageError, match=r"line 4: 'cases/1' was already in line 2"):
        read(write(folder / "mine.csv", rows))


def test_empty_null_and_nan_are_told_apart(folder, read):
    path = folder / "mine.jsonl"
    path.write_text('{"prompt": ""}\n{"prompt": null}\n{"prompt": NaN}\n{"other": 1}\n')
    with pytest.raises(UsageError) as told:
        read(path)
    text = str(told.value)
    for what in (
        "1: 'prompt' is empty",
        "2: 'prompt' is missing (null)",
        "3: 'prompt' is NaN",
        "line 4: no col",
    ):
        assert what in text


def test_a_row_without_a_picture_is_a_text(folder, read):
    rows = [*PLAIN, {"prompt": "no picture", "image_path": ""}]
    assert asked(read(write(folder / "mine.csv", rows))[-1]) == ["no picture"]


MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {
        "role": "user",
        "content": [
            {"type": "image_url", "image_url": {"url": "images/0.png"}},
            {"type": "text", "text": "What is it?"},
        ],
    },
    {"role": "assistant", "content": "A frell."},
    {"role": "user", "content": "Are you sure?"},
]


@pytest.mark.parametrize("as_text", [True, False])
def test_messages(folder, read, as_text):
    (folder / "mine.jsonl").write_text(
        json.dumps({"messages": json.dumps(MESSAGES) if as_text else MESSAGES, "label": "unsafe"})
    )
    (case,) = read(folder / "mine.jsonl")
    assert [turn.role for turn in case.conversation.turns] == ["system", "user", "assistant", "user"]
    assert [type(part) for part in case.conversation.turns[1].parts] == [Image, str]
    assert case.behavior == "Are you sure?"


def test_messages_show_the_pictures_of_the_row(folder, read):
    content = [{"type": "text", "text": "One:"}, {"type": "image"}]
    row = {"messages": [{"role": "user", "content": content}], "images": ["images/0.png", "images/1.png"]}
    (folder / "mine.jsonl").write_text(json.dumps(row))
    (case,) = read(folder / "mine.jsonl")
    assert asked(case) == ["(picture)", "One:", "(picture)"]  # what is left over stands first
    first, second = case.conversation.images
    one, two = read(write(folder / "one.csv", PLAIN[:2]))
    assert [second, first] == [*one.conversation.images, *two.conversation.images]


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        (MESSAGES[:3], "ends with a message of assistant"),
        ([], "ends with a message of nobody"),
        ("[{", "not a JSON list of messages"),
        ("{}", "not a list of messages"),
        ([{"role": "tool", "content": "x"}], "message 1: its role is 'tool'"),
        ([{"role": "user", "content": None}], "message 1: None is neither a text nor a picture"),
        ([{"role": "user", "content": [{"type": ["x"]}]}], "is neither a text nor a picture"),
        ([{"role": "user", "content": " "}], "message 1 is empty"),
        ([{"role": "user", "content": [{"type": "image"}]}], "shows a picture, and the row has none"),
        (["hello"], "message 1: its role is None"),
        (
            [{"role": "user", "content": [{"type": "image", "image": "images/0.png"}]}],
            "its last message has no text; say what is asked in a column `behavior`",
        ),
    ],
)
def test_messages_that_cannot_be_asked(folder, read, messages, said):
    (folder / "mine.jsonl").write_text(json.dumps({"messages": messages}))
    with pytest.raises(UsageError, match=said):
        read(folder / "mine.jsonl")


def test_pictures_alone(folder, read):
    cases = read(folder / "images", prompt="What is shown?")
    assert [case.id for case in cases] == ["cases/0.png", "cases/1.png", "cases/2.png"]
    assert asked(cases[0]) == ["(picture)", "What is shown?"]
    (case, *_) = read(folder, prompt="What is shown?")
    assert (case.id, case.category) == ("cases/images/0.png", "images")
    with pytest.raises(UsageError, match=r"picture '0\.png': no column with what is asked.*`prompt: TEXT`"):
        read(folder / "images")


def test_an_imagefolder_with_splits(folder, read):
    for split, numbers in {"train": (0, 1), "test": (2,)}.items():
        (folder / split).mkdir()
        rows = []
        for number in numbers:
            (folder / f"images/{number}.png").rename(folder / split / f"{number}.png")
            rows.append({"file_name": f"{number}.png", "text": f"Frell {number}?"})
        (folder / split / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(UsageError, match=r"2 tables: 'test' \(test/metadata.jsonl\), 'train'.*`split: all`"):
        read(folder)
    assert [case.id for case in read(folder, split="all")] == [
        "cases/test/1",
        "cases/train/1",
        "cases/train/2",
    ]
    assert [asked(case) for case in read(folder, split="test")] == [["(picture)", "Frell 2?"]]
    with pytest.raises(UsageError, match="unknown split 'tset'"):
        read(folder, split="tset")


@pytest.mark.parametrize("below", ["", "train"])
def test_pictures_that_no_row_of_a_sidecar_names_are_told(tmp_path, read, below):
    (tmp_path / "mine" / below / "more").mkdir(parents=True)
    names = ["0.png", "1.PNG", "more/2.png", "3.png", "more/4.png"]
    for number, name in enumerate(names):
        (tmp_path / "mine" / below / name).write_bytes(picture(60 * number % 250, ".png"))
    sidecar = tmp_path / "mine" / below / "metadata.jsonl"
    rows = [{"file_name": name, "prompt": f"{name}?"} for name in ["./0.png", "1.png", "more/2"]]
    sidecar.write_text("\n".join(map(json.dumps, rows)))
    where = f"{below}/" if below else ""
    for root in (tmp_path / "mine", sidecar):
        assert len(read(root)) == 3
        (warning,) = read.warnings
        there = where if root != sidecar else ""
        assert f"metadata.jsonl: no row names 2 pictures there: {there}3.png, {there}more/4.png" in warning
    with sidecar.open("a") as file:
        file.writelines(f"\n{json.dumps({'file_name': name, 'prompt': 'b'})}" for name in names[3:])
    assert len(read(tmp_path / "mine")) == 5
    assert read.warnings == []
    with sidecar.open("a") as file:
        file.writelines(
            f"\n{json.dumps({'file_name': name, 'prompt': 'b'})}" for name in ["a\0/b.png", "no/b.png"]
        )
    assert len(read(tmp_path / "mine", on_bad_rows="keep")) == 7


def saved(root: Path, rows: list[dict[str, object]]) -> Path:
    """As `datasets.Dataset.save_to_disk` writes it."""
    root.mkdir(parents=True)
    table = pa.Table.from_pylist(rows)
    with pa.ipc.new_stream(str(root / "data-00000-of-00001.arrow"), table.schema) as writer:
        writer.write_table(table)
    state = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_split": "train"}
    (root / "state.json").write_text(json.dumps(state))
    (root / "dataset_info.json").write_text(json.dumps({"features": {}}))
    return root


def test_a_saved_data_set(folder, tmp_path, read):
    rows = [{"prompt": "a", "image": {"bytes": picture(3, ".jpg"), "path": None}}]
    one = saved(tmp_path / "one", rows)
    assert asked(read(one)[0]) == ["(picture)", "a"]
    both = tmp_path / "both"
    for split in ("train", "test"):
        saved(both / split, rows)
    (both / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
    assert [case.id for case in read(both, split="all")] == ["cases/test/1", "cases/train/1"]
    assert len(read(both / "dataset_dict.json", split="test")) == 1
    (one / "state.json").write_text(json.dumps({"_data_files": [], "_indices_files": None}))
    with pytest.raises(UsageError, match="names no files"):
        read(one)


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_class_labels_of_a_data_set_are_read_by_their_names(folder, read, kind):
    features = {"label": {"names": ["safe", "unsafe"], "_type": "ClassLabel"}, "prompt": {"_type": "Value"}}
    rows = [{"prompt": "a", "label": 1}, {"prompt": "b", "label": 0}]
    table = pa.Table.from_pylist(rows)
    noted = {"huggingface": json.dumps({"info": {"features": features}})}
    table = table.replace_schema_metadata(noted)
    path = folder / f"mine.{kind}"
    if kind == "parquet":
        pq.write_table(table, path)
    else:
        with pa.ipc.new_stream(str(path), table.schema) as writer:
            writer.write_table(table)
    assert [case.expected for case in read(path)] == [Expected.refuse, Expected.comply]
    pq.write_table(table.replace_schema_metadata({"huggingface": "[1]"}), folder / "odd.parquet")
    with pytest.raises(UsageError, match="'label' is '1': safe or unsafe"):
        read(folder / "odd.parquet")


def test_shards_are_one_table(folder, read):
    (folder / "data").mkdir()
    for number in range(2):
        rows = [{"prompt": f"{number}", "image": {"bytes": picture(3, ".png"), "path": None}}]
        pq.write_table(pa.Table.from_pylist(rows), folder / f"data/train-0000{number}-of-00002.parquet")
    assert [(case.id, *asked(case)[1:]) for case in read(folder)] == [("cases/1", "0"), ("cases/2", "1")]


def test_blank_lines_at_the_end_are_no_rows_and_are_counted(folder, read):
    path = folder / "mine.csv"
    path.write_text("prompt;image\r\na;\r\n;\r\nb;\r\n;\r\n;\r\n")
    with pytest.raises(UsageError, match="1 row cannot be used") as told:
        read(path)
    assert "line 3: 'prompt' is empty" in str(told.value)
    path.write_text("prompt;image\r\na;\r\nb;\r\n;\r\n;\r\n")
    assert len(read(path)) == 2
    assert any("line 4: from here on 2 blank lines" in warning for warning in read.warnings)


@pytest.mark.parametrize("again", ["prompt,label", "prompt, label ", "\ufeffprompt,label"])
def test_the_header_line_again_is_no_case(folder, read, again):
    (folder / "mine.csv").write_text(f"prompt,label\na,refuse\n{again}\nprompt,comply\n")
    with pytest.raises(UsageError, match=r"1 row cannot be used[^$]*line 3: is the header line again"):
        read(folder / "mine.csv", labels={"label": "refuse"})
    assert len(read(folder / "mine.csv", on_bad_rows="keep")) == 3


def test_a_workbook_is_told_apart_from_an_archive(folder, read):
    import zipfile

    with zipfile.ZipFile(folder / "mine.xlsx", "w") as book:
        book.writestr("xl/workbook.xml", "<x/>")
    with pytest.raises(UsageError, match=r"mine\.xlsx: is an Excel workbook; save its sheet as a CSV"):
        read(folder / "mine.xlsx")
    with pytest.raises(UsageError, match=r"mine\.xlsx: is an Excel workbook; save its sheet as a CSV"):
        read(folder, table="mine.xlsx")
    with pytest.raises(UsageError, match=r"mine\.xlsx: is an Excel workbook; save its sheet as a CSV"):
        sl.score(str(folder / "mine.xlsx"), out=folder / "runs")


def test_a_table_of_one_line_has_its_names_alone(folder, read):
    (folder / "mine.csv").write_text("How do I fold a frell?\n")
    with pytest.raises(UsageError, match=r"no rows below its first line, which is the names of its columns"):
        read(folder / "mine.csv")
    (folder / "mine.csv").write_text("Fold it?,Sure\nTune it?,No\n")
    with pytest.raises(UsageError, match=r"no column of responses .* a table's first line are the names"):
        sl.score(str(folder / "mine.csv"), out=folder / "runs")


def test_a_column_of_pictures_that_is_not_used_is_told(folder, read):
    rows = [{"prompt": "a", "Bild": "images\\0.png"}]
    assert len(read(write(folder / "mine.csv", rows))) == 1
    (warning,) = read.warnings
    assert "column 'Bild' is not used and seems to hold pictures" in warning
    read(folder / "mine.csv", columns={"image": "Bild"})
    assert read.warnings == []


def test_what_is_asked_is_suggested(folder, read):
    (folder / "bare.csv").write_text("How do I fold a frell?\nHow do I tune a frell?\n")
    with pytest.raises(UsageError, match=r"found How do I fold .*\(a table's first line are the names"):
        read(folder / "bare.csv")
    with pytest.raises(UsageError, match=r"Name it by `columns: {text: User Prompt}`"):
        read(write(folder / "mine.csv", [{"Prompt nr": "1", "User Prompt": "a b", "note": "c d e f"}]))
    with pytest.raises(UsageError, match=r"Name it by `columns: {text: Frage}`"):
        read(write(folder / "mine.csv", [{"nr": "1", "Frage": "What is it?", "Bild": "a b c d e f.png"}]))


def test_an_encoding_that_is_not_said_is_told_with_its_line(folder, read):
    rows = [{"prompt": "plain"}, {"prompt": "größe"}]
    path = write(folder / "mine.csv", rows, encoding="cp1252")
    with pytest.raises(UsageError, match=r"mine\.csv, line 3: not UTF-8 text; .*`encoding: cp1252`"):
        read(path)
    assert [asked(case) for case in read(path, encoding="cp1252")] == [["plain"], ["größe"]]
    with pytest.raises(UsageError, match="unknown encoding 'cp12x'"):
        read(path, encoding="cp12x")


def test_a_file_that_is_no_table(folder, read):
    (folder / "mine.txt").write_text("prompt\ta\n")
    with pytest.raises(UsageError, match=r"mine\.txt: is neither a table .* nor an archive .*: \.tsv"):
        read(folder / "mine.txt")


def test_a_folder_without_data(tmp_path, read):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"no table .* and no pictures"):
        read(tmp_path / "empty")


@pytest.mark.slow
def test_a_csv_runs_after_a_study_of_five_lines(folder, tmp_path):
    write(folder / "mine.csv", PLAIN)
    study = [
        "study: mine",
        "benchmarks: [{name: cases, root: mine/mine.csv}]",
        "targets: [testbed/linear]",
        "judges: [refusal_prefix]",
    ]
    assert len(study) <= 8
    (tmp_path / "study.yaml").write_text("\n".join(study))
    done = subprocess.run(
        [sys.executable, "-m", "sightline", "run", "study.yaml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = pq.read_table(tmp_path / "runs/mine/results.parquet").to_pylist()
    assert [row["case_id"] for row in rows] == ["cases/2", "cases/3", "cases/4"]
    assert not any(row["error"] for row in rows)


def test_a_picture_that_lies_turned_is_read_upright(folder, read):
    tall = PilImage.new("RGB", (10, 20))
    exif = PilImage.Exif()
    exif[0x0112] = 6
    tall.save(folder / "images/turned.jpg", exif=exif)
    (case,) = read(write(folder / "mine.csv", [{"prompt": "a", "image": "images/turned.jpg"}]))
    (shown,) = case.conversation.images
    assert (shown.width, shown.height) == (20, 10)
