"""MSA: its arithmetic, its identity, and how the two factors are chosen."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from forgetmi.core.errors import MethodError
from forgetmi.methods.msa import MSA, moved
from forgetmi.model.image_text import parameter_digest
from forgetmi.model.modes import learning
from forgetmi.model.recipe import Recipe
from forgetmi.run import workflow
from forgetmi.run.original_training import train_original
from forgetmi.unlearning.batch_statistics import batch_norms, measure_statistics
from forgetmi.unlearning.method import unlearn as run_method

RECIPE = Recipe(epochs=3)


@pytest.fixture(scope="module")
def trained(small: Any) -> Any:
    return train_original(
        prepared=small.prepared, partition=small.partition, method=MSA(), recipe=RECIPE, seed=3
    )


@pytest.fixture(scope="module")
def run(small: Any, trained: Any) -> Any:
    def run(method: MSA) -> Any:
        return run_method(
            method,
            trained.model,
            records=small.prepared.records,
            partition=small.partition,
            seed=5,
            recipe=RECIPE,
            fresh_model=lambda own: workflow.build(small.prepared.spec, seed=own),
            training_log=trained.log,
        )

    return run


def test_both_factors_0_is_the_original(run: Any, trained: Any) -> None:
    done = run(MSA(alpha=(0.0,), beta=(0.0,), tune_epochs=1))
    assert parameter_digest(done.model) == parameter_digest(trained.model)


def test_without_tuning_both_directions_are_0(run: Any, trained: Any) -> None:
    """The weights are the original's, and only batch statistics are measured anew."""
    done = run(MSA(alpha=(1.0,), beta=(1.0,), tune_epochs=0))
    before = dict(trained.model.named_parameters())
    assert all(torch.equal(value, before[name]) for name, value in done.model.named_parameters())
    assert done.trace.changed
    assert all("running" in name or "batches" in name for name in done.trace.changed)


def test_directions_are_added_in_proportion(trained: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    away, towards = (
        {
            name: torch.randn(value.shape, generator=generator)
            for name, value in trained.model.named_parameters()
        }
        for _ in range(2)
    )
    result = dict(moved(trained.model, away, towards, alpha=0.5, beta=2.0).named_parameters())
    for name, value in trained.model.named_parameters():
        expected = value - 0.5 * away[name] + 2.0 * towards[name]
        assert torch.allclose(result[name], expected, atol=1e-5)


def test_the_pair_with_the_smallest_difference_is_taken(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """|forgotten - unseen| + what the unseen lose against the original."""
    losses = iter([(0.1, 1.0), (0.2, 1.0), (0.9, 1.0), (1.5, 1.6), (1.0, 1.0)])
    monkeypatch.setattr("forgetmi.methods.msa._losses", lambda *given: next(losses))
    facts = run(MSA(alpha=(0.0, 0.5), beta=(0.0, 1.0), tune_epochs=1)).trace.facts
    assert (facts["alpha"], facts["beta"]) == (0.5, 1.0)
    losses = iter([(0.1, 1.0), (0.2, 1.0), (0.95, 1.0), (2.0, 2.0), (0.1, 1.0)])
    facts = run(MSA(alpha=(0.0, 0.5), beta=(0.0, 1.0), tune_epochs=1)).trace.facts
    assert (facts["alpha"], facts["beta"]) == (0.0, 1.0)


def test_the_log_for_the_next_request_holds_the_untrained_model_alone(
    run: Any, trained: Any
) -> None:
    done = run(MSA(alpha=(1.0,), beta=(0.0,), tune_epochs=1))
    assert sorted(done.training_log.states) == [0]
    assert len(trained.log.states) == 2


def test_statistics_are_means_over_the_batches(small: Any, trained: Any) -> None:
    """Against the statistics of one training pass with equal weights, batch by batch."""
    records, rows = small.prepared.records, small.partition.retain
    batches = [records.batch(rows[:8]), records.batch(rows[8:16])]
    model = workflow.build(small.prepared.spec, seed=1).eval()
    measure_statistics(model, batches)
    assert not any(module.training for module in model.modules())
    alone = []
    for batch in batches:
        one = workflow.build(small.prepared.spec, seed=1)
        learning(one)
        for layer in batch_norms(one):
            layer.momentum = 1.0
        with torch.no_grad():
            one(batch)
        alone.append(batch_norms(one))
    for number, layer in enumerate(batch_norms(model)):
        mean = (alone[0][number].running_mean + alone[1][number].running_mean) / 2
        assert torch.allclose(layer.running_mean, mean, atol=1e-5)
        assert layer.momentum == 0.1


@pytest.mark.parametrize("wrong", [{"kept": (0,)}, {"alpha": ()}, {"beta": ()}])
def test_impossible_options_are_refused(wrong: Any) -> None:
    with pytest.raises(MethodError, match="at least 1"):
        MSA(**wrong)
