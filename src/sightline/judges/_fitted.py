"""What `sightline judge-weights RUN --out FILE` wrote: judges as their votes on a run show them.

One JSON object: `format`, the estimated share `prevalence` of unsafe replies, `rows`, `converged`, and
`judges`, each with `spec`, `identity`, `sensitivity`, `specificity`, `votes` and whether it is `usable`; and
`digest`, of all that, so that a figure that was changed by hand is seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson

from sightline import registry
from sightline.digests import digest, file_stamp, sha256_file
from sightline.documents import read_text
from sightline.errors import UsageError, require

FORMAT = "sightline jury weights 2"
FORMER = "sightline jury weights 1"
"""Of files without a digest."""
AGAIN = "run `sightline judge-weights RUN --out FILE` again, on a run with these judges"
MOST_BYTES = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """Figures of judges by their settings as a study writes them; `identities` where the run knew them."""

    prevalence: float
    pairs: Mapping[str, tuple[float, float]]
    identities: Mapping[str, str]
    useless: frozenset[str]
    sha256: str

    def of(self, members: Sequence[str], inner: Sequence[Any]) -> tuple[tuple[float, float], ...]:
        """Sensitivity and specificity of each member.

        Raises:
            UsageError: for members other than the judges that were fitted, or a judge that has changed since.
        """
        worse = [each for each in members if each in self.useless]
        if worse:
            raise UsageError(f"jury: {worse[0]} was found no better than a coin: leave it out of `members`")
        if set(members) != set(self.pairs):
            raise UsageError(
                f"jury: its members are not the judges that were fitted: write members: {list(self.pairs)}, "
                f"or {AGAIN}"
            )
        for name, each in zip(members, inner, strict=True):
            known = self.identities.get(name, "")
            if known and known != registry.identity(each):
                raise UsageError(
                    f"jury: {name} has changed since it was fitted (its code, prompts or files): {AGAIN}"
                )
        return tuple(self.pairs[each] for each in members)


def sealed(figures: Mapping[str, Any]) -> bytes:
    """The bytes of a file that holds these figures."""
    content = {"format": FORMAT, **figures}
    return orjson.dumps({**content, "digest": digest(content)}, option=orjson.OPT_INDENT_2) + b"\n"


def fitted(name: str) -> Fitted:
    """The figures in a file.

    Raises:
        UsageError: if it is not there, was not written by `judge-weights`, was changed since, or holds an
            estimate without rest.
    """
    path = Path(name).expanduser()
    if not path.is_file():
        raise UsageError(
            f"jury, setting fitted: {path} is not there; `sightline judge-weights RUN --out FILE` writes it"
        )
    return _fitted(path, file_stamp(path))


@lru_cache(maxsize=8)
def _fitted(path: Path, stamp: object) -> Fitted:
    del stamp
    try:
        found: Any = orjson.loads(read_text(path, MOST_BYTES))
        if found["format"] == FORMER:
            raise UsageError(f"{path}: of an earlier version, without a digest; {AGAIN}")
        if found["format"] != FORMAT:
            raise ValueError(found["format"])
        if digest({name: value for name, value in found.items() if name != "digest"}) != found["digest"]:
            raise UsageError(f"{path}: its content is not what was written; {AGAIN}")
        judges = [
            (canonical(str(each["spec"])), float(each["sensitivity"]), float(each["specificity"]), each)
            for each in found["judges"]
        ]
        prevalence, at_rest = float(found["prevalence"]), found["converged"] is True
    except (AttributeError, KeyError, TypeError, ValueError):
        raise UsageError(f"{path}: not written by `sightline judge-weights RUN --out FILE`") from None
    if not at_rest:
        raise UsageError(f"{path}: the estimation did not come to rest; {AGAIN} and more rows")
    require(0 < prevalence < 1, "prevalence", prevalence, "between 0 and 1")
    for spec, se, sp, _ in judges:
        require(0 < se < 1 and 0 < sp < 1, f"Se and Sp of {spec}", (se, sp), "between 0 and 1")
    useless = frozenset(spec for spec, se, sp, _ in judges if se + sp <= 1)
    return Fitted(
        prevalence=prevalence,
        pairs={spec: (se, sp) for spec, se, sp, _ in judges if spec not in useless},
        identities={spec: str(each.get("identity") or "") for spec, *_, each in judges},
        useless=useless,
        sha256=sha256_file(path),
    )


def canonical(spec: str) -> str:
    """A judge's settings as registries print them; one that is not installed stays as it is."""
    try:
        return registry.spec(registry.inner_method("judge", spec))
    except UsageError:
        return spec
