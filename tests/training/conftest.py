"""Training needs torch; its tests share one model folder and a few rows of the testbed."""

from __future__ import annotations

from importlib.util import find_spec

_NAMES = "carried robust_loss training_loop training_work trl_backend lora losses rollouts"
NEED_TORCH = [f"test_{name}.py" for name in _NAMES.split()]
collect_ignore = NEED_TORCH if find_spec("torch") is None or find_spec("transformers") is None else []
