"""A Ray cluster to work on: one that runs, or one of this machine alone that ends with the work.

Ray's usage statistics and dashboard stay off, and a local cluster listens on 127.0.0.1 only.
"""

from __future__ import annotations

import importlib
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sightline.errors import AbsentExtraError, UsageError
from sightline.scale.shards import Resources

#: bytes for what workers exchange; ours exchange counts
STORE_BYTES = 80 * 2**20
#: seconds that a cluster has to answer
ANSWER_TIMEOUT = 20.0
PRIVATE = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray's only switch for a node that is to be known, and to listen, as 127.0.0.1
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}
HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
"""How a client of HTTP/2 begins: the preface, and settings without any."""
SETTINGS = b"\4"
"""Kind of the frame that a server of HTTP/2 begins with."""
QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster that this process has joined.

    Attributes:
        ray: the package.
        workers: how many work at a time.
        needs: what each of them takes, as options of an actor.
    """

    ray: Any
    workers: int
    needs: dict[str, Any]


@contextmanager
def connected(resources: Resources) -> Iterator[Cluster]:
    """A cluster for as long as the block runs; one that this process has joined before is left as it is.

    Raises:
        AbsentExtraError: if Ray is not installed.
        UsageError: if the cluster does not answer, or has no worker to give.
    """
    with _environment(PRIVATE if resources.local else {"RAY_USAGE_STATS_ENABLED": "0"}):
        try:
            ray: Any = importlib.import_module("ray")
        except ImportError:
            raise AbsentExtraError("`--ray`", "ray", "ray") from None
        ours = not ray.is_initialized()
        try:
            if ours:
                _join(ray, resources)
            yield _sized(ray, resources)
        finally:
            if ours:
                ray.shutdown()


@contextmanager
def _environment(wanted: dict[str, str]) -> Iterator[None]:
    """Variables for this process and those that it starts, as they were before afterwards."""
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _join(ray: Any, resources: Resources) -> None:
    try:
        if resources.local:
            ray.init(
                address="local",
                num_cpus=resources.workers,
                include_dashboard=False,
                object_store_memory=STORE_BYTES,
                **QUIET,
            )
        else:
            _check_server(str(resources.ray))
            ray.init(address=resources.ray, **QUIET)
    except (OSError, OverflowError, RuntimeError, ValueError) as failed:
        cure = "start one with `ray start --head`, or use --ray local"
        why = str(failed).strip().partition("\n")[0]
        raise UsageError(f"--ray {resources.ray}: no Ray cluster to work on ({why}); {cure}") from None


def _check_server(address: str) -> None:
    """Make sure that a gRPC server, as Ray's is, listens there: Ray itself asks again without end.

    Raises:
        OSError: if nobody does, or something else.
    """
    host, _, port = address.rpartition(":")
    if not host:
        return
    with socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_TIMEOUT) as line:
        if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
            return  # it speaks only after a handshake
        try:
            line.sendall(HTTP2)
            heard = line.recv(9)
        except TimeoutError:
            heard = b""
    if heard[3:4] != SETTINGS:
        raise OSError("what listens there is no Ray")


def _sized(ray: Any, resources: Resources) -> Cluster:
    """One worker per GPU, or per CPU where there is none or models are to run on CPUs."""
    have = ray.cluster_resources()
    gpus, cpus = int(have.get("GPU", 0)), int(have.get("CPU", 0))
    device = os.environ.get("SIGHTLINE_DEVICE") or "cuda"
    # processes of a local cluster have this environment anyway
    ours = ("SIGHTLINE_", "HF_HUB_")
    sent = {} if resources.local else {k: v for k, v in os.environ.items() if k.startswith(ours)}
    if gpus and device.startswith("cuda"):
        # Ray shows each worker its own GPU only, as the first
        sent |= {"SIGHTLINE_DEVICE": "cuda"} if device != "cuda" else {}
        needs = {"num_gpus": 1, "num_cpus": 0, "runtime_env": {"env_vars": sent}}
        return Cluster(ray, min(gpus, resources.workers or gpus), needs)
    if not cpus:
        raise UsageError(f"--ray {resources.ray}: the cluster has neither GPUs nor CPUs to work on")
    return Cluster(
        ray, min(cpus, resources.workers or cpus), {"num_cpus": 1, "runtime_env": {"env_vars": sent}}
    )
