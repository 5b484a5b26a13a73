"""Every method works on a model that this package knows nothing of, or is refused in one sentence before it begins."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from forgetmi.core.errors import MethodError
from forgetmi.core.registry import methods
from forgetmi.methods.retrain import Retrain
from forgetmi.model.image_text import parameter_digest
from forgetmi.model.initialise import build
from forgetmi.model.tasks.classes import GRADES
from forgetmi.run import workflow
from forgetmi.run.original_training import train_original
from forgetmi.unlearning.applies import applies
from tests.contract.conftest import RECIPE, quick
from tests.contract.foreign import NAMES, prepared_for

pytestmark = pytest.mark.parametrize("kind", NAMES, scope="module")

# What each model lacks, and the methods that need it
REFUSED = {
    "ViT + DistilBERT": set(),
    "image only": {"forget_mi", "multi_delete", "clip_erase"},
    "table + text": {
        "forget_mi",
        "multi_delete",
        "clip_erase",
        "consensus",
        "calibrated_consensus",
        "newton_heads",
        "cf_k",
        "eu_k",
        "chip",
        "ct",
        "msg",
        "jit",
        "noisy_fine_tune",
    },
}


@pytest.fixture(scope="module")
def foreign(kind: str, small: Any) -> Any:
    return dataclasses.replace(small, prepared=prepared_for(kind, small.prepared))


@pytest.fixture(scope="module")
def originals(foreign: Any) -> Callable[[str], Any]:
    """The original that a method works on, by the method's name; most share one."""

    @functools.cache
    def train(name: str) -> Any:
        method = quick(name) if name else Retrain()
        return train_original(
            prepared=foreign.prepared,
            partition=foreign.partition,
            method=method,
            recipe=RECIPE,
            seed=3,
        )

    return train


# Methods that know layers, stages or heads of a model, or the training of one, and a few that know none
FEW = {
    *("forget_mi", "forget_mi_release", "fine_tune", "scrub", "ssd", "random_labels"),
    *("consensus", "newton_heads", "cf_k", "eu_k", "chip", "ct", "msg", "jit", "noisy_fine_tune"),
    *("clip_erase", "deep_clean", "amnesiac"),
}


def test_which_methods_are_refused(kind: str, foreign: Any) -> None:
    net = build(foreign.prepared.spec, seed=0)
    refused = {name for name in methods.names() if applies(methods.get(name), net, GRADES)}
    assert refused == REFUSED[kind] | {"forget_mi_release", "s3t"}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in FEW else [pytest.mark.slow])
        for name in methods.names()
    ],
)
def test_a_method_works_or_is_refused_in_one_sentence(
    kind: str, name: str, foreign: Any, originals: Callable[[str], Any], monkeypatch: Any
) -> None:
    method = quick(name, epochs=1)
    reason = applies(method, build(foreign.prepared.spec, seed=0), GRADES)
    own = "training log" in method.info.reads
    made = originals(name if own and not reason else "")

    def run() -> Any:
        return workflow.unlearn(
            prepared=foreign.prepared,
            partition=foreign.partition,
            model=made.model,
            method=method,
            recipe=RECIPE,
            training_log=made.log,
            seed=5,
        )

    # Refused: in one sentence, before a sample is read
    if reason:
        assert name in REFUSED[kind] | {"forget_mi_release"}
        assert "\n" not in reason
        monkeypatch.setattr(type(foreign.prepared.records), "batch", None)
        with pytest.raises(MethodError, match="does not apply to this model") as refusal:
            run()
        assert refusal.value.faults[0].why == reason
        return

    # Works: another model comes out, whole, and the original is as it was
    assert name not in REFUSED[kind]
    before = parameter_digest(made.model)
    done = run()
    assert parameter_digest(made.model) == before != parameter_digest(done.model)
    assert done.trace.changed
    heads = (
        tuple(f"module.{head}." for head in made.model.adapter.heads.values()) if not own else ()
    )
    if heads:
        of_heads = [tensor for tensor in done.trace.changed if tensor.startswith(heads)]
        assert list(done.trace.changed_heads) == of_heads
    assert all(bool(torch.isfinite(value).all()) for value in done.model.state_dict().values())


def test_parts_hold_every_tensor_once(kind: str, foreign: Any) -> None:
    net = build(foreign.prepared.spec, seed=0)
    listed = [name for part in net.parts().values() for name in part.names]
    assert sorted(listed) == sorted(net.state_dict())
    for part in net.parts().values():
        fresh = part.fresh(0)
        assert all(torch.equal(fresh[name], net.state_dict()[name]) for name in part.names)


def test_a_few_layers_start_afresh_and_no_other(kind: str, foreign: Any) -> None:
    net, new = (build(foreign.prepared.spec, seed=seed) for seed in (0, 1))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    chosen = next(name for name, layer in net.named_modules() if isinstance(layer, nn.Linear))
    net.start_afresh(seed=1, names=(chosen,))
    for name, value in net.state_dict().items():
        wanted = new.state_dict()[name] if name.startswith(f"{chosen}.") else before[name]
        assert torch.equal(value, wanted), name
    assert not torch.equal(net.state_dict()[f"{chosen}.weight"], before[f"{chosen}.weight"])
