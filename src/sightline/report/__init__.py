"""One self-contained HTML report from a run folder."""

from sightline.report.page import write

__all__ = ["write"]
