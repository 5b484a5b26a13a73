"""The pages: what is on them, what must not be, and that it comes from the facts alone."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forgetmi.audit.rows import AttackRow, NeverSeen, PatientRow
from forgetmi.audit.verdict import Outcome
from forgetmi.core.cohort import ForgetRequest
from forgetmi.core.cost import Cost
from forgetmi.core.near_duplicates import NearDuplicate, NearDuplicates
from forgetmi.core.scores import Evaluation, Failed, Score
from forgetmi.evidence.request import RequestSpec, Withdrawal
from forgetmi.report.content import Example, ReportFacts
from forgetmi.report.page_values import DIGESTS_SHOWN
from forgetmi.report.pages import (
    render_engineer,
    render_letter,
    render_report,
    write_report,
)
from forgetmi.report.side_by_side import SideBySide
from forgetmi.report.verdict_text import ANSWERS
from tests.report.conftest import make_audit

pytestmark = pytest.mark.usefixtures("shared_pictures")
HOSTILE = "<script>alert(1)</script>&\"'{{ 7*7 }}"
LONG = "Pneumonoultramicroscopicsilicovolcanoconiosis" * 12


class Reader(HTMLParser):
    """Collects the tags, the addresses and identifiers, and the text outside <style>."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self._style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._style = tag == "style"

        for name, value in attrs:
            if name in ("src", "href", "srcset", "xlink:href", "action", "poster"):
                self.addresses.append(value or "")
            if name == "id":
                self.ids.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        self._style = False

    def handle_data(self, data: str) -> None:
        if not self._style:
            self.text += data


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.text = " ".join(reader.text.split())
    return reader


def change(
    facts: ReportFacts, edit: Callable[[str, Score | Failed], Score | Failed | None]
) -> ReportFacts:
    """The facts with every score edited; None drops it."""
    scores = {}
    for model, of_model in facts.evaluation.scores.items():
        edited = [edit(model, score) for score in of_model]
        scores[model] = tuple(score for score in edited if score is not None)

    return replace(facts, evaluation=Evaluation(scores, facts.evaluation.notes))


RENDER = {"report": render_report, "engineer": render_engineer, "letter": render_letter}
NEIGHBOURS = {
    "report.html",
    "engineer.html",
    "engineer.html#manifest",
    "engineer.html#rule",
    "engineer.html#terms",
    "letter.html",
}


@pytest.fixture(scope="module")
def pages(facts: ReportFacts, audited: ReportFacts, shared_pictures: None) -> dict[str, str]:
    """Every page, without and with an audit."""
    rendered = {}
    for name, render in RENDER.items():
        rendered[name] = render(facts)
        rendered[f"{name}+audit"] = render(audited)
    return rendered


@pytest.fixture(
    scope="module", params=[f"{name}{suffix}" for suffix in ("", "+audit") for name in RENDER]
)
def page(request: pytest.FixtureRequest, pages: dict[str, str]) -> str:
    return pages[request.param]


def test_page_needs_nothing_from_outside(page: str) -> None:
    reader = read(page)

    assert "script" not in reader.tags
    assert not {"link", "iframe", "object", "embed", "form"} & set(reader.tags)
    assert all(
        address.startswith(("#", "data:image/jpeg;base64,")) or address in NEIGHBOURS
        for address in reader.addresses
    )
    assert "http:" not in page
    assert "https:" not in page
    assert "@import" not in page
    assert set(re.findall(r"url\(([^)]{0,2})", page)) <= {"#p"}  # clip paths of the figures
    assert "default-src 'none'" in page


def test_page_is_small_and_its_identifiers_are_unique(page: str) -> None:
    reader = read(page)

    assert len(page.encode()) < 900_000

    named = [
        name for name in reader.ids if not name.startswith(("m", "p"))
    ]  # markers of the keys' signs repeat

    assert len(named) == len(set(named))


def test_every_figure_is_described_and_read_with_a_sentence(pages: dict[str, str]) -> None:
    for name in ("engineer", "engineer+audit"):
        figures = re.findall(r"<figure.*?</figure>", pages[name], re.DOTALL)
        drawn = [figure for figure in figures if "<svg" in figure]
        assert len(drawn) >= (4 if name == "engineer" else 9)
        assert all(
            "<b>What to see:</b>" in figure and figure.count("<desc") >= 1 for figure in drawn
        )


def test_every_inner_address_exists(pages: dict[str, str]) -> None:
    ids = {name: set(read(page).ids) for name, page in pages.items()}

    for name, page in pages.items():
        for address in read(page).addresses:
            target, _, anchor = address.partition("#")
            there = ids[name] if not target else ids.get(target.removesuffix(".html"), set())
            assert not anchor or anchor in there


