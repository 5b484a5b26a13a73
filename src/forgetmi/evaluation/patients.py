"""One number per patient: the mean over a study's images, then over the patient's studies; and who stands out.

The mean is the default because it does not depend on how much was recorded of a person: with the study counts of the
Forget-MI release, the maximum over a patient's images gives an AUC of 0.72 to 0.75 without any memory at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls
from scipy.sparse import csr_array
from scipy.stats import false_discovery_control

from forgetmi.core.arrays import Floats, Ints
from forgetmi.core.errors import EvaluationError, Fault

Flags = np.ndarray


@dataclass(frozen=True, eq=False, repr=False)
class Patients:
    """The patients behind a set of images.

    Args:
        code: Int[p], distinct patient codes, ascending.
        studies, images: Int[p], how many each has.
        label: Int[p], the most frequent known label (the smallest of equally frequent ones), -1 = none known.
        average: Sparse Float[p, n]; each row sums to 1, each of the patient's studies has the same share.
    """

    code: Ints
    studies: Ints
    images: Ints
    label: Ints
    average: csr_array

    def __len__(self) -> int:
        return len(self.code)

    def mean(self, values: Floats) -> Floats:
        """Float[..., n] image values to Float[..., p] patient values."""
        flat = np.asarray(values, np.float64).reshape(-1, np.shape(values)[-1])
        return (self.average @ flat.T).T.reshape(*np.shape(values)[:-1], len(self))


def by_patient(patient: Ints, study: np.ndarray, label: Ints) -> Patients:
    """Group images by patient and study.

    Args:
        patient: Int[n], any codes.
        study: n codes or digests; a study is counted once per patient, however many images it has.
        label: Int[n], -1 = unknown.

    Raises:
        EvaluationError: There are no images.
    """
    if not len(patient):
        raise EvaluationError(Fault("there are no images to average over"))
    code, owner = np.unique(patient, return_inverse=True)
    _, name = np.unique(study, return_inverse=True)
    _, pair = np.unique(owner * (name.max() + 1) + name, return_inverse=True)
    in_study = np.bincount(pair)
    first = np.zeros(len(in_study), np.int64)
    first[pair] = owner
    studies = np.bincount(first, minlength=len(code))
    weight = 1.0 / (studies[owner] * in_study[pair])
    votes = np.zeros((len(code), max(int(label.max()), 0) + 1))
    known = label >= 0
    np.add.at(votes, (owner[known], label[known]), 1)
    return Patients(
        code=code,
        studies=studies,
        images=np.bincount(owner),
        label=np.where(votes.any(1), votes.argmax(1), -1),
        average=csr_array((weight, (owner, np.arange(len(owner)))), shape=(len(code), len(owner))),
    )


@dataclass(frozen=True, eq=False, repr=False)
class PatientScores:
    """How each forgotten patient compares with the never-seen ones; arrays in the order of the patients given.

    Args:
        forgotten, never_seen: Float[f], Float[m], standardised: 0 = like a never-seen patient, above = remembered.
        percentile: Float[f], 0..100, among the never-seen; equal scores count half.
        remembered, over_forgotten: Float[f], p-values of a score as high, or as low, among the compared patients.
        remembered_adjusted, over_forgotten_adjusted: Float[f], the same after Benjamini-Hochberg over all patients.
        compared: Int[f], never-seen patients the p-value rests on, the nearest in study count.
    """

    forgotten: Floats
    never_seen: Floats
    percentile: Floats
    remembered: Floats
    over_forgotten: Floats
    remembered_adjusted: Floats
    over_forgotten_adjusted: Floats
    compared: Ints


def score_patients(
    *,
    unlearned: Floats,
    retrained: Floats,
    studies: Ints,
    forgotten: Flags,
    level: float = 0.05,
) -> PatientScores:
    """Find single patients a model still remembers (or has forgotten too visibly).

    The score is the patient's signal under the model minus its mean under the retrained models. On never-seen
    patients it is centred by a regression on the logarithm of the study count and scaled by a variance of the form
    a + b / studies, since a mean over many studies scatters less. The p-value counts never-seen patients with a
    score at least as extreme, among those nearest in study count: as few as can still reach `level` after correction
    for the number of forgotten patients, all with an equal count included, or all never-seen ones.

    Args:
        unlearned: Float[p], patient signals under the audited model, larger = more like a member.
        retrained: Float[r, p], under r >= 1 retrained models.
        studies: Int[p], study counts, >= 1.
        forgotten: Bool[p], True = forgotten, False = never seen.
        level: Error rate the number of compared patients must be able to reach, in (0, 1).

    Raises:
        EvaluationError: No forgotten patient, fewer than 10 never-seen ones, no retrained model, or no scatter.
    """
    asked, others = np.flatnonzero(forgotten), np.flatnonzero(~forgotten)
    faults = [
        Fault(what)
        for what, wrong in (
            ("there is no forgotten patient", not len(asked)),
            ("there is no retrained model", not len(retrained)),
            (
                f"{len(others)} never-seen patients are too few to standardise on; at least 10 are needed",
                len(others) < 10,
            ),
        )
        if wrong
    ]
    if faults:
        raise EvaluationError(faults)
    counts = np.clip(studies, studies[others].min(), studies[others].max())  # never extrapolated
    score = _standardise(unlearned - retrained.mean(0), np.log(counts), 1 / counts, others)
    inside, outside = score[asked], score[others]
    needed = min(int(np.ceil(len(asked) / level)) - 1, len(others))
    distance = np.abs(np.log(counts[asked])[:, None] - np.log(counts[others]))
    near = distance <= np.partition(distance, needed - 1, axis=1)[:, [needed - 1]] + 1e-12
    compared = near.sum(1)
    high = (1 + (near & (outside >= inside[:, None])).sum(1)) / (1 + compared)
    low = (1 + (near & (outside <= inside[:, None])).sum(1)) / (1 + compared)
    below = (outside < inside[:, None]).mean(1) + (outside == inside[:, None]).mean(1) / 2
    return PatientScores(
        forgotten=inside,
        never_seen=outside,
        percentile=100 * below,
        remembered=high,
        over_forgotten=low,
        remembered_adjusted=false_discovery_control(high),
        over_forgotten_adjusted=false_discovery_control(low),
        compared=compared,
    )


def _standardise(raw: Floats, log_count: Floats, inverse_count: Floats, on: Ints) -> Floats:
    design = np.column_stack([np.ones_like(log_count), log_count])
    line = np.linalg.lstsq(design[on], raw[on], rcond=None)[0]
    residual = raw - design @ line
    spread = np.column_stack([np.ones_like(inverse_count), inverse_count])
    variance = spread @ nnls(spread[on], residual[on] ** 2)[0]
    if not (variance > 1e-24).all():
        raise EvaluationError(
            Fault(
                "never-seen patients all have the same score", why="there is no scale to judge by"
            )
        )
    return residual / np.sqrt(variance)


def permutation_test(
    *,
    signal: Floats,
    forgotten: Flags,
    studies: Ints,
    generator: np.random.Generator,
    permutations: int = 2000,
) -> float:
    """Two-sided p-value of "forgotten and never-seen patients of equal study count are exchangeable".

    The statistic is the sum of the forgotten patients' ranks (as in the AUC); who is forgotten is shuffled among
    patients with the same study count. Use it beside an interval when there are fewer than 20 forgotten patients.

    Args:
        signal: Float[p].
        forgotten: Bool[p].
        studies: Int[p].
        generator: From `forgetmi.core.seeding`.
        permutations: >= 1; the smallest p-value is 1 / (permutations + 1).

    Returns:
        In (0, 1]; 1 where no forgotten patient shares a study count with a never-seen one.
    """
    from scipy.stats import rankdata

    rank, expected, spread = rankdata(signal), 0.0, np.zeros(permutations + 1)
    for count in np.unique(studies[forgotten]):
        at = np.flatnonzero(studies == count)
        inside = int(forgotten[at].sum())
        expected += inside * rank[at].mean()
        shuffled = generator.permuted(np.broadcast_to(rank[at], (permutations, len(at))), axis=1)
        spread[0] += rank[at][forgotten[at]].sum()
        spread[1:] += shuffled[:, :inside].sum(1)
    deviation = np.abs(spread - expected)
    return float((deviation >= deviation[0] - 1e-9).sum() / (permutations + 1))
