"""Pages of made models of other heads and tasks: they name what is there, and nothing that is not."""

from __future__ import annotations

import html
import re
from dataclasses import replace

import pytest

from forgetmi.audit.auditor import audit
from forgetmi.audit.rule import AuditSpec, Rule
from forgetmi.evaluation.suite import evaluate
from forgetmi.report.channel_words import channel_name, head_word, materials, short_channel
from forgetmi.report.content import CohortSummary
from forgetmi.report.pages import render_engineer, render_letter, render_report
from forgetmi.report.terms import head_name
from tests.made_tasks import Made
from tests.report.conftest import make_facts

SIGNS = tuple(f"sign <{number}>" for number in range(1, 15))


def pages(made: Made, classes: tuple[str, ...]) -> dict[str, str]:
    """The text of report, engineer's page and letter, and the engineer's page as it is."""
    cohort = replace(made.cohort(), classes=classes)
    facts = replace(
        make_facts(),
        cohort=CohortSummary.of(cohort),
        partition=made.partition(),
        signals=made.signals(),
        evaluation=evaluate(
            made.signals(), made.partition(), task=made.task, classes=classes, seed=0, resamples=20
        ),
        audit=audit(
            [made.run()],
            cohort=cohort,
            declared=AuditSpec(rule=Rule(resamples=300), attacks=("population",)),
        ),
        examples=(),
    )
    engineer = render_engineer(facts)
    shown = {"report": render_report(facts), "engineer": engineer, "letter": render_letter(facts)}
    return {name: text_of(page) for name, page in shown.items()} | {"source": engineer}


def text_of(page: str) -> str:
    page = re.sub(r"<(style|script).*?</\\1>", "", page, flags=re.S)
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page)))


@pytest.mark.slow
def test_fourteen_findings_are_readable() -> None:
    shown = pages(Made("findings", findings=14), SIGNS)
    source = shown["source"]
    assert source.count("<details>") == 3  # image, report, both; closed
    assert source.count('<th scope="row">sign &lt;14&gt;</th>') == 3
    assert "sign <14>" not in source
    assert shown["engineer"].count("AUC of each finding on never-seen patients.") == 3

    # Not among every measurement, where 14 findings a head and set would hide the rest
    every = source.partition('<section id="every">')[2]
    assert "AUC of finding" not in every
    assert "Most telling finding" in shown["engineer"]
    assert "Of 14 findings, " in shown["report"]
    assert "Findings sign <1>, sign <2>" in shown["report"]


def test_a_page_about_tables_names_no_film() -> None:
    shown = pages(Made("value", heads=("table",), modalities=("table",)), ())
    for name in ("report", "engineer", "letter"):
        text = shown[name].replace("Example radiographs", "")
        for word in ("adiograph", "image head", "report head", "both heads", "Both together"):
            assert word not in text, (name, word)
    assert "Explained variance" in shown["report"]
    assert "trained with tables of values" in shown["letter"]
    assert "which the task “value” does not have" in shown["engineer"]
    assert "(Explained variance and Rank correlation on withdrawn" in shown["engineer"]


@pytest.mark.slow
def test_four_modalities_have_each_their_channels() -> None:
    shown = pages(Made("classes", *[("image", "text", "table", "series")] * 2), ("a", "b", "c"))
    for words in (
        "All inputs together",
        "Link between radiograph and table of values",
        "Link between table of values and recording",
    ):
        assert words in shown["report"]
    assert "Both together" not in shown["engineer"]
    assert "radiographs, reports, tables of values and recordings" in shown["letter"]


def test_a_page_about_pairs_has_no_heads() -> None:
    shown = pages(Made("pairs", heads=()), ())
    assert "image head" not in shown["engineer"]
    assert "Recall at 1" in shown["report"]
    assert "no predictions" in shown["report"]


@pytest.mark.parametrize(
    ("channel", "full", "narrow", "of_head"),
    [
        ("image", "Radiograph", "Radiograph", "image head"),
        ("text", "Report", "Report", "report head"),
        ("both", "Radiograph and report together", "Both together", "both heads"),
        ("lab_values", "Lab values", "Lab values", "lab values head"),
    ],
)
def test_words(channel: str, full: str, narrow: str, of_head: str) -> None:
    assert (channel_name(channel), short_channel(channel), head_name(channel)) == (
        full,
        narrow,
        of_head,
    )
    assert head_word(channel) == narrow.lower()
    assert materials(()) == "data"
