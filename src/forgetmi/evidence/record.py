"""The record of one unlearning: what was requested, done, found and decided, and the digest of every file behind it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from forgetmi.core.former_options import task_of
from forgetmi.core.serialization import LATER
from forgetmi.evidence.request import RequestSpec

# Another form of the record takes another name here
FORMAT = "forgetmi record 1"
RECORD = "record.json"
NOT_AUDITED = "NOT AUDITED"
# What an audit may find of a single patient
Flag = Literal["remembered", "forgotten too visibly", "copy retained"]


# Part of a record to its fields that came later, each with its value in a record without
_LATER_FIELDS: Mapping[str, Mapping[str, Any]] = {
    "subjects": {"earlier": None},
    "decision": {"flagged": None},
    "recompute": {"task": ""},
    "environment": {"factory": ""},
    "request": {"due": None, "in_service": None, "each": ()},
}


@dataclass(frozen=True)
class Subjects:
    """Who was forgotten.

    Args:
        key_id: Which identifier key made the digests.
        patients, studies: Keyed digests of those forgotten now; findings and decision are about them.
        whole_patients: False where single studies were requested.
        earlier: Keyed digests of patients and studies that earlier requests had forgotten, and that the models stay
            without; None = a record from before the two were separate: `patients` and `studies` name them, too.
    """

    key_id: str
    patients: tuple[str, ...]
    studies: tuple[str, ...]
    whole_patients: bool
    earlier: tuple[str, ...] | None = field(default=None, metadata=LATER)


@dataclass(frozen=True)
class DuplicateCounts:
    """What the search for near-duplicates found, in numbers; the pairs themselves stay in duplicates.json.

    Args:
        searched: Whether it was made.
        images, reports: How many forgotten ones were compared with how many others.
        copies: Set the copies are in to their number.
        warnings: In words.
    """

    searched: bool
    images: tuple[int, ...] = ()
    reports: tuple[int, ...] = ()
    copies: Mapping[str, int] | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrainingData:
    """The manifest of what models are trained on, before and after; see `forgetmi.evidence.manifest`.

    Args:
        cohort: Digest of the cohort.
        before, after: Root of the tree over the keyed digests of all images and reports with, and without, the
            forgotten.
        leaves_before, leaves_after: How many there are.
        absent: Forgotten images and reports that are proven absent after.
        shared: Forgotten ones whose exact content is also a retained patient's, hence still there.
        proofs: Name of the file with a proof for each.
    """

    cohort: str
    before: str
    after: str
    leaves_before: int
    leaves_after: int
    absent: int
    shared: int
    proofs: str


@dataclass(frozen=True)
class ModelFacts:
    """One model.

    Args:
        name: "original", "unlearned", "retrain-0" ...
        role: Before, after, or reference (trained without the forgotten).
        given: Whether it existed already; else it was made in this run.
        weights: Digest of the parameters.
        files: Name to SHA-256 of each file of the checkpoint.
        seed: Its seed.
    """

    name: str
    role: Literal["before", "after", "reference"]
    given: bool
    weights: str
    files: Mapping[str, str]
    seed: int


@dataclass(frozen=True)
class Environment:
    """Where and with what the run was made.

    Args:
        package: Version of forgetmi.
        code: SHA-256 over the package's source files.
        python, platform, processor, accelerator, cores, threads, command: See `forgetmi.report.manifest.Manifest`.
        libraries: Name to version.
        factory: Function of the user's own that made the models, and the SHA-256 of its source; empty = the package's
            own architecture.
    """

    package: str
    code: str
    python: str
    platform: str
    processor: str
    accelerator: str
    cores: int
    threads: int
    command: str
    libraries: Mapping[str, str]
    factory: str = field(default="", metadata=LATER)


@dataclass(frozen=True)
class MethodFacts:
    """The unlearning method.

    Args:
        kind: Registered name.
        exact: Whether it retrains what the forgotten touched.
        options: Hyper-parameters.
        spec: SHA-256 of spec.yaml.
    """

    kind: str
    exact: bool
    options: Mapping[str, Any]
    spec: str


@dataclass(frozen=True)
class Finding:
    """One attack's or measurement's result.

    Args:
        model: Which model.
        name: Of the attack or metric.
        channel: Channel or head.
        on: The set it was measured on; "" for attacks of the audit, which name it in their groups.
        value: The number; None = it could not be made, `note` says why.
        interval: 95 %; None where there is none.
        reference: Its value under retrained models; None without.
        note: In words.
    """

    model: str
    name: str
    channel: str
    on: str
    value: float | None
    interval: tuple[float, float] | None
    reference: float | None
    note: str


@dataclass(frozen=True)
class Decision:
    """The verdict.

    Args:
        outcome: As the rule gives it, or NOT AUDITED.
        rule: Everything it depends on besides the signals.
        rule_digest: SHA-256 of rule.json. That the rule came before the signals follows from nothing in the run itself:
            it takes a note of this digest made elsewhere beforehand.
        channels: Channel to its outcome.
        statements: Sentences that are part of it.
        flagged: Keyed digest to what the audit found of a single patient, whatever the outcome; a patient with a
            retained copy is not part of the outcome. None = a record from before these were kept.
    """

    outcome: str
    rule: Mapping[str, Any]
    rule_digest: str
    channels: Mapping[str, str]
    statements: tuple[str, ...]
    flagged: Mapping[str, Flag] | None = field(default=None, metadata=LATER)


@dataclass(frozen=True)
class Recompute:
    """What computing the metrics again needs besides the signals and the partition.

    Args:
        seed: Root seed of the evaluation.
        resamples: Bootstrap resamples.
        ordinal: Whether the labels are grades.
        task: Name of the labels' task where they are neither grades nor classes; "" = `ordinal` says which of the two.
    """

    seed: int
    resamples: int
    ordinal: bool
    task: str = field(default="", metadata=LATER)

    @classmethod
    def of(cls, seed: int, resamples: int, task: str) -> Recompute:
        """Of a task by its name; records of grades and classes keep the form that earlier versions read."""
        named = "" if task in ("grades", "classes") else task
        return cls(seed, resamples, task == "grades", named)

    @property
    def of_task(self) -> str:
        """Name of the labels' task."""
        return self.task or task_of(ordinal=self.ordinal)


