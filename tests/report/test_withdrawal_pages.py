"""The pages of a withdrawal: first screen, request, letter, memory removed; and who reads by ear or by keyboard."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from forgetmi.audit.expectation import expectation, sentences
from forgetmi.audit.memory_removed import NO_MEMORY, MemoryRemoved
from forgetmi.audit.rule import Rule
from forgetmi.audit.verdict import ChannelVerdict, Outcome
from forgetmi.core.carrier import COVERS
from forgetmi.evidence.request import RequestSpec, Withdrawal
from forgetmi.methods.s3t import S3T
from forgetmi.methods.sisa import Sisa
from forgetmi.report import rendering
from forgetmi.report.content import ReportFacts
from forgetmi.report.pages import render_engineer, render_letter, render_report, write_report
from forgetmi.report.request_text import letter_names
from tests.figures import blank_figures
from tests.report.conftest import make_audit

OUTCOMES: tuple[Outcome, ...] = ("FORGOTTEN", "NOT FORGOTTEN", "OVER-FORGOTTEN", "NOT RESOLVABLE")
FIRST: dict[Outcome, str] = {
    "FORGOTTEN": "The new model treats these patients like people it never saw, within the limit set beforehand. "
    "Write what was checked. Do not write that nothing is left.",
    "NOT FORGOTTEN": "The new model still recognises these patients. Do not write that the person was removed.",
    "OVER-FORGOTTEN": "The new model treats these patients so oddly that it can be noticed. "
    "Do not write that the person was removed.",
    "NOT RESOLVABLE": "We cannot tell yet. Do not write that the person was removed.",
}
ONE = RequestSpec(
    id="R0007",
    ground="GDPR Art. 17, erasure",
    sign_off="data protection officer",
    due="2026-04-14",
    in_service="2026-04-02",
)
SEVERAL = RequestSpec(
    id="R0007, R0009",
    due="2026-04-14",
    each=(
        Withdrawal("R0007", "2026-03-14", "2026-04-14", "GDPR Art. 17, erasure"),
        Withdrawal("R0009", "2026-03-20", "2026-04-20", "GDPR Art. 21, objection"),
    ),
)
MEMORY = (
    MemoryRemoved("image", 0.82, (0.52, 1.24), 16, 67, (0.85, 1.13)),
    MemoryRemoved("link", None, None, 16, 67, (), NO_MEMORY),
)


@pytest.fixture(scope="module", autouse=True)
def no_figures() -> Iterator[None]:
    """Nothing here looks at a figure."""
    with blank_figures():
        rendering._environment.cache_clear()
        yield
    rendering._environment.cache_clear()


@pytest.fixture(scope="module")
def bare(facts: ReportFacts) -> ReportFacts:
    return replace(facts, signals={}, withdrawal=ONE)


class Elements(HTMLParser):
    """Headings with their level, elements to be filled in, and everything that takes the focus, in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.headings: list[tuple[int, str]] = []
        self.blanks: list[dict[str, str | None]] = []
        self.focus: list[str] = []
        self.landmarks: list[str] = []
        self.lang = ""
        self._level = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if re.fullmatch(r"h[1-6]", tag):
            self._level = int(tag[1])
            self.headings.append((self._level, ""))
        if tag == "html":
            self.lang = values.get("lang") or ""
        if tag in ("main", "nav", "aside"):
            self.landmarks.append(tag)
        if values.get("contenteditable"):
            self.blanks.append(values)
        if tag == "a" or "contenteditable" in values or "tabindex" in values:
            self.focus.append(values.get("href") or values.get("aria-label") or "")
        assert int(values.get("tabindex") or 0) <= 0, "a positive tabindex breaks the order"

    def handle_endtag(self, tag: str) -> None:
        if re.fullmatch(r"h[1-6]", tag):
            self._level = 0

    def handle_data(self, data: str) -> None:
        if self._level:
            level, text = self.headings[-1]
            self.headings[-1] = (level, " ".join(f"{text} {data}".split()))


def text_of(page: str) -> str:
    body = page.partition("</style>")[2]
    return " ".join(re.sub("<[^>]*>", " ", body).split())


def with_audit(facts: ReportFacts, outcome: Outcome) -> ReportFacts:
    return replace(facts, audit=replace(make_audit(outcome), memory=MEMORY))


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_the_first_screen_has_plain_words_first_and_the_verdict_word_second(
    bare: ReportFacts, outcome: Outcome
) -> None:
    page = render_report(with_audit(bare, outcome))
    text = text_of(page)

    assert Elements(page).headings[1] == (2, FIRST[outcome])
    words = text.index(FIRST[outcome])
    verdict = text.index(f"rule declared beforehand: {outcome}")
    assert words < verdict < text.index("What to do.")


def test_without_an_audit_nothing_may_be_written(bare: ReportFacts) -> None:
    page = render_report(bare)
    first = "Nothing was checked yet. Do not write that the person was removed."
    assert Elements(page).headings[1] == (2, first)


