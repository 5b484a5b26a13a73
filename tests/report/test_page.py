"""The page: what is on it, what must not be, and that it comes from the facts alone."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from forgetmi.cost import Cost
from forgetmi.report.content import Example, MethodSummary, ReportFacts
from forgetmi.report.pages import DIGESTS_SHOWN, render, write_report
from forgetmi.types import Evaluation, Failed, ForgetRequest, Score

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


def change(facts: ReportFacts, edit: Callable[[str, Score | Failed], Score | Failed | None]) -> ReportFacts:
    """The facts with every score edited; None drops it."""
    scores = {model: tuple(new for score in found if (new := edit(model, score)) is not None)
              for model, found in facts.evaluation.scores.items()}
    return replace(facts, evaluation=Evaluation(scores, facts.evaluation.notes))


@pytest.fixture(scope="module")
def page(facts: ReportFacts) -> str:
    return render(facts)


def test_page_needs_nothing_from_outside(page: str) -> None:
    reader = read(page)
    assert "script" not in reader.tags
    assert not {"link", "iframe", "object", "embed", "form"} & set(reader.tags)
    assert all(address.startswith(("#", "data:image/jpeg;base64,")) for address in reader.addresses)
    assert "http:" not in page
    assert "https:" not in page
    assert "@import" not in page
    assert set(re.findall(r"url\(([^)]{0,2})", page)) == {"#p"}  # clip paths of the figures
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page


def test_page_is_small_and_its_identifiers_are_unique(page: str) -> None:
    reader = read(page)
    assert len(page.encode()) < 600_000
    assert reader.tags.count("svg") >= 12
    named = [one for one in reader.ids if not one.startswith(("m", "p"))]  # markers of the keys' signs repeat
    assert len(named) == len(set(named))


def test_every_inner_address_exists(page: str) -> None:
    reader = read(page)
    assert {address[1:] for address in reader.addresses if address.startswith("#")} <= set(reader.ids)


def test_same_facts_give_the_same_bytes(facts: ReportFacts, page: str, tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", facts)
    assert (tmp_path / "report.html").read_bytes() == page.encode()
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_page_holds_no_identifier_but_the_first_digests_of_the_request(facts: ReportFacts, page: str) -> None:
    assert "secret-" not in page
    shown = [digest for digest in facts.request.patients if digest in page]
    assert shown == list(facts.request.patients[:DIGESTS_SHOWN])
    assert "and 13 more" in read(page).text
    allowed = {facts.manifest.cohort, facts.manifest.spec, *facts.manifest.models.values(), *shown}
    assert set(re.findall(r"\b[0-9a-f]{16,}\b", re.sub("<[^>]*>", " ", page))) == allowed


def test_page_never_concludes(facts: ReportFacts) -> None:
    own = read(render(replace(facts, evaluation=Evaluation(facts.evaluation.scores)))).text.lower()
    for word in ("forgotten", "successful", "compliant", "passed", "failed", "erased", "guarantee", "verdict"):
        assert word not in own
    assert "not resolvable" in own
    assert "no proof of erasure" in own
    assert "its target is the rate of never-seen patients" in own
    assert "it draws no conclusion" in own


def test_numbers_come_from_the_scores(facts: ReportFacts, page: str) -> None:
    def edit(model: str, score: Score | Failed) -> Score | Failed:
        if isinstance(score, Score) and (model, score.name, score.head, score.on) == (
                "unlearned", "auc", "image", "forget"):
            return replace(score, value=0.6437, interval=(0.5129, 0.7648))
        return score
    text = read(render(change(facts, edit))).text
    for number in ("0.6440.513 to 0.765", "is now 0.64 (95 % interval 0.51 to 0.76)", "0.6437 (0.5129 to 0.7648)"):
        assert number in text
        assert number not in read(page).text


def test_a_changed_fact_changes_the_page(facts: ReportFacts, page: str) -> None:
    changed = read(render(ReportFacts(
        title="Another title", cohort=replace(facts.cohort, name="films of Elsewhere", classes=("yes", "no")),
        partition=facts.partition, request=ForgetRequest(("ab" * 8,), (), "moved abroad", "2031-01-02"),
        method=MethodSummary("Retrain", "Trained anew.", "no paper", {"rounds": 17}, exact=True), work=facts.work,
        evaluation=Evaluation(facts.evaluation.scores, ("A note on all.",)), signals={}, derived_from_forgotten=(),
        manifest=replace(facts.manifest, seeds={"root": 4711}, accelerator="Abacus 9")))).text
    before = read(page).text
    for part in ("Another title", "films of Elsewhere", "yes, no", "ab" * 8, "moved abroad", "2031-01-02",
                 "Retrain took", "Trained anew.", "rounds 17", "without ever reading the withdrawn patients",
                 "A note on all.", "no outputs of the models were given", "None are shown", "root 4711", "Abacus 9",
                 "Nothing besides the model’s starting point was named"):
        assert part in changed
        assert part not in before


def test_cost_and_share_of_a_retraining(facts: ReportFacts, page: str) -> None:
    assert "33 % of the processor time of one retraining" in read(page).text  # 12.1 of 36.9 seconds
    work = replace(facts.work, cost=Cost(300, 290, 3 * 2**30), retrain=Cost(8000, 7500, 1), warnings=("Did not move.",))
    text = read(render(replace(facts, work=work, signals={}))).text
    assert "5 minutes on the clock" in text
    assert "2.2 hours on the clock" in text
    assert "3.0 GiB" in text
    assert "unlearning took 4 % of it" in text
    assert "Did not move." in text
    alone = read(render(replace(facts, work=replace(facts.work, retrain=None), signals={}))).text
    assert "no retraining was made in this run" in alone


def test_what_failed_is_shown_with_its_reason(facts: ReportFacts) -> None:
    def edit(model: str, score: Score | Failed) -> Score | Failed:
        if score.name in ("sample_mia", "auc") and score.head == "image" and model != "original":
            return Failed(score.name, f"too few patients for {score.name}", score.head, score.on)
        return score
    text = read(render(replace(change(facts, edit), signals={}))).text
    assert "not measured: too few patients for sample_mia" in text
    assert "not measured for the unlearned model: too few patients for auc" in text
    assert "nan" not in text.lower().split()


def test_without_retrained_models_nothing_is_called_near(facts: ReportFacts) -> None:
    kept = {model: facts.evaluation.scores[model] for model in ("original", "unlearned")}
    signals = {model: facts.signals[model] for model in ("original", "unlearned")}
    text = read(render(replace(facts, evaluation=Evaluation(kept), signals=signals))).text
    assert "no number here has a yardstick" in text
    assert "there is no retrained model to compare with" in text
    assert "nearer to the mean" not in text


def test_with_one_retrained_model_its_own_interval_is_shown(facts: ReportFacts) -> None:
    kept = {model: scores for model, scores in facts.evaluation.scores.items() if model[-2:] not in ("-1", "-2")}
    text = read(render(replace(facts, evaluation=Evaluation(kept), signals={}))).text
    assert "1 retrained model reaches" in text
    assert "range of" not in text


def test_hostile_texts_stay_text(facts: ReportFacts) -> None:
    hostile = replace(
        facts, title=HOSTILE, request=replace(facts.request, reason=HOSTILE, date=HOSTILE),
        cohort=replace(facts.cohort, name=HOSTILE, classes=(HOSTILE, LONG), notices=(HOSTILE,)),
        method=MethodSummary(HOSTILE, HOSTILE, HOSTILE, {HOSTILE: HOSTILE}),
        work=replace(facts.work, warnings=(HOSTILE,)), derived_from_forgotten=(HOSTILE,),
        evaluation=Evaluation({"original": (Failed("auc", HOSTILE, "image", "forget"),), "unlearned": ()}, (HOSTILE,)),
        manifest=replace(facts.manifest, command=HOSTILE, warnings=(HOSTILE,), models={HOSTILE: HOSTILE}),
        examples=(Example(np.zeros((8, 8)), HOSTILE),))
    page = render(hostile)
    reader = read(page)
    assert "script" not in reader.tags
    assert "<script" not in page
    assert "{{ 7*7 }}" in reader.text
    assert reader.text.count("<script>alert(1)</script>") >= 10


def test_examples_keep_the_page_small(facts: ReportFacts) -> None:
    noise = np.random.default_rng(0).random((512, 384))
    page = render(replace(facts, signals={}, examples=tuple(Example(noise, f"example {i}") for i in range(20))))
    assert read(page).tags.count("img") == 6
    assert len(page.encode()) < 600_000


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome") or ""


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium to draw the page with")
def test_page_fits_a_phone_and_a_desktop(facts: ReportFacts, page: str, tmp_path: Path) -> None:
    long = render(replace(facts, title=LONG, request=replace(facts.request, reason=LONG),
                          cohort=replace(facts.cohort, classes=(LONG,)), derived_from_forgotten=(LONG,)))
    frames = [(page, 320), (page, 390), (page, 768), (page, 1280), (long, 390)]
    drawn = "".join(f'<iframe style="width:{width}px;height:800px" srcdoc="{html.escape(one)}"></iframe>'
                    for one, width in frames)
    harness = tmp_path / "harness.html"
    harness.write_text(
        f"<!doctype html><meta charset=utf-8>{drawn}<p id=result></p><script>addEventListener('load', () => {{"
        "result.textContent = [...document.querySelectorAll('iframe')].map(frame => { const root = "
        "frame.contentDocument.documentElement; return root.scrollWidth + '/' + root.clientWidth; }).join(' '); })"
        "</script>", encoding="utf-8")
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--hide-scrollbars", f"--user-data-dir={tmp_path / 'profile'}",
         "--virtual-time-budget=5000", "--dump-dom", harness.as_uri()],
        capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r'<p id="result">([^<]*)</p>', done.stdout)
    assert found is not None
    sizes = [tuple(map(int, pair.split("/"))) for pair in found[1].split()]
    assert [client for _, client in sizes] == [width for _, width in frames]
    assert all(scroll <= client for scroll, client in sizes)
