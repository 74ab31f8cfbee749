"""Arrays recorded from public implementations, and one comparison for every module: outputs, loss, all gradients."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

DATA = Path(__file__).parent / "data"
ATOL = {torch.float64: 1e-9, torch.float32: 1e-4}
LOOSE = {torch.float64: 1e-9, torch.float32: 1e-3}  # of gradients that are summed over a whole map


class Recording:
    """One file of arrays; those of levels end in their number."""

    def __init__(self, name: str) -> None:
        self.arrays: dict[str, Any] = dict(np.load(DATA / f"{name}.npz"))

    def __getitem__(self, name: str) -> Tensor:
        return torch.from_numpy(np.asarray(self.arrays[name]))

    def plain(self, name: str) -> Any:
        """A setting as Python has it: a number, a word, a list."""
        return self.arrays[name].tolist()

    def levels(self, prefix: str) -> list[Tensor]:
        """The arrays `<prefix>_0`, `<prefix>_1`, ..."""
        count = sum(key.removeprefix(f"{prefix}_").isdigit() for key in self.arrays)
        return [self[f"{prefix}_{level}"] for level in range(count)]

    def widths(self, prefix: str = "in") -> list[int]:
        """Channels of each level."""
        return [map_.shape[1] for map_ in self.levels(prefix)]

    def named(self, prefix: str, names: Mapping[str, str] = {}) -> dict[str, Tensor]:
        """The arrays under a prefix, by our names."""
        return {renamed(key.removeprefix(prefix), names): self[key] for key in self.arrays if key.startswith(prefix)}

    def load(self, network: nn.Module, names: Mapping[str, str] = {}, prefix: str = "param.") -> nn.Module:
        """All recorded weights and statistics into a network of their precision, in eval mode; none may be left over."""
        state = self.named(prefix, names) | self.named("buffer.", names)
        left = network.to(next(iter(state.values())).dtype).load_state_dict(state, strict=False)
        assert not left.unexpected_keys
        assert all(key.endswith("num_batches_tracked") for key in left.missing_keys), left.missing_keys
        return network.eval()


def renamed(key: str, names: Mapping[str, str]) -> str:
    for theirs, ours in names.items():
        key = key.replace(theirs, ours)
    return key


def assert_same(found: Tensor, recorded: Tensor, atol: Mapping[torch.dtype, float] = ATOL) -> None:
    """Equal to the tolerance of the recorded precision."""
    assert found.dtype == recorded.dtype
    np.testing.assert_allclose(found.detach().numpy(), recorded.numpy(), atol=atol[recorded.dtype], rtol=0)


def assert_close_to(found: Tensor | None, recorded: Tensor, share: float = 1e-5) -> None:
    """Equal to a share of the largest recorded value, and of the recorded precision."""
    assert found is not None and found.dtype == recorded.dtype
    atol = share * float(recorded.abs().max())
    np.testing.assert_allclose(found.detach().numpy(), recorded.numpy(), atol=atol, rtol=0)


def assert_loss(found: Tensor, recorded: Tensor) -> None:
    """Single precision has no more than seven figures, however large the loss."""
    rtol = 1e-5 if recorded.dtype == torch.float32 and abs(recorded) > 100 else 0
    np.testing.assert_allclose(found.item(), recorded.item(), atol=ATOL[recorded.dtype], rtol=rtol)


def assert_gradients(recording: Recording, maps: Sequence[Tensor], prefix: str, network: nn.Module | None = None) -> None:
    """Those of the inputs, and of the weights where they were recorded."""
    for map_, recorded in zip(maps, recording.levels(prefix), strict=True):
        assert_same(torch.zeros_like(map_) if map_.grad is None else map_.grad, recorded)
    own = dict(network.named_parameters()) if network else {}
    for name, recorded in recording.named("grad.").items():
        assert_same(own[name].grad, recorded, LOOSE)


def assert_recorded(recording: Recording, network: nn.Module, call: Callable[[list[Tensor]], Any] | None = None) -> None:
    """A loaded network answers `in_*` with `out_*`; gradients are those of the sum of outputs times `upstream_*`."""
    maps = [map_.requires_grad_() for map_ in recording.levels("in")]
    answer = (call or network)(maps)
    outputs = [answer] if isinstance(answer, Tensor) else answer
    for output, recorded in zip(outputs, recording.levels("out"), strict=True):
        assert_same(output, recorded)
    pairs = zip(outputs, recording.levels("upstream"), strict=True)
    loss = torch.stack([(output * upstream).sum() for output, upstream in pairs]).sum()
    assert_loss(loss, recording["scalar_loss"])
    loss.backward()
    assert_gradients(recording, maps, "grad_in", network)


# Names of the DPT head there to ours. Levels and blocks count from 1 there.
DPT_NAMES: list[tuple[str, Any]] = [
    (r"resize_layers\.", "resizes."),
    (r"scratch\.layer(\d)_rn", lambda found: f"narrow.{int(found[1]) - 1}"),
    (r"scratch\.refinenet(\d)\.", lambda found: f"fusions.{int(found[1]) - 1}."),
    (r"resConfUnit1", "side"),
    (r"resConfUnit2", "merge"),
    (r"out_conv", "out"),
    (r"scratch\.output_conv\.0", "smooth"),
    (r"scratch\.output_conv\.2", "classify"),
]
DPT_UNUSED = "fusions.3.side."  # built there, never called


def dpt_state(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, Tensor]:
    """The weights of a recorded DPT head under our names."""
    state = {}
    for name, array in arrays.items():
        if name.startswith(prefix):
            ours = name.removeprefix(prefix)
            for pattern, replacement in DPT_NAMES:
                ours = re.sub(pattern, replacement, ours)
            state[ours] = torch.from_numpy(array)
    return {name: value for name, value in state.items() if not name.startswith(DPT_UNUSED)}