@pytest.mark.usefixtures("fresh_pictures")
def test_same_facts_give_the_same_bytes(
    audited: ReportFacts, pages: dict[str, str], tmp_path: Path
) -> None:
    files = write_report(tmp_path / "report.html", audited)

    assert [file.read_bytes() for file in files] == [
        pages[f"{name}+audit"].encode() for name in RENDER
    ]
    assert {file.name for file in tmp_path.iterdir()} == {
        "report.html",
        "engineer.html",
        "letter.html",
    }


def test_pages_find_each_other_under_another_name(facts: ReportFacts) -> None:
    names = {"officer": "march.html", "engineer": "engineer.html", "letter": "letter.html"}
    assert 'href="march.html"' in render_letter(facts, names=names)


def test_page_holds_no_identifier_but_the_first_digests_of_the_request(
    facts: ReportFacts,
    pages: dict[str, str],
) -> None:
    assert not any("secret-" in page for page in pages.values())

    page = pages["report"]
    shown = [digest for digest in facts.request.patients if digest in page]

    assert shown == list(facts.request.patients[:DIGESTS_SHOWN])
    assert "and 13 more" in read(page).text

    allowed = {facts.manifest.cohort, *facts.manifest.models.values(), *shown}

    assert set(re.findall(r"\b[0-9a-f]{16,}\b", re.sub("<[^>]*>", " ", page))) <= allowed
    assert not re.search(r"[0-9a-f]{16}", re.sub("<[^>]*>", " ", pages["letter+audit"]))


def test_without_an_audit_nothing_is_concluded(facts: ReportFacts) -> None:
    bare = replace(
        facts, evaluation=Evaluation(facts.evaluation.scores), duplicates=None, signals={}
    )
    texts = {name: read(render(bare)).text for name, render in RENDER.items()}

    for text in texts.values():
        for word in (
            "FORGOTTEN",
            "successful,",
            "compliant",
            "passed",
            "failed",
            "erased",
            "guarantee",
        ):
            assert word not in text

    report = texts["report"].lower()

    assert "no audit was made" in report
    assert "it draws no conclusion" in report
    assert "not resolvable" in report
    assert "no proof of erasure" in report
    assert "its target is the rate of never-seen patients" in texts["engineer"].lower()
    assert "we have not yet tested" in texts["letter"].lower()


IN_THE_LETTER: dict[Outcome, str] = {
    "FORGOTTEN": "treated the people who withdrew, taken together, like programs that never saw their data",
    "NOT FORGOTTEN": "still treats the people who withdrew differently from people it has never seen",
    "OVER-FORGOTTEN": "treats the people who withdrew more oddly than people it has never seen",
    "NOT RESOLVABLE": "could not settle the question",
}
OUTCOMES: tuple[Outcome, ...] = ("FORGOTTEN", "NOT FORGOTTEN", "OVER-FORGOTTEN", "NOT RESOLVABLE")


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_the_verdict_is_the_rules_and_no_other_word_for_it(
    facts: ReportFacts, outcome: Outcome
) -> None:
    audit = make_audit(outcome)
    audit = replace(
        audit, statements=(), controls=(), verdict=replace(audit.verdict, statements=())
    )
    page = read(render_report(replace(facts, audit=audit, signals={}))).text
    # Save for what was expected beforehand
    page = re.sub(r"Expected beforehand.*Came out", "", page)
    outcomes = re.findall(r"NOT FORGOTTEN|OVER-FORGOTTEN|NOT RESOLVABLE|FORGOTTEN", page)

    # The verdict word; then one line where all channels agree, a table where one was not measured
    lines = 1 if outcome == "NOT RESOLVABLE" else 3
    assert outcomes == [outcome] * (1 + lines) + ["NOT RESOLVABLE"]
    assert ANSWERS[outcome].means in page

    letter = read(render_letter(replace(facts, audit=audit, signals={}))).text

    assert [name for name, words in IN_THE_LETTER.items() if words in letter] == [outcome]
    assert ("next step and date" in letter) is (outcome != "FORGOTTEN")


