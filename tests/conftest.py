"""Shared by all tests: the fixtures folder is importable, caches and run folders go to a temporary place."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent / "fixtures"))

import rotation

# machines are shared: how fast an example is drawn or run says nothing of the code
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")

if find_spec("torch") is not None:  # before anything imports the engine
    import shape_checks

    shape_checks.install()
    if "PYTEST_XDIST_WORKER_COUNT" in os.environ:  # processes side by side share the cores, and wait for none
        import torch

        torch.set_num_threads(max(1, (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])))


def pytest_addoption(parser: pytest.Parser) -> None:
    told = f"slow tests of this run: today (a part by the day), all, none, or 1 to {rotation.PARTS}"
    parser.addoption(rotation.OPTION, default="today", help=told)


def pytest_configure(config: pytest.Config) -> None:
    rotation.configure(config)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.write_line(rotation.header())


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    rotation.select(config, items)


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    patch = pytest.MonkeyPatch()
    patch.setenv("SIGHTLINE_CACHE", str(tmp_path_factory.mktemp("cache")))
    patch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Torch on one thread for a module's tests: sums in one order, and no waiting for other cores."""
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
