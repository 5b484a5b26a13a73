"""Which device a specification means."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from forgetmi.core.errors import SpecError
from forgetmi.run.device import device_of
from forgetmi.run.spec import RunSpec


def test_a_gpu_that_is_not_there_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    spec = RunSpec(device="cuda")
    with pytest.raises(SpecError, match="no GPU"):
        device_of(spec)
    assert (
        device_of(replace(spec, runner="ray")) == "cuda"
    )  # the cluster's machines have it, not this one
    assert device_of(replace(spec, device="auto")) == "cpu"