def test_power_controls_copies_harm_and_risk_are_on_the_first_page(
    pages: dict[str, str], audited: ReportFacts
) -> None:
    text = read(pages["report+audit"]).text

    for part in (
        "With 16 withdrawn patients an AUC below 0.72 cannot be told from 0.5.",
        "One patient with a copy elsewhere was left out.",
        "it calls the original model NOT FORGOTTEN, as it must",
        "of 1 retrained model, left out in turn, it calls 1 NOT RESOLVABLE",
        "the copy keeps the withdrawn patient's data in training",
        "2 harmed, 2 not resolvable, 2 too few to say",
        "Harmed: sex: F, accuracy, radiograph",
        "1 became easier to recognise as training data",
        "stands out as remembered",
        "within one month of the request",
    ):
        assert part in text

    assert audited.audit is not None
    assert audited.audit.patients[0].patient[:8] in text

    nobody = replace(
        audited.audit,
        patients=tuple(replace(row, remembered=False) for row in audited.audit.patients),
    )
    text = read(render_report(replace(audited, audit=nobody, signals={}))).text

    assert "None of 16 withdrawn patients stands out" in text
    assert "stands out as remembered" not in text


def test_the_engineers_page_has_every_attack_patient_and_subgroup(
    pages: dict[str, str],
    audited: ReportFacts,
) -> None:
    audit, text = audited.audit, read(pages["engineer+audit"]).text

    assert audit is not None
    assert all(row.patient[:8] in text for row in audit.patients)

    for part in (
        "Population attack",
        "RMIA, offline",
        "SVM loss attack for comparison with published tables",
        "16 withdrawn, 67 never seen",
        "LiRA, online (radiograph, report): needs shadows",
        "too few to say",
        "not within 3 epochs",
        "1/67",
        "F (9 | 30)",
        "unknown (1 | 4)",
        "has a copy elsewhere",
    ):
        assert part in text

    assert text.index("SVM loss attack") > text.index("RMIA, offline")


def test_several_forget_sets_are_pooled_and_named(audited: ReportFacts) -> None:
    audit = audited.audit

    assert audit is not None

    second = [
        replace(row, draw=1)
        for row in (
            *audit.attacks,
            *audit.never_seen,
            *audit.patients,
            *audit.relearning,
        )
    ]

    attacks = tuple(row for row in second if isinstance(row, AttackRow))

    pooled = replace(
        audit,
        draws=(audit.draws[0], replace(audit.draws[0], name="another")),
        verdict=replace(audit.verdict, draws=2),
        attacks=(*audit.attacks, *attacks),
        patients=(*audit.patients, *(row for row in second if isinstance(row, PatientRow))),
        never_seen=(*audit.never_seen, *(row for row in second if isinstance(row, NeverSeen))),
    )

    page = render_engineer(replace(audited, audit=pooled, signals={}))

    assert "Each withdrawn patient, another" in page
    assert read(page).text.count("another") > 6
    assert "32 withdrawn and 134 never-seen patients" in page  # ROC curves over both


def test_numbers_come_from_the_scores(facts: ReportFacts, pages: dict[str, str]) -> None:
    def edit(model: str, score: Score | Failed) -> Score | Failed:
        if isinstance(score, Score) and (model, score.name, score.head, score.on) == (
            "unlearned",
            "auc",
            "image",
            "forget",
        ):
            return replace(score, value=0.6437, interval=(0.5129, 0.7648))

        return score

    changed = change(replace(facts, signals={}), edit)
    text = read(render_report(changed)).text + read(render_engineer(changed)).text
    before = read(pages["report"]).text + read(pages["engineer"]).text

    for number in (
        "0.6440.513 to 0.765",
        "is now 0.64 (95 % interval 0.51 to 0.76)",
        "0.6437 (0.5129 to 0.7648)",
    ):
        assert number in text
        assert number not in before


def test_a_changed_fact_changes_the_page(facts: ReportFacts, pages: dict[str, str]) -> None:
    other = ReportFacts(
        title="Another title",
        cohort=replace(facts.cohort, name="films of Elsewhere", classes=("yes", "no")),
        partition=facts.partition,
        request=ForgetRequest(("ab" * 8,), (), "moved abroad", "2031-01-02"),
        method=replace(
            facts.method, title="Retrain", summary="Trained anew.", paper="no paper", exact=True
        ),
        options={"rounds": 17},
        work=facts.work,
        evaluation=Evaluation(facts.evaluation.scores, ("A note on all.",)),
        signals={},
        derived_from_forgotten=(),
        manifest=replace(facts.manifest, seeds={"root": 4711}, accelerator="Abacus 9"),
    )

    changed = read(render_report(other)).text + read(render_engineer(other)).text
    before = read(pages["report"]).text + read(pages["engineer"]).text

    for part in (
        "Another title",
        "films of Elsewhere",
        "yes, no",
        "ab" * 8,
        "moved abroad",
        "2031-01-02",
        "Retrain took",
        "Trained anew.",
        "rounds 17",
        "without ever reading the withdrawn patients",
        "A note on all.",
        "no outputs of the models were given",
        "None are shown",
        "root 4711",
        "Abacus 9",
        "Nothing besides the model’s starting point was named",
    ):
        assert part in changed
        assert part not in before


