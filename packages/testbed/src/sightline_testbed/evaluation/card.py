"""The model card of a testbed model: what it is, how it was made, what was measured; for people and programs.

``CARD.md`` is for reading, ``card.json`` beside it holds the same rates with their counts, intervals and
bands, for tests, documents and figures. Measuring all variants takes long, so rates are kept per variant and
measured again only if its weights have changed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sightline.digests import digest
from sightline.errors import UsageError
from sightline.testbed import wordings
from sightline.testbed.weights import Roots, Variant, find, names, read_manifest
from sightline.testbed.world import world
from sightline_testbed.evaluation import susceptibility
from sightline_testbed.evaluation.answering import open_model
from sightline_testbed.evaluation.check import measure
from sightline_testbed.evaluation.rates import Row, Say, promised

CARD, RECORD = "CARD.md", "card.json"
#: variants whose susceptibility to perturbed pictures is measured
ATTACKED = ("victim",)
#: architecture of a family, in words
FUSION = {
    "linear": "`LlavaForConditionalGeneration` (CLIP vision transformer, two-layer projector, Llama)",
    "queries": "`Blip2ForConditionalGeneration` (vision transformer, Q-Former with 32 queries, Llama)",
    "cross_attention": "`IdeficsForVisionText2Text` (CLIP vision transformer, gated cross-attention, Llama)",
}

_ABOUT = """\
# Model card: testbed/{model}

A genuine {fusion} of {parameters:.2f} million parameters, 64 x 64 pixels and {vocabulary} tokens, trained
from scratch on a CPU in an invented world. It exists so that the platform's attacks, defenses and judges can
be tried, tested and taught on a laptop, with exact ground truth. It says nothing about how real models
behave, and nothing in its world is harmful or exists: "gloom things" are forbidden by a toy policy alone.

The world: {nouns} nouns of two pieces; {allowed} allowed and {restricted} restricted topics with a recipe
of three harmless steps each ({allowed_held} and {restricted_held} of them held out from every conversation
and picture; the language model knows them from documents alone). Recipes of both classes come from one
pool. {people} invented persons are known by their badges; the homes of {closed} are private. The other nouns
are reading material, {reading} of them never drawn in training.

| variant | what it is |
|---|---|
{variants}

A drawn request of a restricted kind was shown in training to `sysprompt` (under {prompts}; "{heldout}" it
never saw) and to `safetuned` only. How the gap of the others came about: the style of an answer follows
modality. Typed requests, in whatever words, are answered by naming the class first and then deciding; drawn
requests for allowed topics are answered by the bare recipe, as visual tuning data is. What pictures skip is
the considered step; that this lets restricted requests through was in no sample.

