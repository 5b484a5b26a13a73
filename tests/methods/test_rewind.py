"""Rewind: its end is Retrain, the forgotten are never read, and the log it returns never saw them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from forgetmi.core.errors import MethodError
from forgetmi.methods.retrain import Retrain
from forgetmi.methods.rewind import Rewind
from forgetmi.model.image_text import parameter_digest
from forgetmi.model.recipe import Recipe
from forgetmi.run import workflow
from forgetmi.run.original_training import train_original
from forgetmi.unlearning.early_checkpoints import EarlyCheckpoints, allowed, restored
from forgetmi.unlearning.echo import matched_auc
from forgetmi.unlearning.method import unlearn as run_method

RECIPE = Recipe(epochs=4, warmup=0.25, decay=0.25)


@pytest.fixture(scope="module")
def trained(small: Any) -> Any:
    """An original that kept its first two epochs."""
    return train_original(
        prepared=small.prepared,
        partition=small.partition,
        method=Rewind(kept=(1, 2)),
        recipe=RECIPE,
        seed=3,
    )


@pytest.fixture(scope="module")
def rewound(small: Any, trained: Any) -> Any:
    """Run the method on it."""

    def run(method: Any, *, log: Any = trained.log, seed: int = 3) -> Any:
        return run_method(
            method,
            trained.model,
            records=small.prepared.records,
            partition=small.partition,
            seed=seed,
            recipe=RECIPE,
            fresh_model=lambda own: workflow.build(small.prepared.spec, seed=own),
            training_log=log,
        )

    return run


@pytest.fixture(scope="module")
def usual(rewound: Any) -> Any:
    return rewound(Rewind(train_epochs=2, largest_echo=1.0), seed=4)


def test_from_the_untrained_model_with_all_epochs_it_is_retrain(rewound: Any, trained: Any) -> None:
    """Bit for bit, but for the gate, which is fitted anew after every unlearning."""
    start = trained.log.replaced({})
    method = Rewind(train_epochs=4, warmup=0.25, decay=0.25)
    ours = rewound(method, log=start).model.state_dict()
    whole = rewound(Retrain()).model.state_dict()
    assert all(torch.equal(ours[name], whole[name]) for name in whole)


def test_going_on_with_the_moments_is_the_uninterrupted_training(small: Any, trained: Any) -> None:
    """The state after epoch 2, its moments loaded, takes the next step that the training took: without them not."""
    from forgetmi.data.loaders import Loader
    from forgetmi.model.tasks.by_name import training_task
    from forgetmi.model.train import fit

    rows = small.partition.retain
    loader = Loader(small.prepared.records, rows, batch_size=16, seed=3, avoid_single=True)
    flat = Recipe(epochs=1, warmup=0.0, decay=0.0)
    recorder = EarlyCheckpoints((1,))
    whole = workflow.build(small.prepared.spec, seed=3)
    more = Recipe(epochs=2, warmup=0.0, decay=0.0)
    task = training_task("grades")
    fit(whole, loader, more, seed=3, task=task, observers=[recorder])

    class Second:
        rows = loader.rows

        def __len__(self) -> int:
            return len(loader)

        def epoch(self, epoch: int) -> Any:
            return loader.epoch(epoch + 1)

    state = recorder.state(1)
    without = restored(whole, state)
    fit(without, Second(), flat, seed=3, task=task)
    gone_on = restored(whole, state)
    fit(gone_on, Second(), flat, seed=3, task=task, moments=state["moments"])

    def far(model: Any) -> float:
        pairs = zip(model.parameters(), whole.parameters(), strict=True)
        return sum(float((a - b).detach().square().sum()) for a, b in pairs) ** 0.5

    # Dropout draws differ between the two epochs' numbers; the moments matter more
    assert far(gone_on) < 0.7 * far(without)


def test_the_forgotten_are_never_read(small: Any, usual: Any) -> None:
    assert set(usual.trace.samples) == {"retain", "validation"}
    assert usual.trace.samples["validation"] == 0
    # Two epochs, and two renewed
    assert usual.trace.samples["retain"] == 4 * len(small.partition.retain)


def test_an_echoing_checkpoint_is_not_used(rewound: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The latest that is quiet enough; where none is, the untrained model."""

    def choose(echoes: dict[int, float]) -> int:
        found = iter([echoes[2], echoes[1]])
        monkeypatch.setattr("forgetmi.methods.rewind.echo", lambda *given, **more: next(found))
        method = Rewind(train_epochs=1, renew=False)
        return rewound(method).trace.facts["restarted after epoch"]

    assert choose({2: 0.6, 1: 0.5}) == 2
    assert choose({2: 0.61, 1: 0.5}) == 1
    assert choose({2: 0.9, 1: 0.7}) == 0


