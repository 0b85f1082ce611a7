"""The child process of `_limits`: renders a foreign chat template, reads a foreign tokenizer; bounded.

Run as a file, so that it loads Jinja and tokenizers and nothing else. One JSON request a line comes in, one
JSON reply a line goes out: `{"text": ...}`, `{"error": ...}`, or nothing more once a bound is broken.

Templates see what transformers 5 shows them: its sandbox, filters and functions, written out here because
importing them takes twenty times as long.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from functools import cache
from typing import Any

SECONDS = 20
"""Of processor time, for one request."""
MEMORY_BYTES = 2_000_000_000
"""Of address space."""
MOST_CHARACTERS = 20_000_000
"""Of a rendered prompt."""


@cache
def _compiled(template: str) -> Any:
    import jinja2
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """`{% generation %}` marks an assistant's tokens for training; here it shows what is in it."""

        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return jinja2.nodes.CallBlock(self.call_method("_shown"), [], [], body).set_lineno(line)

        def _shown(self, caller: Callable[[], str]) -> str:
            return caller()

    class Namespace(jinja2.utils.Namespace):
        def __setitem__(self, name: str, value: Any) -> None:
            if name.startswith("_"):
                raise jinja2.exceptions.SecurityError(f"no attribute {name!r} on a namespace")
            super().__setitem__(name, value)

    def raise_exception(message: str) -> None:
        raise jinja2.exceptions.TemplateError(message)

    def tojson(
        value: Any,
        ensure_ascii: bool = False,
        indent: int | None = None,
        separators: tuple[str, str] | None = None,
        sort_keys: bool = False,
    ) -> str:
        return json.dumps(
            value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
        )

    def strftime_now(form: str) -> str:
        from datetime import datetime

        return datetime.now().strftime(form)

    found = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    found.filters["tojson"] = tojson
    found.globals.update(
        raise_exception=raise_exception,
        strftime_now=strftime_now,
        dict=lambda *pairs, **named: dict(*pairs, **named),
        namespace=Namespace,
    )
    return found.from_string(template)


def _render(request: dict[str, Any]) -> str:
    text: str = _compiled(request["template"]).render(request["variables"])
    if len(text) > MOST_CHARACTERS:
        raise MemoryError
    return text


@cache
def _tokenizer(path: str) -> Any:
    from tokenizers import Tokenizer

    return Tokenizer.from_file(path)


def _read(request: dict[str, Any]) -> str:
    for text in request["texts"]:
        _tokenizer(request["path"]).encode(text)
    return ""


def _bound(name: str, wanted: int) -> None:
    """Let the system end this process, or refuse it memory, beyond a bound; not on Windows."""
    try:
        import resource
    except ImportError:
        return
    kind = getattr(resource, name)
    most = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (wanted if most == resource.RLIM_INFINITY else min(most, wanted), most))


def main() -> None:
    """Answer requests until there are no more."""
    _bound("RLIMIT_AS", MEMORY_BYTES)
    _bound("RLIMIT_CORE", 0)
    for line in sys.stdin:
        request = json.loads(line)
        _bound("RLIMIT_CPU", int(time.process_time()) + SECONDS + 1)
        try:
            reply = {"text": _render(request) if "template" in request else _read(request)}
        except MemoryError:
            return
        except BaseException as refused:  # also tokenizers' panics, which are no Exception
            reply = {"error": f"{type(refused).__name__}: {refused}"[:500]}
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
