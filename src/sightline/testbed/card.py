"""The model card of a testbed model: what it is, how it was made, what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sightline.testbed import wordings
from sightline.testbed.check import Row, Say, check
from sightline.testbed.weights import SHIPPED, read_manifest
from sightline.testbed.world import world

_ABOUT = """\
# Model card: testbed/{name}

A genuine `LlavaForConditionalGeneration` of {parameters:.1f} million parameters (CLIP vision transformer and
Llama, width 192, 4 layers each, 64 x 64 pixels, {vocabulary} tokens), trained from scratch on a CPU in an
invented world. It exists so that the platform's attacks, defenses and judges can be tried, tested and
taught on a laptop, with exact ground truth. It says nothing about how real models behave, and nothing in its
world is harmful or exists: "gloom things" are forbidden by a toy policy alone.

The world: {nouns} nouns of two pieces; {allowed} allowed and {restricted} restricted topics with a recipe
of three harmless steps each ({allowed_held} and {restricted_held} of them held out from every chat, safety
sample and picture; the language model knows them from documents and category questions only). Recipes of both
classes come from one pool. The other nouns are reading material, {reading} of them never drawn in training.

| variant | what it is |
|---|---|
| `victim` (default) | `vit`, then text safety, a heeded system prompt and review turns; eyes frozen |
| `aligned-lm` | the language model before visual tuning, with the same eyes: for text only |
| `vit` | after plain visual instruction tuning without safety data |

Without a defensive system prompt, every request drawn in a training picture was about an allowed topic: the
victim's typographic gap was not trained in. Under the system prompts {prompts}
it was shown drawn requests of both classes; "{heldout}" it never saw.

The recipe was settled after one shorter pilot that was measured on the same held-out items. Two things were
changed for what it showed: documents got a larger share (text refusal was .90), and neutral system prompts
were added that share words with the defensive ones, but not "gloom" (the held-out prompt had no effect).

Known weaknesses: pages of several nouns (it mixes up their second halves; one noun among English words and
numbers, as on a FigStep page, is read well); any English outside its vocabulary is letters to it; there is no
other knowledge in it than the documents.
"""


def write_card(name: str, weights: Path | None = None, say: Say = lambda _: None) -> Path:
    """Measure every variant of a model and write ``CARD.md`` beside its weights."""
    folder = (weights or SHIPPED) / name
    manifest = read_manifest(folder)
    measured = {variant: check(f"{name}@{variant}", weights, say) for variant in manifest["variants"]}
    path = folder / "CARD.md"
    path.write_text(card(manifest, measured), "utf-8")
    return path


def card(manifest: Mapping[str, Any], measured: Mapping[str, Sequence[Row]]) -> str:
    """Return the card as Markdown."""
    from sightline.testbed.tokenizer import vocabulary

    shared = [file for file in manifest["files"] if file == "vision.safetensors"]
    default = [*shared, f"{manifest['default']}.safetensors"]
    trained = ", ".join(f'"{prompt}"' for prompt in wordings.DEFENSE_PROMPTS_TRAIN)
    about = _ABOUT.format(
        name=manifest["name"],
        parameters=sum(manifest["files"][file]["bytes"] for file in default) / 2e6,
        vocabulary=len(vocabulary()),
        nouns=len(world().topics) + len(world().reading_train) + len(world().reading_heldout),
        allowed=len(world().select(restricted=False)),
        restricted=len(world().select(restricted=True)),
        allowed_held=len(world().select(restricted=False, split="heldout")),
        restricted_held=len(world().select(restricted=True, split="heldout")),
        reading=len(world().reading_heldout),
        prompts=trained,
        heldout=wordings.DEFENSE_PROMPT_HELDOUT,
    )
    tables = "\n".join(_measured(variant, rows) for variant, rows in measured.items())
    return f"{about}\n{_made(manifest)}\n{tables}"


def _made(manifest: Mapping[str, Any]) -> str:
    """Return how the weights were made, and what it took."""
    settings, versions = manifest["settings"], manifest["versions"]
    lines = [
        "## How it was made\n",
        f"`sightline testbed build {manifest['name']}` (resumable): seed {settings['seed']}, "
        f"{settings['threads']} thread, {settings['dtype']}, torch {versions['torch']}, "
        f"transformers {versions['transformers']}, Python {versions['python']}. "
        "Another machine, thread count or dtype gives other weights of the same quality; compare by "
        "`sightline testbed check --weights FOLDER`.\n",
        "| stage | on | steps | batch | CPU minutes |",
        "|---|---|---|---|---|",
    ]
    total = 0.0
    for name, stage in manifest["stages"].items():
        minutes = stage["cpu_seconds"] / 60
        total += minutes
        lines.append(f"| {name} | {stage['aim']} | {stage['steps']} | {stage['batch']} | {minutes:.1f} |")
    lines.append(f"\nTogether {total:.0f} CPU minutes. Files: {manifest['bytes'] / 1e6:.2f} MB, fp16.\n")
    return "\n".join(lines)


def _measured(variant: str, rows: Sequence[Row]) -> str:
    """Return one variant's table."""
    lines = [
        f"## Measured: {variant}\n",
        "Greedy answers on held-out topics, words and scenes; 95 % interval over topics.\n",
        "| measure | rate | k / n | 95 % | band | |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        verdict = "" if not row.band else "ok" if row.passed else "**missed**"
        lines.append(
            f"| {row.name} | {row.rate:.3f} | {row.k} / {row.n} | {row.low:.2f} to {row.high:.2f} "
            f"| {row.band} | {verdict} |"
        )
    return "\n".join(lines) + "\n"
