"""The evidence pack as self-contained pages: for who decides, for who checks, and a letter for who withdrew."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from forgetmi.core.files import write_text
from forgetmi.evidence.request import Withdrawal
from forgetmi.report import request_text
from forgetmi.report.content import ReportFacts
from forgetmi.report.page_values import audit_values, common_values, measured_values, officer_values
from forgetmi.report.rendering import render

ENGINEER, LETTER = "engineer.html", "letter.html"
NAMES: Mapping[str, str] = {"officer": "report.html", "engineer": ENGINEER, "letter": LETTER}


def write_report(path: Path, facts: ReportFacts) -> tuple[Path, ...]:
    """Write the pages, each as one HTML file, atomically.

    Args:
        path: The page for who decides; its folder exists. The engineer's page and the letter get the names
            ``engineer.html`` and ``letter.html`` in the same folder; where several requests are answered together,
            each has a letter of its own besides, e.g. ``letter-R0003.html``.
        facts: What to say.

    Returns:
        The three files, then the letters of single requests.

    Examples:
        >>> from pathlib import Path
        >>> pages = write_report(Path(folder) / "report.html", facts)
        >>> [page.name for page in pages]
        ['report.html', 'engineer.html', 'letter.html']
    """
    # The pages point to each other by file name
    names = {"officer": path.name, "engineer": ENGINEER, "letter": LETTER}
    pages = {
        path: render_report(facts, names=names),
        path.with_name(ENGINEER): render_engineer(facts, names=names),
        path.with_name(LETTER): render_letter(facts, names=names),
    }
    answered = request_text.requests(facts)
    for name, request in zip(request_text.letter_names(answered), answered, strict=False):
        pages[path.with_name(name)] = render_letter(facts, names=names, request=request)

    # Each file is whole, or as it was
    for page, text in pages.items():
        write_text(page, text)
    return tuple(pages)


def render_report(facts: ReportFacts, *, names: Mapping[str, str] = NAMES) -> str:
    """The page for who decides: the request, what was done, the verdict, what it does not show, what it cost others.

    The same facts give the same bytes. Everything in a page comes from the facts. No script, no network: the page
    forbids itself to load anything; it only points to its neighbours.

    Args:
        facts: What to say.
        names: File names of the pages "officer", "engineer" and "letter".
    """
    values: dict[str, Any] = {**common_values(facts), **officer_values(facts)}
    return render("report.html.jinja", facts=facts, names=names, **values)


def render_engineer(facts: ReportFacts, *, names: Mapping[str, str] = NAMES) -> str:
    """The page for who checks: every attack, patient, subgroup and measurement; see `render_report`."""
    values: dict[str, Any] = {**common_values(facts), **measured_values(facts)}
    if facts.audit is not None:
        values |= audit_values(facts.audit)
    return render("engineer.html.jinja", facts=facts, names=names, **values)


def render_letter(
    facts: ReportFacts, *, names: Mapping[str, str] = NAMES, request: Withdrawal | None = None
) -> str:
    """A letter to fill in, for one person who withdrew; see `render_report`.

    Args:
        facts, names: See there.
        request: The request it answers; None = the only one, or, of several, none: number and days are left blank.
    """
    answered = request_text.requests(facts)
    if request is None:
        request = answered[0] if len(answered) == 1 else Withdrawal()

    # The date of the run's request is nobody's own where several are answered
    received = request.received
    if len(answered) == 1:
        received = request_text.received(facts, request)

    return render(
        "letter.html.jinja",
        facts=facts,
        names=names,
        request=request,
        received=received,
        **common_values(facts),
    )
