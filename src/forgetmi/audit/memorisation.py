"""How much a model knows of each patient it was trained on, before anybody withdraws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from forgetmi.audit.patient_tables import LEAST
from forgetmi.core.arrays import Floats, Ints, Strings
from forgetmi.core.model_names import ORIGINAL
from forgetmi.core.partition import NEVER_SEEN, SetName
from forgetmi.core.seeding import numpy_generator
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.evaluation.statistics import interval


@dataclass(frozen=True, eq=False)
class Memorised:
    """What a model remembers of each trained patient through one channel.

    Args:
        patient: Int[p], patient codes, ascending.
        value: Float[p]: the patient's signal under the model, minus the mean under models that never saw the patient,
            minus the mean of the same difference over never-seen patients. 0 = like a person it never saw.
        exposed: Float[p], share of never-seen patients whose difference is smaller, 0 to 1.
        never_seen: How many never-seen patients it was compared with.
    """

    patient: Ints
    value: Floats
    exposed: Floats
    never_seen: int


@dataclass(frozen=True)
class GroupRisk:
    """Mean memorisation of a subgroup.

    Args:
        column, value: E.g. "sex" and "F"; both empty = everybody.
        patients: How many.
        mean: Of `Memorised.value`.
        interval: 95 % interval over patients; None = not resolvable.
    """

    column: str
    value: str
    patients: int
    mean: float
    interval: tuple[float, float] | None


def memorised(knowledge: AdversaryKnowledge) -> Memorised:
    """Memorisation of every trained patient, through the knowledge's channel.

    Use it with references that leave every patient out, such as a standing pool's.

    Args:
        knowledge: Forget and retain rows are the trained ones; its retrained models never saw any of them.

    Raises:
        EvaluationError: The channel is undefined for some model, or nobody was never seen.
    """
    model = replace(knowledge, target=ORIGINAL)

    def differences(sets: Sequence[SetName]) -> tuple[Ints, Floats]:
        code = np.concatenate([model.patients(name).code for name in sets])
        own = np.concatenate([model.signal(model.audited, name) for name in sets])
        others = []
        for reference in model.retrained:
            others.append(np.concatenate([model.signal(reference, name) for name in sets]))
        return code, own - np.mean(others, axis=0)

    outside: list[SetName] = [name for name in NEVER_SEEN if len(model.rows(name))]
    _, never_seen = differences(outside)
    code, trained = differences(("forget", "retain"))

    # By patient, the most exposed never-seen one for comparison
    order = np.argsort(code)
    ranks = np.searchsorted(np.sort(never_seen), trained[order], side="left")
    return Memorised(
        patient=code[order],
        value=trained[order] - never_seen.mean(),
        exposed=ranks / len(never_seen),
        never_seen=len(never_seen),
    )


def risk_by_group(
    found: Memorised,
    columns: Mapping[str, Strings],
    *,
    resamples: int,
    seed: int,
) -> list[GroupRisk]:
    """Mean memorisation of everybody and of each subgroup of at least `LEAST` patients, with intervals over patients.

    Args:
        found: Of every trained patient.
        columns: Name to the value of each patient code; "" = unknown, left out. See
            `forgetmi.audit.patient_tables.subgroup_columns`.
        resamples: Bootstrap resamples.
        seed: Root seed.
    """
    rows = [_mean_of(found.value, "", "", resamples=resamples, seed=seed)]
    for column, by_code in columns.items():
        of_patient = by_code[found.patient]
        for value in sorted({*of_patient.tolist()} - {""}):
            inside = found.value[of_patient == value]
            if len(inside) >= LEAST:
                rows.append(_mean_of(inside, column, value, resamples=resamples, seed=seed))
    return rows


def _mean_of(values: Floats, column: str, value: str, *, resamples: int, seed: int) -> GroupRisk:
    """The mean of one group of patients."""
    generator = numpy_generator(seed, "memorisation", column, value)
    draws = generator.integers(0, len(values), size=(resamples, len(values)))
    means = np.concatenate([[values.mean()], values[draws].mean(axis=1)])
    bounds, _ = interval(means, patients=len(values))
    return GroupRisk(column, value, len(values), float(values.mean()), bounds)
