"""The share of memory removed: closed forms, a slow computation, and when nothing can be said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from forgetmi.audit.forget_draw import ForgetDraw
from forgetmi.audit.memory_removed import NO_MEMORY, TOO_FEW, MemoryRemoved, memory_removed


def draw(seed: int = 0, *, forgotten: int = 30, never: int = 60, shift: float = 2.0) -> ForgetDraw:
    """Forgotten patients whose signal under the original is higher by `shift`."""
    generator = np.random.default_rng(seed)
    patients = forgotten + never
    level = generator.normal(size=patients)
    retrained = level + 0.3 * generator.normal(size=(3, patients))
    original = level + 0.3 * generator.normal(size=patients)
    original[:forgotten] += shift

    return ForgetDraw(
        patient=np.concatenate([1000 * (1 + seed) + np.arange(forgotten), np.arange(never)]),
        members=forgotten,
        studies=np.ones(patients, np.int64),
        label=np.zeros(patients, np.int64),
        unlearned=retrained.mean(0),
        original=original,
        retrained=retrained,
    )


def measure(*draws: ForgetDraw, resamples: int = 500, seed: int = 0) -> MemoryRemoved:
    (one,) = memory_removed({"image": draws}, level=0.95, resamples=resamples, seed=seed)
    return one


def slow(draws: list[ForgetDraw]) -> float:
    """Patient by patient: 1 - mean(d_unlearned) / mean(d_original)."""
    totals = {"unlearned": 0.0, "original": 0.0}
    patients = sum(one.members for one in draws)
    for name in totals:
        for one in draws:
            inside, outside = [], []
            for place in range(len(one.patient)):
                reference = sum(row[place] for row in one.retrained) / len(one.retrained)
                d = getattr(one, name)[place] - reference
                (inside if place < one.members else outside).append(d)
            difference = sum(inside) / len(inside) - sum(outside) / len(outside)
            totals[name] += difference * one.members / patients
    return 1 - totals["unlearned"] / totals["original"]


@pytest.mark.parametrize("kept", [0.0, 0.25, 1.0, -0.5])
def test_a_model_between_original_and_retrained_has_removed_the_rest(kept: float) -> None:
    one = draw()
    mixed = kept * one.original + (1 - kept) * one.retrained.mean(0)
    found = measure(replace(one, unlearned=mixed))

    # Every resample has the same share, so the interval has no width
    assert found.share == pytest.approx(1 - kept, abs=1e-12)
    assert found.interval == pytest.approx((1 - kept, 1 - kept), abs=1e-9)
    assert (found.forgotten, found.never_seen, found.reason) == (30, 60, "")


def test_the_untouched_original_has_removed_nothing() -> None:
    one = draw()
    found = measure(replace(one, unlearned=one.original))
    assert (found.share, found.interval) == (0.0, (0.0, 0.0))


def test_another_retrained_model_has_removed_about_all() -> None:
    one = draw()
    left_out = replace(one, unlearned=one.retrained[0], retrained=one.retrained[1:])
    found = measure(left_out)

    assert found.share == pytest.approx(1, abs=0.15)
    assert found.interval is not None
    assert found.interval[0] < 1 < found.interval[1]

    # The same number stands among those of the models left out in turn
    assert measure(one).retrained[0] == pytest.approx(found.share)
    assert measure(one).retrained == pytest.approx([1, 1, 1], abs=0.15)


def test_the_slow_computation_agrees() -> None:
    generator = np.random.default_rng(5)
    draws = []
    for seed, forgotten in ((1, 20), (2, 35)):
        one = draw(seed, forgotten=forgotten)
        noise = 0.5 * generator.normal(size=len(one.patient))
        draws.append(replace(one, unlearned=one.original * 0.3 + noise))

    found = measure(*draws)
    assert found.share == pytest.approx(slow(draws), abs=1e-12)
    assert (found.forgotten, found.never_seen) == (55, 60)

    # The left-out models, too
    for model, share in enumerate(found.retrained):
        without = [
            replace(
                one,
                unlearned=one.retrained[model],
                retrained=np.delete(one.retrained, model, axis=0),
            )
            for one in draws
        ]
        assert share == pytest.approx(slow(without), abs=1e-12)


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    inside = 0
    for seed in range(60):
        one = draw(seed, forgotten=40)
        generator = np.random.default_rng(100 + seed)
        noise = 0.8 * generator.normal(size=len(one.patient))
        unlearned = one.retrained.mean(0) + noise
        unlearned[: one.members] += 0.5
        low, high = measure(replace(one, unlearned=unlearned), resamples=300).interval or (0, 0)
        inside += low < 0.75 < high
    assert 49 <= inside <= 60


def test_without_memory_in_the_original_nothing_is_said() -> None:
    for shift in (0.0, -2.0):
        found = measure(draw(shift=shift))
        assert (found.share, found.interval, found.retrained) == (None, None, ())
        assert found.reason == NO_MEMORY


def test_too_few_patients_or_models() -> None:
    one = draw()
    assert measure(draw(forgotten=1)).reason == TOO_FEW
    assert measure(replace(one, retrained=one.retrained[:0])).reason == TOO_FEW
    assert measure(replace(one, retrained=one.retrained[:1])).retrained == ()
    assert memory_removed({"link": []}, level=0.95, resamples=10, seed=0) == ()


def test_the_same_seed_gives_the_same_interval_in_any_order_of_never_seen_patients() -> None:
    one = draw()
    one = replace(one, unlearned=one.retrained[0] + 0.4)
    order = np.concatenate([np.arange(30), 30 + np.random.default_rng(1).permutation(60)])
    shuffled = ForgetDraw(
        patient=one.patient[order],
        members=30,
        studies=one.studies,
        label=one.label,
        unlearned=one.unlearned[order],
        original=one.original[order],
        retrained=one.retrained[:, order],
    )
    assert measure(one) == measure(one)
    assert measure(shuffled).share == pytest.approx(measure(one).share)
    assert measure(shuffled).interval == pytest.approx(measure(one).interval)
    assert measure(one, seed=1).interval != measure(one).interval