def test_one_line_where_all_channels_agree_and_a_table_where_they_differ(bare: ReportFacts) -> None:
    audit = make_audit("FORGOTTEN")
    three = audit.verdict.channels[:3]
    agreeing = replace(audit, verdict=replace(audit.verdict, channels=three))
    page = render_report(replace(bare, audit=agreeing))

    line = (
        "All views agree (radiograph, report, both together): FORGOTTEN. The widest interval of the difference to "
        "retraining is +0.010 (−0.050 to +0.070); up to ±0.10 counts as none."
    )
    assert line in text_of(page)
    assert 'aria-label="Verdict by channel"' not in page

    # The fourth could not be measured, or has another outcome
    page = render_report(replace(bare, audit=audit))
    assert "All views agree" not in page
    assert 'aria-label="Verdict by channel"' in page

    # All of them not resolvable, one of them for want of embeddings
    text = text_of(render_report(replace(bare, audit=make_audit("NOT RESOLVABLE"))))
    assert "both together): NOT RESOLVABLE." in text
    assert "not measured, hence NOT RESOLVABLE (the model has no embeddings)." in text

    nothing = ChannelVerdict("image", "NOT RESOLVABLE", "too few")
    unmeasured = replace(audit, verdict=replace(audit.verdict, channels=(nothing,)))
    text = text_of(render_report(replace(bare, audit=unmeasured)))
    assert "Radiograph: not measured, hence NOT RESOLVABLE (too few)." in text
    assert "Nothing could be measured against retrained models." in text


def test_what_was_expected_stands_beside_what_came_out(bare: ReportFacts) -> None:
    facts = with_audit(bare, "NOT RESOLVABLE")
    assert facts.audit is not None
    models = dict.fromkeys(("original", "unlearned", "retrain-0", "retrain-1"), "0a" * 32)
    audit = replace(facts.audit, draws=(replace(facts.audit.draws[0], models=models),))
    facts = replace(facts, audit=audit)

    # The function that a withdrawal asks beforehand, with the audit's own numbers
    beforehand = expectation(patients=16, never_seen=52.0, retrained=2, rule=Rule())
    assert not beforehand.can_show
    (sentence,) = sentences(beforehand)
    text = text_of(render_report(facts))
    assert f"Expected beforehand {sentence} Came out With 16 patients and 2 retrained" in text

    # Where a withdrawal said it, its own words
    said = text_of(render_report(replace(facts, expected=("It was said so.",))))
    assert "Expected beforehand It was said so. Came out" in said

    # Without retrained models nothing can be shown
    without = replace(audit, draws=(replace(audit.draws[0], models={}),))
    text = text_of(render_report(replace(facts, audit=without)))
    assert "This audit cannot say FORGOTTEN: it takes" in text


def test_what_came_out_is_said_with_the_margin(bare: ReportFacts) -> None:
    text = text_of(render_report(with_audit(bare, "NOT RESOLVABLE")))
    assert "the intervals reach ±0.17, beyond the margin of ±0.10" in text

    text = text_of(render_report(with_audit(bare, "FORGOTTEN")))
    assert "the intervals reach ±0.06, within the margin of ±0.10" in text


def test_memory_removed_is_said_with_interval_and_basis(bare: ReportFacts) -> None:
    for render in (render_report, render_engineer):
        text = text_of(render(with_audit(bare, "NOT FORGOTTEN")))
        assert "Radiograph 82 % (52 to 124 %) retrained models 85 to 113 %" in text
        assert f"report not resolvable: {NO_MEMORY}" in text
        assert (
            "It is no part of the verdict. 16 withdrawn patients, 67 never-seen patients." in text
        )

    # One line where nothing can be said of any channel
    silent = tuple(replace(MEMORY[1], channel=name) for name in ("image", "text", "link"))
    audit = replace(make_audit(), memory=silent)
    text = text_of(render_report(replace(bare, audit=audit)))
    assert text.count(NO_MEMORY) == 1
    assert f"All views not resolvable: {NO_MEMORY}" in text

    # An audit from before it was measured
    assert "Memory removed" not in render_report(replace(bare, audit=make_audit()))


def test_report_and_letter_name_the_request(bare: ReportFacts) -> None:
    facts = with_audit(bare, "FORGOTTEN")
    text = text_of(render_report(facts))

    assert (
        "Request R0007; received 2026-03-14; due 2026-04-14; ground: GDPR Art. 17, erasure; "
        "to be signed off by data protection officer." in text
    )
    for pair in (
        "Request R0007",
        "Received 2026-03-14",
        "Due 2026-04-14",
        "Ground GDPR Art. 17, erasure",
        "Signs off data protection officer",
        "replaces model 00000000 since 2026-04-02",
        "The answer is due on 2026-04-14.",
    ):
        assert pair in text

    letter = text_of(render_letter(facts))
    assert "Your request to withdraw your data (R0007)" in letter
    assert "On 2026-03-14 you asked us" in letter
    assert "From 2026-04-02 on, only the changed program is used." in letter
    assert "data protection officer signs off. The answer is due on 2026-04-14." in letter


