"""What a withdrawal keeps in its run before the run begins, so that it goes on after an interruption as it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.files import write_json, write_text
from forgetmi.core.json_text import read_json
from forgetmi.core.serialization import from_plain
from forgetmi.evidence.request import Withdrawal
from forgetmi.requests.entries import Entry
from forgetmi.run.directory import RunDirectory
from forgetmi.run.spec import RunSpec
from forgetmi.run.stored_spec import spec_text
from forgetmi.run.withdrawal_plan import FORGET_LIST

WITHDRAWAL, EXPECTED, POLICY = "withdrawal.json", "expected.json", "policy.yaml"
OWN_FILES = (WITHDRAWAL, EXPECTED, POLICY, FORGET_LIST)
FORMAT = "forgetmi withdrawal 1"
_DO = "Restore the file, or choose another --out."


@dataclass(frozen=True)
class StoredRequest:
    """One request as the run carries it out; keyed digests, no identifier.

    Args:
        request: As the record names it.
        number: In the ledger; 0 = there is no ledger.
        subjects: How many people (or studies) it names.
        forgotten: How many of them the run forgets.
        never_trained, absent: Keyed digests of those whom the model never learnt, and of those whom the cohort lacks.
        digest: Of all whom it names, as written.
    """

    request: Withdrawal
    number: int
    subjects: int
    forgotten: int
    never_trained: tuple[str, ...]
    absent: tuple[str, ...]
    digest: str


@dataclass(frozen=True)
class StoredWithdrawal:
    """The content of withdrawal.json.

    Args:
        format: Version of this form.
        model: Digest of the weights in service.
        cohort: Digest of the cohort.
        batch: Number of the forget list in the ledger; 0 = there is no ledger.
        requests: The requests that the run carries out.
        policy: SHA-256 of policy.yaml; "" = there is none.
    """

    format: str
    model: str
    cohort: str
    batch: int
    requests: tuple[StoredRequest, ...]
    policy: str

    @property
    def numbers(self) -> list[int]:
        """Of its requests in the ledger."""
        return [one.number for one in self.requests if one.number]


def read_withdrawal(root: Path) -> StoredWithdrawal | None:
    """What a run's folder says of the withdrawal it is; None = it does not say anything."""
    path = root / WITHDRAWAL
    if not path.exists():
        return None
    values = read_json(path, what="what the withdrawal began with", do=_DO)
    stored = from_plain(StoredWithdrawal, values, where=WITHDRAWAL, complete=True)
    if stored.format != FORMAT:
        why = f"this version reads {FORMAT}"
        raise SpecError(Fault("it is of another format", where=WITHDRAWAL, why=why, do=_DO))
    return stored


def write_withdrawal(
    directory: RunDirectory,
    spec: RunSpec,
    stored: StoredWithdrawal,
    *,
    forget_list: str,
    expected: dict[str, Any],
    policy: str,
) -> None:
    """Take a folder for a withdrawal; withdrawal.json comes last and says that it has begun.

    Raises:
        SpecError: The folder holds something else.
    """
    for name in check_free(directory):
        (directory.root / name).unlink()
    directory.claim(spec_text(spec, directory))
    write_text(directory.root / FORGET_LIST, forget_list)
    write_json(directory.root / EXPECTED, expected)
    if policy:
        write_text(directory.root / POLICY, policy)
    write_json(directory.root / WITHDRAWAL, asdict(stored))


def check_free(directory: RunDirectory) -> list[str]:
    """Refuse a folder that a withdrawal cannot begin in.

    Returns:
        Names of what one left there that was interrupted before its run began: nothing was computed yet.

    Raises:
        SpecError: The folder holds a run that is no withdrawal, or another thing; or it is a file.
    """
    if not directory.root.exists():
        return []
    if not directory.root.is_dir():
        do = "Choose another --out."
        raise SpecError(Fault("the output is a file", where=directory.root.name, do=do))

    names = sorted(path.name for path in directory.root.iterdir() if path.name != ".lock")
    own = {*OWN_FILES, directory.spec.name}
    others = [name for name in names if name not in own]
    if others:
        raise SpecError(
            Fault(
                "the output directory is not empty and holds no withdrawal",
                where=directory.root.name,
                why=f"it holds {', '.join(others[:3])}",
                do="Choose another --out.",
            )
        )
    return names


def begun(directory: RunDirectory) -> bool:
    """Whether anything was computed in a folder."""
    return directory.partition.exists() or any((directory.root / "models").glob("*"))


def digest_of(subjects: Iterable[str]) -> str:
    """SHA-256 over keyed digests in any order."""
    return hashlib.sha256(json.dumps(sorted(subjects)).encode()).hexdigest()


def subjects_as_written(entry: Entry) -> set[str]:
    """Keyed digests of whom a request names, as written."""
    return {digest for digests in entry.written.values() for digest in digests}


def list_text(kind: str, rows: Sequence[tuple[str, str]]) -> str:
    """The forget list as it is stored."""
    return "".join([f"{kind}_digest,request\n", *[f"{digest},{name}\n" for digest, name in rows]])
