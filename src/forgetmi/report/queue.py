"""The queue of withdrawals as one page: who waits, until when, where it stands, and the papers of what is done.

The page is whole: it loads nothing, is read without a script, and sorts and filters with the one it holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import jinja2

from forgetmi.report.inline_script import inline_script
from forgetmi.report.number_text import clean, many
from forgetmi.report.page_terms import terms_of
from forgetmi.report.queue_year import DriftPoint, year_values
from forgetmi.report.verdict_text import ANSWERS

TEMPLATES = Path(__file__).with_name("templates")

# The first line of every queue page: a file without it is somebody else's
MARK = "<!doctype html><!-- forgetmi queue -->"

SOON = 7  # days left from which on a deadline is near
STATES: Mapping[str, str] = {
    "open": "open",
    "processing": "being carried out",
    "on_hold": "on hold",
    "closed": "closed",
    "refused": "refused",
}
FINAL = ("closed", "refused")

# Of its papers, and of the year
_WORDS = ("verdict", "record", "digest", "never-seen patients", "retrained model", "gap")

# Urgency to its sign: never told by colour alone
SIGNS: Mapping[str, str] = {"overdue": "‼", "soon": "▲", "later": "●", "done": "✓"}


@dataclass(frozen=True)
class QueueRow:
    """One request.

    Args:
        number: As people write it, e.g. R0003.
        patients, studies: How many it names.
        received, due: Days.
        state: As in the ledger.
        ground: In words, without identifiers.
        ended: Day it was closed or refused; None = it is pending.
        verdict: Of the record that closed it; "" = there is none.
        papers: "report", "letter" or "record" to its address, relative to the page; only those that exist.
    """

    number: str
    patients: int
    studies: int
    received: date
    due: date
    state: str
    ground: str = ""
    ended: date | None = None
    verdict: str = ""
    papers: Mapping[str, str] = field(default_factory=dict)

    @property
    def final(self) -> bool:
        """Whether nothing is left to do."""
        return self.state in FINAL

    @property
    def people(self) -> str:
        """Whom it names, in numbers."""
        if self.patients:
            return many(self.patients, "patient")
        return many(self.studies, "study")

    def urgency(self, today: date) -> str:
        """ "overdue", "soon", "later", or "done"."""
        if self.final:
            return "done"
        days = (self.due - today).days
        if days < 0:
            return "overdue"
        return "soon" if days <= SOON else "later"

    def time_left(self, today: date) -> str:
        """How long until it is due, or whether it was done in time."""
        if self.final:
            return self._how_it_ended()

        days = (self.due - today).days
        if days < 0:
            return f"overdue by {many(-days, 'day')}"
        return f"{many(days, 'day')} left" if days else "due today"

    def _how_it_ended(self) -> str:
        word = STATES[self.state]
        if self.ended is None:
            return word

        # In time is up to the deadline itself
        late = (self.ended - self.due).days
        if late > 0:
            return f"{word} on {self.ended}, {many(late, 'day')} late"
        return f"{word} on {self.ended}, in time"


def render_queue(rows: Sequence[QueueRow], *, today: date, drift: Sequence[DriftPoint] = ()) -> str:
    """The page; the same requests on the same day give the same bytes.

    Args:
        rows: The requests, in any order: what is pending comes first, the most urgent on top.
        today: The day from which days are counted until a script counts them anew.
        drift: The model in service before the first run that closed a request, and after each.
    """
    ordered = sorted(rows, key=lambda row: (row.final, row.due, row.number))
    urgencies = [row.urgency(today) for row in ordered]

    # Filters offer what occurs alone
    states = {row.state for row in rows}
    verdicts = {row.verdict for row in rows}

    # The page allows its own script and no other
    script = inline_script("queue.js")

    return MARK + _template().render(
        rows=ordered,
        today=today,
        counts={name: urgencies.count(name) for name in SIGNS},
        signs=SIGNS,
        soon=SOON,
        states=STATES,
        shown_states=[state for state in STATES if state in states],
        verdicts=[verdict for verdict in ANSWERS if verdict in verdicts],
        styles={verdict: answer.style for verdict, answer in ANSWERS.items()},
        script=script.text,
        script_digest=script.digest,
        page_terms=terms_of(*_WORDS),
        year=year_values(rows, drift, today=today),
    )


def _template() -> jinja2.Template:
    """The page's template; everything but the script is escaped, and no value may be missing."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        finalize=_harmless,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("queue.html.jinja")


def _harmless(value: Any) -> Any:
    """Text from the ledger without what turns or breaks its surroundings."""
    return clean(value) if type(value) is str else value