def test_what_is_not_stated_is_said_to_be(bare: ReportFacts) -> None:
    text = text_of(render_report(replace(bare, withdrawal=RequestSpec())))

    assert "no number stated" in text
    assert "Due not stated" in text
    assert "Signs off not stated" in text
    assert "is to replace model 00000000 ; since when is not stated" in text
    assert "within one month of the request" in text


def test_each_of_several_requests_has_its_letter(bare: ReportFacts, tmp_path: Path) -> None:
    facts = replace(with_audit(bare, "NOT RESOLVABLE"), withdrawal=SEVERAL)
    pages = write_report(tmp_path / "report.html", facts)

    assert [page.name for page in pages[3:]] == ["letter-R0007.html", "letter-R0009.html"]
    letters = [text_of(page.read_text(encoding="utf-8")) for page in pages[2:]]
    assert "(R0009)" in letters[2]
    assert "On 2026-03-20 you asked us" in letters[2]
    assert "R0007" not in letters[2]
    assert "2026-04-14" not in letters[2]

    # The general letter is nobody's own
    assert "On date of the request you asked us" in letters[0]
    assert not re.search(r"R000\d|2026-", letters[0].partition("Your request")[2])

    report = pages[0].read_text(encoding="utf-8")
    assert 'href="letter-R0009.html"' in report
    assert "Requests R0007, R0009; the first due 2026-04-14" in text_of(report)


def test_no_file_is_named_after_a_free_word() -> None:
    for numbers in (("../R1", "R2"), ("R1", "R1"), ("R1", "")):
        each = [Withdrawal(number) for number in numbers]
        assert letter_names(each) == ["letter-1.html", "letter-2.html"]
    assert letter_names([Withdrawal("R1")]) == []


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_the_letter_claims_no_more_than_the_verdict(bare: ReportFacts, outcome: Outcome) -> None:
    letter = text_of(render_letter(with_audit(bare, outcome)))

    assert "We changed the program with the aim that" in letter
    assert "Whether the aim was reached is said below." in letter
    for claim in ("so that it treats", "was removed from", "has never read", "no longer"):
        assert claim not in letter

    # What is in use now follows from FORGOTTEN alone
    assert ("only the changed program is used" in letter) is (outcome == "FORGOTTEN")
    assert ("this is the program that is used" in letter) is (outcome != "FORGOTTEN")


def test_a_retrained_model_is_said_to_be_one(bare: ReportFacts) -> None:
    exact = replace(bare, method=replace(bare.method, exact=True))
    letter = text_of(render_letter(exact))
    assert "without the radiographs and reports that are filed under your name." in letter
    assert "trained the program again from the beginning" in letter
    assert "with the aim" not in letter


def test_what_left_parts_as_they_were_is_not_called_training_again(bare: ReportFacts) -> None:
    """Exact all the same: shards trained again, blocks switched off, new heads on towers that saw nobody."""
    exact = replace(bare.method, exact=True)
    heads = replace(bare, method=exact, options={**bare.options, COVERS: "heads only"})
    for facts in (replace(bare, method=Sisa.info), replace(bare, method=S3T.info), heads):
        letter = text_of(render_letter(facts))
        assert "again from the beginning" not in letter
        assert "The parts that stayed had never learnt from them." in letter
        assert "with the aim" not in letter


def test_headings_labels_and_tab_order(bare: ReportFacts) -> None:
    facts = with_audit(bare, "NOT RESOLVABLE")
    for render in (render_report, render_engineer, render_letter):
        elements = Elements(render(facts))
        levels = [level for level, _ in elements.headings]

        # One first heading, no level passed over, none of them empty
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after <= before + 1 for before, after in pairwise(levels))
        assert all(text for _, text in elements.headings)

        # By keyboard: past the navigation first, then as it stands in the page
        assert elements.lang == "en"
        assert elements.landmarks[:2] == ["nav", "main"]
        assert elements.focus[0] == "#content"

    blanks = Elements(render_letter(facts)).blanks
    labels = [blank["aria-label"] for blank in blanks]
    assert len(labels) == len(set(labels)) > 12
    assert all(labels)
    assert {blank["role"] for blank in blanks} == {"textbox"}


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2) of #rgb or #rrggbb."""
    digits = colour.lstrip("#")
    if len(digits) == 3:
        digits = "".join(2 * digit for digit in digits)
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    lighter, darker = sorted((luminance(first), luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_colours_have_the_contrast_that_text_needs() -> None:
    style = (rendering.TEMPLATES / "page.css").read_text(encoding="utf-8")
    assert contrast("#fff", "#000000") == pytest.approx(21)

    themes = [
        dict(re.findall(r"--([a-z]+): (#[0-9a-f]+)", block))
        for block in re.findall(r":root \{([^}]*)\}", style)
    ]
    assert len(themes) == 2, "light, then dark"
    for colours in themes:
        for text in ("ink", "muted", "accent", "warm"):
            for ground in (colours["page"], colours["soft"]):
                assert contrast(colours[text], ground) >= 4.5, (text, ground)
        assert contrast(colours["muted"], colours["blank"]) >= 4.5  # what is to be filled in
