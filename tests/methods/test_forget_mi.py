"""Forget-MI: its settings, limits and what it must never touch."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import statistics
from typing import Any, Literal

import numpy as np
import pytest
import torch

from forgetmi.core.errors import MethodError
from forgetmi.data.noise import FALLBACK_NOISE, IMAGE_STD_GRID, TEXT_LEVEL_GRID, Perturbation
from forgetmi.methods.forget_mi import WEIGHTS, ForgetMI
from forgetmi.model.image_text import ImageText, parameter_digest
from forgetmi.model.recipe import Recipe
from forgetmi.model.tasks.classes import GRADES
from forgetmi.run import workflow
from forgetmi.unlearning import noise_calibration
from forgetmi.unlearning import teacher as teachers
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.joint_views import bounds_between, offset, views
from forgetmi.unlearning.loaders import GuardedLoaders
from forgetmi.unlearning.loop import concatenate, embeddings, split
from forgetmi.unlearning.losses import away, distance, keep, towards
from forgetmi.unlearning.method import Unlearned, unlearn
from forgetmi.unlearning.teacher import frozen, tabulate
from tests.shared_models import shared

GIVEN = ForgetMI(epochs=2, noise="given", noise_std=0.3, text_level=0.5)


@pytest.fixture(scope="module")
def original(small: Any) -> ImageText:
    model, _ = workflow.train(
        prepared=small.prepared, partition=small.partition, recipe=Recipe(epochs=2), seed=3
    )
    return shared("original", model)


@pytest.fixture(scope="module")
def given(small: Any, original: ImageText) -> Unlearned:
    """What most options are compared with."""
    return run(small, original, GIVEN)


def run(small: Any, model: ImageText, method: ForgetMI, seed: int = 5, **more: Any) -> Unlearned:
    return unlearn(
        method,
        model,
        records=small.prepared.records,
        partition=small.partition,
        seed=seed,
        recipe=Recipe(),
        fresh_model=lambda own: workflow.build(small.prepared.spec, seed=own),
        **more,
    )


def sets(small: Any, size: int = 16) -> GuardedLoaders:
    rows = {name: small.partition.rows(name) for name in ("forget", "retain", "validation")}
    return GuardedLoaders(
        small.prepared.records,
        rows,
        patient=small.partition.patient,
        reads=ForgetMI.info.reads,
        batch_size=size,
        seed=5,
    )


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
            clean, noisy = (
                tuple(embeddings(teacher(records.batch(one, perturbation=p))).values())
                for p in (None, noise)
            )
            c.append(float((torch.cat(clean[:2], 1) - torch.cat(noisy[:2], 1)).norm()))
            j.append(float((clean[2] - noisy[2]).norm()))
    assert logged["UU"] == pytest.approx(np.mean(c), rel=1e-3)
    assert logged["MU"] == pytest.approx(np.mean(j), rel=1e-3)
    assert (
        logged["UR"] == logged["MR"] == 0.0
    )  # not rounding: whoever is where the original has them is left alone


def test_pulling_lowers_the_distance_to_the_noisy_copy_and_away_raises_it(
    small: Any, original: ImageText
) -> None:
    pulled = run(small, original, dataclasses.replace(GIVEN, epochs=6)).trace.epochs
    near = dataclasses.replace(
        GIVEN, epochs=6, direction="away", noise_std=0.02, text_level=0.1, lr=1e-3
    )
    pushed = run(
        small, original, near
    ).trace.epochs  # weak noise: most samples start within the bound
    assert pulled[-1]["UU"] < pulled[0]["UU"]
    assert -pushed[-1]["UU"] > -pushed[0]["UU"]


def test_away_is_bounded(small: Any, original: ImageText) -> None:
    done = run(small, original, dataclasses.replace(GIVEN, epochs=8, direction="away", lr=3e-3))
    teacher, loaders = frozen(original), sets(small)
    retain = loaders.retain
    hold = tabulate(teacher, retain.batches(np.sort(retain.rows)))
    c, j = bounds_between(hold, retain.patients, None)
    assert all(-epoch["UU"] <= c * 1.5 and -epoch["MU"] <= j * 1.5 for epoch in done.trace.epochs)


def test_the_bound_is_the_median_over_pairs_of_patients(small: Any, original: ImageText) -> None:
    retain = sets(small).retain
    rows = np.sort(retain.rows)[:20]
    hold = tabulate(frozen(original), retain.batches(rows))
    c, _ = bounds_between(hold, retain.patients, None)
    patient = small.partition.patient[rows]
    view = torch.cat([hold.image, hold.text], dim=1)
    slow = [
        float((view[a] - view[b]).norm())
        for a in range(20)
        for b in range(a)
        if patient[a] != patient[b]
    ]
    assert c == pytest.approx(float(torch.tensor(slow).median()), rel=1e-4)


def test_no_noise_starts_from_the_offset(small: Any, original: ImageText) -> None:
    method = ForgetMI(setting="no_noise", epochs=1, lr=1e-12, weight_decay=0.0)
    done = run(small, original, method)
    assert done.trace.facts["noise"] == "none"
    # C joins two embeddings that are each moved by 1e-3; J is one.
    assert -done.trace.epochs[0]["UU"] == pytest.approx(2**0.5 * 1e-3, rel=0.05)
    assert -done.trace.epochs[0]["MU"] == pytest.approx(1e-3, rel=0.05)
    assert done.trace.first_gradient is not None
    assert done.trace.first_gradient > 0


def test_without_noise_pulling_asks_for_nothing(small: Any, original: ImageText) -> None:
    """Standard deviation and level 0: the target is the sample itself, so every term starts at 0."""
    method = ForgetMI(
        epochs=1, noise="given", noise_std=0.0, text_level=0.0, lr=1e-12, weight_decay=0.0
    )
    assert all(value < 1e-3 for value in run(small, original, method).trace.epochs[0].values())


def test_heads_gate_and_statistics_stay(small: Any, original: ImageText, given: Unlearned) -> None:
    changed = set(given.trace.changed)
    assert changed
    assert not [
        name
        for name in changed
        if name.startswith(("gate.", "img_model.fc1", "text_model.classifier"))
    ]
    assert not [name for name in changed if "running" in name or "num_batches" in name]
    moved = set(run(small, original, dataclasses.replace(GIVEN, bn="train")).trace.changed)
    assert [name for name in moved if "running_mean" in name]


@pytest.mark.parametrize(
    "change",
    [
        {"redraw": True},
        {"retain": "random"},
        {"normalise": True},
        {"noise_std": 0.5},
        {"setting": "retention"},
        {"direction": "away"},
    ],
)
def test_every_option_matters(
    change: dict[str, Any], small: Any, original: ImageText, given: Unlearned
) -> None:
    other = run(small, original, dataclasses.replace(GIVEN, **change))
    assert parameter_digest(other.model) != parameter_digest(given.model)


def test_steps_are_batches_times_epochs(small: Any, given: Unlearned) -> None:
    done = given
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
            for a, b in zip(embeddings(fused).values(), embeddings(alone).values(), strict=True):
                assert float(distance(a, b).max()) < 1e-4


def test_calibration_matches_unseen_patients(
    small: Any, original: ImageText, monkeypatch: Any
) -> None:
    monkeypatch.setattr(noise_calibration, "FEWEST", 1)
    loaders, teacher = sets(small), frozen(original)
    std, level, found = noise_calibration.calibrate_noise(teacher, loaders, seed=5, task=GRADES)
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
    assert std in IMAGE_STD_GRID
    assert level in TEXT_LEVEL_GRID
    distances = []
    for other, text in zip(IMAGE_STD_GRID, TEXT_LEVEL_GRID, strict=True):
        noisy = records.batch(
            forget, perturbation=Perturbation(image_std=other, text_level=text, seed=5)
        )
        with torch.no_grad():
            loss = torch.nn.functional.cross_entropy(teacher(noisy).image_logits, noisy.label)
        distances.append(abs(float(loss) - slow[0]))
    assert std == IMAGE_STD_GRID[int(np.argmin(distances))]


def test_few_forgotten_images_fall_back(small: Any, original: ImageText) -> None:
    loaders = sets(small)
    std, level, found = noise_calibration.calibrate_noise(
        frozen(original), loaders, seed=5, task=GRADES
    )
    assert (std, level) == FALLBACK_NOISE
    assert found["noise"] == "fallback"


def test_the_teacher_shares_nothing_with_the_student(original: ImageText) -> None:
    teacher = frozen(original)
    assert not {p.data_ptr() for p in teacher.parameters()} & {
        p.data_ptr() for p in original.parameters()
    }
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


# The shares of UU, MU, UR and MR in the total, worked out by hand.
SHARES = {
    "no_noise": (1 / 4, 1 / 4, 1 / 4, 1 / 4),
    "equal": (1 / 4, 1 / 4, 1 / 4, 1 / 4),
    "multimodal": (1 / 6, 1 / 3, 1 / 6, 1 / 3),
    "unimodal": (1 / 3, 1 / 6, 1 / 3, 1 / 6),
    "retention": (1 / 6, 1 / 6, 1 / 3, 1 / 3),
}
Said = tuple[torch.Tensor, ...]


def said(model: ImageText, small: Any, row: int, noise: Perturbation | None = None) -> Said:
    """Image, text and joint embedding of one sample, run alone."""
    return tuple(
        one[0]
        for one in embeddings(
            model(small.prepared.records.batch(np.array([row]), perturbation=noise))
        ).values()
    )


def length(*steps: torch.Tensor) -> torch.Tensor:
    """As defined: Euclidean, but smooth at 0."""
    squares = torch.stack([step.square().sum() for step in steps]).sum()
    return squares / (squares + 1e-8).sqrt()


def apart(a: Said, b: Said, scale: tuple[float, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """Distance in C, then in J."""
    image, text, joint = ((x - y) / own for x, y, own in zip(a, b, scale, strict=True))
    return length(image, text), length(joint)


def slow_total(
    small: Any, student: ImageText, teacher: ImageText, method: ForgetMI
) -> torch.Tensor:
    """Of the first step over all forgotten and as many retained samples, one at a time."""
    forget = small.partition.forget.tolist()
    retain = sets(small).retain.window(0, len(forget)).tolist()
    noise, scale, bounds, sign = (
        Perturbation(image_std=0.1, text_level=0.5, seed=5),
        (1.0, 1.0, 1.0),
        None,
        1,
    )
    with torch.no_grad():
        hold = {row: said(teacher, small, row) for row in retain}
        clean = {row: said(teacher, small, row) for row in forget}
        goal = {row: said(teacher, small, row, noise) for row in forget}
        if method.setting == "no_noise":
            moved = offset(
                tabulate(teacher, sets(small).forget.batches(small.partition.forget)), seed=5
            )
            goal = {
                row: tuple(one[0] for one in embeddings(moved.of(torch.tensor([row]))).values())
                for row in forget
            }
        if method.normalise:
            scale = tuple(
                statistics.mean(float(length(goal[row][at] - clean[row][at])) for row in forget)
                for at in range(3)
            )
    if method.setting == "no_noise" or method.direction == "away":
        between = [
            apart(hold[a], hold[b], scale)
            for a, b in itertools.combinations(retain, 2)
            if small.partition.patient[a] != small.partition.patient[b]
        ]
        sign, bounds = (
            -1,
            [statistics.median_low(float(pair[at]) for pair in between) for at in range(2)],
        )
    total = torch.zeros(())
    for row in forget:
        for share, one, bound in zip(
            SHARES[method.setting][:2],
            apart(said(student, small, row), goal[row], scale),
            bounds or (float("inf"),) * 2,
            strict=True,
        ):
            total = total + sign * share * one.clamp(max=bound) / len(forget)
    for row in retain:
        for share, one in zip(
            SHARES[method.setting][2:],
            apart(said(student, small, row), hold[row], scale),
            strict=True,
        ):
            total = total + share * one / len(retain)
    return total


@pytest.mark.parametrize(
    ("setting", "direction", "normalise"),
    [
        ("no_noise", "away", False),
        ("equal", "toward_noise", False),
        ("multimodal", "away", False),
        ("retention", "away", False),
        ("multimodal", "toward_noise", True),
        ("unimodal", "away", True),
        # Every setting, both directions and both scales are above; the other pairs of them
        pytest.param("equal", "away", False, marks=pytest.mark.slow),
        pytest.param("multimodal", "toward_noise", False, marks=pytest.mark.slow),
        pytest.param("unimodal", "toward_noise", False, marks=pytest.mark.slow),
        pytest.param("unimodal", "away", False, marks=pytest.mark.slow),
        pytest.param("retention", "toward_noise", False, marks=pytest.mark.slow),
    ],
)
def test_the_first_step_has_the_total_of_the_formula_and_its_gradient(
    setting: Any,
    direction: Any,
    normalise: bool,
    small: Any,
    original: ImageText,
    monkeypatch: Any,
) -> None:
    """The teacher is not quite the student: else UR and MR would start at 0, and their weights would not show."""
    other, draw = copy.deepcopy(original), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in other.parameters():
            p.mul_(1 + 0.02 * torch.randn(p.shape, generator=draw))
    losses, gradients, step = [], [], Context.step

    def spy(
        self: Context, loss: torch.Tensor, optimiser: torch.optim.Optimizer, *, clip: float = 0.0
    ) -> None:
        step(self, loss, optimiser, clip=clip)
        losses.append(loss.detach())
        gradients.append(
            [
                p.grad
                for group in optimiser.param_groups
                for p in group["params"]
                if p.grad is not None
            ]
        )

    monkeypatch.setattr(Context, "step", spy)
    monkeypatch.setattr(teachers, "frozen", lambda model: frozen(other))
    method = ForgetMI(
        setting=setting,
        direction=direction,
        normalise=normalise,
        noise="given",
        noise_std=0.1,
        text_level=0.5,
        epochs=1,
        clip=0.0,
    )
    done = run(small, original, method, batch_size=1000)
    student = copy.deepcopy(original).eval()
    student.gate.requires_grad_(False)
    total = slow_total(small, student, frozen(other), method)
    total.backward()
    expected = [
        p.grad
        for p in sorted(student.parameters(), key=lambda p: p.ndim <= 1)
        if p.grad is not None
    ]
    assert len(losses) == 1
    assert float(losses[0]) == pytest.approx(float(total.detach()), rel=1e-4, abs=1e-5)
    found, slow = (torch.cat([one.flatten() for one in each]) for each in (gradients[0], expected))
    assert float((found - slow).norm()) < 1e-3 * float(slow.norm())
    assert done.trace.first_gradient == pytest.approx(float(slow.norm()), rel=1e-3)


def test_six_terms_of_zero_have_finite_gradients(small: Any, original: ImageText) -> None:
    student = copy.deepcopy(original).eval()
    batch = small.prepared.records.batch(small.partition.forget)
    ours = views(student(batch), None)
    terms = [
        *map(towards, ours, ours),
        *map(keep, ours, ours),
        *(away(one, one, bound=1.0) for one in ours),
    ]
    assert [float(term.detach()) for term in terms] == [0.0] * 6
    torch.stack(terms).sum().backward()
    gradients = [p.grad for p in student.parameters() if p.grad is not None]
    assert len(gradients) > 20
    assert all(torch.equal(one, torch.zeros_like(one)) for one in gradients)


@pytest.mark.parametrize("direction", ["toward_noise", "away"])
def test_with_the_samples_themselves_as_goal_there_is_nothing_to_follow(
    direction: Literal["toward_noise", "away"],
    small: Any,
    original: ImageText,
) -> None:
    # Noise so weak that samples start within the bound
    method = dataclasses.replace(
        GIVEN, noise_std=0.02, text_level=0.1, direction=direction, weight_decay=0.0
    )
    still, moved = (
        run(small, original, one)
        for one in (dataclasses.replace(method, noise_std=0.0, text_level=0.0), method)
    )
    assert all(bool(torch.isfinite(p).all()) for p in still.model.parameters())
    # Only the first gradient: what is left of it is rounding, which AdamW enlarges to whole steps.
    assert 20 * still.trace.first_gradient < moved.trace.first_gradient


def test_without_its_unlearning_terms_the_original_is_a_fixed_point(
    small: Any,
    original: ImageText,
    monkeypatch: Any,
) -> None:
    method = dataclasses.replace(GIVEN, weight_decay=0.0)
    moved = run(small, original, method).trace
    monkeypatch.setitem(WEIGHTS, GIVEN.setting, (0, 0, 1, 1))
    still = run(small, original, method).trace
    assert still.first_gradient == still.moved == 0.0
    assert moved.first_gradient > 0
    assert moved.moved > 0
