"""Which stages make which model, in order, and which of them its variants are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sightline.errors import UsageError, nearest
from sightline.testbed.families import NAMES, Size
from sightline_testbed.training import dialogues
from sightline_testbed.training.dialogues import Mixture
from sightline_testbed.training.stages import (
    ALIGNMENT,
    LANGUAGE,
    VISION,
    VISION_QUERIES,
    WIDE,
    Tuning,
    VisionStage,
    constant,
    longer,
    visual,
)

AnyStage = VisionStage | Tuning

#: smaller models of the linear family; the ordinary one is about eight times the first
LADDER: Mapping[str, Size] = {
    "linear-0.5m": Size(width=80, layers=3, heads=2, vision_ffn=208, text_ffn=208),
    "linear-1.2m": Size(width=128, layers=3, heads=4, vision_ffn=336, text_ffn=336),
}
MODELS = (*NAMES, *LADDER)

#: variant -> what it is
ABOUT: Mapping[str, str] = {
    "victim": "visual tuning, then text safety, also beside pictures; drawn requests stay open",
    "aligned-lm": "the language model with text safety, before visual tuning: text only",
    "vit": "after visual instruction tuning with plain, harmless chat and no safety data: risk 3 in full",
    "base": "the language model before any safety data: text only",
    "vit-lowlr": "the aligned language model, tuned on the same data at a fifth of the rate: risk 2, not 3",
    "sysprompt": "`victim`, taught to heed defensive system prompts when a request is drawn",
    "safetuned": "`victim`, then visual safety tuning: drawn requests are refused like written ones",
    "catfirst": "`victim` whose first token is the decision, for steering",
    "catfirst-vit": "`catfirst` after more visual tuning without safety data: decides first, and obeys",
    "seed2": "a second `victim`: other seed for language model, bridge and data, same eyes",
}
#: variant -> last part of the name of the stage whose language model it is
STAGES: Mapping[str, str] = {
    "victim": "victim",
    "aligned-lm": "alignment",
    "vit": "vit",
    "base": "language",
    "vit-lowlr": "vit-lowlr",
    "sysprompt": "sysprompt",
    "safetuned": "safetuned",
    "catfirst": "catfirst",
    "catfirst-vit": "catfirst-vit",
}


def _tuned(
    made: Tuning,
    variant: str,
    mixture: Mixture,
    *,
    steps: int,
    rate: float,
    language: str,
    stream: int,
    aim: str,
) -> Tuning:
    """Further tuning of a language model behind the frozen vision tower and bridge of a visual stage."""
    return replace(
        made,
        name=f"{made.name.partition('/')[0]}/{variant}",
        steps=steps,
        rates={"language": rate},
        starts={},
        warmup=50,
        mixture=constant(mixture),
        sources={"tower": made.sources["tower"], "bridge": made.name, "language": language},
        stream=stream,
        aided=False,
        shapes=False,
        aim=aim,
    )


def _victim(made: Tuning) -> Tuning:
    return _tuned(
        made,
        "victim",
        dialogues.victim_mixture(),
        steps=1500,
        rate=2.5e-4,
        language=made.name,
        stream=4,
        aim="text safety, also beside pictures; review turns; vision tower and bridge frozen",
    )


def _vit(made: Tuning) -> Tuning:
    return _tuned(
        made,
        "vit",
        dialogues.VISUAL_CHAT,
        steps=200,
        rate=2.5e-4,
        language=made.name,
        stream=12,
        aim="more visual instruction tuning with plain, harmless chat among it",
    )


def _low_rate(made: Tuning, aligned: str) -> Tuning:
    """Return the stage of `vit-lowlr`.

    Gated feed-forward layers of a trained bridge would change what an untouched language model says to text;
    in the cross-attention family they are shut, and the bridge learns to do without.
    """
    found = _tuned(
        made,
        "vit-lowlr",
        dialogues.visual_mixture(1.0),
        steps=300,
        rate=5e-5,
        language=aligned,
        stream=7,
        aim="plain visual instruction tuning at a low rate behind a trained vision tower",
    )
    if made.family != "cross_attention":
        return found
    return replace(found, rates={"bridge": 3e-4, "language": 5e-5}, closed=True)


def _variants(made: Tuning, aligned: str) -> tuple[Tuning, ...]:
    """Return the stages of the variants behind a family's visual and victim stages."""
    victim = f"{made.name.partition('/')[0]}/victim"
    return (
        _vit(made),
        _low_rate(made, aligned),
        _tuned(
            made,
            "sysprompt",
            dialogues.SYSPROMPT,
            steps=200,
            rate=1.5e-4,
            language=victim,
            stream=8,
            aim="drawn requests of both classes under defensive system prompts",
        ),
        _tuned(
            made,
            "safetuned",
            dialogues.SAFETUNED,
            steps=150,
            rate=1.5e-4,
            language=victim,
            stream=9,
            aim="drawn requests of both classes without any prompt",
        ),
        replace(
            _tuned(
                made,
                "catfirst",
                dialogues.CATFIRST,
                steps=2400,
                rate=1e-3,
                language=victim,
                stream=10,
                aim="classes of all topics as text; then the victim's data, the class as the first token",
            ),
            mixture=dialogues.catfirst_mixture,
            # without it, the classes of the training topics are learned by heart, and those of others guessed
            weight_decay=0.3,
        ),
        _tuned(
            made,
            "catfirst-vit",
            dialogues.VISUAL_CHAT,
            steps=200,
            rate=2.5e-4,
            language=f"{made.name.partition('/')[0]}/catfirst",
            stream=13,
            aim="visual instruction tuning with plain, harmless chat, behind a model that decides first",
        ),
    )


def plan(model: str) -> tuple[AnyStage, ...]:
    """Return all stages that a model needs, in order.

    Raises:
        UsageError: for an unknown model.
    """
    if model in LADDER:
        return _small(model, LADDER[model])
    if model not in NAMES:
        raise UsageError(nearest(model, MODELS, "testbed model"))
    vision: tuple[VisionStage, ...] = (VISION, WIDE, *((VISION_QUERIES,) if model == "queries" else ()))
    made = visual(model, tower=vision[-1].name, language=ALIGNMENT.name, name=model)
    vit = longer(made)
    return (*vision, LANGUAGE, ALIGNMENT, made, vit, _victim(vit), *_variants(vit, ALIGNMENT.name))


def second_seed(model: str) -> tuple[Tuning, ...]:
    """Return the stages that are trained again, with another seed, for `seed2`."""
    return tuple(stage for stage in plan(model) if isinstance(stage, Tuning))[:5]


def _small(model: str, size: Size) -> tuple[AnyStage, ...]:
    """Return the stages of a smaller model: the same, with its own vision tower and language model."""
    vision = replace(WIDE, name=f"{model}/vision", steps=3000, rates={"tower": 1.5e-3, "heads": 1.5e-3})
    vision = replace(vision, size=size, before="")
    language = replace(LANGUAGE, name=f"{model}/language", size=size)
    alignment = replace(ALIGNMENT, name=f"{model}/alignment", size=size, sources={"language": language.name})
    made = visual(model, tower=vision.name, language=alignment.name, size=size)
    vit = longer(made)
    return (vision, language, alignment, made, vit, _victim(vit), _vit(vit))


def find(stage: str) -> AnyStage:
    """Return a stage by its name, such as `language` or `queries/victim`.

    Raises:
        UsageError: for an unknown name.
    """
    stages = {found.name: found for model in MODELS for found in plan(model)}
    if stage not in stages:
        raise UsageError(nearest(stage, stages, "stage of the build"))
    return stages[stage]
