"""llms.txt: the site's pages for language models, a line each; made from the pages themselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

MOST = 240
"""Characters of a page's line, at most."""


def first_sentences(page: nodes.document) -> str:
    """The first paragraph of prose, cut after a word."""
    prose = (each for each in page.findall(nodes.paragraph) if isinstance(each.parent, nodes.section))
    found = next((each.astext() for each in prose), "")
    text = " ".join(found.split())
    return text if len(text) <= MOST else text[:MOST].rpartition(" ")[0] + " ..."


def order(env: BuildEnvironment, page: str) -> Iterator[str]:
    """A page and those of its tables of contents, in their order."""
    yield page
    for each in env.toctree_includes.get(page, ()):
        yield from order(env, each)


def written(env: BuildEnvironment, root: str) -> str:
    """The whole file."""
    pages = {page: env.get_doctree(page) for page in order(env, root)}
    lines = [f"# {env.titles[root].astext()}", "", f"> {first_sentences(pages[root])}", "", "## Pages", ""]
    for page, tree in pages.items():
        if page != root:
            lines.append(f"- [{env.titles[page].astext()}]({page}.html): {first_sentences(tree)}")
    return "\n".join(lines) + "\n"


def write_llms_text(app: Sphinx, failed: Exception | None) -> None:
    """Write `llms.txt` into the site, unless the build failed."""
    if failed is None and app.builder.format == "html":
        text = written(app.env, app.config.root_doc)
        (Path(app.outdir) / "llms.txt").write_text(text, encoding="utf-8")
