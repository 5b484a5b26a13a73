"""Whose requests the pages answer, in words: numbers, days, grounds, who signs off, and which model replaces which."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from forgetmi.core.model_names import ORIGINAL, UNLEARNED
from forgetmi.evidence.request import Withdrawal
from forgetmi.report.content import ReportFacts

NOT_STATED = "not stated"
_NUMBER = re.compile(r"R\d{1,9}")  # as the ledger writes it


@dataclass(frozen=True)
class Replacement:
    """Which model takes the place of which.

    Args:
        old, new: First letters of the weights' digests; "" = not stored.
        since: First day in service; "" = not stated.
    """

    old: str
    new: str
    since: str


def requests(facts: ReportFacts) -> list[Withdrawal]:
    """The requests that a run answers, one or several; with "" for what is not stated."""
    if facts.withdrawal.each:
        return list(facts.withdrawal.each)
    return [
        Withdrawal(
            number=facts.withdrawal.id,
            # Free words in both: a day is not required of them
            ground=facts.withdrawal.ground or facts.request.reason,
            due=facts.withdrawal.due or "",
        )
    ]


def received(facts: ReportFacts, request: Withdrawal) -> str:
    """When a request came in; "" = not stated."""
    return request.received or facts.request.date


def request_line(facts: ReportFacts) -> str:
    """All requests in one line, for the head of a page; "" where nothing is stated."""
    named = requests(facts)

    # A single one with its days and ground
    parts = []
    if len(named) == 1:
        one = named[0]
        parts = _stated(
            ("request", one.number),
            ("received", received(facts, one)),
            ("due", one.due),
            ("ground:", one.ground),
        )
    else:
        numbers = ", ".join(one.number or "no number" for one in named)
        first = min((one.due for one in named if one.due), default="")
        parts = _stated(("requests", numbers), ("the first due", first))

    parts += _stated(("to be signed off by", facts.withdrawal.sign_off))
    line = "; ".join(parts)
    return line[:1].upper() + line[1:]


def replacement(facts: ReportFacts) -> Replacement:
    """The model before and the model after."""
    models = facts.manifest.models
    return Replacement(
        old=models.get(ORIGINAL, "")[:8],
        new=models.get(UNLEARNED, "")[:8],
        since=facts.withdrawal.in_service or "",
    )


def letter_names(requests: Sequence[Withdrawal]) -> list[str]:
    """File name of each request's own letter, in order, where several are answered together; else none."""
    if len(requests) < 2:
        return []

    # By number, or by place where the numbers are not the ledger's: a free word makes no file name
    numbers = [one.number for one in requests]
    if all(map(_NUMBER.fullmatch, numbers)) and len(set(numbers)) == len(numbers):
        return [f"letter-{number}.html" for number in numbers]
    return [f"letter-{place}.html" for place in range(1, len(requests) + 1)]


def _stated(*parts: tuple[str, str]) -> list[str]:
    return [f"{word} {value}" for word, value in parts if value]
