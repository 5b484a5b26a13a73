"""Forget-MI: its settings, limits and what it must never touch."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from forgetmi import api
from forgetmi.batch.perturb import Perturbation
from forgetmi.errors import MethodError
from forgetmi.methods import base, calibrate
from forgetmi.methods.access import Loaders
from forgetmi.methods.forget_mi import WEIGHTS, ForgetMI
from forgetmi.methods.losses import distance
from forgetmi.methods.steps import concatenate, embeddings, split
from forgetmi.methods.teacher import frozen, tabulate
from forgetmi.methods.views import bounds_between
from forgetmi.model.image_text import ImageText, parameter_digest
from forgetmi.model.train import Recipe

GIVEN = ForgetMI(epochs=2, noise="given", noise_std=0.3, text_level=0.5)


@pytest.fixture(scope="module")
def original(small: Any) -> ImageText:
    return api.train(prepared=small.prepared, partition=small.partition, recipe=Recipe(epochs=2), seed=3)[0]


def run(small: Any, model: ImageText, method: ForgetMI, seed: int = 5) -> base.Unlearned:
    return base.unlearn(method, model, records=small.prepared.records, partition=small.partition, seed=seed,
                        recipe=Recipe(), fresh_model=lambda own: api.build(small.prepared.spec, seed=own))


def sets(small: Any, size: int = 16) -> Loaders:
    rows = {name: small.partition.rows(name) for name in ("forget", "retain", "validation")}
    return Loaders(small.prepared.records, rows, patient=small.partition.patient, reads=ForgetMI.info.reads,
                   batch_size=size, seed=5)


def test_the_published_settings() -> None:
    assert WEIGHTS["equal"] == (1, 1, 1, 1)
    uu, mu, ur, mr = WEIGHTS["multimodal"]
    assert (mu, mr) == (2 * uu, 2 * ur)
    uu, mu, ur, mr = WEIGHTS["unimodal"]
    assert (uu, ur) == (2 * mu, 2 * mr)
    uu, mu, ur, mr = WEIGHTS["retention"]
    assert (ur, mr) == (2 * uu, 2 * mu)


def test_the_first_epoch_reports_the_four_distances(small: Any, original: ImageText) -> None:
    """With a learning rate of almost nothing the logged terms are those of the original, computed here one by one."""
    method = dataclasses.replace(GIVEN, epochs=1, lr=1e-12, weight_decay=0.0)
    logged = run(small, original, method).trace.epochs[0]
    records, rows, teacher = small.prepared.records, small.partition.forget, frozen(original)
    noise = Perturbation(image_std=0.3, text_level=0.5, seed=5)
    c, j = [], []
    with torch.no_grad():
        for row in rows:
            one = np.array([row])
            clean, noisy = (embeddings(teacher(records.batch(one, perturbation=p))) for p in (None, noise))
            c.append(float((torch.cat(clean[:2], 1) - torch.cat(noisy[:2], 1)).norm()))
            j.append(float((clean[2] - noisy[2]).norm()))
    assert logged["UU"] == pytest.approx(np.mean(c), rel=1e-3)
    assert logged["MU"] == pytest.approx(np.mean(j), rel=1e-3)
    assert logged["UR"] < 1e-3
    assert logged["MR"] < 1e-3


def test_pulling_lowers_the_distance_to_the_noisy_copy_and_away_raises_it(small: Any, original: ImageText) -> None:
    pulled = run(small, original, dataclasses.replace(GIVEN, epochs=6)).trace.epochs
    near = dataclasses.replace(GIVEN, epochs=6, direction="away", noise_std=0.02, text_level=0.1, lr=1e-3)
    pushed = run(small, original, near).trace.epochs  # weak noise: most samples start within the bound
    assert pulled[-1]["UU"] < pulled[0]["UU"]
    assert -pushed[-1]["UU"] > -pushed[0]["UU"]


def test_away_is_bounded(small: Any, original: ImageText) -> None:
    done = run(small, original, dataclasses.replace(GIVEN, epochs=8, direction="away", lr=3e-3))
    teacher, loaders = frozen(original), sets(small)
    retain = loaders.retain
    hold = tabulate(teacher, retain.batches(np.sort(retain.rows)))
    c, j = bounds_between(hold, retain.patients, (1.0, 1.0, 1.0))
    assert all(-epoch["UU"] <= c * 1.5 and -epoch["MU"] <= j * 1.5 for epoch in done.trace.epochs)


def test_the_bound_is_the_median_over_pairs_of_patients(small: Any, original: ImageText) -> None:
    retain = sets(small).retain
    rows = np.sort(retain.rows)[:20]
    hold = tabulate(frozen(original), retain.batches(rows))
    c, _ = bounds_between(hold, retain.patients, (1.0, 1.0, 1.0))
    patient = small.partition.patient[rows]
    view = torch.cat([hold.image, hold.text], dim=1)
    slow = [float((view[a] - view[b]).norm()) for a in range(20) for b in range(a) if patient[a] != patient[b]]
    assert c == pytest.approx(float(torch.tensor(slow).median()), rel=1e-4)


def test_no_noise_starts_from_the_offset(small: Any, original: ImageText) -> None:
    method = ForgetMI(setting="no_noise", epochs=1, lr=1e-12, weight_decay=0.0)
    done = run(small, original, method)
    assert done.trace.facts["noise"] == "none"
    # C joins two embeddings that are each moved by 1e-3; J is one.
    assert -done.trace.epochs[0]["UU"] == pytest.approx(2 ** 0.5 * 1e-3, rel=0.05)
    assert -done.trace.epochs[0]["MU"] == pytest.approx(1e-3, rel=0.05)
    assert done.trace.first_gradient is not None
    assert done.trace.first_gradient > 0


def test_without_noise_pulling_asks_for_nothing(small: Any, original: ImageText) -> None:
    """Standard deviation and level 0: the target is the sample itself, so every term starts at 0."""
    method = ForgetMI(epochs=1, noise="given", noise_std=0.0, text_level=0.0, lr=1e-12, weight_decay=0.0)
    assert all(value < 1e-3 for value in run(small, original, method).trace.epochs[0].values())


def test_heads_gate_and_statistics_stay(small: Any, original: ImageText) -> None:
    changed = set(run(small, original, GIVEN).trace.changed)
    assert changed
    assert not [name for name in changed if name.startswith(("gate.", "img_model.fc1", "text_model.classifier"))]
    assert not [name for name in changed if "running" in name or "num_batches" in name]
    moved = set(run(small, original, dataclasses.replace(GIVEN, bn="train")).trace.changed)
    assert [name for name in moved if "running_mean" in name]


@pytest.mark.parametrize("change", [{"redraw": True}, {"retain": "random"}, {"normalise": True}, {"noise_std": 0.5},
                                    {"setting": "retention"}, {"direction": "away"}])
def test_every_option_matters(change: dict[str, Any], small: Any, original: ImageText) -> None:
    one, other = (parameter_digest(run(small, original, method).model)
                  for method in (GIVEN, dataclasses.replace(GIVEN, **change)))
    assert one != other


def test_steps_are_batches_times_epochs(small: Any, original: ImageText) -> None:
    done = run(small, original, GIVEN)
    batches = -(-len(small.partition.forget) // 16)
    assert done.trace.steps == 2 * batches


def test_sequential_retention_goes_on_where_it_stopped(small: Any) -> None:
    retain = sets(small).retain
    n = len(retain.rows)
    seen = np.concatenate([retain.window(epoch, 7) for epoch in range(n // 7)])
    assert len(np.unique(seen)) == len(seen)


def test_one_fused_pass_equals_two(small: Any, original: ImageText) -> None:
    loaders, teacher = sets(small), frozen(original)
    lost, held = next(loaders.forget.epoch(0)), next(loaders.retain.epoch(0))
    with torch.no_grad():
        first, second = split(teacher(concatenate(lost, held)), len(lost))
        for fused, alone in ((first, teacher(lost)), (second, teacher(held))):
            for a, b in zip(embeddings(fused), embeddings(alone), strict=True):
                assert float(distance(a, b).max()) < 1e-4


def test_calibration_matches_unseen_patients(small: Any, original: ImageText, monkeypatch: Any) -> None:
    monkeypatch.setattr(calibrate, "FEWEST", 1)
    loaders, teacher = sets(small), frozen(original)
    std, level, found = calibrate.calibrate_noise(teacher, loaders.forget, loaders.validation, seed=5)
    target, records = found["target cross-entropy (image, text)"], small.prepared.records
    validation, forget = small.partition.validation, small.partition.forget
    slow = []
    for head in ("image_logits", "text_logits"):
        total, weight = 0.0, 0.0
        for label in sorted(set(records.label[forget].tolist())):
            rows = validation[records.label[validation] == label]
            if len(rows):
                with torch.no_grad():
                    logits = getattr(teacher(records.batch(rows)), head)
                loss = torch.nn.functional.cross_entropy(logits, torch.full((len(rows),), label))
                share = float((records.label[forget] == label).sum())
                total, weight = total + share * float(loss), weight + share
        slow.append(total / weight)
    assert target == pytest.approx(slow, rel=1e-4)
    assert std in calibrate.IMAGE_STD
    assert level in calibrate.TEXT_LEVEL
    distances = []
    for other, text in zip(calibrate.IMAGE_STD, calibrate.TEXT_LEVEL, strict=True):
        noisy = records.batch(forget, perturbation=Perturbation(image_std=other, text_level=text, seed=5))
        with torch.no_grad():
            loss = torch.nn.functional.cross_entropy(teacher(noisy).image_logits, noisy.label)
        distances.append(abs(float(loss) - slow[0]))
    assert std == calibrate.IMAGE_STD[int(np.argmin(distances))]


def test_few_forgotten_images_fall_back(small: Any, original: ImageText) -> None:
    loaders = sets(small)
    std, level, found = calibrate.calibrate_noise(frozen(original), loaders.forget, loaders.validation, seed=5)
    assert (std, level) == calibrate.FALLBACK
    assert found["noise"] == "fallback"


def test_the_teacher_shares_nothing_with_the_student(original: ImageText) -> None:
    teacher = frozen(original)
    assert not {p.data_ptr() for p in teacher.parameters()} & {p.data_ptr() for p in original.parameters()}
    assert not any(p.requires_grad for p in teacher.parameters())
    assert not teacher.training
    before, student = parameter_digest(teacher), copy.deepcopy(original)
    with torch.no_grad():
        for p in student.parameters():
            p.add_(1.0)
    assert parameter_digest(teacher) == before


def test_a_loss_that_is_no_number_stops_at_once(small: Any, original: ImageText) -> None:
    with pytest.raises(MethodError, match="smaller learning rate"):
        run(small, original, dataclasses.replace(GIVEN, epochs=20, lr=1e6, clip=0.0))
