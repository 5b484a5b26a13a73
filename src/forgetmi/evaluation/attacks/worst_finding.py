"""The finding that gives forgotten patients away most, corrected for having looked at all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.stats import rankdata

from forgetmi.core.arrays import Floats, Ints
from forgetmi.core.errors import EvaluationError, Fault
from forgetmi.core.partition import SetName
from forgetmi.core.seeding import numpy_generator
from forgetmi.evaluation.attacks.adversary import ATTACKED_SETS, AdversaryKnowledge
from forgetmi.evaluation.attacks.base import AttackInfo, AttackOutput
from forgetmi.evaluation.finding_measures import FindingMeasures, margins
from forgetmi.evaluation.patients import by_patient

LEAST = 5  # patients a side in which a finding must be known
_BLOCK = 1_000_000  # shuffled patients in memory at once


@dataclass(frozen=True)
class MostTelling:
    """The finding whose signal is largest.

    Args:
        number: Which, from 0.
        auc: Of forgotten against never-seen patients by that finding's signal.
        p: Of a finding as telling among all of them, were the patients exchangeable.
        looked_at: Findings that could be compared.
    """

    number: int
    auc: float
    p: float
    looked_at: int


def most_telling(
    signal: Floats,
    forgotten: np.ndarray,
    *,
    generator: np.random.Generator,
    permutations: int = 999,
    group: Ints | None = None,
) -> MostTelling:
    """The largest standardised AUC over the findings, with a p-value by permutation of who is forgotten.

    The largest of many AUCs is above 0.5 by chance, the more so the rarer the findings. Who is forgotten is shuffled
    among the patients, of all findings at once (so what findings have in common stays), and the largest statistic of
    each shuffle is the distribution that the observed one is judged by (Westfall and Young 1993, max-T). The statistic
    is the AUC less 0.5 in standard errors of its null, so that rare findings do not decide.

    Args:
        signal: Float[f, p], each patient's signal by each finding, NaN = unknown.
        forgotten: Bool[p].
        generator: From `forgetmi.core.seeding`.
        permutations: Shuffles, >= 1.
        group: Int[p], within which patients are shuffled; None = one group.

    Raises:
        EvaluationError: No finding is known of enough patients of both sides.

    Examples:
        >>> signal = np.stack([np.arange(20.0) % 7, np.arange(20.0)])
        >>> found = most_telling(
        ...     signal, np.arange(20) >= 12, generator=np.random.default_rng(0), permutations=99
        ... )
        >>> found.number, found.auc, found.p
        (1, 1.0, 0.01)
    """
    findings = _Findings.of(signal, forgotten)
    observed = findings.statistics(forgotten)
    best = int(np.argmax(observed))

    # The largest statistic after each shuffle, of many shuffles at once
    groups = np.zeros(len(forgotten), np.int64) if group is None else group
    step = max(1, _BLOCK // len(forgotten))
    at_least = 0
    for start in range(0, permutations, step):
        times = min(step, permutations - start)
        shuffles = _shuffles(forgotten, groups, times, generator)
        largest = findings.statistics(shuffles).max(0)
        at_least += int((largest >= observed[best] - 1e-9).sum())
    p = (1 + at_least) / (1 + permutations)

    return MostTelling(
        number=int(findings.numbers[best]),
        auc=float(findings.aucs(forgotten)[best]),
        p=float(p),
        looked_at=len(findings.numbers),
    )


@dataclass(frozen=True, eq=False)
class _Findings:
    """Findings that can be compared: their numbers, ranks of the patients known (0 of others), and who is known."""

    numbers: Ints
    rank: Floats
    known: np.ndarray

    @classmethod
    def of(cls, signal: Floats, forgotten: np.ndarray) -> _Findings:
        known = np.isfinite(signal)
        enough = np.minimum(known[:, forgotten].sum(1), known[:, ~forgotten].sum(1)) >= LEAST
        numbers = np.flatnonzero(enough)
        if not len(numbers):
            raise EvaluationError(
                Fault(f"no finding is known of {LEAST} forgotten and {LEAST} never-seen patients")
            )

        # Ranks among the patients of whom the finding is known
        rank = np.zeros((len(numbers), signal.shape[1]))
        for place, number in enumerate(numbers):
            there = known[number]
            rank[place, there] = rankdata(signal[number, there])
        return cls(numbers, rank, known[numbers])

    def aucs(self, forgotten: np.ndarray) -> Floats:
        """Float[f, ...], of the forgotten against the others; 0.5 where a shuffle leaves one side without patients.

        Args:
            forgotten: Bool[p], or Bool[p, b] for b shuffles at once. Sums of ranks and counts are exact in any order.
        """
        inside, outside = self._sides(forgotten)
        pairs = inside * outside
        wins = self.rank @ forgotten.astype(np.float64) - inside * (inside + 1) / 2
        return np.where(pairs > 0, wins / np.maximum(pairs, 1), 0.5)

    def statistics(self, forgotten: np.ndarray) -> Floats:
        """Float[f, ...], the AUC less 0.5 in standard errors of its null (Mann and Whitney 1947)."""
        inside, outside = self._sides(forgotten)
        count = inside + outside
        inside = np.maximum(inside, 1)
        outside = np.maximum(count - inside, 1)
        error = np.sqrt((count + 1) / (12 * inside * outside))
        return (self.aucs(forgotten) - 0.5) / error

    def _sides(self, forgotten: np.ndarray) -> tuple[Floats, Floats]:
        """Float[f, ...] twice: of how many forgotten patients and of how many others each finding is known."""
        known = self.known.astype(np.float64)
        inside = known @ forgotten.astype(np.float64)
        count = known.sum(1).reshape(-1, *(1,) * (forgotten.ndim - 1))
        return inside, count - inside


def _shuffles(
    forgotten: np.ndarray, group: Ints, times: int, generator: np.random.Generator
) -> np.ndarray:
    """Bool[p, b]: who is forgotten after each shuffle within each group."""
    groups = [np.flatnonzero(group == number) for number in np.unique(group)]
    shuffles = np.empty((len(forgotten), times), bool)
    for shuffle in shuffles.T:
        for members in groups:
            shuffle[members] = generator.permutation(forgotten[members])
    return shuffles


@dataclass(frozen=True)
class WorstFinding:
    """The finding through which forgotten patients are told most, and how often one tells as much by chance.

    A patient who is remembered by one rare finding alone hardly shows in the mean over all findings. Made for cohorts
    whose task is findings, and there always.

    Args:
        permutations: Shuffles, >= 1.
    """

    permutations: int = 999

    info: ClassVar[AttackInfo] = AttackInfo(
        name="worst_finding",
        title="Most telling finding",
        source="max-T permutation, Westfall and Young 1993",
        measures="largest AUC of forgotten against never-seen patients over the findings",
        direction="higher",
        reference="retrained",
        forgotten=None,
        needs=frozenset(),
    )

    def apply(self, knowledge: AdversaryKnowledge) -> AttackOutput:
        """See `forgetmi.evaluation.attacks.base.Attack`."""
        if knowledge.task != FindingMeasures.name:
            raise EvaluationError(Fault(f"the task {knowledge.task} has no findings"))

        # Each patient's mean margin by each finding, over the images of which it is known
        sides = [_signals(knowledge, name) for name in ATTACKED_SETS]
        members, others = sides[0].shape[1], sides[1].shape[1]
        found = most_telling(
            np.concatenate(sides, axis=1),
            np.arange(members + others) < members,
            generator=numpy_generator(knowledge.seed, "attacks", "worst finding"),
            permutations=self.permutations,
            group=np.concatenate([knowledge.patients(name).label for name in ATTACKED_SETS]),
        )

        details = {"p": found.p, "finding": found.number + 1.0}
        return AttackOutput(
            value=found.auc,
            counts={"forgotten": members, "never seen": others, "findings": found.looked_at},
            details=details,
            note=(
                f"finding {found.number + 1} of {sides[0].shape[0]}; as telling by chance in "
                f"{found.p:.1%} of shuffles over all of them"
            ),
        )


def _signals(knowledge: AdversaryKnowledge, name: SetName) -> Floats:
    """Float[f, p], NaN where the finding is known of none of a patient's images."""
    margin = margins(knowledge.predictions(knowledge.audited, name), knowledge.label(name)).T
    rows = knowledge.rows(name)
    owner = knowledge.partition.patient[rows]
    study = knowledge.audited.select(rows).study
    code = knowledge.patients(name).code

    # Finding by finding, since each is known of other images
    signal = np.full((len(margin), len(code)), np.nan)
    for number, values in enumerate(margin):
        there = np.flatnonzero(np.isfinite(values))
        if not len(there):
            continue
        patients = by_patient(owner[there], study[there], np.zeros(len(there), np.int64))
        signal[number, np.searchsorted(code, patients.code)] = patients.mean(values[there])
    return signal
