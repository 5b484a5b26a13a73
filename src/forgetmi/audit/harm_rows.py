"""The audit's table of harm: utility on all held-out patients, then accuracy by subgroup of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from forgetmi.audit.harm import MetricDifference, accuracy_difference, utility_difference
from forgetmi.audit.patient_tables import LEAST, subgroup_columns
from forgetmi.audit.rows import Harm, HarmRow
from forgetmi.audit.rule import AuditSpec
from forgetmi.core.arrays import Ints
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import EvaluationError
from forgetmi.core.labels import known
from forgetmi.core.signals import Signals
from forgetmi.core.task import TaskMeasures
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.evaluation.signals import Head, has_inputs, heads_of


@dataclass(frozen=True, eq=False)
class _HeldOut:
    """Signals of labelled held-out images.

    Args:
        patient: Int[n], patient codes.
        unlearned, retrained: Signals of the n images.
    """

    patient: Ints
    unlearned: Signals
    retrained: tuple[Signals, ...]

    @property
    def patients(self) -> int:
        """How many patients the images belong to."""
        return len(np.unique(self.patient))

    def of_head(self, head: Head) -> _HeldOut:
        """The images that have what a head reads."""
        return self.take(np.flatnonzero(has_inputs(self.unlearned, head)))

    def take(self, images: Ints) -> _HeldOut:
        """Some of the images, by position."""
        return _HeldOut(
            self.patient[images],
            _take(self.unlearned, images),
            tuple(_take(model, images) for model in self.retrained),
        )


def harm_rows(
    knowledge: AdversaryKnowledge, *, cohort: Cohort, declared: AuditSpec, draw: int, seed: int
) -> list[HarmRow]:
    """Utility on all held-out patients head by head, then accuracy (all heads together) by subgroup of them.

    Args:
        knowledge: One forget set.
        cohort: With the subgroup columns.
        declared: The margins.
        draw: Which forget set.
        seed: Root seed of the resamples.
    """
    # Held-out images with a label, under the unlearned and the retrained models
    holdout = knowledge.partition.holdout
    rows = holdout[known(cohort.label[holdout])]
    held_out = _HeldOut(
        patient=knowledge.partition.patient[rows],
        unlearned=knowledge.audited.select(rows),
        retrained=tuple(model.select(rows) for model in knowledge.retrained),
    )

    # Nothing is right or wrong of a value, and nothing predicted of a pair: the record says so
    task = knowledge.measures
    heads = heads_of(held_out.unlearned)
    if not heads or not len(rows):
        return []
    utility = _utility_rows(held_out, task=task, declared=declared, draw=draw, seed=seed)
    if "accuracy" not in task.scores():
        return utility

    # Images of each subgroup, by all heads together
    measured = held_out.of_head(heads[-1])
    columns = subgroup_columns(cohort, knowledge.partition.patient)
    groups = []
    for column, values in columns.items():
        of_image = values[measured.patient]
        for value in np.unique(of_image):
            # Values in alphabetical order
            groups.append((column, str(value), measured.take(np.flatnonzero(of_image == value))))

    return [
        *utility,
        *_subgroup_rows(groups, task=task, declared=declared, draw=draw, seed=seed),
    ]


def _utility_rows(
    held_out: _HeldOut, *, task: TaskMeasures, declared: AuditSpec, draw: int, seed: int
) -> list[HarmRow]:
    """The headline metric of each head on all held-out patients."""
    table = []
    for head in heads_of(held_out.unlearned):
        measured = held_out.of_head(head)
        try:
            difference = utility_difference(
                measured.unlearned,
                measured.retrained,
                patient=measured.patient,
                head=head,
                task=task,
                seed=seed,
                resamples=declared.rule.resamples,
            )
        except EvaluationError:
            difference = None

        # Each head is judged by itself
        margin = declared.utility_margin
        table.append(
            _row(
                difference,
                outcome=_outcome(difference, margin, tests=1),
                draw=draw,
                subgroup=("", ""),
                measure=(head, task.headline[0]),
                patients=measured.patients,
                margin=margin,
            )
        )
    return table


def _subgroup_rows(
    groups: Sequence[tuple[str, str, _HeldOut]],
    *,
    task: TaskMeasures,
    declared: AuditSpec,
    draw: int,
    seed: int,
) -> list[HarmRow]:
    """Accuracy of all heads together within each subgroup."""
    # Subgroups that are judged, for the correction
    tests = sum(held_out.patients >= LEAST for _, _, held_out in groups)

    table = []
    for column, value, held_out in groups:
        # Accuracy is defined in small subgroups, too, but says little there
        difference = None
        if held_out.patients >= LEAST:
            difference = _accuracy(held_out, task=task, declared=declared, seed=seed)

        margin = declared.subgroup_margin

        # Harm is corrected for the number of subgroups
        outcome = _outcome(difference, margin, tests=tests)
        if held_out.patients < LEAST:
            outcome = "too few to say"

        table.append(
            _row(
                difference,
                outcome=outcome,
                draw=draw,
                subgroup=(column, value),
                measure=(heads_of(held_out.unlearned)[-1], "accuracy"),
                patients=held_out.patients,
                margin=margin,
            )
        )
    return table


def _accuracy(
    held_out: _HeldOut, *, task: TaskMeasures, declared: AuditSpec, seed: int
) -> MetricDifference | None:
    try:
        return accuracy_difference(
            held_out.unlearned,
            held_out.retrained,
            patient=held_out.patient,
            head=heads_of(held_out.unlearned)[-1],
            task=task,
            seed=seed,
            resamples=declared.rule.resamples,
        )
    except EvaluationError:
        return None  # fewer than two retrained models or patients


def _outcome(difference: MetricDifference | None, margin: float, *, tests: int) -> Harm:
    # Nothing measured excludes nothing
    if difference is None:
        return "not resolvable"
    return difference.outcome(margin, tests=tests)


def _row(
    difference: MetricDifference | None,
    *,
    outcome: Harm,
    draw: int,
    subgroup: tuple[str, str],
    measure: tuple[str, str],
    patients: int,
    margin: float,
) -> HarmRow:
    # "" and "" = all held-out patients
    column, value = subgroup
    head, metric = measure
    return HarmRow(
        draw=draw,
        column=column,
        value=value,
        head=head,
        metric=metric,
        patients=patients,
        unlearned=difference.unlearned if difference else None,
        retrained=difference.retrained if difference else None,
        difference=difference.value if difference else None,
        interval=difference.interval if difference else None,
        margin=margin,
        outcome=outcome,
    )


def _take(signals: Signals, images: Ints) -> Signals:
    return signals.select(signals.row[images])
