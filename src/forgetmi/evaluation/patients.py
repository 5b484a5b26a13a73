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
from forgetmi.evaluation.patient_places import places_among

LEAST_NEVER_SEEN = 10  # patients to standardise on


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

    Examples:
        Patient 7 has two studies, one of them with two images; patient 9 has one image.

        >>> patient, study = np.array([7, 7, 7, 9]), np.array(["a", "a", "b", "c"])
        >>> patients = by_patient(patient, study, label=np.array([0, 0, 1, 1]))
        >>> patients.code, patients.studies, patients.label
        (array([7, 9]), array([2, 1]), array([0, 1]))
        >>> patients.mean(np.array([1.0, 3.0, 6.0, 5.0]))
        array([4., 5.])
    """
    if not len(patient):
        raise EvaluationError(Fault("there are no images to average over"))

    # Each image's patient and study, as numbers from 0
    code, owner = np.unique(patient, return_inverse=True)
    _, name = np.unique(study, return_inverse=True)
    _, study_number = np.unique(owner * (name.max() + 1) + name, return_inverse=True)

    # Studies of each patient, and images in each study
    images_in_study = np.bincount(study_number)
    owner_of_study = np.zeros(len(images_in_study), np.int64)
    owner_of_study[study_number] = owner
    studies = np.bincount(owner_of_study, minlength=len(code))

    # The mean over a patient's studies of the mean over each study's images
    weight = 1.0 / (studies[owner] * images_in_study[study_number])
    places = (owner, np.arange(len(owner)))
    average = csr_array((weight, places), shape=(len(code), len(owner)))

    return Patients(
        code=code,
        studies=studies,
        images=np.bincount(owner),
        label=_most_frequent(label, owner, len(code)),
        average=average,
    )


def _most_frequent(label: Ints, owner: Ints, patients: int) -> Ints:
    """Int[p]: each patient's most frequent known label, -1 = none is known."""
    is_known = label >= 0
    votes = np.zeros((patients, max(int(label.max()), 0) + 1))
    np.add.at(votes, (owner[is_known], label[is_known]), 1)
    return np.where(votes.any(1), votes.argmax(1), -1)


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
    forgotten: np.ndarray,
    level: float = 0.05,
) -> PatientScores:
    """Identify single patients a model still remembers (or has forgotten too visibly).

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

    Examples:
        The last of twenty-one patients was forgotten, and stands out.

        >>> signal = np.append(np.linspace(-1.0, 1.0, 20), 5.0)
        >>> scores = score_patients(
        ...     unlearned=signal,
        ...     retrained=np.zeros((1, 21)),
        ...     studies=np.ones(21, int),
        ...     forgotten=np.arange(21) == 20,
        ... )
        >>> scores.percentile, scores.remembered.round(3), scores.compared
        (array([100.]), array([0.048]), array([20]))
    """
    members, others = np.flatnonzero(forgotten), np.flatnonzero(~forgotten)
    _check(members, others, retrained)

    # Standardised difference to the retrained models; study counts are never extrapolated
    counts = np.clip(studies, studies[others].min(), studies[others].max())
    raw = unlearned - retrained.mean(0)
    score = _standardise(raw, np.log(counts), 1 / counts, others)
    inside, outside = score[members], score[others]

    # The never-seen patients nearest in study count, as few as can still reach the level
    needed = min(int(np.ceil(len(members) / level)) - 1, len(others))
    places = places_among(counts[members], inside, counts[others], outside, nearest=needed)
    high, low = places.high, places.low

    return PatientScores(
        forgotten=inside,
        never_seen=outside,
        percentile=100 * places.below,
        remembered=high,
        over_forgotten=low,
        remembered_adjusted=false_discovery_control(high),
        over_forgotten_adjusted=false_discovery_control(low),
        compared=places.compared,
    )


def _check(members: Ints, others: Ints, retrained: Floats) -> None:
    """There are forgotten patients, a retrained model, and enough never-seen patients."""
    faults = []
    if not len(members):
        faults.append(Fault("there is no forgotten patient"))
    if not len(retrained):
        faults.append(Fault("there is no retrained model"))
    if len(others) < LEAST_NEVER_SEEN:
        faults.append(
            Fault(
                f"{len(others)} never-seen patients are too few to standardise on; at least "
                f"{LEAST_NEVER_SEEN} are needed"
            )
        )
    if faults:
        raise EvaluationError(faults)


def _standardise(raw: Floats, log_count: Floats, inverse_count: Floats, never_seen: Ints) -> Floats:
    """Scores of all patients on the scale of the never-seen ones: mean 0 and variance 1 at every study count."""
    # The mean as a line in the logarithm of the study count
    design = np.column_stack([np.ones_like(log_count), log_count])
    line = np.linalg.lstsq(design[never_seen], raw[never_seen], rcond=None)[0]
    residual = raw - design @ line

    # The variance as a + b / studies, with a and b >= 0
    spread = np.column_stack([np.ones_like(inverse_count), inverse_count])
    variance = spread @ nnls(spread[never_seen], residual[never_seen] ** 2)[0]
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
    forgotten: np.ndarray,
    studies: Ints,
    generator: np.random.Generator,
    permutations: int = 2000,
) -> float:
    """Two-sided p-value of "forgotten and never-seen patients of equal study count are exchangeable".

    The statistic is the sum of the forgotten patients' ranks (as in the AUC); who is forgotten is shuffled among
    patients with the same study count. Use it next to an interval when there are fewer than 20 forgotten patients.

    Args:
        signal: Float[p].
        forgotten: Bool[p].
        studies: Int[p].
        generator: From `forgetmi.core.seeding`.
        permutations: >= 1; the smallest p-value is 1 / (permutations + 1).

    Returns:
        In (0, 1]; 1 where no forgotten patient shares a study count with a never-seen one.

    Examples:
        >>> permutation_test(
        ...     signal=np.arange(20.0),
        ...     forgotten=np.arange(20) >= 15,
        ...     studies=np.ones(20, int),
        ...     generator=np.random.default_rng(0),
        ...     permutations=99,
        ... )
        0.01
    """
    from scipy.stats import rankdata

    # Sum of the forgotten patients' ranks: as it is (element 0), and after each shuffle
    rank, expected, rank_sum = rankdata(signal), 0.0, np.zeros(permutations + 1)
    for count in np.unique(studies[forgotten]):
        stratum = np.flatnonzero(studies == count)
        is_forgotten = forgotten[stratum]
        inside = int(is_forgotten.sum())
        expected += inside * rank[stratum].mean()

        copies = np.broadcast_to(rank[stratum], (permutations, len(stratum)))
        shuffled = generator.permuted(copies, axis=1)
        rank_sum[0] += rank[stratum][is_forgotten].sum()
        rank_sum[1:] += shuffled[:, :inside].sum(1)

    # Share of sums at least as far from the expected one, either way
    deviation = np.abs(rank_sum - expected)
    return float((deviation >= deviation[0] - 1e-9).sum() / (permutations + 1))
