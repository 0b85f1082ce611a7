"""Settings of local models that do not change what a model is, and the choice of device without torch."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from sightline.errors import UsageError, require

_GPU_SIGNS = ("/dev/nvidiactl", "/proc/driver/nvidia/version", "/dev/kfd", "/dev/dxg")
DTYPES = ("float32", "bfloat16", "float16")
DEVICES = re.compile(r"cpu|mps|(cuda|xpu)(:\d+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSettings:
    """How local models run in this process.

    Attributes:
        device: 'cpu', 'cuda', 'cuda:1', 'mps'; None = a GPU if there is one.
        dtype: None = float32 on a CPU (bfloat16 allowed, float16 never: it is 300 times slower there
            and less exact), bfloat16 elsewhere.
        max_batch: most requests per forward pass.
        max_wait_ms: longest time a request waits for companions; longer if they are being prepared and
            the batch is likely to take more than ten times as much.
        cache_mb: room for preprocessed pictures, megabytes.
        checkpointing: of surrogates: keep one activation per layer and compute the others again in the
            backward pass, for models whose activations do not fit; the same gradients.
        allow_download: fetch an absent hub model instead of saying that it is absent.
    """

    device: str | None = None
    dtype: str | None = None
    max_batch: int = 32
    max_wait_ms: float = 20.0
    cache_mb: int = 1024
    checkpointing: bool = False
    allow_download: bool = False

    def __post_init__(self) -> None:
        require(1 <= self.max_batch <= 4096, "max_batch", self.max_batch, "1..4096 requests")
        require(0 <= self.max_wait_ms <= 1000, "max_wait_ms", self.max_wait_ms, "0..1000 milliseconds")
        require(self.cache_mb >= 1, "cache_mb", self.cache_mb, "at least 1 megabyte")
        if self.device is not None and not DEVICES.fullmatch(self.device):
            raise UsageError(
                f"device={self.device!r} names no device: write 'cpu', 'cuda' (the first GPU), 'cuda:1' (the "
                "second; one number: a process uses one GPU), 'xpu', 'xpu:1' or 'mps', or leave it out; for "
                "several GPUs run the study with --ray local"
            )
        if self.dtype is not None:
            require(self.dtype in DTYPES, "dtype", self.dtype, " or ".join(DTYPES))

    @classmethod
    def from_environment(cls) -> LocalSettings:
        """Settings from SIGHTLINE_DEVICE, _DTYPE, _MAX_BATCH, _CHECKPOINTING and _ALLOW_DOWNLOAD.

        Raises:
            UsageError: for a value that cannot be used.
        """
        batch = os.environ.get("SIGHTLINE_MAX_BATCH", "32")
        if not batch.isdigit():
            raise UsageError(
                f"SIGHTLINE_MAX_BATCH={batch!r}: expected a whole number of requests, such as 16"
            )
        return cls(
            device=os.environ.get("SIGHTLINE_DEVICE") or None,
            dtype=os.environ.get("SIGHTLINE_DTYPE") or None,
            max_batch=int(batch),
            checkpointing=os.environ.get("SIGHTLINE_CHECKPOINTING", "") not in ("", "0"),
            allow_download=os.environ.get("SIGHTLINE_ALLOW_DOWNLOAD", "") not in ("", "0"),
        )

    def resolved_device(self) -> str:
        """The device to use; torch is only imported where the system may have a GPU."""
        if self.device is not None:
            return self.device
        if sys.platform == "darwin" or any(Path(sign).exists() for sign in _GPU_SIGNS):
            import torch

            if torch.cuda.is_available():
                return "cuda"
            if torch.backends.mps.is_available():
                return "mps"
        return "cpu"

    def present_device(self) -> str:
        """The device to use, where a model is about to be loaded.

        Raises:
            UsageError: for a GPU that this process does not see.
        """
        device = self.resolved_device()
        check_present(device)
        return device

    def resolved_dtype(self) -> str:
        """Name of the number format to compute in.

        Raises:
            UsageError: for float16 on a CPU.
        """
        device = self.resolved_device()
        if self.dtype is None:
            return "float32" if device == "cpu" else "bfloat16"
        if self.dtype == "float16" and device == "cpu":
            raise UsageError(
                "dtype='float16' on a CPU is hundreds of times slower: use 'bfloat16' or 'float32'"
            )
        return self.dtype


def check_present(device: str) -> None:
    """Make sure that this process sees a GPU by this name; other devices are not checked.

    Raises:
        UsageError: if it does not, saying which ones there are.
    """
    if not device.startswith("cuda"):
        return
    import torch

    count = torch.cuda.device_count()
    if int(device.partition(":")[2] or 0) >= count:
        there = " and ".join(f"'cuda:{number}'" for number in range(count)) or "no GPU"
        raise UsageError(
            f"device={device!r}: this process sees {there} (with CUDA_VISIBLE_DEVICES="
            f"{os.environ.get('CUDA_VISIBLE_DEVICES')!r}); write another one, or 'cpu'"
        )
