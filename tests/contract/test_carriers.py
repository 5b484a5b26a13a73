"""Every registered method within every carrier, on every kind of model: it keeps to it, or is refused at once."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from forgetmi.core.carrier import read_carrier
from forgetmi.core.errors import MethodError
from forgetmi.core.registry import methods
from forgetmi.model.image_text import parameter_digest
from forgetmi.model.initialise import build
from forgetmi.model.net_module import net_modules
from forgetmi.model.tasks.classes import GRADES
from forgetmi.run import workflow
from forgetmi.unlearning.applies import applies
from forgetmi.unlearning.carrier import moving
from forgetmi.unlearning.carrier_applies import why_not
from tests.contract.conftest import RECIPE, quick
from tests.contract.foreign import NAMES, prepared_for

KINDS = ("own", *NAMES)
CARRIERS = ("heads", "last", "lora,rank=2")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", methods.names())
def test_a_method_keeps_to_the_carrier_or_is_refused(
    name: str, kind: str, small: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`unlearn` itself compares what is outside the carrier, bit for bit; here the result is compared again."""
    prepared = small.prepared if kind == "own" else prepared_for(kind, small.prepared)
    model = build(prepared.spec, seed=3).eval()
    method = quick(name, epochs=1, train_epochs=1, repair_epochs=1)
    if applies(method, model, GRADES):
        pytest.skip("the method does not apply to the model")

    for text in CARRIERS:
        carrier = read_carrier(text)
        arguments = {"prepared": prepared, "partition": small.partition, "model": model}
        arguments |= {"method": method, "recipe": RECIPE, "seed": 5, "carrier": text}
        if why_not(method, model, carrier):
            with monkeypatch.context() as patch:
                patch.setattr(type(small.prepared.records), "batch", lambda *_, **__: 1 / 0)
                with pytest.raises(MethodError, match="cannot work with the carrier"):
                    workflow.unlearn(**arguments)
            continue

        before = parameter_digest(model)
        done = workflow.unlearn(**arguments)
        assert parameter_digest(model) == before
        assert list(done.model.state_dict()) == list(model.state_dict())
        if carrier.kind == "lora":
            continue
        joining = {f"{root}." for net in net_modules(model) for root in net.joining}
        for tensor, value in model.state_dict().items():
            outside = tensor not in moving(model, carrier) and not tensor.startswith(tuple(joining))
            assert not outside or torch.equal(value, done.model.state_dict()[tensor])


@pytest.mark.slow
@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("name", ["fine_tune", "scrub", "short_retrain"])
def test_an_interrupted_one_ends_in_the_same_bits(
    name: str, carrier: str, small: Any, tmp_path: Path
) -> None:
    model = build(small.prepared.spec, seed=3).eval()
    method = quick(name, epochs=3)
    if why_not(method, model, read_carrier(carrier)):
        pytest.skip("the method does not go with the carrier")

    def run(**more: Any) -> Any:
        return workflow.unlearn(
            prepared=small.prepared,
            partition=small.partition,
            model=model,
            method=method,
            recipe=dataclasses.replace(RECIPE, epochs=3),
            carrier=carrier,
            **more,
        )

    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    whole = run()
    with pytest.raises(KeyboardInterrupt):
        run(state=tmp_path / "state.pt", progress=stop)
    again = run(state=tmp_path / "state.pt")
    assert parameter_digest(again.model) == parameter_digest(whole.model)
    assert again.trace.steps == whole.trace.steps
