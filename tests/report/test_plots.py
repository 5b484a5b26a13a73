"""An evaluation in a notebook: figures from the outputs it was measured on, tables of what is there, one line each."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from forgetmi.core.errors import EvaluationError
from forgetmi.core.scores import PLOTS, Evaluation, Failed, Score
from forgetmi.report.content import ReportFacts
from forgetmi.report.picture import side_by_side
from forgetmi.report.plots import EvaluationPlots
from tests.report.conftest import make_audit


@pytest.fixture(scope="module")
def measured(facts: ReportFacts) -> Evaluation:
    plots = EvaluationPlots(facts.signals, facts.partition, "grades")
    return replace(facts.evaluation, draw=plots)


@pytest.mark.parametrize(("kind", "panels"), [("losses", 6), ("trade_off", 2), ("patients", 1)])
def test_each_plot_is_one_svg_that_loads_nothing(
    measured: Evaluation, kind: str, panels: int, tmp_path: Path
) -> None:
    text = measured.plot(kind).save(tmp_path / "plot.svg").read_text(encoding="utf-8")

    root = ET.fromstring(text)
    assert len(root.findall("{http://www.w3.org/2000/svg}svg")) == panels
    assert "http" not in text.replace("http://www.w3.org/", "")
    assert "secret-patient" not in text


def test_panels_do_not_overlap(measured: Evaluation) -> None:
    root = ET.fromstring(measured.plot("losses").svg)  # type: ignore[attr-defined]
    places = [(float(one.get("x", 0)), float(one.get("y", 0))) for one in root if one.get("x")]
    assert len(set(places)) == 6
    assert len({y for _, y in places}) == 2


def test_a_notebook_shows_the_figure_with_its_caption(measured: Evaluation) -> None:
    shown = measured.plot("trade_off")._repr_html_()
    assert shown.startswith("<figure><svg")
    assert "<figcaption>Square: original" in shown


def test_what_cannot_be_drawn_is_said(facts: ReportFacts, measured: Evaluation) -> None:
    with pytest.raises(EvaluationError, match="losses, trade_off, patients"):
        measured.plot("loss")
    with pytest.raises(EvaluationError, match="read from a file"):
        Evaluation.from_json(measured.to_json()).plot()

    alone = {name: facts.signals[name] for name in ("original", "unlearned")}
    with pytest.raises(EvaluationError, match="retrained ones"):
        EvaluationPlots(alone, facts.partition, "grades")(measured, "patients")
    with pytest.raises(EvaluationError, match="two retrained models"):
        EvaluationPlots(alone, facts.partition, "grades")(Evaluation({}), "trade_off")
    with pytest.raises(ValueError, match="viewBox"):
        _ = side_by_side(["<svg/>"], "").svg


def test_how_an_evaluation_was_drawn_is_not_stored(measured: Evaluation) -> None:
    assert Evaluation.from_json(measured.to_json()) == measured
    assert "draw" not in measured.to_json()
    assert set(PLOTS) == {"losses", "trade_off", "patients"}


def test_records_are_told_in_a_line_and_shown_as_a_table() -> None:
    score = Score("auc", 0.7123, (0.65, 0.77), 57, 90, "higher", 0.7, "image", "test")
    assert repr(score) == "Score(auc, image, test: 0.712 (0.650 to 0.770), retrained 0.700)"
    assert repr(Score("gap", 0.1, None, 5, 5, "lower")) == "Score(gap: 0.100)"

    failed = Failed("f1", "<no labels>", "image", "test")
    evaluation = Evaluation({"original": (score, failed)})
    assert repr(evaluation) == "Evaluation(original: 2 scores)"
    assert "not measured: &lt;no labels&gt;" in evaluation._repr_html_()
    assert "<td>0.650 to 0.770</td>" in score._repr_html_()

    frame = evaluation.to_frame()
    assert frame.loc[0, ["model", "value", "low"]].tolist() == ["original", 0.7123, 0.65]
    assert frame.loc[1, "failed"] == "<no labels>"
    assert list(Evaluation({}).to_frame().columns) == list(frame.columns)


def test_a_long_table_says_how_much_it_leaves_out(measured: Evaluation) -> None:
    shown = measured._repr_html_()
    assert shown.count("<tr>") == 41
    assert f"40 of {len(measured.rows())} rows" in shown


def test_an_audit_shows_its_verdict_and_its_patients() -> None:
    audit = make_audit("NOT FORGOTTEN")
    assert repr(audit).startswith("Audit(NOT FORGOTTEN: 16 patients, 1 stand out")
    assert repr(audit.verdict).startswith("Verdict(NOT FORGOTTEN: image NOT FORGOTTEN, text")

    shown = audit._repr_html_()
    assert "NOT FORGOTTEN: 16 forgotten, 67 never-seen patients" in shown
    assert shown.count("<td>remembered</td>") == 1
    assert "the model has no embeddings" in shown
