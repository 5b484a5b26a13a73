"""Carriers as they are written: read, written again, and refused with every fault."""

from __future__ import annotations

import pytest

from forgetmi.core.carrier import FULL, Carrier, read_carrier
from forgetmi.core.errors import SpecError
from forgetmi.model.recipe import Recipe
from forgetmi.run.spec import RunSpec, read_yaml, write_yaml


@pytest.mark.parametrize(
    ("text", "carrier"),
    [
        ("", FULL),
        ("full", FULL),
        ("heads", Carrier("heads")),
        ("last", Carrier("last")),
        ("last,stages=3", Carrier("last", stages=3)),
        ("lora", Carrier("lora")),
        (
            "lora,rank=2,alpha=0.5,targets=query+layer.0.value",
            Carrier("lora", rank=2, alpha=0.5, targets=("query", "layer.0.value")),
        ),
    ],
)
def test_what_is_written_is_read_and_read_again(text: str, carrier: Carrier) -> None:
    assert read_carrier(text) == carrier
    assert read_carrier(str(carrier)) == carrier


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("loras", "Did you mean 'lora'"),
        ("heads,rank=2", "'rank=2' is no option of heads"),
        ("last,stages=1,stages=2", "'stages=2' is no option"),
        ("lora,rank", "'rank' is no option of lora"),
        ("lora,rank=0", "rank must be 1 to"),
        ("lora,rank=-1", "rank"),
        ("lora,rank=99999", "rank must be 1 to"),
        ("lora,alpha=nan", "alpha"),
        ("lora,alpha=0", "alpha must be above 0"),
        ("lora,alpha=x", "alpha"),
        ("lora,targets=", "a target must have a name"),
        ("last,stages=0", "stages must be 1 to"),
        ("full,", "'' is no option of full"),
    ],
)
def test_what_is_no_carrier_is_refused_everywhere(text: str, words: str) -> None:
    for refuses in (read_carrier, lambda word: RunSpec(carrier=word), _recipe):
        with pytest.raises(SpecError, match=words):
            refuses(text)


def _recipe(carrier: str) -> Recipe:
    return Recipe(carrier=carrier)


def test_all_faults_of_a_specification_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        RunSpec(carrier="lora,rank=0,alpha=-1", retrains=-1)
    assert len(caught.value.faults) == 3


def test_a_method_moves_what_the_training_moved_unless_it_is_told_otherwise(tmp_path) -> None:
    spec = RunSpec(training=Recipe(carrier="heads"))
    assert spec.moves == Carrier("heads")
    assert RunSpec(training=Recipe(carrier="heads"), carrier="full").moves == FULL

    # The specification keeps it, and one without a carrier is written as before
    path = tmp_path / "spec.yaml"
    path.write_text(write_yaml(RunSpec(carrier="lora,rank=4", carrier_keep=True)))
    again = read_yaml(path)
    assert again.moves == Carrier("lora", rank=4)
    assert again.carrier_keep
    assert "carrier" not in write_yaml(RunSpec())

    with pytest.raises(SpecError, match="the carrier heads has no adapters to keep"):
        RunSpec(carrier="heads", carrier_keep=True)
