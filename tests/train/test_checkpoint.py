"""Resume files: whole or not at all, of this plan or not used."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from georelay.train.checkpoint import Checkpoint

STATE = {"step": 7, "weights": torch.arange(1000.0), "rows": [{"step": 0, "loss": 1.5}]}


def test_a_state_comes_back(tmp_path: Path) -> None:
    Checkpoint(tmp_path, "abc").save(STATE)
    state = Checkpoint(tmp_path, "abc").load()
    assert state is not None
    assert (state["step"], state["rows"]) == (7, STATE["rows"])
    assert torch.equal(state["weights"], STATE["weights"])
    assert [path.name for path in (tmp_path / "results" / "resume" / "abc").iterdir()] == ["last.pt"]


def test_another_plan_s_state_is_never_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Checkpoint(tmp_path, "abc").save(STATE)
    assert Checkpoint(tmp_path, "abd").load() is None
    ours, theirs = Checkpoint(tmp_path, "abd").path, Checkpoint(tmp_path, "abc").path
    ours.parent.mkdir()
    ours.write_bytes(theirs.read_bytes())
    assert Checkpoint(tmp_path, "abd").load() is None
    assert "another plan" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "text"])
def test_a_damaged_file_is_named_and_ignored(tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str) -> None:
    checkpoint = Checkpoint(tmp_path, "abc")
    checkpoint.save(STATE)
    content = bytearray(checkpoint.path.read_bytes())
    content[len(content) // 2] ^= 255
    damaged = {"empty": b"", "cut": bytes(content[: len(content) // 2]), "flipped": bytes(content), "text": b"not a checkpoint"}
    checkpoint.path.write_bytes(damaged[damage])
    assert checkpoint.load() is None
    assert f"{checkpoint.path}: not resumed, it is damaged" in capsys.readouterr().err


def test_a_failed_save_leaves_the_old_state(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path, "abc")
    checkpoint.save(STATE)
    with pytest.raises(Exception, match="pickle"):
        checkpoint.save({"step": lambda: 0})
    state = checkpoint.load()
    assert state is not None
    assert state["step"] == 7


def test_a_finished_run_leaves_nothing(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path, "abc")
    checkpoint.save(STATE)
    checkpoint.remove()
    assert checkpoint.load() is None
    assert not checkpoint.path.parent.exists()