def test_cost_and_share_of_a_retraining(facts: ReportFacts, pages: dict[str, str]) -> None:
    assert (
        "33 % of the processor time of one retraining" in read(pages["report"]).text
    )  # 12.1 of 36.9 seconds

    work = replace(
        facts.work,
        cost=Cost(300, 290, 3 * 2**30),
        retrain=Cost(8000, 7500, 1),
        warnings=("Did not move.",),
    )
    changed = replace(facts, work=work, signals={})
    text = read(render_engineer(changed)).text + read(render_report(changed)).text

    assert "5 minutes on the clock" in text
    assert "2.2 hours on the clock" in text
    assert "3.0 GiB" in text
    assert "unlearning took 4 % of it" in text
    assert "Did not move." in text

    alone = read(
        render_engineer(replace(facts, work=replace(facts.work, retrain=None), signals={}))
    ).text

    assert "what a retraining takes is not known here" in alone
    assert "no retraining" not in alone  # the retrained models are there, their cost is not


def test_the_cheapest_exact_retraining_is_named_or_said_not_to_be_measured(
    facts: ReportFacts, pages: dict[str, str]
) -> None:
    row = "Cheapest exact retraining"
    before = read(pages["engineer"]).text
    assert "not measured in this run" in before[before.index(row) :][:80]

    # 12.1 of 24.2 CPU seconds
    work = replace(facts.work, cheapest=Cost(25.0, 24.2, 1))
    after = read(render_engineer(replace(facts, work=work, signals={}))).text
    assert "unlearning took 50 % of it" in after[after.index(row) :][:120]


def test_what_failed_is_shown_with_its_reason(facts: ReportFacts) -> None:
    def edit(model: str, score: Score | Failed) -> Score | Failed:
        if score.name in ("sample_mia", "auc") and score.head == "image" and model != "original":
            return Failed(score.name, f"too few patients for {score.name}", score.head, score.on)
        return score

    changed = replace(change(facts, edit), signals={})
    text = read(render_report(changed)).text + read(render_engineer(changed)).text

    assert "not measured: too few patients for sample_mia" in text
    assert "not measured for the unlearned model: too few patients for auc" in text
    assert "nan" not in text.lower().split()


def test_without_retrained_models_nothing_is_called_near(facts: ReportFacts) -> None:
    kept = {model: facts.evaluation.scores[model] for model in ("original", "unlearned")}
    signals = {model: facts.signals[model] for model in ("original", "unlearned")}
    changed = replace(facts, evaluation=Evaluation(kept), signals=signals)
    text = read(render_report(changed)).text + read(render_engineer(changed)).text

    assert "no number here has a yardstick" in text
    assert "there is no retrained model to compare with" in text
    assert "nearer to the mean" not in text


def test_with_one_retrained_model_its_own_interval_is_shown(facts: ReportFacts) -> None:
    kept = {
        model: scores
        for model, scores in facts.evaluation.scores.items()
        if model[-2:] not in ("-1", "-2")
    }
    changed = replace(facts, evaluation=Evaluation(kept), signals={})
    text = read(render_report(changed)).text + read(render_engineer(changed)).text

    assert "1 retrained model reaches" in text
    assert "range of" not in text


def _pair(text: str) -> NearDuplicate:
    """A near-duplicate in which every word is the same."""
    words: Any = text
    return NearDuplicate(words, 0.9, text, text, words)


def _requests(text: str) -> tuple[Withdrawal, Withdrawal]:
    """Two requests in which every word is the same."""
    return Withdrawal(text, ground=text), Withdrawal(text, ground=text)


