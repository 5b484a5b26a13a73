from __future__ import annotations

import copy
import math
import time
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch

from forgetmi.core.cost import Meter
from forgetmi.core.errors import CheckpointError, MethodError, SpecError
from forgetmi.model.image_text import parameter_digest
from forgetmi.model.initialise import build
from forgetmi.model.losses import base_loss
from forgetmi.model.recipe import Recipe
from forgetmi.model.resume import EpochLoop
from forgetmi.model.tasks.classes import GRADES
from forgetmi.model.train import fit

CLOCKS = ("seconds", "cpu_seconds")


def timeless(trace):
    return [
        {key: value for key, value in epoch.items() if key not in CLOCKS} for epoch in trace.epochs
    ]


class Interrupted(Exception):
    pass


def stop_after(epochs: int):
    def progress(done: int, total: int) -> None:
        if done == epochs:
            raise Interrupted

    return progress


def test_it_learns_and_leaves_eval_mode(spec, samples):
    model = build(spec, seed=0)
    trace = fit(
        model,
        samples(32, batch_size=8),
        Recipe(epochs=12, lr=1e-2, validate_every=1),
        seed=0,
        validation=samples(24, batch_size=8),
        task=GRADES,
    )
    first, last = trace.epochs[0], trace.epochs[-1]
    assert last["loss"] < 0.7 * first["loss"]
    assert last["loss"] == pytest.approx(last["image"] + last["text"] + last["ranking"], rel=1e-5)
    assert last["validation_auc_image"] > 0.8
    assert last["validation_loss"] < first["validation_loss"]
    assert (trace.total("steps"), trace.total("samples")) == (12 * 4, 12 * 32)
    assert trace.total("cpu_seconds") > 0
    assert not any(module.training for module in model.modules())


def test_same_seed_is_bit_identical_and_the_global_generator_is_given_back(spec, samples):
    digests = []
    for seed in (5, 5, 6):
        model = build(spec, seed=0)
        torch.manual_seed(len(digests))
        before = torch.get_rng_state()
        fit(model, samples(20, batch_size=8), Recipe(epochs=2), seed=seed, task=GRADES)
        assert torch.equal(torch.get_rng_state(), before)
        digests.append(parameter_digest(model))
    assert digests[0] == digests[1] != digests[2]  # the seed reaches dropout


@pytest.mark.parametrize("done", [1, 2, 3])
def test_resumed_equals_uninterrupted(spec, samples, tmp_path, done):
    recipe, loader = Recipe(epochs=4, lr=1e-2), samples(20, batch_size=8)
    whole = build(spec, seed=0)
    expected = fit(whole, loader, recipe, seed=1, validation=loader, task=GRADES)
    file = tmp_path / "progress.pt"
    with pytest.raises(Interrupted):  # before epoch `done` is saved: it is run again
        fit(
            build(spec, seed=0),
            loader,
            recipe,
            seed=1,
            validation=loader,
            resume=file,
            progress=stop_after(done),
            task=GRADES,
        )
    assert file.exists() == (done > 1)
    model = build(spec, seed=0)
    trace = fit(model, loader, recipe, seed=1, validation=loader, resume=file, task=GRADES)
    assert parameter_digest(model) == parameter_digest(whole)
    assert timeless(trace) == timeless(expected)
    again = build(spec, seed=0)
    assert (
        fit(again, loader, recipe, seed=1, validation=loader, resume=file, task=GRADES) == trace
    )  # nothing left to do
    assert parameter_digest(again) == parameter_digest(whole)
    assert [path.name for path in tmp_path.iterdir()] == ["progress.pt"]


def test_foreign_or_damaged_progress_is_refused(spec, samples, tmp_path):
    file, loader = tmp_path / "progress.pt", samples(12, batch_size=6)
    fit(build(spec, seed=0), loader, Recipe(epochs=1), seed=0, resume=file, task=GRADES)
    for model_seed, seed, recipe, source in (
        (1, 0, Recipe(epochs=1), loader),
        (0, 1, Recipe(epochs=1), loader),
        (0, 0, Recipe(epochs=2), loader),
        (0, 0, Recipe(epochs=1), samples(18, batch_size=9)),
    ):
        with pytest.raises(CheckpointError, match="of another run"):
            fit(build(spec, seed=model_seed), source, recipe, seed=seed, resume=file, task=GRADES)
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="cannot be read"):
        fit(build(spec, seed=0), loader, Recipe(epochs=1), seed=0, resume=file, task=GRADES)


