"""What a model card is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """One measure of a model's use, on never-seen patients.

    Args:
        name: As in `forgetmi.report.terms`.
        head: Of the model.
        value: The number; None = it could not be made.
        interval: 95 %, over patients; None = there is none.
        reference: The same of the retrained models, on average; None = there are none.
    """

    name: str
    head: str
    value: float | None
    interval: tuple[float, float] | None
    reference: float | None


@dataclass(frozen=True)
class CardVerdict:
    """The verdict of the run that made the model.

    Args:
        outcome: As the rule gives it.
        channels: Channel to its outcome.
        margin: Up to which difference counts as none; None = the record does not say.
        method: Registered name of the unlearning method.
        withdrawn: How many patients it is about.
        retrained: How many retrained models it was compared with.
        record: Digest of the record.
        signer: Fingerprint of the key that signed it; "" = unsigned.
        written: Its date.
        measures: How useful the model is.
    """

    outcome: str
    channels: Mapping[str, str]
    margin: float | None
    method: str
    withdrawn: int
    retrained: int
    record: str
    signer: str
    written: str
    measures: tuple[Measure, ...]


@dataclass(frozen=True)
class CardFacts:
    """What a card says of a model; no name and no digest of a person is among it.

    Args:
        task: Name of the task.
        classes: Names of its classes or findings.
        modalities: What it reads.
        parameters, members: Its size, and how many models it consists of.
        image_size, longest_report: What it takes.
        trained, forgotten: How many patients; None = it does not say.
        weights, cohort, root: Digests of the weights, of the cohort and of the patients trained on; "" = not known.
        version: Of forgetmi.
        names_patients: Whether the files beside the card name patients by keyed digests.
        license: Short name of a license; "" = the card says none.
        verdict: Of the run; None = there is none on this model.
    """

    task: str
    classes: tuple[str, ...]
    modalities: tuple[str, ...]
    parameters: int
    members: int
    image_size: int
    longest_report: int
    trained: int | None
    forgotten: int | None
    weights: str
    cohort: str
    root: str
    version: str
    names_patients: bool
    license: str
    verdict: CardVerdict | None
