"""The most memory of one training, though a process may train several seeds one after another."""

from __future__ import annotations

import ctypes
import gc
import resource
import sys
from contextlib import suppress
from pathlib import Path

import torch

# Written to, Linux counts this process's peak anew (proc(5)). Other systems, and those that refuse it, keep the old one.
PEAK = Path("/proc/self/clear_refs")
RESET = "5"


def forget_peak(device: torch.device) -> None:
    """From now on a new peak is counted, from what is in use at this moment."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    _give_back()
    with suppress(OSError):
        PEAK.write_text(RESET)


def peak_mb(device: torch.device) -> float:
    """The most memory since the peak was forgotten: of tensors on a GPU, else the resident set of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def _give_back() -> None:
    """Return free memory to the system: malloc has been told to keep it (`models.device`), which would count as in use."""
    gc.collect()
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)
