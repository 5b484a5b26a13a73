"""What an audit decides by: the declared rule of the verdict, and the margins of harm to others."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated

from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.ranges import AtMost, Seed
from forgetmi.core.registry import attacks
from forgetmi.evaluation.channels import TODAYS_CHANNELS, Channel
from forgetmi.evaluation.statistics import UNDEFINED_ALLOWED


@dataclass(frozen=True)
class Rule:
    """Everything the verdict depends on besides the signals; store it and its digest before computing any.

    Args:
        channels: Channels that are judged; a channel that cannot be measured rules out FORGOTTEN. The default
            stands for every channel of a model, also of one with other heads than image and text.
        margin: Largest difference of AUC from retraining that counts as none, in (0, 0.5).
        forget_margin: Loss of accuracy on forgotten images, against retraining, that counts as over-forgetting, (0, 1).
        level: Coverage of the intervals; also the family-wise confidence after Holm's correction, in (0, 1).
        power: Power at which the smallest detectable AUC is stated, in (0, 1).
        resamples: Bootstrap resamples, >= 200, and so many that the smallest p-value is below what Holm's correction
            asks for (about 840 with four channels at level 0.99); with fewer, NOT FORGOTTEN could never be said.
        seed: Root seed of the resamples.
    """

    channels: tuple[Channel, ...] = TODAYS_CHANNELS
    margin: float = 0.10
    forget_margin: float = 0.10
    level: float = 0.95
    power: float = 0.80
    resamples: Annotated[int, AtMost(10_000_000)] = 2000
    seed: Seed = 0

    def __post_init__(self) -> None:
        # A channel named twice would be corrected for twice
        distinct = len(set(self.channels)) == len(self.channels)

        # Field to whether its value is allowed
        in_range = {
            "channels": bool(self.channels) and distinct,
            "margin": 0 < self.margin < 0.5,
            "forget_margin": 0 < self.forget_margin < 1,
            "level": 0 < self.level < 1,
            "power": 0 < self.power < 1,
            "resamples": self.resamples >= self._fewest,
        }
        wrong = [name for name, good in in_range.items() if not good]

        if wrong:
            raise SpecError(
                Fault(f"the decision rule's {name} is out of range", do="See its documentation.")
                for name in wrong
            )

    @property
    def _fewest(self) -> float:
        """Resamples of which 95 % (others may be undefined) give a p-value as small as the correction asks for."""
        if not 0 < self.level < 1:
            return 200

        # The smallest p-value of b resamples is 1 / (1 + b), Holm's correction multiplies it by the channels
        needed = 2 * len(self.channels) / (1 - self.level) - 1
        return max(200.0, needed / (1 - UNDEFINED_ALLOWED))

    def judged(self, there: Sequence[Channel]) -> tuple[Channel, ...]:
        """The channels that are judged of a model.

        Args:
            there: Every channel of the model (`forgetmi.evaluation.channels.channels_of`).
        """
        return tuple(there) if self.channels == TODAYS_CHANNELS else self.channels

    def to_json(self) -> str:
        """Canonical text; read back with `forgetmi.core.serialization.from_plain`."""
        return json.dumps(asdict(self), sort_keys=True, allow_nan=False) + "\n"

    @property
    def digest(self) -> str:
        """SHA-256 of `to_json`."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()


@dataclass(frozen=True)
class AuditSpec:
    """What the audit decides by: a run writes it to rule.json before its first signal, and stops if it differs later.

    That keeps an honest run honest. It proves nothing to others, since whoever holds the directory can write all of it
    anew; a note of `digest` made elsewhere does (docs/evidence.md).

    Args:
        enabled: Whether the run is audited.
        rule: The rule of the verdict.
        utility_margin: Largest loss of AUC on never-seen patients, against retraining, that counts as none, (0, 0.5).
        subgroup_margin: Largest loss of accuracy within a subgroup of them that counts as none, in (0, 1).
        false_discovery: Share of wrongly named patients among those named as remembered, in (0, 1).
        attacks: Registered attacks to run; none given = every one whose needs the run meets.
        relearn_epochs: Epochs after which relearning is given up (censored); 0 = no relearning, at most 1000.
        relearn_lr: Learning rate of relearning, fixed, above 0.
    """

    enabled: bool = True
    rule: Rule = field(default_factory=Rule)
    utility_margin: float = 0.05
    subgroup_margin: float = 0.10
    false_discovery: float = 0.05
    attacks: tuple[str, ...] = ()
    relearn_epochs: int = 20
    relearn_lr: float = 3e-4

    def __post_init__(self) -> None:
        # Margins are shares; relearning may be switched off by 0 epochs
        in_range = {
            "utility_margin": 0 < self.utility_margin < 0.5,
            "subgroup_margin": 0 < self.subgroup_margin < 1,
            "false_discovery": 0 < self.false_discovery < 1,
            "relearn_epochs": 0 <= self.relearn_epochs <= 1000,
            "relearn_lr": self.relearn_lr > 0,
        }

        faults = []
        for name, good in in_range.items():
            if not good:
                faults.append(
                    Fault(f"the audit's {name} is out of range", do="See its documentation.")
                )

        # Attacks that are not registered
        for name in self.attacks:
            try:
                attacks.get(name)
            except SpecError as error:
                faults.extend(error.faults)

        if faults:
            raise SpecError(faults)

    def to_json(self) -> str:
        """Canonical text, the content of rule.json; read back with `forgetmi.core.serialization.from_plain`."""
        return json.dumps(asdict(self), indent=1, sort_keys=True, allow_nan=False) + "\n"

    @property
    def digest(self) -> str:
        """SHA-256 of `to_json`, hence of rule.json."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()
