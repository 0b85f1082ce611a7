"""Methods as Python names: the classes in `sightline.attacks` and its like, and what `help` shows of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

from sightline.errors import UsageError, nearest

if TYPE_CHECKING:
    from sightline.cards import Card, Kind


def namespace(kind: Kind) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package whose attributes are the classes of a kind of method.

    Plug-ins are among them. A class is found by its name or, without importing the others, by that of its
    method: `QiVisual` is `qi_visual`.
    """
    registry = import_module("sightline.registry")

    def found(name: str) -> Any:
        if name.startswith("_") or not name[:1].isupper():
            raise AttributeError(name)
        plain = name.lower()
        near = [each for each in registry.names(kind) if each.replace("_", "") == plain]
        for each in near or registry.names(kind):
            with suppress(UsageError):
                if registry.card(kind, each).factory.__name__ == name:
                    return registry.card(kind, each).factory
        raise AttributeError(nearest(name, listed(), f"{kind} class"))

    def listed() -> list[str]:
        classes = []
        for each in registry.names(kind):
            with suppress(UsageError):
                classes.append(registry.card(kind, each).factory.__name__)
        return sorted(classes)

    return found, listed


def described(card: Card, settings: str) -> str:
    """What `help` of a class shows: what it does, its settings, and where more is said."""
    facts = {
        "Paper": card.paper,
        "Source": card.source,
        "Presets": ", ".join(f"{card.factory.__name__}.preset({name!r})" for name in card.presets),
        "More": f"sightline show {card.name}",
    }
    told = "\n".join(f"{what}: {text}" for what, text in facts.items() if text)
    return "\n\n".join(part for part in (card.summary, settings, told) if part)
