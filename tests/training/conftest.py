"""Training needs torch; its tests share one model folder and a few rows of the testbed."""

from __future__ import annotations

from importlib.util import find_spec

NEED_TORCH = ["test_carried.py", "test_robust_loss.py", "test_training_loop.py", "test_training_work.py"]
collect_ignore = NEED_TORCH if find_spec("torch") is None or find_spec("transformers") is None else []
