"""Entries of a study file from methods as objects, with the labels that tables call them by."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sightline import registry

METHOD = "name"
THEN = "then"
STACK = "stack"


def entries(methods: Iterable[Any]) -> list[Any]:
    """Methods as a study file names them."""
    found: list[Any] = []
    for method in methods:
        if isinstance(method, Mapping):
            found.append({key: _value(key, value) for key, value in method.items()})
        elif isinstance(method, list | tuple):  # defenses around each other
            found.append(entries(method))
        else:
            found.append(_named(method))
    return found


def labelled(methods: Sequence[Any]) -> list[Any]:
    """Methods as a study file names them; an object's label is its method's name where no other has it."""
    found = entries(methods)
    names = [_short(each) for each in found]
    for place, (given, entry) in enumerate(zip(methods, found, strict=True)):
        made = given.get(METHOD) if isinstance(given, Mapping) else given
        text = entry.get(METHOD) if isinstance(entry, Mapping) else entry
        if isinstance(made, str) or not isinstance(text, str) or "(" not in text:
            continue
        plain = dict(entry) if isinstance(entry, Mapping) else {METHOD: text}
        if "label" not in plain and names.count(names[place]) == 1:
            found[place] = {**plain, "label": names[place]}
    return found


def _short(entry: Any) -> str:
    """What tables call an entry: its label, else its method's name; '' for defenses around each other."""
    if isinstance(entry, Mapping):
        return str(entry.get("label") or _short(entry.get(METHOD, "")))
    return entry.partition("(")[0].strip() if isinstance(entry, str) else ""


def _value(key: str, value: Any) -> Any:
    if key in (THEN, STACK):
        several = value if isinstance(value, list | tuple) else [value]
        return entries(several)
    return _named(value) if key == METHOD else plain_value(value)


def _named(method: Any) -> str:
    return method if isinstance(method, str) else registry.spec(method)


def plain_value(value: Any) -> Any:
    """A path as text; any other value as it is."""
    return os.fspath(value) if isinstance(value, os.PathLike) else value
