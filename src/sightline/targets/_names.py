"""The grammar of target strings: what stands before the first slash, and how defended ones nest."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from sightline.errors import UsageError, nearest

DEEPEST = 50
"""Of defenses around each other."""
OURS = ("vlm", "testbed", "tuned", "swapped", "replay", "scripted", "defended", "recorded")
#: what follows `tuned/`: recipe, digest of all that decided the weights, maybe a checkpoint, the base
_TUNED = re.compile(r"([A-Za-z0-9_]+)@([0-9a-f]{12})(?:/(step-[0-9]+))?:(.+)", re.DOTALL)
#: what attacks may be crafted on, though it answers nothing
ENCODER = "encoder"

#: prefixes of model strings that Inspect AI 0.3.285 knows; `inspect/` hands any other string to it
# fmt: off
INSPECT_PROVIDERS = frozenset({
    "anthropic", "azureai", "bedrock", "cloudflare", "deepseek", "fireworks", "google", "grok", "groq", "hf",
    "hf-inference-providers", "litellm-proxy", "llama-cpp-python", "meta", "mistral", "mockllm", "moonshot",
    "nnterp", "none", "ollama", "openai", "openai-api", "openai-api-completions", "openrouter", "perplexity",
    "sagemaker", "sambanova", "sglang", "together", "transformer_lens", "vllm", "vllm-completions",
})
# fmt: on
FORMS = (
    "vlm/FOLDER, testbed/NAME[@VARIANT], replay/TABLE, scripted/FILE, defended/DEFENSE:TARGET "
    "or an Inspect model string such as openai/gpt-4o"
)


#: new tokens of a reply where a study names no number: the testbed's models end theirs long before
TESTBED_TOKENS, TOKENS = 128, 512


class Prefixed(NamedTuple):
    """A target string in two: its kind and what follows the first slash."""

    kind: str
    rest: str


class Defended(NamedTuple):
    """What follows `defended/`: the defense as `registry.parse` reads it, and the inner target string."""

    defense: str
    inner: str


class Tuned(NamedTuple):
    """What follows `tuned/`: recipe, digest, checkpoint ('' for the last) and the target that was trained."""

    recipe: str
    digest: str
    checkpoint: str
    base: str

    @property
    def key(self) -> str:
        """Name of its folder."""
        return f"{self.recipe}@{self.digest}"


def split(name: str) -> Prefixed:
    """Cut a target string at its first slash.

    Raises:
        UsageError: if the part before is no known kind of target (the nearest ones are offered), or is one
            that answers nothing.
    """
    kind, slash, rest = name.strip().partition("/")
    if not slash or not rest:
        raise UsageError(f"target {name!r} is not complete: write {FORMS}")
    if kind == ENCODER:
        raise UsageError(
            f"target {name!r} answers nothing: an encoder is named as the `surrogate:` of an attack"
        )
    if kind not in OURS and kind != "inspect" and kind not in INSPECT_PROVIDERS:
        raise UsageError(f"target {name!r}: {nearest(kind, (*OURS, *INSPECT_PROVIDERS), 'kind of target')}")
    return Prefixed(kind, rest)


def split_defended(rest: str) -> Defended:
    """Cut `system_prompt(prompt='a: b'):vlm/x` at the first colon outside parentheses and quotes.

    Raises:
        UsageError: if there is no such colon, or nothing on one side of it.
    """
    if rest.count("defended/") > DEEPEST:
        raise UsageError(f"target 'defended/{rest[:40]}...': more than {DEEPEST} defenses around each other")
    depth, quote, escaped = 0, "", False
    for position, sign in enumerate(rest):
        if quote:
            if escaped:
                escaped = False
            elif sign == "\\":
                escaped = True
            elif sign == quote:
                quote = ""
        elif sign in "'\"":
            quote = sign
        elif sign in "([{":
            depth += 1
        elif sign in ")]}":
            depth -= 1
        elif sign == ":" and depth == 0:
            defense, inner = rest[:position].strip(), rest[position + 1 :].strip()
            if defense and inner:
                return Defended(defense, inner)
            break
    raise UsageError(
        f"target 'defended/{rest}': write defended/DEFENSE:TARGET, for example "
        "defended/system_prompt(prompt='generic'):testbed/linear"
    )


def split_tuned(rest: str) -> Tuned:
    """Cut `safety_sft@0123456789ab/step-20:testbed/linear`.

    Raises:
        UsageError: if it has another form.
    """
    found = _TUNED.fullmatch(rest.strip())
    if found is None:
        raise UsageError(
            f"target 'tuned/{rest}': write tuned/RECIPE@DIGEST:BASE or tuned/RECIPE@DIGEST/step-N:BASE, as "
            "`sightline train` prints it"
        )
    recipe, digest, checkpoint, base = found.groups()
    return Tuned(recipe, digest, checkpoint or "", base.strip())


def default_max_tokens(names: Iterable[str]) -> int:
    """New tokens per reply where none are named: 128 if all targets are the testbed's, else 512."""
    return TESTBED_TOKENS if all(_of_testbed(name) for name in names) else TOKENS


def _of_testbed(name: str) -> bool:
    """Whether the model that answers, behind whatever defenses, is one of the testbed's."""
    kind, _, rest = name.strip().partition("/")
    if kind not in ("defended", "tuned"):
        return kind == "testbed"
    try:
        return _of_testbed(split_tuned(rest).base if kind == "tuned" else split_defended(rest).inner)
    except UsageError:
        return False