@dataclass(frozen=True)
class Record:
    """What one unlearning leaves behind; holds keyed digests, no identifier and no text of a report.

    Args:
        format: Version of this form.
        number: Place in the chain, from 1.
        previous: Digest of the record before; "" = this is the first.
        written: When, UTC.
        request: Who asked for what, on which ground, and who signs it off.
        received: Date of the request.
        reason: In words.
        subjects: Who was forgotten.
        duplicates: Copies that live on under others.
        data: What models are trained on, before and after.
        models: Before, after and reference.
        environment: Code version, libraries, hardware.
        seeds: What was seeded to its seed.
        method: The unlearning method.
        cost: Stage to seconds, cpu_seconds and peak_memory.
        findings: Each attack's result, and the measures of use.
        decision: The rule and the verdict.
        recompute: What a second computation needs.
        files: Name to SHA-256 of each file of the run.
        signer: Fingerprint of the key that signs it; "" = unsigned.
        replaces: Folder of the run in which the signed record before it is kept, which was of this very run; None = it
            replaces none.
    """

    # Its place in the chain
    format: str
    number: int
    previous: str
    written: str

    # What was requested
    request: RequestSpec
    received: str
    reason: str
    subjects: Subjects

    # What was done, to which data and models, with what
    duplicates: DuplicateCounts
    data: TrainingData
    models: tuple[ModelFacts, ...]
    environment: Environment
    seeds: Mapping[str, int]
    method: MethodFacts
    cost: Mapping[str, Mapping[str, float]]

    # What came out
    findings: tuple[Finding, ...]
    decision: Decision

    # What a check needs
    recompute: Recompute
    files: Mapping[str, str]
    signer: str = ""
    replaces: str | None = field(default=None, metadata=LATER)

    def to_bytes(self) -> bytes:
        """The content of record.json; a record from before a field was there keeps its bytes."""
        plain = asdict(self)

        # Fields that came later are left out where the record does not have them
        for part, defaults in _LATER_FIELDS.items():
            for name, default in defaults.items():
                if plain[part][name] == default:
                    del plain[part][name]
        if plain["replaces"] is None:
            del plain["replaces"]
        return canonical(plain)

    @property
    def digest(self) -> str:
        """SHA-256 of record.json."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def sums(self) -> str:
        """The content of record.sha256: the record first, then its files by name."""
        digests = [(RECORD, self.digest), *sorted(self.files.items())]
        return "".join(f"{digest}  {name}\n" for name, digest in digests)

    def model(self, role: Literal["before", "after"]) -> ModelFacts:
        """The model before or after."""
        return next(model for model in self.models if model.role == role)

    def finding(
        self, model: str, name: str, *, channel: str = "image", on: str = ""
    ) -> float | None:
        """The value of one finding; None where there is none.

        Args:
            model, name, channel, on: As in `Finding`.
        """
        # All four together name one finding
        wanted = (model, name, channel, on)
        for finding in self.findings:
            if (finding.model, finding.name, finding.channel, finding.on) == wanted:
                return finding.value
        return None


def canonical(value: Any) -> bytes:
    """Values as JSON in the one form that is hashed: keys sorted, one space a level, ASCII, no NaN, a line end."""
    text = json.dumps(value, indent=1, sort_keys=True, allow_nan=False)
    return (text + "\n").encode("ascii")