def test_progress_file_is_never_unpickled(spec, samples, tmp_path):
    file = tmp_path / "progress.pt"
    torch.save({"key": Recipe, "done": 0, "state": {}}, file)
    with pytest.raises(CheckpointError, match="UnpicklingError"):
        fit(
            build(spec, seed=0),
            samples(12, batch_size=6),
            Recipe(epochs=1),
            seed=0,
            resume=file,
            task=GRADES,
        )


def test_epoch_loop_gives_the_generator_back_when_closed():
    before = torch.get_rng_state()
    loop = iter(EpochLoop(3, state={}, file=None, key="", seed=0, stage="x"))
    draws = [(next(loop), float(torch.rand(()))) for _ in range(2)]
    loop.close()
    assert torch.equal(torch.get_rng_state(), before)
    assert draws == [
        (epoch, float(torch.rand(())))
        for epoch in EpochLoop(2, state={}, file=None, key="", seed=0, stage="x")
    ]


@pytest.mark.parametrize("metered", [True, False])
def test_a_resumed_loop_counts_what_it_cost_before(tmp_path, metered):
    def loop():
        return EpochLoop(3, state={}, file=tmp_path / "progress.pt", key="", seed=0, stage="x")

    with Meter() if metered else nullcontext():
        for epoch in loop():
            time.sleep(0.1)
            if epoch == 2:
                break
    with Meter() as meter:
        assert list(loop()) == [2]
    assert meter.cost.seconds >= 0.2 if metered else meter.cost.seconds < 0.2


def test_divergence_stops_at_once(spec, samples):
    model = build(spec, seed=0)
    with pytest.raises(MethodError, match=r"diverged at step \d+ .*learning rate 1e\+30"):
        fit(
            model,
            samples(20, batch_size=5),
            Recipe(epochs=3, lr=1e30, warmup=0, decay=0),
            seed=0,
            task=GRADES,
        )
    poisoned = samples(20, batch_size=5)
    poisoned.all.image[:] = float("nan")
    model = build(spec, seed=0)
    before = {name: p.clone() for name, p in model.named_parameters()}
    with pytest.raises(MethodError, match="diverged at step 0"):
        fit(model, poisoned, Recipe(), seed=0, task=GRADES)
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())


def test_single_sample_and_empty_batches_are_refused(spec, samples):
    with pytest.raises(MethodError, match="avoid_single=True"):
        fit(build(spec, seed=0), samples(9, batch_size=4), Recipe(epochs=1), seed=0, task=GRADES)
    with pytest.raises(MethodError, match="no training rows"):
        fit(build(spec, seed=0), samples(0, batch_size=4), Recipe(epochs=1), seed=0, task=GRADES)


def test_zero_epochs_change_nothing(spec, samples):
    model = build(spec, seed=0)
    trace = fit(model, samples(8, batch_size=4), Recipe(epochs=0), seed=0, task=GRADES)
    assert trace.epochs == ()
    assert parameter_digest(model) == parameter_digest(build(spec, seed=0))


def test_one_step_equals_adamw_by_hand(spec, samples):
    text = replace(spec.text, dropout=0.0, attention_dropout=0.0)
    loader = samples(8, batch_size=8)
    recipe = Recipe(
        epochs=1,
        lr=1e-2,
        weight_decay=0.1,
        decay_all=False,
        clip=0.01,
        text_lr_factor=0.5,
        warmup=0,
        decay=0,
        ranking_weight=0.3,
    )
    model = build(replace(spec, text=text), seed=0)
    twin = copy.deepcopy(model).train()
    fit(model, loader, recipe, seed=0, task=GRADES)
    batch = next(iter(loader.epoch(0)))
    base_loss(twin(batch), batch, ranking_weight=0.3, task=GRADES).total.backward()
    moved = {n: p for n, p in twin.named_parameters() if not n.startswith("gate.")}
    norm = math.sqrt(sum(float(p.grad.double().square().sum()) for p in moved.values()))
    assert norm > 0.01
    for name, p in model.named_parameters():
        old = twin.get_parameter(name).detach()
        if name.startswith("gate."):
            assert torch.equal(p, old), name
            continue
        lr = 1e-2 * (0.5 if name.startswith("text_model.") else 1.0)
        grad = moved[name].grad * 0.01 / norm
        kept = old * (1 - lr * 0.1) if old.ndim > 1 else old
        torch.testing.assert_close(
            p.detach(), kept - lr * grad / (grad.abs() + 1e-8), rtol=1e-4, atol=2e-5
        )


