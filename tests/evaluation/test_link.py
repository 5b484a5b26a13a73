"""The image-report link against slow definitions."""

from __future__ import annotations

import numpy as np
import pytest

from forgetmi.core.errors import EvaluationError
from forgetmi.core.signals import Signals
from forgetmi.evaluation import link
from forgetmi.evaluation.channels import TODAYS_CHANNELS, channel_signal
from forgetmi.evaluation.signals import log_probabilities, margin


def signals(seed: int = 0, patients: int = 12, tied: float = 0.0) -> Signals:
    r = np.random.default_rng(seed)
    patient = np.repeat(np.arange(patients), 4)
    study = np.arange(len(patient)) // 2  # two images share a report
    text = r.normal(size=(study.max() + 1, 5))[study]
    image = r.normal(size=text.shape) + tied * text
    n = len(patient)
    return Signals.image_text(
        model="m",
        cohort="c",
        row=np.arange(n),
        patient=np.array([f"p{p}" for p in patient]),
        study=np.array([f"s{s}" for s in study]),
        label=r.integers(0, 3, n),
        image_logits=r.normal(size=(n, 3)),
        text_logits=r.normal(size=(n, 3)),
        image_embedding=image.astype(np.float32),
        text_embedding=text.astype(np.float32),
    )


def slow(one: Signals) -> tuple[list[float], list[float]]:
    assert one.image_embedding is not None
    assert one.text_embedding is not None
    contrasts, ranks = [], []
    for i in range(len(one)):

        def cosine(j: int, i: int = i) -> float:
            a, b = one.image_embedding[i].astype(float), one.text_embedding[j].astype(float)  # type: ignore[index]
            return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

        reports = {
            one.study[j]: cosine(j) for j in range(len(one)) if one.patient[j] != one.patient[i]
        }
        contrasts.append(cosine(i) - float(np.mean(list(reports.values()))))
        ranks.append(1 + sum(value > cosine(i) for value in reports.values()))
    return contrasts, ranks


def test_contrast_and_rank_equal_their_definitions(monkeypatch: pytest.MonkeyPatch) -> None:
    one = signals()
    contrasts, ranks = slow(one)
    np.testing.assert_allclose(link.contrast(one, one), contrasts, atol=1e-12)
    np.testing.assert_allclose(link.retrieval_rank(one, one), ranks)
    monkeypatch.setattr(link, "_BLOCK", 1)  # one image at a time
    np.testing.assert_allclose(link.contrast(one, one), contrasts, atol=1e-12)
    np.testing.assert_allclose(link.retrieval_rank(one, one), ranks)


def test_contrast_of_many_makes_no_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    one = signals()
    contrasts, _ = slow(one)
    monkeypatch.setattr(link, "_MOST_PAIRS", 0)
    monkeypatch.setattr(link, "_blocks", None)
    np.testing.assert_allclose(link.contrast(one, one), contrasts, atol=1e-12)
    some = one.select(np.array([3, 7]))
    np.testing.assert_allclose(link.contrast(some, one), [contrasts[3], contrasts[7]], atol=1e-12)
    alone = one.select(np.arange(4))
    with pytest.raises(EvaluationError, match="no other patient's report"):
        link.contrast(alone, alone)


def test_rank_among_fewer_is_the_mean_over_random_subsets() -> None:
    one = signals(1)
    everyone = link.retrieval_rank(one, one)
    found = link.retrieval_rank(one, one, among=5)
    others = 22  # reports of the 11 other patients
    np.testing.assert_allclose(found, 1 + (everyone - 1) * 4 / others)
    np.testing.assert_allclose(link.retrieval_rank(one, one, among=others + 1), everyone)
    with pytest.raises(EvaluationError, match="Rank among fewer"):
        link.retrieval_rank(one, one, among=others + 2)


def test_tied_pairs_are_found_and_unrelated_ones_are_not() -> None:
    tied, loose = signals(2, tied=20.0), signals(3, patients=200)
    assert (link.retrieval_rank(tied, tied) == 1).mean() > 0.95
    assert link.contrast(tied, tied).mean() > 0.8
    assert abs(link.contrast(loose, loose).mean()) < 0.05
    reports = 1 + 2 * 199
    assert link.retrieval_rank(loose, loose).mean() == pytest.approx((reports + 1) / 2, rel=0.05)


def test_equal_reports_count_half() -> None:
    one = signals(4)
    assert one.text_embedding is not None
    same = one.replaced(text_embedding=np.ones_like(one.text_embedding))
    np.testing.assert_allclose(link.retrieval_rank(same, same), 1 + 22 / 2)
    np.testing.assert_allclose(link.contrast(same, same), 0, atol=1e-9)


def test_what_cannot_be_compared_raises() -> None:
    one = signals(5)
    alone = one.select(np.arange(4))
    with pytest.raises(EvaluationError, match="no other patient's report"):
        link.contrast(alone, alone)
    with pytest.raises(EvaluationError, match="no embeddings"):
        link.contrast(one.replaced(text_embedding=None), one)


def test_channels() -> None:
    one = signals(6)
    for channel in TODAYS_CHANNELS:
        found = channel_signal(one, channel, gallery=one)
        expected = (
            link.contrast(one, one)
            if channel == "link"
            else margin(log_probabilities(one, channel), one.label)
        )
        np.testing.assert_array_equal(found, expected)
