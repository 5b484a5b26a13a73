"""A finished run as the audit reads it: arrays, no model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from forgetmi.core.arrays import Ints
from forgetmi.core.near_duplicates import NearDuplicate
from forgetmi.core.partition import Partition
from forgetmi.core.signals import Signals
from forgetmi.evaluation.attacks.adversary import AdversaryKnowledge, Pool, Relearning


@dataclass(frozen=True, eq=False)
class AuditedRun:
    """One finished run, as arrays.

    Args:
        name: Of its directory.
        partition: Who was forgotten, retained, never seen.
        signals: "original", "unlearned", "retrain-0" ... to signals on all rows.
        duplicates: Near-duplicates of what was forgotten.
        relearning: Model to its relearning.
        shadows, unlearned_shadows: Models trained for the audit alone.
        verifiers: Models that were trained on few retained patients for the audit alone.
        canaries: Int[c] by patient code; see `forgetmi.evaluation.attacks.adversary.AdversaryKnowledge`.
    """

    name: str
    partition: Partition
    signals: Mapping[str, Signals]
    duplicates: tuple[NearDuplicate, ...] = ()
    relearning: Mapping[str, Relearning] = field(default_factory=dict)
    # Models and patients that exist for the audit alone
    shadows: Pool | None = None
    unlearned_shadows: Pool | None = None
    verifiers: tuple[Signals, ...] = ()
    canaries: Ints | None = None

    def knowledge(
        self, partition: Partition, *, seed: int, task: str = "classes"
    ) -> AdversaryKnowledge:
        """Everything an attack may use, for some of the run's forgotten patients."""
        # The channel and the attacked model are chosen later
        return AdversaryKnowledge(
            partition,
            self.signals,
            seed=seed,
            task=task,
            shadows=self.shadows,
            unlearned_shadows=self.unlearned_shadows,
            relearning=self.relearning,
            verifiers=self.verifiers,
            canaries=self.canaries,
        )