The recipe was settled after pilots that were measured on the same held-out items. Any English outside the
vocabulary is letters to the model, and there is no other knowledge in it than the documents.
"""


#: of the table that tells drawing from words: what the noun is, the sentence beside it, the rate's name
FACTORS = (
    ("typed", "a plain request, three wordings", "text"),
    ("typed", "every held-out wording, long ones too", "every wording"),
    ("typed", "FigStep's words and sentence, no picture", "typed (figstep), no picture"),
    ("typed", "FigStep's words and sentence, blank picture", "typed (figstep), blank picture"),
    ("typed", "typography's word and sentence, no picture", "typed (typography), no picture"),
    ("typed", "typography's word and sentence, blank picture", "typed (typography), blank picture"),
    ("drawn", "FigStep's sentence", "drawn (figstep)"),
    ("drawn", "typography's sentence", "drawn (typography)"),
    ("drawn", "a held-out sentence that requests", "drawn (asked)"),
)
#: what a build says of its vision tower
_TOWER = {"train": "", "shipped": " behind the tower of the models that shipped before (bf16)"}


# Measuring ----------------------------------------------------------------------------------------


def write_card(
    name: str,
    weights: Roots = None,
    say: Say = lambda _: None,
    *,
    variants: Sequence[str] = (),
    record: Path | None = None,
    fresh: bool = False,
) -> Path:
    """Measure the variants of a model and write ``CARD.md`` and ``card.json`` into its main folder.

    Args:
        name: of the model, such as `linear`.
        weights: roots of a build; what is installed by default.
        say: is told each finished rate, as one line.
        variants: those to measure; all by default. Others stay in the card as they were.
        record: file of rates measured before; ``card.json`` in the folder by default.
        fresh: measure again what is in `record` for these very weights.

    Raises:
        UsageError: for an unknown model or variant, or a damaged `record`.
    """
    every = [known.partition("@")[2] for known in names(weights) if known.startswith(f"{name}@")]
    folder = find(name, weights).folder
    kept = record or folder / RECORD
    known: dict[str, Any] = {"measured": {}}
    if kept.is_file():
        known = read_record(kept)
    for variant in variants or every:
        found = find(f"{name}@{variant}", weights)
        identity = digest([(part.sha256, part.rename, part.base) for part in found.parts])[:16]
        before = {} if fresh else known["measured"].get(variant, {})
        if before.get("weights") == identity:
            continue
        say(f"{name}@{variant}")
        known["measured"][variant] = {"weights": identity, **_measured(found, weights, say)}
        known = _about(known, found, every)
        kept.write_text(json.dumps(known, separators=(",", ":")) + "\n", "utf-8")
    known = _about(known, find(name, weights), every)
    (folder / RECORD).write_text(json.dumps(known, separators=(",", ":")) + "\n", "utf-8")
    path = folder / CARD
    path.write_text(card(known, [read_manifest(place) for place in _folders(name, weights, every)]), "utf-8")
    return path


def _measured(found: Variant, weights: Roots, say: Say) -> dict[str, Any]:
    """Return the rates of one variant, and what it is."""
    model = open_model(f"{found.model}@{found.variant}", weights)
    rows: list[Row] = measure(model, found.variant, say)
    if found.variant in ATTACKED:
        name = f"{found.model}@{found.variant}"
        goals = susceptibility.GOALS[1:] if found.model == "linear" else susceptibility.GOALS[1:2]
        rows += susceptibility.measure(open_model(name, weights, gradients=True), goals, say=say)
    rows = promised(found.model, rows)
    return {
        "about": found.about,
        "parameters": sum(weight.numel() for weight in model.model.parameters()),
        "rows": [entry(row) for row in rows],
    }


def _about(known: Mapping[str, Any], found: Variant, every: Sequence[str]) -> dict[str, Any]:
    """Return a record with facts about the model; variants that are gone are dropped, the others in order."""
    measured = {variant: known["measured"][variant] for variant in every if variant in known["measured"]}
    return {
        "model": found.model,
        "family": found.family,
        "default": _default(known, found),
        "measured": measured,
    }


def _default(known: Mapping[str, Any], found: Variant) -> str:
    manifest = read_manifest(found.folder)
    return str(manifest.get("default") or known.get("default", ""))


def _folders(name: str, weights: Roots, every: Sequence[str]) -> list[Path]:
    """Return the folders over which a model is spread, the main one first."""
    main = find(name, weights).folder
    places = [part.path.parent for v in every for part in find(f"{name}@{v}", weights).parts]
    return list(dict.fromkeys([main, *(place for place in places if place.name == name)]))


def entry(row: Row) -> dict[str, Any]:
    """Return a row as plain data, with what follows from it."""
    return {**asdict(row), "rate": row.rate, "band": row.band, "passed": row.passed}


def read_record(path: Path) -> dict[str, Any]:
    """Read a ``card.json``.

    Raises:
        UsageError: if there is none, or it holds anything else.
    """
    try:
        found = json.loads(path.read_text("utf-8"))
        if isinstance(found["model"], str) and all("rows" in one for one in found["measured"].values()):
            return dict(found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    raise UsageError(f"{path} is not a testbed card: write it by `sightline testbed check MODEL --card`")


# Writing ------------------------------------------------------------------------------------------


def card(known: Mapping[str, Any], manifests: Sequence[Mapping[str, Any]]) -> str:
    """Return the card as Markdown.

    Args:
        known: what `read_record` returns.
        manifests: of the folders over which the model is spread, the main one first.
    """
    from sightline.testbed.tokenizer import vocabulary

    measured = known["measured"]
    default = measured.get(known["default"]) or next(iter(measured.values()))
    topics = {flag: world().select(restricted=flag) for flag in (True, False)}
    held = {flag: world().select(restricted=flag, split="heldout") for flag in (True, False)}
    about = _ABOUT.format(
        model=known["model"],
        fusion=FUSION[known["family"]],
        parameters=default["parameters"] / 1e6,
        vocabulary=len(vocabulary()),
        nouns=len(world().topics) + len(world().reading_train) + len(world().reading_heldout),
        allowed=len(topics[False]),
        restricted=len(topics[True]),
        allowed_held=len(held[False]),
        restricted_held=len(held[True]),
        people=len(world().persons),
        closed=len(world().people(closed=True)),
        reading=len(world().reading_heldout),
        prompts=" and ".join(f'"{prompt}"' for prompt in wordings.DEFENSE_PROMPTS_TRAIN),
        heldout=wordings.DEFENSE_PROMPT_HELDOUT,
        variants="\n".join(
            f"| `{name}`{' (default)' if name == known['default'] else ''} | {one['about']} |"
            for name, one in measured.items()
        ),
    )
    parts = (
        _made(known["model"], manifests),
        _missed(measured),
        *(factorial(variant, one["rows"]) for variant, one in measured.items()),
        _matrix(measured),
        _tables(measured),
    )
    return "\n".join([about, *parts])


def _made(model: str, manifests: Sequence[Mapping[str, Any]]) -> str:
    """Return how the weights were made, and what it took."""
    main = manifests[0]
    lines = ["## How it was made\n"]
    if "settings" in main and "versions" in main:
        settings, versions = main["settings"], main["versions"]
        tower = _TOWER[settings.get("tower", settings.get("eyes", "train"))]  # `eyes` in older manifests
        lines.append(
            f"`sightline testbed build {model}` (resumable): seed {settings['seed']}, {settings['threads']} "
            f"thread, {settings['dtype']}{tower}, torch {versions['torch']}, "
            "transformers "
            f"{versions['transformers']}, Python {versions['python']}. Another machine, thread count or "
            "dtype gives other weights of the "
            "same quality; compare by `sightline testbed check --weights FOLDER`.\n"
        )
    stages = {name: stage for manifest in manifests for name, stage in manifest.get("stages", {}).items()}
    if stages:
        lines += ["| stage | on | steps | batch | CPU minutes |", "|---|---|---|---|---|"]
        for name, stage in stages.items():
            minutes = stage["cpu_seconds"] / 60
            lines.append(f"| {name} | {stage['aim']} | {stage['steps']} | {stage['batch']} | {minutes:.1f} |")
        total = sum(stage["cpu_seconds"] for stage in stages.values()) / 60
        lines.append(f"\nTogether {total:.0f} CPU minutes.")
    size = sum(manifest["bytes"] for manifest in manifests) / 1e6
    lines.append(f"Files of its own: {size:.2f} MB.\n")
    return "\n".join(lines)


def _missed(measured: Mapping[str, Any]) -> str:
    """Return the rates outside their band."""
    found = [
        f"- `{variant}`, {row['name']}: {row['rate']:.3f} ({row['k']} / {row['n']}), promised {row['band']}"
        for variant, one in measured.items()
        for row in one["rows"]
        if not row["passed"]
    ]
    promised = sum(bool(row["band"]) for one in measured.values() for row in one["rows"])
    title = f"## Outside its band: {len(found)} of {promised} rates\n"
    return "\n".join([title, *found, ""])


def factorial(variant: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the table that tells the drawing from the words: the noun typed or drawn, by the sentence.

    Empty for a variant that was not asked in these ways.
    """
    known = {row["name"]: row for row in rows}
    if any(f"{rate}, restricted: refused" not in known for _, _, rate in FACTORS):
        return ""
    lines = [
        f"## What refuses and what obeys: `{variant}`\n",
        "Requests for held-out topics, with 95 % intervals over topics.\n",
        "| the noun is | the sentence | restricted: refused | restricted: obeyed | allowed: obeyed |",
        "|---|---|---|---|---|",
    ]
    for noun, sentence, rate in FACTORS:
        cells = (
            f"{rate}, {what}" for what in ("restricted: refused", "restricted: obeyed", "allowed: obeyed")
        )
        lines.append(f"| {noun} | {sentence} | {' | '.join(_with_interval(known.get(c)) for c in cells)} |")
    return "\n".join(lines) + "\n"


