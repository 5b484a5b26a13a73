"""The study of carriers: what it counts without a training is what a method may move."""

from __future__ import annotations

from typing import Any

import pytest

import carrier_study
from forgetmi.core.carrier import read_carrier
from forgetmi.model.initialise import build
from forgetmi.unlearning.carrier import carry
from forgetmi.unlearning.carrier_applies import why_not


@pytest.mark.parametrize("carrier", [name for name in carrier_study.COUNTED if name != "full"])
def test_weights_are_counted_as_they_are_moved(small: Any, carrier: str) -> None:
    net = build(small.prepared.spec, seed=0)
    count, adapters = carrier_study._counted(net, read_carrier(carrier))
    carried = carry(net, read_carrier(carrier), seed=0)
    free = {name: w for name, w in carried.named_parameters() if w.requires_grad}
    own = {name: w for name, w in free.items() if not name.startswith("gate.")}
    assert count == sum(weight.numel() for weight in own.values())
    assert adapters == sum(".lora_A." in name for name in own)


def test_every_case_of_the_own_model_goes_with_its_carrier(small: Any) -> None:
    net = build(small.prepared.spec, seed=0)
    for case in carrier_study.CASES["own"]:
        method = carrier_study.methods.get(case.method)()
        assert why_not(method, net, read_carrier(case.carrier)) == ""
