"""The processor a plan asks for, with threads and kernels that give the same bits each time."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Mapping
from typing import Any

import torch

from georelay.errors import UserError

# mallopt's names for: memory above this size comes from the system; free memory above this goes back to it.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEPT_BYTES = 2**31 - 1  # the largest that mallopt takes


def keep_memory() -> None:
    """Let the C library keep freed memory: a step's activations are then the last step's pages, not new ones.

    Measured: system time of a 200-step run 2.0 s -> 0.45 s, a step 7 % shorter (n = 2). Does nothing but on glibc.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
        libc.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)


def prepare_torch(train: Mapping[str, Any]) -> torch.device:
    """Set threads and deterministic kernels as `settings.train` says; the device to work on."""
    wanted = train["device"]
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UserError("the plan asks for cuda, and there is none here", "train.device", "set it to auto or cpu")
    keep_memory()
    cuda = wanted != "cpu" and torch.cuda.is_available()
    torch.set_num_threads(train["threads"])  # the count is part of the result: other sums, other bits
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # Not torch.use_deterministic_algorithms, which imports the compiler. Some CUDA kernels have no deterministic form.
    torch.set_deterministic_debug_mode("warn" if cuda else "error")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if cuda else torch.device("cpu")


def memory_format(train: Mapping[str, Any]) -> torch.memory_format:
    """How images and convolution weights lie in memory."""
    return torch.channels_last if train["channels_last"] else torch.contiguous_format