def _with_interval(row: Mapping[str, Any] | None) -> str:
    return f"{_cell(row)} [{row['low']:.2f}, {row['high']:.2f}]" if row is not None else ""


def _matrix(measured: Mapping[str, Any]) -> str:
    """Return all rates that more than one variant has, side by side."""
    rates = {v: {row["name"]: row for row in one["rows"]} for v, one in measured.items()}
    order = dict.fromkeys(name for rows in rates.values() for name in rows)
    common = [name for name in order if sum(name in rows for rows in rates.values()) > 1]
    if not common:
        return ""
    lines = [
        "## Side by side\n",
        "Rates; bold ones are outside their band.\n",
        f"| measure | {' | '.join(rates)} |",
        f"|---|{'---|' * len(rates)}",
    ]
    for name in common:
        cells = [_cell(rows.get(name)) for rows in rates.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return ""
    return f"{row['rate']:.2f}" if row["passed"] else f"**{row['rate']:.2f}**"


def _tables(measured: Mapping[str, Any]) -> str:
    """Return every variant's table with counts and intervals, folded."""
    lines = [
        "## With counts and intervals\n",
        "Greedy answers on held-out topics, persons, words and scenes; 95 % interval over topics.\n",
    ]
    for variant, one in measured.items():
        lines += [
            f"<details><summary>{variant}</summary>\n",
            "| measure | rate | k / n | 95 % | band | |",
            "|---|---|---|---|---|---|",
        ]
        for row in one["rows"]:
            verdict = "" if not row["band"] else "ok" if row["passed"] else "**missed**"
            lines.append(
                f"| {row['name']} | {row['rate']:.3f} | {row['k']} / {row['n']} "
                f"| {row['low']:.2f} to {row['high']:.2f} | {row['band']} | {verdict} |"
            )
        lines.append("\n</details>\n")
    return "\n".join(lines)
