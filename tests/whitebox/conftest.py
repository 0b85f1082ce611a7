"""White-box tests need torch; tiny models are those of the targets' tests, oracles those of benchmarks."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "targets"))
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

collect_ignore_glob = ["test_*.py"] if find_spec("torch") is None or find_spec("transformers") is None else []
