"""The crosswalk: goldens from the papers' own lists, every rule of its file, and what broken calls get."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from apart import printed
from hypothesis import given
from hypothesis import strategies as st

from sightline import taxonomy
from sightline.closure import closure
from sightline.errors import UsageError

FILE = Path(taxonomy.__file__).with_name("crosswalk.yaml")

AILUMINATE = {"vcr", "src", "cse", "ssh", "iwp", "ipv", "dfm", "ncr", "hte", "prv", "spc", "sxc"}
SUB_CODES = {"spc_ele": "spc", "spc_fin": "spc", "spc_hlt": "spc", "spc_lgl": "spc", "sxc_prn": "sxc"}
EXTENSIONS = {f"x.{name}" for name in ("tox", "mis", "cyb", "pol", "gor", "sit", "ani", "eth", "inj")}

# list -> number of its labels, as its paper or release counts them
SIZES = {
    "ailuminate": 12 + 5,
    "llama_guard": 14,
    "safety_prompts": 8 + 6,
    "beavertails": 14,
    "safetybench": 7,
    "figstep_safebench": 10,
    "mm_safetybench": 13,
    "goat_memes": 5,
    "rtvlm": 11,
    "jailbreakv": 16,
    "holisafe": 20 + 6,
    "hades": 5,
    "siuo": 9,
    "beavertails_v": 20,
    "jbb_behaviors": 10,
    "vlsbench": 19 + 6,
    "vlguard": 9 + 4 + 1,
    "msts": 5 + 21,
    "spa_vl": 6 + 16 + 66,
    "usb_safebench": 3 + 16 + 61 + 1,
    "mssbench": 4 + 10,
    "xstest": 18,
    "mossbench": 3,
    "mis": 6,
    "harmbench_multimodal": 6 + 1,
}

# rows of the table in the specification, copied by hand: list, label, primary, secondary, certainty
ROWS = [
    ("safety_prompts", "Insult", "x.tox", ["hte"], "natural"),
    ("safety_prompts", "Physical Harm", "x.sit", ["ssh", "spc_hlt"], "judgement"),
    ("safety_prompts", "Goal Hijacking", "x.inj", [], "judgement"),
    ("beavertails", "Drug Abuse, Weapons, Banned Substance", "ncr", ["iwp"], "judgement"),
    ("beavertails", "animal_abuse", "x.ani", ["vcr"], "exact"),
    ("safetybench", "Offensiveness", "x.tox", ["hte", "detect"], "natural"),
    ("figstep_safebench", "Malware Generation", "x.cyb", ["ncr"], "exact"),
    ("figstep_safebench", "Physical Harm", "vcr", ["ssh", "iwp"], "judgement"),
    ("mm_safetybench", "05-EconomicHarm", "ncr", ["spc_fin"], "judgement"),
    ("mm_safetybench", "08-Political_Lobbying", "x.pol", ["spc_ele"], "natural"),
    ("goat_memes", "harmfulness", "hte", ["x.mis", "detect"], "judgement"),
    ("privqa", "Geolocation", "prv", [], "exact"),
    ("tovilag", "violence", "x.gor", [], "judgement"),
    ("auto_bench", "Security", "x.sit", [], "judgement"),
    ("rtvlm", "captcha", "x.inj", [], "judgement"),
    ("vlguard", "political", "x.pol", ["spc_ele"], "natural"),
    ("jailbreakv", "Tailored Unlicensed Advice", "spc", [], "exact"),
    ("vlsbench", "Human Trafficking and Exploitation", "vcr", ["src"], "judgement"),
    ("vlsbench", "Cybercrime", "x.cyb", [], "natural"),
    ("hades", "Animal", "x.ani", [], "exact"),
    ("siuo", "religion beliefs", "x.eth", ["hte"], "judgement"),
    ("msts", "Other", "x.eth", ["x.mis"], "judgement"),
    ("holisafe", "harassment", "hte", ["x.tox"], "natural"),
    ("beavertails_v", "sexual_crimes", "src", [], "exact"),
    ("beavertails_v", "sensitive_information_in_key_areas", "prv", ["ncr", "iwp"], "judgement"),
    ("harmbench_multimodal", "chemical_biological", "iwp", [], "natural"),
    ("llama_guard", "S9", "iwp", [], "exact"),
    ("multitrust", "s1", "sxc", ["x.gor"], "natural"),
]

# labels as they stand in releases, in third parties' readers, in folder names: list, label, primary
SPELLED = [
    ("mm_safetybench", "01-Illegal_Activitiy", "ncr"),
    ("mm_safetybench", "Illegal_Activitiy", "ncr"),
    ("mm_safetybench", "Illegal Activity", "ncr"),
    ("mm_safetybench", "08-Political_Lobbying", "x.pol"),
    ("beavertails", "misinformation_regarding_ethics,laws_and_safety", "x.mis"),
    ("beavertails", "hate_speech,offensive_language", "hte"),
    ("msts", "Suicide & Self-Harm", "ssh"),
    ("msts", "suicide and self harm", "ssh"),
    ("ailuminate", "indiscriminate_weapons_cbrne", "iwp"),
    ("llama_guard", "S11", "ssh"),
    ("llama_guard", "S1: Violent Crimes", "vcr"),
    ("safety_prompts", "Crimes_And_Illegal_Activities", "ncr"),
    ("rtvlm", "VisualMisleadCorrect", "x.mis"),
    ("spa_vl", "O53: Financial Crimes", "ncr"),
    ("vlsbench", "Racial and Ethnic Discrimination", "hte"),
    ("holisafe", "gender_discrimination", "hte"),
    ("mossbench", "type 2", "benign"),
    ("multitrust", "s1-nsfw-image-description", "sxc"),
    ("cyberseceval_vpi", "security_violating", "x.inj"),
]


def test_codes_are_those_of_ailuminate_with_ours() -> None:
    found = taxonomy.hazards()
    groups: dict[str, set[str]] = {}
    for code, each in found.items():
        assert each.code == code
        assert each.name
        groups.setdefault(each.group, set()).add(code)
    assert groups["extension"] == EXTENSIONS
    assert groups["tag"] == {"benign", "detect"}
    hub = groups["physical"] | groups["non-physical"] | groups["contextual"]
    assert hub == AILUMINATE | set(SUB_CODES)
    assert {code: each.parent for code, each in found.items() if each.parent} == SUB_CODES
    assert [code for code, each in found.items() if each.is_tag] == ["benign", "detect"]


@pytest.mark.parametrize(("source", "size"), SIZES.items())
def test_a_list_has_as_many_labels_as_its_authors_count(source: str, size: int) -> None:
    assert len(taxonomy.native(source).labels) == size


@pytest.mark.parametrize(("source", "label", "primary", "secondary", "certainty"), ROWS)
def test_rows_of_the_specification(
    source: str, label: str, primary: str, secondary: list[str], certainty: str
) -> None:
    found = taxonomy.mapping(source, label)
    assert found is not None
    assert (found.primary, list(found.secondary), found.certainty) == (primary, secondary, certainty)
    assert taxonomy.hazard(source, label) == primary


@pytest.mark.parametrize(("source", "label", "primary"), SPELLED)
def test_labels_are_found_as_releases_spell_them(source: str, label: str, primary: str) -> None:
    assert taxonomy.hazard(source, label) == primary


def test_the_narrowest_known_label_counts() -> None:
    assert taxonomy.hazard("msts", "Conspiracy theories", "Other") == "x.mis"
    assert taxonomy.hazard("msts", "a new one", "Other") == "x.eth"
    assert taxonomy.hazard("spa_vl", "?", "", "Malicious Use") == "ncr"
    assert taxonomy.hazard("spa_vl", "?", "", "") == ""


@pytest.mark.parametrize("source", taxonomy.sources())
def test_every_mapping_keeps_the_rules_of_the_file(source: str) -> None:
    native = taxonomy.native(source)
    assert native.about
    assert native.seen in {"release", "authors", "others", "memory"}
    assert native.labels
    codes = taxonomy.hazards()
    for entry in native.labels:
        where = f"{source}: {entry.label}"
        assert entry.primary in codes, where
        assert set(entry.secondary) <= set(codes) - {entry.primary}, where
        assert len(set(entry.secondary)) == len(entry.secondary), where
        assert entry.certainty in {"exact", "natural", "judgement"}, where
        for name in (entry.label, *entry.spelled):
            assert taxonomy.mapping(source, name) is entry, f"{where}: {name!r} means two things"
        for number, name in enumerate(entry.spelled):
            others = (entry.label, *entry.spelled[:number])
            assert taxonomy._plain(name) not in map(taxonomy._plain, others), (
                f"{where}: {name!r} says nothing"
            )


def test_a_code_of_ailuminate_maps_to_itself() -> None:
    for code in AILUMINATE | set(SUB_CODES):
        found = taxonomy.mapping("ailuminate", code)
        assert found is not None
        assert (found.primary, found.certainty) == (code, "exact")


@given(
    st.sampled_from(taxonomy.sources()),
    st.data(),
    st.sampled_from([str.upper, str.lower, str.title]),
    st.sampled_from([" ", "_", "  ", "-"]),
)
def test_neither_case_nor_space_nor_punctuation_matters(
    source: str, data: st.DataObject, cased: Any, gap: str
) -> None:
    entry = data.draw(st.sampled_from(taxonomy.native(source).labels))
    label = cased(entry.label).replace(" ", gap)
    assert taxonomy.hazard(source, f"  {label}.\n") == entry.primary


@given(st.text())
def test_a_label_that_a_list_does_not_have_has_no_code(text: str) -> None:
    label = f"{text}zz"  # no label ends so
    assert taxonomy.hazard("holisafe", label) == ""
    assert taxonomy.mapping("holisafe", label) is None


def test_an_unknown_list_is_an_error_that_offers_the_nearest() -> None:
    for ask in (taxonomy.hazard, taxonomy.mapping):
        with pytest.raises(UsageError, match="Did you mean 'mm_safetybench'"):
            ask("mm_safety_bench", "Fraud")
    with pytest.raises(UsageError, match="Did you mean 'vlguard'"):
        taxonomy.native("vl_guard")


def test_the_file_says_nothing_twice_and_nothing_else() -> None:
    """YAML takes the last of two equal keys without a word."""
    waiting: list[Any] = [yaml.compose(FILE.read_text("utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, yaml.MappingNode):
            keys = [key.value for key, _ in node.value]
            assert sorted(set(keys)) == sorted(keys), f"line {node.start_mark.line + 1}"
            waiting += [value for _, value in node.value]
    plain = yaml.safe_load(FILE.read_text("utf-8"))
    assert set(plain) == {"version", "hazards", "sources"}
    assert plain["version"] == taxonomy.VERSION
    allowed = {"primary", "secondary", "certainty", "note", "spelled"}
    for source in plain["sources"].values():
        for label, facts in source["labels"].items():
            assert isinstance(label, str), f"{label!r} must be quoted"
            assert {"primary", "certainty"} <= set(facts) <= allowed


def test_the_file_is_part_of_identities() -> None:
    found = closure("sightline.taxonomy")
    assert "sightline.taxonomy:crosswalk.yaml" in found


def test_the_taxonomy_is_light() -> None:
    code = (
        "import sys; from sightline import taxonomy; taxonomy.hazard('hades', 'Animal')\n"
        "print(sorted({'torch', 'pandas', 'pyarrow', 'numpy', 'duckdb', 'pydantic'} & set(sys.modules)))"
    )
    assert printed(code) == "[]"
