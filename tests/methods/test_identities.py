"""Methods that are another one in a limit equal it there bit for bit."""

from __future__ import annotations

from typing import Any, Literal

import pytest
import torch

from forgetmi.core.seeding import derive
from forgetmi.methods.cf_k import CFk
from forgetmi.methods.eu_k import EUk
from forgetmi.methods.fine_tune import FineTune
from forgetmi.methods.l1_sparse import L1Sparse
from forgetmi.methods.neg_grad import NegGrad
from forgetmi.methods.neg_grad_plus import NegGradPlus
from forgetmi.methods.retrain import Retrain
from forgetmi.methods.scrub import Scrub
from forgetmi.model.image_text import ImageText, parameter_digest
from forgetmi.model.recipe import Recipe
from forgetmi.run import workflow
from forgetmi.unlearning.method import Method

ALL = 10_000


def afresh(seed: int) -> int:
    """Seed of weights that start afresh in a run with that root seed."""
    return derive(seed, "unlearn", "afresh")


@pytest.mark.parametrize("bn", ["eval", "train"])
def test_fine_tuning_is_the_limit_of_four_methods(
    unlearn: Any, bn: Literal["eval", "train"]
) -> None:
    epochs, lr = 1, 1e-3
    plain = unlearn(FineTune(epochs=epochs, lr=lr, bn=bn))
    assert plain.trace.moved > 0
    same: list[Method] = [
        NegGradPlus(alpha=1.0, epochs=epochs, lr=lr, bn=bn),
        Scrub(alpha=0.0, max_epochs=0, decay_epochs=(), epochs=epochs, lr=lr, bn=bn),
        CFk(image_k=ALL, text_k=ALL, epochs=epochs, lr=lr, bn=bn),
        L1Sparse(image_alpha=0.0, text_alpha=0.0, epochs=epochs, lr=lr, bn=bn),
        L1Sparse(image_alpha=0.1, text_alpha=0.1, plain_epochs=epochs, epochs=epochs, lr=lr, bn=bn),
    ]
    for method in same:
        assert parameter_digest(unlearn(method).model) == parameter_digest(plain.model), method


def test_the_ways_out_of_fine_tuning_lead_elsewhere(unlearn: Any) -> None:
    found = {
        parameter_digest(unlearn(method).model)
        for method in (
            FineTune(epochs=1, lr=1e-3),
            NegGradPlus(alpha=0.99, epochs=1, lr=1e-3),
            CFk(epochs=1, lr=1e-3),
            Scrub(alpha=0.1, max_epochs=0, decay_epochs=(), epochs=1, lr=1e-3),
            L1Sparse(epochs=1, lr=1e-3),
        )
    }
    assert len(found) == 5


def test_negative_gradient_is_the_limit_of_neg_grad_plus(unlearn: Any) -> None:
    """With alpha 0 and all retained samples in one batch, an epoch is one step of ascent."""
    plus = unlearn(NegGradPlus(alpha=0.0, epochs=3, lr=1e-4, clip=1.0), batch_size=1000)
    plain = unlearn(NegGrad(epochs=3, lr=1e-4, clip=1.0, stop="never"), batch_size=1000)
    assert plain.trace.steps == 3
    assert parameter_digest(plus.model) == parameter_digest(plain.model)


def test_eu_k_of_all_layers_is_retraining_with_a_seed_of_its_own(small: Any, unlearn: Any) -> None:
    recipe = Recipe(epochs=1, batch_size=12)
    whole = unlearn(EUk(image_k=ALL, text_k=ALL), seed=5, recipe=recipe)
    anew = unlearn(Retrain(), seed=afresh(5), recipe=recipe)
    assert parameter_digest(whole.model) == parameter_digest(anew.model)
    assert whole.trace.samples == anew.trace.samples


def test_eu_k_of_all_layers_is_the_reference_model(small: Any, memorised: ImageText) -> None:
    recipe = Recipe(epochs=1, batch_size=12)
    whole = workflow.unlearn(
        prepared=small.prepared,
        partition=small.partition,
        model=memorised,
        recipe=recipe,
        seed=7,
        method=EUk(image_k=ALL, text_k=ALL),
    )
    reference, _ = workflow.train(
        prepared=small.prepared,
        partition=small.partition,
        recipe=recipe,
        seed=afresh(7),
        without_forgotten=True,
    )
    found = whole.model.state_dict()
    compared = [
        name for name in found if not name.startswith("gate.")
    ]  # fitted afterwards, with the run's seed
    assert len(compared) > 50
    assert all(torch.equal(found[name], reference.state_dict()[name]) for name in compared)


@pytest.mark.parametrize(
    "method",
    [
        FineTune(lr=0.0, epochs=1),
        NegGrad(lr=0.0, epochs=1),
        NegGradPlus(lr=0.0, epochs=1),
        Scrub(lr=0.0, epochs=1),
        CFk(lr=0.0, epochs=1),
        L1Sparse(lr=0.0, epochs=1),
    ],
)
def test_without_a_learning_rate_nothing_moves(
    unlearn: Any, memorised: ImageText, method: Method
) -> None:
    done = unlearn(method)
    assert done.trace.steps > 0
    assert parameter_digest(done.model) == parameter_digest(memorised)
