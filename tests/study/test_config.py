"""Study files: every mistake is one message with file, line and cure."""

from __future__ import annotations

from pathlib import Path

import pytest
import toys  # noqa: F401  (registers the toy methods)

from sightline.errors import UsageError
from sightline.study.config import load, parse

GOOD = """study: s
benchmarks: [toy_questions]
targets: [scripted/echo]
judges: [toy_judge]
"""


BOMB = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n}\n" + f"  - *a{n - 1}\n" * 9 for n in range(1, 20))
"""Twenty lists of nine aliases each: 9^19 values in two kilobytes."""


def test_a_small_study_is_read_with_its_defaults() -> None:
    study = parse(GOOD)
    assert study.name == "s"
    assert [named.label for named in study.attacks] == ["none"]
    assert study.defenses[0].bare
    assert study.decoding.temperature == 0.0
    assert study.defenses[0].around("scripted/echo") == "scripted/echo"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("study: s\n  oops: [", 2, "not valid YAML"),
        (GOOD + "seed: &x [*x]\n", 5, "an alias stands inside of what it names"),
        (GOOD + "decoding: &x\n  max_tokens: *x\n", 5, "an alias stands inside of what it names"),
        ("just words", 1, "a study file is a mapping"),
        (GOOD + "atacks: [none]\n", 5, "Did you mean 'attacks'"),
        (GOOD + "attacks: [fig_step]\n", 5, "Did you mean 'figstep'"),
        (GOOD + "attacks: []\n", 5, "at least 1 item"),
        (GOOD + "attacks:\n  - none\n  - none\n", 7, "stands here twice"),
        (GOOD + "seed: minus\n", 5, "valid integer"),
        (GOOD + "decoding:\n  max_token: 3\n", 6, "Did you mean 'max_tokens'"),
        (GOOD + "decoding:\n  temperature: -1\n", 6, "greater than or equal to 0"),
        (GOOD + "study: again\n", 5, "given twice"),
        (GOOD.replace("toy_judge", "toy_juge"), 4, "Did you mean 'toy_judge'"),
        (GOOD.replace("[toy_judge]", "[{name: toy_judge, dwon: true}]"), 4, "Did you mean 'down'"),
        (GOOD.replace("[toy_judge]", "[{name: toy_judge, down: maybe}]"), 4, "valid boolean"),
        (GOOD.replace("[toy_judge]", "[{name: toy_judge, preset: x}]"), 4, "unknown preset"),
        (GOOD.replace("study: s", "study: ../../etc"), 1, "should match pattern"),
        (GOOD.replace("[toy_questions]", "[figstep_safebench]"), 2, "add `root:`"),
        (
            GOOD.replace("[toy_questions]", "[{name: figstep_safebench, root: /not/there}]"),
            2,
            "does not exist",
        ),
        (
            GOOD.replace("[toy_questions]", "[{name: testbed_requests, root: mine.csv}]"),
            2,
            "reads no release: leave mine.csv out; a table of your own is `{name: cases, root: FILE}`",
        ),
        ("study: s\ntargets: [a/b]\njudges: [toy_judge]\n", 1, "'benchmarks' is missing"),
        (GOOD.replace("[scripted/echo]", "[a/b, a/b]"), 3, "stands here twice"),
        (GOOD + "attacks: " + "[" * 20_000, 5, "more than 50 levels stand in each other"),
        (GOOD + "".join(" " * n + f"a{n}:\n" for n in range(900)), 54, "more than 50 levels"),
        (GOOD + f"seed: {2**70}\n", 5, "is no number of at most 64 bits"),
        (GOOD + f"seed: {'9' * 5000}\n", 5, "is no number of at most 64 bits"),
        (GOOD + "seed: 0x" + "f" * 20 + "\n", 5, "is no number of at most 64 bits"),
        (GOOD + f"seed: {2**63}\n", 5, "less than or equal to"),
        (GOOD + "label: 2024-13-45\n", 1, "not valid YAML: month must be in 1..12"),
        (BOMB + GOOD, 52, "stands for more than 200,000 values"),
        (BOMB.replace("- ", "- <<: ") + GOOD, 42, "stands for more than 200,000 values"),
        ("? [a]\n: 1\n" + GOOD, 1, "not valid YAML"),
        (GOOD + "timeout: 0\n", 5, "greater than or equal to 1"),
    ],
)
def test_a_mistake_names_the_line_and_the_cure(text: str, line: int, message: str) -> None:
    with pytest.raises(UsageError) as wrong:
        parse(text, name="my.yaml")
    assert str(wrong.value).startswith(f"my.yaml:{line}: "), str(wrong.value)
    assert message in str(wrong.value)


