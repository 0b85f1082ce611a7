"""The documentation site: `make site` builds it offline into docs/_build/site, with llms.txt beside it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from llms_text import write_llms_text
from sphinx.application import Sphinx

import sightline

project = "Sightline"
author = "Sightline developers"
version = release = sightline.__version__
copyright = author

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
suppress_warnings = ["config.cache"]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4

autodoc_mock_imports = ["torch", "transformers", "tokenizers", "safetensors", "jaxtyping", "ray"]
autodoc_typehints = "none"  # the signature of a front-door name says what its docstring does not
autodoc_member_order = "bysource"
autodoc_use_legacy_class_based = False
default_role = "code"  # docstrings write `names` as Markdown does

html_theme = "furo"
html_title = "Sightline"
html_show_sourcelink = False
html_copy_source = False


OUTSIDE = re.compile(r"\]\((\.\./[^)#]+\.md)\)")
"""A link to a Markdown file that is no page of the site: it is offered as a file."""


def link_files(_: Sphinx, __: str, source: list[str]) -> None:
    """Mark links out of the docs folder as links to files."""
    source[0] = OUTSIDE.sub(r"](path:\1)", source[0])


COLON = "\0"


def keep_colons(_: Sphinx, what: str, __: str, ___: object, ____: object, lines: list[str]) -> None:
    """Hide colons of prose, in which napoleon sees a type: in properties, and under `Returns:`."""
    for number, line in enumerate(lines):
        if what in ("attribute", "property") or (number and lines[number - 1].strip() == "Returns:"):
            lines[number] = line if line.strip() in ("Returns:", "Raises:") else line.replace(": ", COLON)
        if what in ("attribute", "property") and not line.strip():
            break


def show_colons(_: Sphinx, __: str, ___: str, ____: object, _____: object, lines: list[str]) -> None:
    """Show them again."""
    lines[:] = [line.replace(COLON, ": ") for line in lines]


def setup(app: Sphinx) -> None:
    """What is mended in pages and docstrings as they are read; llms.txt once the pages are written."""
    app.connect("source-read", link_files)
    app.connect("autodoc-process-docstring", keep_colons, priority=100)
    app.connect("autodoc-process-docstring", show_colons, priority=900)
    app.connect("build-finished", write_llms_text)
