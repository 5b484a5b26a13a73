"""Early warning from a standing pool: who is remembered most by the model in service, before anybody withdraws."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from forgetmi.audit.memorisation import GroupRisk, Memorised, memorised, risk_by_group
from forgetmi.audit.patient_scores import through
from forgetmi.audit.patient_tables import subgroup_columns
from forgetmi.audit.rule import Rule
from forgetmi.core.arrays import codes
from forgetmi.core.errors import EvaluationError
from forgetmi.core.model_names import ORIGINAL
from forgetmi.core.signals import Signals
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge
from forgetmi.run.pool_making import IN_SERVICE
from forgetmi.run.pool_plan import AUDIT
from forgetmi.run.pool_references import references_in
from forgetmi.run.run_data import divide
from forgetmi.run.spec import spec_of


@dataclass(frozen=True, eq=False)
class PoolRisk:
    """What a model in service remembers of the patients it was trained on.

    Args:
        digests: Keyed digest of each patient code.
        by_channel: Channel to what it tells; channels that cannot be measured are missing.
        groups: Channel to everybody's mean and those of subgroups.
        missing: Channel to the reason why it cannot be measured.
    """

    digests: np.ndarray
    by_channel: dict[str, Memorised]
    groups: dict[str, list[GroupRisk]]
    missing: dict[str, str]


def pool_risk(root: Path, *, resamples: int = 1000) -> PoolRisk:
    """Measure how much the model in service remembers of each of its patients.

    Args:
        root: A finished pool.
        resamples: Bootstrap resamples of the subgroups' means.

    Raises:
        SpecError: It is no pool, or not finished.
    """
    spec = spec_of(root)
    cohort = spec.cohort.load()
    partition = divide(spec, cohort).of_request()

    # No reference has seen anybody of the training side
    side = np.concatenate([partition.forget, partition.retain])
    signals: dict[str, Signals] = {ORIGINAL: Signals.load(root / IN_SERVICE)}
    signals |= references_in(root, root / AUDIT / "signals", forgotten=side)

    knowledge = AdversaryKnowledge(partition, signals, task=cohort.task, target=ORIGINAL)
    columns = subgroup_columns(cohort, partition.patient)
    by_channel: dict[str, Memorised] = {}
    groups: dict[str, list[GroupRisk]] = {}
    missing: dict[str, str] = {}
    for channel, through_it in through(knowledge, Rule().channels).items():
        try:
            found = memorised(through_it)
        except EvaluationError as error:
            missing[channel] = str(error.faults[0])
            continue
        by_channel[channel] = found
        groups[channel] = risk_by_group(found, columns, resamples=resamples, seed=spec.seed)
    return PoolRisk(codes(cohort.patient)[1], by_channel, groups, missing)
