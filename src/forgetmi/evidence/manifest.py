"""The data manifest: one keyed digest for every image and every report that models are trained on, in a sorted tree."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from forgetmi.core.arrays import Ints, Strings
from forgetmi.core.errors import EvidenceError, Fault, SpecError
from forgetmi.core.partition import Partition
from forgetmi.core.serialization import from_plain
from forgetmi.evidence.merkle import Absence, Inclusion, MerkleTree
from forgetmi.evidence.record import TrainingData

FORMAT = "forgetmi absence 1"
PROOFS = "absence.json"


@dataclass(frozen=True)
class Proof:
    """What became of one forgotten image or report.

    Args:
        kind: "image" or "report".
        before: It was in the training data before.
        absent: It is not there after; None where its exact content is also a retained patient's.
        shared: In that case, that it is still there.
    """

    kind: str
    before: Inclusion
    absent: Absence | None
    shared: Inclusion | None


@dataclass(frozen=True)
class Proofs:
    """The content of absence.json.

    Args:
        format: Version of this form.
        proofs: One for each distinct image and report of the forgotten.
    """

    format: str
    proofs: tuple[Proof, ...]

    def to_json(self) -> str:
        """Stable JSON."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":")) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Proofs:
        """Read what `to_json` wrote.

        Raises:
            EvidenceError: It is not of this form.
        """
        try:
            found = from_plain(cls, json.loads(text), where=PROOFS, complete=True)
        except SpecError as error:
            raise EvidenceError(error.faults) from None
        except ValueError as error:
            raise EvidenceError(
                Fault("it is no JSON", where=PROOFS, why=type(error).__name__)
            ) from None
        if found.format != FORMAT:
            raise EvidenceError(
                Fault("it is of another form", where=PROOFS, why=f"this version reads {FORMAT}")
            )
        return found


def leaf(key: bytes, kind: str, content: str) -> str:
    """Keyed digest of one image or report, so that nobody without the key can test a guess.

    Args:
        key: The identifier key.
        kind: "image" or "report".
        content: SHA-256 of the image file, or of the report's text in UTF-8, hex.
    """
    return hmac.digest(key, f"content\x1f{kind}\x1f{content}".encode(), hashlib.sha256).hex()


def contents(images: Strings, reports: Strings) -> list[tuple[tuple[str, str], ...]]:
    """What each row holds, as (kind, SHA-256) pairs.

    Args:
        images: SHA-256 of each row's image, "" = none.
        reports: Texts.
    """
    text = {report: hashlib.sha256(report.encode()).hexdigest() for report in set(reports.tolist())}
    return [
        ((("image", image),) if image else ()) + (("report", text[report]),)
        for image, report in zip(images.tolist(), reports.tolist(), strict=True)
    ]


def training_data(
    partition: Partition,
    *,
    images: Strings,
    reports: Strings,
    key: bytes,
) -> tuple[TrainingData, Proofs]:
    """The manifest before and after, and what became of each forgotten image and report.

    Args:
        partition: Forget and retain rows are trained on before, retain rows after.
        images, reports: See `contents`.
        key: The identifier key.
    """
    held = contents(images, reports)
    leaves: dict[tuple[str, str], str] = {}

    def of(rows: Ints) -> Iterable[tuple[str, str]]:
        for row in rows.tolist():
            for content in held[row]:
                if content not in leaves:
                    leaves[content] = leaf(key, *content)
                yield content

    after = MerkleTree.of(leaves[content] for content in of(partition.retain))
    forgotten = dict.fromkeys(of(partition.forget))
    before = MerkleTree.of([*after.leaves, *(leaves[content] for content in forgotten)])
    proofs = []
    for content in forgotten:
        was, found = before.prove(leaves[content]), after.prove(leaves[content])
        assert isinstance(was, Inclusion)
        proofs.append(
            Proof(
                content[0],
                was,
                found if isinstance(found, Absence) else None,
                found if isinstance(found, Inclusion) else None,
            )
        )
    proofs.sort(
        key=lambda proof: proof.before.leaf
    )  # the order of the rows says nothing about a digest
    absent = sum(proof.absent is not None for proof in proofs)
    return TrainingData(
        cohort=partition.cohort,
        before=before.root,
        after=after.root,
        leaves_before=len(before),
        leaves_after=len(after),
        absent=absent,
        shared=len(proofs) - absent,
        proofs=PROOFS,
    ), Proofs(FORMAT, tuple(proofs))


def faults(data: TrainingData, proofs: Proofs) -> list[Fault]:
    """What does not hold of the proofs a record names; empty = all hold."""
    found = []
    for number, proof in enumerate(proofs.proofs, 1):
        leaves = {
            part.leaf for part in (proof.before, proof.absent, proof.shared) if part is not None
        }
        good = (
            _hexadecimal(proof)
            and len(leaves) == 1
            and proof.before.holds(data.before, data.leaves_before)
            and ((proof.absent is None) != (proof.shared is None))
            and all(
                part.holds(data.after, data.leaves_after)
                for part in (proof.absent, proof.shared)
                if part is not None
            )
        )
        if not good:
            found.append(
                Fault(
                    f"proof {number} does not hold",
                    where=data.proofs,
                    why="it does not lead to the root in the record",
                )
            )
    counts = (
        sum(proof.absent is not None for proof in proofs.proofs),
        sum(proof.shared is not None for proof in proofs.proofs),
    )
    distinct = {proof.before.leaf for proof in proofs.proofs}
    if counts != (data.absent, data.shared) or len(distinct) < len(proofs.proofs):
        found.append(Fault("the number of proofs is not the record's", where=data.proofs))
    if data.leaves_before != data.leaves_after + data.absent:
        found.append(
            Fault(
                "the trees before and after differ by more than the forgotten",
                where=data.proofs,
                why=f"{data.leaves_before} leaves before, {data.leaves_after} after, {data.absent} absent",
            )
        )
    return found


def _hexadecimal(proof: Proof) -> bool:
    """Whether everything that stands for a digest is 64 hex digits."""
    digits = frozenset("0123456789abcdef")

    def texts(value: Any) -> Iterable[str]:
        if isinstance(value, Mapping):
            for name, item in value.items():
                if name == "leaf":
                    yield item
                elif name == "path":
                    yield from item
                else:
                    yield from texts(item)

    return all(len(text) == 64 and set(text) <= digits for text in texts(asdict(proof)))