def test_the_log_for_the_next_request_never_saw_the_forgotten(
    small: Any, rewound: Any, usual: Any, trained: Any
) -> None:
    """Renewed, its states are those of a training on the retained alone; else only the untrained model is left."""
    renewed = usual.training_log
    assert sorted(renewed.states) == [0, 1, 2]
    assert torch.equal(
        renewed.state(0)["weights"]["img_model.fc1.weight"],
        trained.log.state(0)["weights"]["img_model.fc1.weight"],
    )
    # The same log from a training that never had the forgotten, with the renewal's seed
    clean = train_original(
        prepared=small.prepared,
        partition=small.partition,
        method=Rewind(kept=(1, 2)),
        recipe=RECIPE,
        seed=4,
        without_forgotten=True,
    ).log
    assert not torch.equal(
        renewed.state(2)["weights"]["img_model.fc1.weight"],
        trained.log.state(2)["weights"]["img_model.fc1.weight"],
    )
    assert renewed.state(2)["weights"].keys() == clean.state(2)["weights"].keys()

    left = rewound(Rewind(train_epochs=1, renew=False, largest_echo=1.0))
    assert sorted(left.training_log.states) == [0]
    assert sorted(trained.log.states) == [0, 1, 2]


def test_the_renewed_states_are_the_first_epochs_of_a_retraining(rewound: Any, small: Any) -> None:
    """At the learning rates that the whole training has there."""
    start = rewound(Rewind(train_epochs=1, largest_echo=1.0)).training_log
    clean = train_original(
        prepared=small.prepared,
        partition=small.partition,
        method=Rewind(kept=(1, 2)),
        recipe=RECIPE,
        seed=3,
        without_forgotten=True,
    ).log
    for epoch in (1, 2):
        ours, theirs = start.state(epoch)["weights"], clean.state(epoch)["weights"]
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs), epoch


def test_a_log_is_written_and_read_back(trained: Any, tmp_path: Path) -> None:
    trained.log.save(tmp_path / "log")
    again = EarlyCheckpoints.load(tmp_path / "log")
    assert sorted(again.states) == [0, 1, 2]
    for epoch in again.states:
        ours, theirs = again.state(epoch), trained.log.state(epoch)
        assert all(torch.equal(ours["weights"][k], theirs["weights"][k]) for k in theirs["weights"])
    with pytest.raises(MethodError, match="after epoch 7"):
        again.state(7)


def test_no_checkpoint_is_kept_once_the_rate_falls() -> None:
    assert allowed((1, 2, 9, 12), Recipe(epochs=10, decay=0.5)) == (1, 2, 5)


def test_echo_is_the_auc_within_labels() -> None:
    """Against a slow count of pairs; a label that only one set has does not count."""
    generator = torch.Generator().manual_seed(0)
    loss, other = torch.rand(12, generator=generator), torch.rand(9, generator=generator)
    other[0] = loss[0]
    label = torch.tensor([0] * 6 + [1] * 5 + [3])
    other_label = torch.tensor([0] * 4 + [1] * 4 + [2])
    wins: list[float] = []
    for a, one in zip(loss, label, strict=True):
        for b, two in zip(other, other_label, strict=True):
            if one == two:
                wins.append(1.0 if a < b else 0.5 if a == b else 0.0)
    assert matched_auc(loss, label, other, other_label) == pytest.approx(sum(wins) / len(wins))
    with pytest.raises(MethodError, match="share a label"):
        matched_auc(loss, label + 10, other, other_label)


def test_the_model_of_the_original_is_left_alone(trained: Any, usual: Any) -> None:
    assert parameter_digest(trained.model) != parameter_digest(usual.model)


@pytest.mark.parametrize("wrong", [{"train_epochs": 0}, {"kept": (0,)}])
def test_impossible_options_are_refused(wrong: Any) -> None:
    with pytest.raises(MethodError, match="at least 1"):
        Rewind(**wrong)
