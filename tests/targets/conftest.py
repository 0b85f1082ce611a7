"""Tests of local models are skipped where the extra `local` is not installed."""

from importlib.util import find_spec

NEED_TORCH = [
    "test_limits.py",
    "test_inside.py",
    "test_vlm.py",
    "test_damaged_weights.py",
    "test_batcher.py",
    "test_linear.py",
    "test_second_pictures.py",
    "test_thoughts.py",
    "test_text_models.py",
]
collect_ignore = NEED_TORCH if find_spec("torch") is None or find_spec("transformers") is None else []
