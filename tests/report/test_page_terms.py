"""Every page leads to what its words mean, and the words are those of the glossary."""

from __future__ import annotations

import re

from forgetmi.commands.help_topics import terms
from forgetmi.report.content import ReportFacts
from forgetmi.report.page_terms import PAGE_TERMS
from forgetmi.report.pages import render_engineer, render_letter, render_report
from forgetmi.report.queue import render_queue
from tests.benchmark.planted import planted_page
from tests.report.test_patient_page import page as patient_page
from tests.report.test_queue import ROWS, TODAY


def test_every_page_leads_to_the_terms(facts: ReportFacts) -> None:
    for page in (render_report(facts), render_engineer(facts), render_letter(facts)):
        assert '<a href="engineer.html#terms">What the words mean</a>' in page

    engineer = render_engineer(facts)
    section = engineer.partition('<section id="terms">')[2].partition("</section>")[0]
    assert re.findall(r"<dt>(.+?)</dt>", section) == list(PAGE_TERMS)


def test_pages_that_stand_by_themselves_hold_their_terms() -> None:
    alone = {
        "queue": render_queue(ROWS, today=TODAY),
        "explain": patient_page(0.9, (0.5, 0.6)),
        "benchmark": planted_page(),
    }
    for name, page in alone.items():
        assert '<a href="#terms">What the words mean</a>' in page, name
        section = page.partition('<section id="terms">')[2].partition("</section>")[0]
        words = re.findall(r"<dt>(.+?)</dt>", section)
        assert len(words) > 4, name
        assert set(words) <= set(PAGE_TERMS), name


def test_each_term_stands_in_the_glossary_and_is_one_sentence() -> None:
    known = terms()
    assert not [word for word in PAGE_TERMS if word.lower() not in known]
    for meaning in PAGE_TERMS.values():
        assert meaning.endswith(".")
        assert ". " not in meaning
