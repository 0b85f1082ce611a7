"""One local cluster of two workers for all tests of this folder: it takes seconds to start."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sightline.scale import Resources

FIXTURES = Path(__file__).parents[1] / "fixtures"
ENTRY_POINTS = """
[sightline.attacks]
slow_alone = slow_toys
slow_apart = slow_toys
slow_together = slow_toys
[sightline.benchmarks]
toy_questions = toys
[sightline.judges]
toy_judge = toys
"""


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of two workers in which the fixtures are installed; `map_shards` here takes them up."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("needs Ray: pip install 'sightline[ray]'")
    from sightline.scale.cluster import connected

    installed = tmp_path_factory.mktemp("installed")
    package = installed / "toys-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: toys\nVersion: 1\n")
    (package / "entry_points.txt").write_text(ENTRY_POINTS)
    patch = pytest.MonkeyPatch()
    patch.setenv("PYTHONPATH", f"{installed}{os.pathsep}{FIXTURES}")
    with connected(Resources(ray="local:2")) as joined:
        yield joined.ray.get_runtime_context().gcs_address
    patch.undo()