def test_accumulated_gradients_are_averaged(spec, samples):
    text, loader = replace(spec.text, dropout=0.0, attention_dropout=0.0), samples(20, batch_size=4)
    recipe = Recipe(epochs=1, lr=1e-3, accumulation=2, warmup=0, decay=0, clip=0)
    model = build(replace(spec, text=text), seed=0)
    twin = copy.deepcopy(model).train()
    trace = fit(model, loader, recipe, seed=0, task=GRADES)
    assert trace.total("steps") == 3
    optimiser = torch.optim.AdamW(
        [p for n, p in twin.named_parameters() if not n.startswith("gate.")],
        lr=1e-3,
        weight_decay=0.01,
    )
    batches = list(loader.epoch(0))
    for pair in (batches[:2], batches[2:4], batches[4:]):
        optimiser.zero_grad()
        sum(
            base_loss(twin(batch), batch, task=GRADES).total / len(pair) for batch in pair
        ).backward()
        optimiser.step()
    for name, p in model.named_parameters():
        torch.testing.assert_close(p, twin.get_parameter(name), rtol=1e-4, atol=1e-5)


def test_learning_rate_rises_stays_and_falls():
    recipe = Recipe(warmup=0.1, decay=0.4)
    factors = [recipe.lr_factor(step, 100) for step in range(100)]
    assert factors[:3] == pytest.approx([0.1, 0.2, 0.3])
    assert factors[9:61] == pytest.approx([1.0] * 52)
    assert factors[-2:] == pytest.approx([0.05, 0.025])
    assert [Recipe(warmup=0, decay=0).lr_factor(step, 7) for step in range(7)] == [1.0] * 7
    assert all(0 < Recipe().lr_factor(0, total) <= 1 for total in (1, 2, 3))


def test_frozen_parameters_do_not_move(spec, samples):
    model = build(spec, seed=0)
    model.img_model.conv1.requires_grad_(False)
    before = model.img_model.conv1.weight.clone()
    fit(model, samples(8, batch_size=4), Recipe(epochs=1), seed=0, task=GRADES)
    assert torch.equal(model.img_model.conv1.weight, before)


def test_bf16_trains_close_to_fp32(spec, samples):
    losses = []
    for bf16 in (False, True):
        model = build(spec, seed=0)
        losses.append(
            fit(
                model, samples(16, batch_size=8), Recipe(epochs=3, bf16=bf16), seed=0, task=GRADES
            ).epochs[-1]["loss"]
        )
        assert all(p.dtype == torch.float32 for p in model.parameters())
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


class Watcher:
    def __init__(self):
        self.moves, self.rows = [], []

    def before_step(self, model, batch):
        self._before = model.img_model.fc1.weight.detach().clone()

    def after_step(self, model, batch):
        self.moves.append(float((model.img_model.fc1.weight.detach() - self._before).norm()))
        self.rows += batch.row.tolist()

    def after_epoch(self, model, optimiser, done):
        pass

    def state_dict(self):
        return {"moves": self.moves, "rows": self.rows}

    def load_state_dict(self, state):
        self.moves, self.rows = state["moves"], state["rows"]


