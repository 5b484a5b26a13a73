"""Calibrated consensus: its goal against a slow oracle, limits, what it reads, kinds of cohorts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from forgetmi.cohort.partition import partition
from forgetmi.cohort.synthetic import SyntheticCohort
from forgetmi.core.errors import MethodError, SpecError
from forgetmi.data.noise import augmentation
from forgetmi.data.preprocessing import ImagePreprocessing
from forgetmi.methods import calibrated_consensus as ours
from forgetmi.methods.calibrated_consensus import CalibratedConsensus
from forgetmi.model.architecture import Architecture
from forgetmi.model.head_space import centred_basis, class_units
from forgetmi.model.image_text import ImageText
from forgetmi.run import workflow
from forgetmi.unlearning.pool_targets import PoolTargets
from forgetmi.unlearning.teacher import frozen, tabulate
from forgetmi.unlearning.transport import fit_transport
from tests.unlearning.averaging import STILL, apply, goal_of, outputs, trained


@pytest.fixture(scope="module")
def original(small: Any) -> ImageText:
    return trained(small)


@pytest.mark.parametrize(
    "wrong",
    [
        {"draws": 0},
        {"members": -1},
        {"covariance": 1.5},
        {"covariance": -0.1},
        {"prior": -1.0},
        {"kl": -1.0},
        {"batch_size": 0},
        {"text_level": 1.5},
        {"decay": -0.1},
        {"target": "retrained"},
    ],
)
def test_options_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match=next(iter(wrong))):
        CalibratedConsensus(**wrong)


def test_all_wrong_options_are_told_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        CalibratedConsensus(draws=0, members=-1)
    assert len(caught.value.faults) == 2


def slow_goal(
    small: Any,
    model: ImageText,
    name: str,
    *,
    draws: int,
    share: float,
    **reports: Any,
) -> torch.Tensor:
    """The goal of one modality from the formulas, one set at a time and in logits instead of coordinates."""
    records, sets = small.prepared.records, small.partition
    head = model.img_model.fc1 if name == "image" else model.text_model.classifier
    weight, bias = head.weight.detach().double(), head.bias.detach().double()

    def embedded(rows: Any, perturbation: Any = None) -> torch.Tensor:
        return getattr(
            tabulate(frozen(model), [records.batch(rows, perturbation=perturbation)]), name
        ).double()

    def centred(z: torch.Tensor) -> np.ndarray:
        logits = z @ weight.T + bias
        return (logits - logits.mean(1, keepdim=True)).numpy()

    def averaged(rows: Any) -> tuple[torch.Tensor, torch.Tensor]:
        each = torch.stack(
            [embedded(rows, augmentation(seed=0, draw=draw, **reports)) for draw in range(draws)]
        )
        mean = each.mean(0)
        return mean, mean * (each.norm(dim=2).mean(0) / mean.norm(dim=1))[:, None]

    basis, label = centred_basis(4), small.cohort.label
    fitted = fit_transport(
        centred(averaged(sets.retain)[1]) @ basis,
        label[sets.retain],
        centred(embedded(sets.validation)) @ basis,
        label[sets.validation],
        units=class_units(4),
    )
    mean, rescaled = averaged(sets.forget)
    wanted = fitted.apply(centred(rescaled) @ basis, label[sets.forget], covariance=share) @ basis.T
    flat = weight - weight.mean(0)
    return mean + torch.from_numpy(wanted - centred(mean)) @ torch.linalg.pinv(flat).T


@pytest.mark.parametrize(
    ("share", "reports"), [(0.0, {}), (1.0, {}), (1.0, {"text_level": 0.2, "sentences": True})]
)
def test_the_goal_against_a_slow_oracle(
    small: Any,
    original: ImageText,
    monkeypatch: Any,
    share: float,
    reports: dict[str, Any],
) -> None:
    method = CalibratedConsensus(draws=2, members=0, covariance=share, **reports)
    _, goal = goal_of(monkeypatch, small, original, method)
    for name in ("image", "text"):
        slow = slow_goal(small, original, name, draws=2, share=share, **reports)
        assert torch.allclose(getattr(goal, name).double(), slow, atol=1e-3)


def test_the_goal_has_the_goal_logits(small: Any, original: ImageText, monkeypatch: Any) -> None:
    _, goal = goal_of(monkeypatch, small, original, CalibratedConsensus(draws=2))
    assert torch.allclose(original.img_model.fc1(goal.image), goal.image_logits, atol=1e-5)
    assert torch.allclose(original.text_model.classifier(goal.text), goal.text_logits, atol=1e-5)


def test_without_changes_and_without_a_difference_the_goal_is_the_original(
    small: Any,
    original: ImageText,
    monkeypatch: Any,
) -> None:
    """Validation = retain, unchanged copies: members and validation samples are the same, there is nothing to undo."""
    fit = ours.fit_transport
    monkeypatch.setattr(ours, "augmentation", lambda **keys: None)
    monkeypatch.setattr(ours, "fit_transport", lambda a, x, b, y, **more: fit(a, x, a, x, **more))
    clean, goal = goal_of(monkeypatch, small, original, CalibratedConsensus(draws=1))
    assert torch.allclose(goal.image, clean.image, atol=1e-4)
    assert torch.allclose(goal.text, clean.text, atol=1e-4)


def pool_of(small: Any, model: ImageText, *, higher: float = 0.0) -> PoolTargets:
    """A pool all of whose members are one model; its logits of the last class may be higher."""
    rows = np.sort(np.concatenate([small.partition.forget, small.partition.retain]))
    logits = {}
    for head, values in outputs(small, model, rows).outputs.logits.items():
        logits[head] = values.double().numpy()
        logits[head][:, -1] += higher
    return PoolTargets(rows, logits, ("a", "b"))


@pytest.mark.parametrize("target", ["pool", "both"])
def test_a_pool_of_the_original_alone_is_an_average_over_unchanged_copies(
    small: Any, original: ImageText, monkeypatch: Any, target: Any
) -> None:
    """The limit in which the members differ in nothing from the model in service."""
    monkeypatch.setattr(ours, "augmentation", lambda **keys: None)
    method = CalibratedConsensus(draws=1, members=0)
    _, averaged = goal_of(monkeypatch, small, original, method)
    same = pool_of(small, original)
    _, pooled = goal_of(monkeypatch, small, original, replace(method, target=target), pool=same)
    for name in ("image", "text"):
        assert torch.allclose(getattr(pooled, name), getattr(averaged, name), atol=1e-4)


def test_what_all_members_share_is_undone(
    small: Any, original: ImageText, monkeypatch: Any
) -> None:
    """Members that say the same too much of everybody lead to the same goal."""
    method = CalibratedConsensus(draws=1, members=0, target="pool", prior=0.0)
    goals = []
    for higher in (0.0, 3.0):
        pool = pool_of(small, original, higher=higher)
        goals.append(goal_of(monkeypatch, small, original, method, pool=pool)[1])
    assert torch.allclose(goals[0].image_logits, goals[1].image_logits, atol=1e-3)
    assert torch.allclose(goals[0].text_logits, goals[1].text_logits, atol=1e-3)


def test_without_a_difference_the_goal_says_what_the_pool_says(
    small: Any, original: ImageText, monkeypatch: Any
) -> None:
    """Of each forgotten sample by itself, not of its class alone."""
    fit = ours.fit_transport
    monkeypatch.setattr(ours, "fit_transport", lambda a, x, b, y, **more: fit(a, x, a, x, **more))
    pool = pool_of(small, original, higher=2.0)
    method = CalibratedConsensus(draws=2, target="pool")
    _, goal = goal_of(monkeypatch, small, original, method, pool=pool)
    said = torch.from_numpy(pool.of(small.partition.forget)["image"]).float()
    centred = [one - one.mean(1, keepdim=True) for one in (goal.image_logits, said)]
    assert torch.allclose(*centred, atol=1e-3)


def test_the_mean_lies_half_way(small: Any, original: ImageText, monkeypatch: Any) -> None:
    pool, goals = pool_of(small, trained_otherwise(small)), {}
    for target in ("average", "pool", "both"):
        method = CalibratedConsensus(draws=1, target=target)
        goals[target] = goal_of(monkeypatch, small, original, method, pool=pool)[1].text_logits
    half = (goals["average"] + goals["pool"]) / 2
    assert torch.allclose(goals["both"], half, atol=1e-4)
    assert not torch.allclose(goals["average"], goals["pool"], atol=0.1)


def trained_otherwise(small: Any) -> ImageText:
    """A model that has learnt nothing yet."""
    return workflow.build(small.prepared.spec, seed=5).eval()


def test_without_a_pool_it_says_where_to_get_one(small: Any, original: ImageText) -> None:
    with pytest.raises(MethodError, match="was given none"):
        apply(small, original, CalibratedConsensus(draws=1, epochs=1, target="pool"))


def test_samples_without_a_label_keep_their_averaged_output(
    small: Any, original: ImageText, monkeypatch: Any
) -> None:
    _, with_labels = goal_of(monkeypatch, small, original, CalibratedConsensus(draws=2))
    label = small.prepared.records.label.copy()
    label[small.partition.forget[0]] = -1
    records = replace(small.prepared.records, label=label)
    partly = replace(small, prepared=replace(small.prepared, records=records))
    _, without = goal_of(monkeypatch, partly, original, CalibratedConsensus(draws=2))
    assert torch.equal(with_labels.image[1:], without.image[1:])
    assert float((with_labels.image[0] - without.image[0]).abs().max()) > 1e-4
    each = torch.stack(
        [
            tabulate(
                frozen(original),
                [
                    records.batch(
                        small.partition.forget[:1], perturbation=augmentation(seed=0, draw=draw)
                    )
                ],
            ).image
            for draw in range(2)
        ]
    )
    rescaled = each.mean(0) * each.norm(dim=2).mean() / each.mean(0).norm()
    logits = [original.img_model.fc1(z).detach() for z in (without.image[:1], rescaled)]
    assert torch.allclose(*(one - one.mean() for one in logits), atol=1e-4)


def test_statistics_use_as_many_members_as_asked_for(small: Any, original: ImageText) -> None:
    every = len(small.partition.retain)
    for wanted, used in ((10, 10), (0, every), (10**6, every)):
        done = apply(small, original, CalibratedConsensus(draws=1, epochs=1, members=wanted))
        assert done.trace.facts["calibrated on"]["members"] == used


def test_the_trace_says_what_it_was_calibrated_on(small: Any, original: ImageText) -> None:
    facts = apply(small, original, CalibratedConsensus(draws=1, epochs=1)).trace.facts
    assert facts["calibrated on"]["validation images"] == len(small.partition.validation)
    assert "rough" in facts["calibrated on"]["remark"]  # the small cohort has few
    assert sum(facts["image transport"]["validation images by class"]) == len(
        small.partition.validation
    )
    assert len(facts["text transport"]["scale by direction"]) == 3


def test_heads_and_gate_never_move(small: Any, original: ImageText) -> None:
    done = apply(small, original, CalibratedConsensus(draws=2, epochs=3, lr=1e-2))
    assert not [name for name in done.trace.changed if name.startswith(STILL)]
    assert {"img_model.conv1.weight", "text_model.bert.pooler.dense.weight"} <= set(
        done.trace.changed
    )
    assert all("running" not in name for name in done.trace.changed)


@pytest.mark.parametrize("kl", [0.0, 1.0])
def test_the_forgotten_move_towards_the_goal(
    small: Any, original: ImageText, monkeypatch: Any, kl: float
) -> None:
    method = CalibratedConsensus(draws=2, epochs=8, lr=2e-3, kl=kl)
    with monkeypatch.context() as patch:
        clean, goal = goal_of(patch, small, original, method)
    after = outputs(small, apply(small, original, method).model, small.partition.forget)
    for name in ("image_logits", "text_logits"):
        start, wanted, end = (getattr(table, name).log_softmax(1) for table in (clean, goal, after))
        assert float((end - wanted).square().mean()) < float((start - wanted).square().mean())


def without_validation(small: Any, rows: Any) -> Any:
    sets = small.partition
    rest = np.setdiff1d(sets.validation, rows)
    return replace(
        small,
        partition=replace(sets, validation=rows, reference=np.concatenate([sets.reference, rest])),
    )


def test_no_validation_patients_is_a_clear_error(small: Any, original: ImageText) -> None:
    with pytest.raises(MethodError, match="no validation patients"):
        apply(without_validation(small, np.empty(0, np.int64)), original, CalibratedConsensus())


def test_validation_without_labels_is_a_clear_error(small: Any, original: ImageText) -> None:
    label = small.prepared.records.label.copy()
    label[small.partition.validation] = -1
    blind = replace(
        small,
        prepared=replace(small.prepared, records=replace(small.prepared.records, label=label)),
    )
    with pytest.raises(MethodError, match="validation patients with labels"):
        apply(blind, original, CalibratedConsensus(draws=1))


def test_a_single_validation_patient_is_enough_to_run(small: Any, original: ImageText) -> None:
    sets = small.partition
    first = sets.validation[sets.patient[sets.validation] == sets.patient[sets.validation[0]]]
    done = apply(without_validation(small, first), original, CalibratedConsensus(draws=1, epochs=1))
    assert done.trace.facts["calibrated on"]["validation images"] == len(first)
    assert np.isfinite(done.trace.moved)


def test_nominal_labels(small: Any) -> None:
    cohort = SyntheticCohort(patients=30, seed=4, size=32, task="classes").load()
    sets = partition(cohort, forget=15.0, seed=4)
    prepared = workflow.prepare(
        cohort=cohort,
        partition=sets,
        images=ImagePreprocessing(size=32),
        architecture=Architecture(
            stem_width=4, widths=(4, 8), hidden=8, heads=2, layers=1, intermediate=16
        ),
        min_patients=2,
    )
    model = workflow.build(prepared.spec, seed=0)
    done = workflow.unlearn(
        prepared=prepared,
        partition=sets,
        model=model,
        method=CalibratedConsensus(draws=2, epochs=2),
    )
    assert done.trace.steps > 0
    assert len(done.trace.facts["image transport"]["scale by direction"]) == len(cohort.classes) - 1
