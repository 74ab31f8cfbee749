"""Energy as the machine's own counters tell it: processor packages and memory through RAPL, a GPU through NVML.

A counter is of the whole device, whatever else runs on it, so what it gives is an estimate, and from above. Where none may be
read (RAPL is root's alone on many systems) there is none, and nothing is guessed.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import torch

POWERCAP = Path("/sys/class/powercap")
COUNTED = ("package", "dram")  # other zones are parts of a package, or hold them all (psys)
MICRO, MILLI = 1e-6, 1e-3
INTERVAL = 60.0  # seconds between looks: a counter that wraps at 262 kJ does so in 11 minutes at 400 W


class Counter:
    """Joules since it was made, of a counter that begins again at 0 after `wraps`."""

    def __init__(self, read: Callable[[], float], wraps: float = 0.0) -> None:
        self.read, self.wraps = read, wraps
        self.last, self.joules = read(), 0.0

    def look(self) -> None:
        """Add what was used since the last look."""
        now = self.read()
        self.joules += now - self.last + (self.wraps if now < self.last else 0.0)
        self.last = now


@contextmanager
def watched(counters: Sequence[Counter], interval: float = INTERVAL) -> Iterator[None]:
    """Look at counters while the block runs, often enough to miss no wrap, and at its end."""
    stop = Event()

    def watch() -> None:
        while not stop.wait(interval):
            _look(counters)

    thread = Thread(target=watch, daemon=True)
    if counters:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        if counters:
            thread.join()
        _look(counters)


def _look(counters: Sequence[Counter]) -> None:
    for counter in counters:
        counter.look()


def counters_of(device: torch.device, powercap: Path = POWERCAP) -> list[Counter]:
    """The counters of what a training on a device uses; none where the device itself has none."""
    processor = rapl_counters(powercap)
    if device.type == "cpu":
        return processor
    gpu = _gpu_counter(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
    return [gpu, *processor] if gpu else []


def rapl_counters(powercap: Path) -> list[Counter]:
    """Counters of all processor packages and their memory; none where one of them may not be read."""
    try:
        zones = [zone for zone in sorted(powercap.glob("intel-rapl:*")) if (zone / "name").read_text().startswith(COUNTED)]
        return [Counter(_reader(zone / "energy_uj"), _reader(zone / "max_energy_range_uj")()) for zone in zones]
    except (OSError, ValueError):
        return []


def _reader(path: Path) -> Callable[[], float]:
    return lambda: int(path.read_text()) * MICRO


def _gpu_counter(uuid: str) -> Counter | None:
    """NVIDIA's library knows what a GPU used since its driver was loaded; none where it, or the GPU, does not tell."""
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return None
    handle, used = ctypes.c_void_p(), ctypes.c_ulonglong()
    if nvml.nvmlInit_v2() or nvml.nvmlDeviceGetHandleByUUID(uuid.encode(), ctypes.byref(handle)):
        return None
    if nvml.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(used)):
        return None

    def read() -> float:
        nvml.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(used))
        return used.value * MILLI

    return Counter(read)
