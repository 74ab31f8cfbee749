"""Energy from a made-up powercap folder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch

from georelay.train import energy
from georelay.train.energy import Counter, counters_of, rapl_counters, watched

RANGE = 262_143_328_850  # microjoules, as of many processors


def zone(folder: Path, place: str, name: str, used: int) -> Path:
    path = folder / f"intel-rapl:{place}"
    path.mkdir()
    (path / "name").write_text(f"{name}\n")
    (path / "energy_uj").write_text(f"{used}\n")
    (path / "max_energy_range_uj").write_text(f"{RANGE}\n")
    return path / "energy_uj"


@pytest.fixture
def powercap(tmp_path: Path) -> Path:
    (tmp_path / "intel-rapl").mkdir()  # the driver itself, which counts nothing
    zone(tmp_path, "0", "package-0", 5_000_000)
    zone(tmp_path, "0:0", "core", 1)
    zone(tmp_path, "0:1", "dram", 2_000_000)
    zone(tmp_path, "1", "psys", 9_000_000)
    return tmp_path


def write(powercap: Path, place: str, used: int) -> None:
    (powercap / f"intel-rapl:{place}" / "energy_uj").write_text(str(used))


def test_packages_and_memory_are_added_and_their_parts_are_not(powercap: Path) -> None:
    counters = counters_of(torch.device("cpu"), powercap)
    with watched(counters):
        write(powercap, "0", 12_500_000)
        write(powercap, "0:0", 7_000_000)
        write(powercap, "0:1", 3_000_000)
        write(powercap, "1", 99_000_000)
    assert [counter.joules for counter in counters] == pytest.approx([7.5, 1.0])


def test_a_counter_that_began_again_is_followed(powercap: Path) -> None:
    counters = rapl_counters(powercap)
    write(powercap, "0", RANGE - 1_000_000)
    counters[0].look()
    write(powercap, "0", 3_000_000)
    counters[0].look()
    assert counters[0].joules == pytest.approx((RANGE - 1_000_000 - 5_000_000) / 1e6 + 4.0)


def test_counters_are_looked_at_while_work_goes_on() -> None:
    """Or a counter that begins again twice would lose a round."""
    looks = iter(range(10_000))
    counter = Counter(lambda: next(looks) % 4, wraps=4)
    with watched([counter], interval=1e-4):
        while counter.joules < 20:
            time.sleep(0)
    assert counter.joules >= 20


def test_nothing_is_guessed(powercap: Path, tmp_path: Path) -> None:
    assert rapl_counters(tmp_path / "no-such-folder") == []
    (powercap / "intel-rapl:0:1" / "energy_uj").unlink()  # tests may run as root, whom no mode keeps from reading
    assert rapl_counters(powercap) == []
    with watched([]):
        pass


class Library:
    """NVIDIA's library, as far as it is called, with one GPU that has used some millijoules."""

    nvmlInit_v2 = staticmethod(lambda: 0)
    used = 4_000

    @staticmethod
    def nvmlDeviceGetHandleByUUID(uuid: bytes, handle: object) -> int:
        return 0 if uuid == b"GPU-there" else 6

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: object, answer: Any) -> int:
        answer._obj.value = self.used
        return 0


def test_a_gpu_s_millijoules(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library()
    monkeypatch.setattr(energy.ctypes, "CDLL", lambda name: library)
    counter = energy._gpu_counter("GPU-there")
    assert counter is not None and energy._gpu_counter("GPU-gone") is None
    library.used = 9_500
    counter.look()
    assert counter.joules == pytest.approx(5.5)
