"""A written policy: which verdicts close a request although they are not FORGOTTEN, under which conditions, by whom."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.plain_text import Source, read_text
from forgetmi.core.serialization import from_plain
from forgetmi.core.yaml_text import MOST_BYTES, parse_yaml
from forgetmi.evidence.record import Record

# What a policy may accept. Of NOT FORGOTTEN the audit has shown that the people are remembered.
Acceptable = Literal["NOT RESOLVABLE", "OVER-FORGOTTEN"]
_DO = "See docs/requests.md for an example."


@dataclass(frozen=True)
class Conditions:
    """Under which conditions a verdict is acceptable; all must hold.

    Args:
        at_most_patients: Most patients whom the verdict is about; None = any number.
        at_least_retrained: Fewest retrained models that it rests on.
        nobody_flagged: Whether no single patient may be flagged as still remembered.
    """

    at_most_patients: int | None = None
    at_least_retrained: int = 0
    nobody_flagged: bool = True


@dataclass(frozen=True)
class Policy:
    """The content of a policy file.

    Args:
        accept: Verdicts that are acceptable.
        signed_off_by: Who decided so, as a role.
        reason: Why, in words.
        when: Under which conditions.
    """

    accept: tuple[Acceptable, ...]
    signed_off_by: str
    reason: str
    when: Conditions = field(default_factory=Conditions)

    @property
    def words(self) -> dict[str, str]:
        """Its free words by the key they stand under; they may hold no identifier."""
        return {"signed_off_by": self.signed_off_by, "reason": self.reason}

    def why_not(self, record: Record) -> str:
        """Why the policy does not accept the verdict of a record, in words; "" = it does."""
        outcome = record.decision.outcome
        if outcome not in self.accept:
            return f"it accepts {' and '.join(self.accept)}, and the verdict is {outcome}"

        # Every condition
        patients = len(record.subjects.patients)
        most = self.when.at_most_patients
        if most is not None and patients > most:
            return f"it holds for at most {most} patients, and the verdict is about {patients}"

        retrained = sum(model.role == "reference" for model in record.models)
        if retrained < self.when.at_least_retrained:
            fewest = self.when.at_least_retrained
            return f"it asks for at least {fewest} retrained models, and there are {retrained}"

        flags = [*(record.decision.flagged or {}).values()]
        if self.when.nobody_flagged and "remembered" in flags:
            return f"{flags.count('remembered')} patients are flagged as still remembered"
        return ""


@dataclass(frozen=True)
class PolicyFile:
    """A policy with the bytes it was read from.

    Args:
        policy: What it says.
        text: The file, as it is stored in the run.
    """

    policy: Policy
    text: str

    @property
    def digest(self) -> str:
        """SHA-256 of the file."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def read_policy(path: Path) -> PolicyFile:
    """Read a policy, strictly.

    Args:
        path: YAML file with accept, signed_off_by, reason and, where the acceptance has conditions, when.

    Raises:
        SpecError: It cannot be read, or a key is unknown, missing or of another type.
    """
    text = read_text(path, Source(path.name, "the policy", _DO, SpecError), limit=MOST_BYTES)
    values = parse_yaml(text, where=path.name, what="the policy", do=_DO, limit=MOST_BYTES)
    policy = from_plain(Policy, values, where=path.name)

    faults = []
    if not policy.accept:
        faults.append(Fault("it accepts nothing", where=f"{path.name}, accept", do=_DO))
    for key, words in policy.words.items():
        if not words.strip():
            faults.append(Fault("it is blank", where=f"{path.name}, {key}", do=_DO))
    when = policy.when
    if (when.at_most_patients or 1) < 1 or when.at_least_retrained < 0:
        do = "Give at_most_patients from 1, at_least_retrained from 0."
        faults.append(Fault("a number is out of range", where=f"{path.name}, when", do=do))
    if faults:
        raise SpecError(faults)

    return PolicyFile(policy, text)