def test_observers_see_every_step_and_change_nothing(spec, samples):
    watcher, loader = Watcher(), samples(12, batch_size=4)
    watched, plain = build(spec, seed=0), build(spec, seed=0)
    fit(watched, loader, Recipe(epochs=2), seed=0, observers=[watcher], task=GRADES)
    fit(plain, loader, Recipe(epochs=2), seed=0, task=GRADES)
    assert parameter_digest(watched) == parameter_digest(plain)
    assert len(watcher.moves) == 6
    assert min(watcher.moves) > 0
    assert sorted(watcher.rows) == sorted([*range(12)] * 2)
    with pytest.raises(MethodError, match="watched training"):
        fit(
            plain,
            loader,
            Recipe(epochs=1, accumulation=2),
            seed=0,
            observers=[watcher],
            task=GRADES,
        )


def test_observers_are_resumed_with_the_training(spec, samples, tmp_path):
    whole, first, second, loader = Watcher(), Watcher(), Watcher(), samples(12, batch_size=4)
    fit(build(spec, seed=0), loader, Recipe(epochs=3), seed=0, observers=[whole], task=GRADES)

    def stop(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(
            build(spec, seed=0),
            loader,
            Recipe(epochs=3),
            seed=0,
            observers=[first],
            resume=tmp_path / "x",
            progress=stop,
            task=GRADES,
        )
    fit(
        build(spec, seed=0),
        loader,
        Recipe(epochs=3),
        seed=0,
        observers=[second],
        resume=tmp_path / "x",
        task=GRADES,
    )
    assert (second.moves, second.rows) == (whole.moves, whole.rows)


def test_looks_at_validation_patients_change_nothing(spec, samples):
    found = {}
    for every in (0, 1, 2):
        model = build(spec, seed=0)
        trace = fit(
            model,
            samples(8, batch_size=4),
            Recipe(epochs=3, validate_every=every),
            seed=0,
            validation=samples(6, batch_size=3),
            task=GRADES,
        )
        found[every] = (
            parameter_digest(model),
            ["validation_loss" in epoch for epoch in trace.epochs],
        )
    assert {digest for digest, _ in found.values()} == {found[0][0]}
    assert [looked for _, looked in found.values()] == [
        [False, False, True],
        [True] * 3,
        [False, True, True],
    ]


def test_validation_without_labels_or_with_one_class_is_none_not_a_number(spec, samples):
    loader, unknown, single = (
        samples(8, batch_size=4),
        samples(6, batch_size=3),
        samples(6, batch_size=3),
    )
    unknown.all.label[:] = -1
    single.all.label[:] = 2
    model = build(spec, seed=0)
    epoch = fit(model, loader, Recipe(epochs=1), seed=0, validation=unknown, task=GRADES).epochs[0]
    assert (epoch["validation_loss"], epoch["validation_auc_image"]) == (None, None)
    epoch = fit(model, loader, Recipe(epochs=1), seed=0, validation=single, task=GRADES).epochs[0]
    assert epoch["validation_loss"] > 0
    assert epoch["validation_auc_text"] is None


def test_recipe_lists_all_faults():
    with pytest.raises(SpecError) as caught:
        Recipe(lr=0, batch_size=1, warmup=0.8, decay=0.4)
    assert len(caught.value.faults) == 3


def test_one_flipped_bit_of_the_progress_is_refused(spec, samples, tmp_path):
    file, loader = tmp_path / "progress.pt", samples(12, batch_size=6)
    model = build(spec, seed=0)
    fit(model, loader, Recipe(epochs=1), seed=0, resume=file, task=GRADES)

    # A bit in the numbers of a weight, which the format itself does not check.
    content = bytearray(file.read_bytes())
    weights = max(model.parameters(), key=torch.numel).detach().numpy().tobytes()
    content[content.index(weights) + 10] ^= 1
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match="changed after it was written"):
        fit(build(spec, seed=0), loader, Recipe(epochs=1), seed=0, resume=file, task=GRADES)


def test_divergence_that_is_read_late_names_its_step(spec, samples, monkeypatch):
    monkeypatch.setattr("forgetmi.model.step_values.steps_between_reads", lambda device: 100)
    poisoned = samples(20, batch_size=5)
    poisoned.all.image[:] = float("nan")
    with pytest.raises(MethodError, match=r"diverged at step 0 \(epoch 0\)"):
        fit(build(spec, seed=0), poisoned, Recipe(), seed=0, task=GRADES)
