"""What decides a method's results, by digest: settings, version, code, files of the machine, inner methods.

A method that runs others (`contracts.Composed`) has all of theirs in its own: their identities in its
identity, their modules and data files in its parts, what they found on the machine in what it found.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from sightline.cards import Card
from sightline.contracts import Composed, ResolvesFiles
from sightline.digests import digest


def inner_of(method: Any) -> tuple[Any, ...]:
    """The methods that a method runs; empty for most."""
    return tuple(method.inner) if isinstance(method, Composed) else ()


def parts(method: Any) -> Mapping[str, str]:
    """Digests of the modules and data files that decide its results, those of inner methods included.

    Raises:
        ContractError: as `Card.parts`.
    """
    found: Mapping[str, str] = method.card.parts
    for each in inner_of(method):
        found = {**found, **parts(each)}
    return found


def code(method: Any) -> str:
    """Digest of the code of a method and of its inner ones, for keys; '' for code typed at a prompt."""
    inner = [code(each) for each in inner_of(method)]
    own: str = method.card.code
    return digest(own, *inner) if inner else own


def resolved(method: Any) -> Mapping[str, str]:
    """What a method found on this machine, such as fonts: digests by name; empty for most.

    Those of inner methods are named `NUMBER.NAME`, by their place.
    """
    found = dict(method.resolved()) if isinstance(method, ResolvesFiles) else {}
    for place, each in enumerate(inner_of(method), start=1):
        found |= {f"{place}.{name}": value for name, value in resolved(each).items()}
    return found


def identity(method: Any) -> str:
    """Digest of what decides a method's results: name, all settings, version, code and resolved files."""
    found: Card = method.card
    values = {f.name: getattr(method, f.name) for f in dataclasses.fields(method) if f.init}
    inner = [identity(each) for each in inner_of(method)]
    return digest(
        found.kind,
        found.name,
        values,
        found.version,
        code(method),
        resolved(method),
        *([inner] if inner else []),
    )