def hostile_facts(facts: ReportFacts, text: str) -> ReportFacts:
    """Facts in which every word that comes from outside is the same."""
    audit = make_audit()

    assert audit.harm

    return replace(
        facts,
        title=text,
        request=replace(facts.request, reason=text, date=text),
        withdrawal=RequestSpec(id=text, ground=text, sign_off=text, each=_requests(text)),
        expected=(text,),
        cohort=replace(facts.cohort, name=text, classes=(text, LONG), notices=(text,)),
        method=replace(facts.method, title=text, summary=text, paper=text),
        options={text: text},
        duplicates=NearDuplicates((_pair(text),), (1, 2), (3, 4)),
        work=replace(facts.work, warnings=(text,)),
        derived_from_forgotten=(text,),
        evaluation=Evaluation(
            {"original": (Failed("auc", text, "image", "forget"),), "unlearned": ()}, (text,)
        ),
        manifest=replace(facts.manifest, command=text, warnings=(text,), models={text: text}),
        signals={},
        examples=(Example(np.zeros((8, 8)), text),),
        audit=replace(
            audit,
            rule_digest=text,
            draws=(replace(audit.draws[0], name=text),),
            statements=(text,),
            verdict=replace(
                audit.verdict,
                channels=tuple(replace(channel, reason=text) for channel in audit.verdict.channels),
            ),
            subgroups=tuple(
                replace(row, column=text, value=text, note=text and row.note and text)
                for row in audit.subgroups
            ),
            harm=tuple(replace(row, column=row.column and text, value=text) for row in audit.harm),
            attacks=tuple(
                replace(
                    row,
                    title=text,
                    source=text,
                    measures=text,
                    note=text,
                    counts={text: 3},
                    details={text: 1.0},
                )
                for row in audit.attacks
            ),
            missing=tuple(replace(row, title=text, reason=text) for row in audit.missing),
        ),
    )


def test_hostile_texts_stay_text(facts: ReportFacts) -> None:
    hostile = hostile_facts(facts, HOSTILE)

    for name, least in (("report", 15), ("engineer", 20), ("letter", 1)):
        page = RENDER[name](hostile)
        reader = read(page)
        assert "script" not in reader.tags
        assert "<script" not in page
        assert reader.text.count("{{ 7*7 }}") >= least


def test_text_from_outside_does_not_turn_or_break_its_surroundings(facts: ReportFacts) -> None:
    turned = hostile_facts(facts, "\u202eevil\u2066 \x00\x1b[2J bell\x07 \ud800 مرحبا")

    for render in RENDER.values():
        page = render(turned)
        assert not set("\u202e\u2066\x00\x1b\x07\ud800") & set(page)
        page.encode()

    assert "مرحبا" in read(render_report(turned)).text


def test_examples_keep_the_page_small(facts: ReportFacts) -> None:
    noise = np.random.default_rng(0).random((512, 384))
    page = render_report(
        replace(facts, examples=tuple(Example(noise, f"example {i}") for i in range(20)))
    )

    assert read(page).tags.count("img") == 6
    assert len(page.encode()) < 600_000


CHROMIUM = (
    shutil.which("chromium")
    or shutil.which("chromium-browser")
    or shutil.which("google-chrome")
    or ""
)


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium to draw the pages with")
def test_pages_fit_a_phone_and_a_desktop(
    facts: ReportFacts, pages: dict[str, str], tmp_path: Path
) -> None:
    long = hostile_facts(facts, LONG)
    frames = [(pages[f"{name}+audit"], width) for name in RENDER for width in (320, 390, 768, 1280)]
    frames += [(render(long), 390) for render in RENDER.values()]
    drawn = "".join(
        f'<iframe style="width:{width}px;height:800px" srcdoc="{html.escape(page)}"></iframe>'
        for page, width in frames
    )
    harness = tmp_path / "harness.html"

    harness.write_text(
        f"<!doctype html><meta charset=utf-8>{drawn}<p id=result></p><script>addEventListener('load', () => {{"
        "result.textContent = [...document.querySelectorAll('iframe')].map(frame => { const root = "
        "frame.contentDocument.documentElement; return root.scrollWidth + '/' + root.clientWidth; }).join(' '); })"
        "</script>",
        encoding="utf-8",
    )

    done = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--virtual-time-budget=5000",
            "--dump-dom",
            harness.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )

    measured = re.search(r'<p id="result">([^<]*)</p>', done.stdout)

    assert measured is not None

    sizes = [tuple(map(int, pair.split("/"))) for pair in measured[1].split()]

    assert [client for _, client in sizes] == [width for _, width in frames]
    assert all(scroll <= client for scroll, client in sizes)


def test_two_methods_stand_side_by_side(facts: ReportFacts, shared_pictures: None) -> None:
    cells = ("-", "NOT RESOLVABLE", "FORGOTTEN", "-")
    titles = ("original", "Forget-MI", "UNDO", "retrained")
    table = SideBySide("image", titles, (("verdict", cells),))
    page = render_report(replace(facts, beside=table))
    assert "Two methods side by side" in page
    assert ">UNDO</th>" in page
    assert ">FORGOTTEN</td>" in page
    assert "Two methods side by side" not in render_report(facts)
