"""Skipped where the extra `serve` is not installed."""

from importlib.util import find_spec

collect_ignore = ["test_service.py"] if find_spec("starlette") is None or find_spec("uvicorn") is None else []
