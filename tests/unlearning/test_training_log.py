"""A method's log of the training: what was written comes back, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from forgetmi.core.errors import MethodError
from forgetmi.unlearning.training_log import load_log, save_log


def test_a_log_comes_back_and_one_flipped_bit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.pt"
    weights = torch.randn(100, generator=torch.Generator().manual_seed(0))
    save_log(path, "sisa", {"weights": weights, "seeds": [1, 2]})
    loaded = load_log(path, "sisa")
    assert torch.equal(loaded["weights"], weights)
    assert loaded["seeds"] == [1, 2]
    del loaded

    content = bytearray(path.read_bytes())
    content[content.index(weights.numpy().tobytes()) + 4] ^= 1
    path.write_bytes(content)
    with pytest.raises(MethodError, match="changed after it was written"):
        load_log(path, "sisa")


def test_a_log_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    torch.save({"kind": "sisa", "values": {"seeds": [1]}}, tmp_path / "log.pt")
    assert load_log(tmp_path / "log.pt", "sisa") == {"seeds": [1]}
    (tmp_path / "log.pt").write_bytes(b"PK no archive")
    with pytest.raises(MethodError, match="cannot be read"):
        load_log(tmp_path / "log.pt", "sisa")
