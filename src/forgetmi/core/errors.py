"""Errors a person can act on: every fault has what, where, why and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from forgetmi.core.printable import printable


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong.

    Args:
        what: The fault itself, e.g. ``"column 'report' is missing"``.
        where: File, row, column or key; never a patient identifier (use the keyed digest).
        why: Why this cannot be accepted, or what was found instead.
        do: What the reader can do about it.
    """

    what: str
    where: str = ""
    why: str = ""
    do: str = ""

    def __str__(self) -> str:
        # What a file or a command line holds may be in any part: none can begin a line of its own.
        where, what = printable(self.where), printable(self.what)
        why, do = printable(self.why), printable(self.do)

        text = f"{where}: {what}" if where else what
        if why:
            text += f" ({why})"
        return f"{text}. {do}" if do else f"{text}."


class ForgetMIError(Exception):
    """Base of every error this package raises on purpose; carries one or more faults.

    Args:
        faults: One or more `Fault`, an iterable of them, or plain strings. All faults found are reported at once.
    """

    def __init__(self, *faults: Fault | str | Iterable[Fault]) -> None:
        # One list, whatever the faults came in.
        flat: list[Fault] = []
        for fault in faults:
            if isinstance(fault, Fault):
                flat.append(fault)
            elif isinstance(fault, str):
                flat.append(Fault(fault))
            else:
                flat.extend(fault)

        self.faults: tuple[Fault, ...] = tuple(flat)
        super().__init__("\n".join(str(fault) for fault in self.faults))

    def __reduce__(self) -> tuple[type, tuple[Fault, ...]]:
        # An exception from a worker process is pickled; its faults make it again.
        return type(self), self.faults


class CohortError(ForgetMIError):
    """The cohort's files cannot be used as they are."""


class PartitionError(ForgetMIError):
    """The requested forget, retain, validation and holdout sets cannot be formed."""


class SpecError(ForgetMIError):
    """A run specification, option or registered name is not valid."""


class CheckpointError(ForgetMIError):
    """A stored model cannot be read, was altered, or is of another architecture."""


class MethodError(ForgetMIError):
    """An unlearning method cannot do its work, or read what it did not declare."""


class EvaluationError(ForgetMIError):
    """A measurement is undefined for the data given."""


class EvidenceError(ForgetMIError):
    """A record is not sound, or the ledger of withdrawals refuses a change."""
