"""The image-report link: does a model still know which report belongs to which radiograph?

Training pulls an image and its own report together, so a remembered pair is closer than the image is to other
patients' reports, and its report ranks first among many again.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import combinations

import numpy as np

from forgetmi.core.arrays import Floats
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.core.modalities import IMAGE, JOINT, TEXT
from forgetmi.core.pooled_signals import PooledSignals, by_member
from forgetmi.core.signals import Signals
from forgetmi.evaluation.signals import pair_cosine

_BLOCK = 4_000_000  # similarities in memory at once
_MOST_PAIRS = 2**30  # of an image and a report, whose similarities are made for a mean alone
_TIE = 1e-12


def contrast(
    queries: Signals, gallery: Signals, *, pair: tuple[str, str] = (IMAGE, TEXT)
) -> Floats:
    """Cosine of each image with its own report minus its mean cosine with other patients' reports.

    The second term removes how close an image is to reports in general.

    Args:
        queries: n images with their reports.
        gallery: Signals of the same model whose reports are compared; the patient's own are left out. Use the same
            gallery for everything that is compared.
        pair: Names of the two modalities that are linked, today's where none are given.

    Returns:
        Float[n], -2 to 2; larger = more like a member.

    Raises:
        EvaluationError: The model has no embeddings, or the gallery has no other patient's report.

    Examples:
        >>> from forgetmi.evaluation.attacks.toy import toy_knowledge
        >>> original = toy_knowledge().signals["original"]
        >>> contrast(original.select([0, 1]), gallery=original).round(2)
        array([0.99, 0.92])
    """
    if isinstance(queries, PooledSignals):
        return by_member(partial(contrast, pair=pair), queries, gallery)

    own = pair_cosine(queries, pair)
    if len(own) * len(gallery.study) > _MOST_PAIRS:
        return own - _mean_of_others(queries, gallery, pair)
    means = []
    for cosine, is_other in _blocks(queries, gallery, pair):
        means.append(np.where(is_other, cosine, 0).sum(1) / is_other.sum(1))
    return own - np.concatenate(means)


def _mean_of_others(queries: Signals, gallery: Signals, pair: tuple[str, str]) -> Floats:
    """Mean cosine of each image with other patients' reports: to rounding that of all pairs, without making them."""
    image, text, owner = _directions(queries, gallery, pair)

    # A mean of cosines is a cosine with the sum: of all reports, less those of the patient
    names, code = np.unique(np.concatenate([owner, queries.patient]), return_inverse=True)
    of_report, of_query = code[: len(owner)], code[len(owner) :]
    sums = np.zeros((len(names), text.shape[1]))
    np.add.at(sums, of_report, text)
    others = len(text) - np.bincount(of_report, minlength=len(names))[of_query]
    if not others.all():
        raise EvaluationError(Fault("there is no other patient's report to compare with"))
    return (image * (text.sum(0) - sums[of_query])).sum(1) / others


def retrieval_rank(
    queries: Signals,
    gallery: Signals,
    *,
    among: int | None = None,
    pair: tuple[str, str] = (IMAGE, TEXT),
) -> Floats:
    """Rank of an image's own report among `among` reports, by cosine; 1 = the model retrieves it first.

    Args:
        queries: n images with their reports.
        gallery: As in `contrast`; each study's report counts once.
        among: Own report included, >= 2; None = all. With fewer than all it is the expected rank among that many
            drawn at random, which needs no drawing. Chance: (among + 1) / 2.
        pair: As in `contrast`.

    Returns:
        Float[n]; equal cosines count half.

    Raises:
        EvaluationError: As `contrast`, or the gallery has fewer than `among` - 1 other reports.

    Examples:
        >>> from forgetmi.evaluation.attacks.toy import toy_knowledge
        >>> original = toy_knowledge().signals["original"]
        >>> retrieval_rank(original.select([0, 1]), gallery=original)
        array([1., 2.])
    """
    if isinstance(queries, PooledSignals):
        return by_member(partial(retrieval_rank, among=among, pair=pair), queries, gallery)

    own = pair_cosine(queries, pair)[:, None]
    ranks, start = [], 0
    for cosine, is_other in _blocks(queries, gallery, pair):
        own_cosine = own[start : start + len(cosine)]
        start += len(cosine)

        # Other patients' reports that are nearer than the own one; equally near ones count half
        is_tied = np.abs(cosine - own_cosine) <= _TIE
        is_nearer = np.where(is_tied, 0.5, cosine > own_cosine)
        ahead = (is_other * is_nearer).sum(1)

        # Of fewer reports drawn at random, the same share is ahead.
        others = is_other.sum(1)
        if among is None:
            share = np.ones(len(others))
        else:
            _require_reports(int(others.min()), among)
            share = (among - 1) / others
        ranks.append(1 + ahead * share)
    return np.concatenate(ranks)


def _require_reports(others: int, among: int) -> None:
    if others < among - 1:
        raise EvaluationError(
            Fault(
                f"a rank among {among} needs {among - 1} other reports, there are {others}",
                do="Rank among fewer.",
            )
        )


def _blocks(
    queries: Signals, gallery: Signals, pair: tuple[str, str]
) -> Iterator[tuple[Floats, np.ndarray]]:
    """For some images at a time: cosine with each distinct report, and whether it is another patient's."""
    image, text, owner = _directions(queries, gallery, pair)
    step = max(1, _BLOCK // len(text))
    for start in range(0, len(image), step):
        is_other = queries.patient[start : start + step, None] != owner
        if not is_other.any(1).all():
            raise EvaluationError(Fault("there is no other patient's report to compare with"))
        yield image[start : start + step] @ text.T, is_other


def _directions(
    queries: Signals, gallery: Signals, pair: tuple[str, str]
) -> tuple[Floats, Floats, np.ndarray]:
    """Unit embeddings of the images, Float[n, d], of the distinct reports, Float[m, d], and whose reports they are."""
    pair_cosine(gallery, pair)  # refuses zero or missing embeddings

    # Each study's report once
    _, first = np.unique(gallery.study, return_index=True)

    text = np.asarray(gallery.embedding[pair[1]], np.float64)[first]
    image = np.asarray(queries.embedding[pair[0]], np.float64)
    text = text / np.linalg.norm(text, axis=1, keepdims=True)
    image = image / np.linalg.norm(image, axis=1, keepdims=True)
    return image, text, gallery.patient[first]


def missing_pairs(signals: Signals) -> list[tuple[str, str, int]]:
    """Pairs of modalities of which some samples lack one, and how many; a model embeds nothing as zeros.

    A model that embeds all samples so has collapsed, and lacks none.
    """
    missing = []
    modalities = [name for name in signals.embedding if name != JOINT]
    for first, second in combinations(modalities, 2):
        there = signals.embedding[first].any(axis=1) & signals.embedding[second].any(axis=1)
        if there.any() and not there.all():
            missing.append((first, second, int((~there).sum())))
    return missing