def test_what_models_reject_can_be_left_to_the_provider() -> None:
    study = parse(GOOD + "decoding: {temperature: null, max_tokens: null}\ntimeout: 7\n")
    assert (study.decoding.temperature, study.decoding.max_tokens, study.timeout) == (None, None, 7)
    assert (study.decoding.sampling_temperature, study.decoding.max_new_tokens) == (0.0, 512)


def test_settings_in_parentheses_mean_the_same_as_keys() -> None:
    spelled = parse(GOOD.replace("[toy_questions]", "['toy_questions(n=4)']"))
    keyed = parse(GOOD.replace("[toy_questions]", "[{name: toy_questions, n: 4}]"))
    assert spelled.sources[0].benchmark == keyed.sources[0].benchmark


def test_two_forms_of_one_attack_get_their_own_labels() -> None:
    study = parse(
        GOOD + "attacks: [{name: figstep, preset: testbed}, {name: figstep, preset: fit}, {name: none}]\n"
    )
    assert [named.label for named in study.attacks] == ["figstep:testbed", "figstep:fit", "none"]


def test_relative_roots_start_at_the_study_file(tmp_path: Path) -> None:
    (tmp_path / "release").mkdir()
    path = tmp_path / "s.yaml"
    path.write_text(GOOD.replace("[toy_questions]", "[{name: figstep_safebench, root: release}]"))
    assert load(path).sources[0].root == tmp_path / "release"


def test_the_nearest_limit_counts() -> None:
    text = GOOD.replace(
        "[toy_questions]", "[{name: toy_questions, limit: 10}, {name: toy_questions, label: b}]"
    )
    assert [source.limit for source in parse(text + "limit: 40\n").sources] == [10, 40]
    assert [source.limit for source in parse(text + "limit: 40\n", limit=5).sources] == [5, 5]


def test_an_absent_study_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no such study file.*quickstart"):
        load(tmp_path / "nope.yaml")


def test_code_in_yaml_is_refused() -> None:
    with pytest.raises(UsageError, match="not valid YAML"):
        parse(GOOD + "seed: !!python/object/apply:os.system ['true']\n")


@pytest.mark.parametrize("key", ["study", "label"])
def test_half_a_surrogate_pair_is_told_with_its_line(key: str) -> None:
    with pytest.raises(UsageError, match=r"my.yaml:\d+: a text holds half a surrogate pair"):
        parse(GOOD.replace("study:", "was:") + f'{key}: "\\ud83d x"\n', name="my.yaml")


@pytest.mark.parametrize("value", ["!!int ''", "!!bool abc", "!!timestamp abc", "!!int {a: 1}"])
def test_a_tag_on_what_it_does_not_fit_is_told(value: str) -> None:
    with pytest.raises(UsageError, match=r"my.yaml:1: not valid YAML: "):
        parse(GOOD + f"label: {value}\n", name="my.yaml")


@pytest.mark.parametrize("root", ["~nouser/x", "x" * 5_000])
def test_a_root_that_no_path_can_be_is_told(root: str) -> None:
    with pytest.raises(UsageError, match=r"my.yaml:2: benchmarks.0.root: not a path that can be read"):
        parse(GOOD.replace("[toy_questions]", f"[{{name: toy_questions, root: '{root}'}}]"), name="my.yaml")


def test_no_more_of_a_study_or_script_is_read_than_is_allowed(tmp_path: Path) -> None:
    from sightline.documents import read_text

    with pytest.raises(UsageError, match="/dev/zero: is a device and no regular file"):
        read_text(Path("/dev/zero"))
    (tmp_path / "long.yaml").write_bytes(b"#" * 500_001)
    with pytest.raises(UsageError, match=r"long\.yaml: more than the 500,000 bytes"):
        read_text(tmp_path / "long.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"rules: [\xe9]")
    with pytest.raises(UsageError, match=r"latin.yaml: cannot be read: not UTF-8 \(byte 8\)"):
        read_text(tmp_path / "latin.yaml")
    with pytest.raises(UsageError, match=r"my.yaml:1: .*more than 20,000 values"):
        parse("[" + "a," * 200_000 + "]", name="my.yaml")


def test_a_target_behind_very_many_defenses_is_told() -> None:
    from sightline.targets._names import split_defended

    with pytest.raises(UsageError, match="more than 50 defenses around each other"):
        split_defended("x:" + "defended/x:" * 5_000 + "scripted/echo")
