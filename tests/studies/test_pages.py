"""The programs that write tables into pages: what stands between the marks, and what a table says."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import explaining_figures  # type: ignore[import-not-found]
import ours  # type: ignore[import-not-found]
import ours_models  # type: ignore[import-not-found]
import ours_real  # type: ignore[import-not-found]
import pages  # type: ignore[import-not-found]
import tuned  # type: ignore[import-not-found]
from forgetmi.audit.rule import AuditSpec
from forgetmi.benchmark.measured import Number
from forgetmi.core.scores import Failed
from forgetmi.evaluation.attacks.base import AttackOutput
from forgetmi.model.recipe import Recipe
from tests.figures import drawn_figures


def table(text: str) -> dict[str, list[str]]:
    """First cell of each line of a Markdown table to the others; the heading included."""
    lines = [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in text.splitlines()
        if line[:1] == "|"
    ]
    return {line[0]: line[1:] for line in lines}


def test_only_what_is_between_the_marks_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "a\n<!-- x: begin -->\nold\n<!-- x: end -->\nb\n<!-- y: begin -->\n<!-- y: end -->\n"
    )
    pages.write_between(page, "x", "new")
    assert (
        page.read_text()
        == "a\n<!-- x: begin -->\nnew\n<!-- x: end -->\nb\n<!-- y: begin -->\n<!-- y: end -->\n"
    )
    before = page.read_text()
    with pytest.raises(SystemExit, match="z: begin"):
        pages.write_between(page, "z", "new")
    assert page.read_text() == before


def test_a_command_is_shown_without_the_places_of_a_machine() -> None:
    shown = pages.command("ours", ["--out", "/a", "--cohort.path=/b/c.csv", "--draws", "2"])
    assert shown == "python studies/ours.py --out OUT --cohort.path=COHORT --draws 2"


def judged(score: float, **more: Any) -> dict[str, Any]:
    return {
        "score": score,
        "parts": {"gap": score / 4, "jsf": 3 * score / 4},
        "refused": "",
        "stayed": False,
        **more,
    }


@pytest.fixture
def tuning(tmp_path: Path) -> Path:
    """Two seeds and two methods; a trial takes 2 s, or 4, ...; a retraining 10 and 20."""
    options = [
        {"kind": "a", "lr": 1e-4, "epochs": 5},
        {"kind": "a", "lr": 3e-4, "epochs": 5},
        {"kind": "a", "lr": 1e-3, "epochs": 5},
        {"kind": "a", "lr": 1e-4, "epochs": 50},
    ]
    found: list[list[Any]] = [
        [judged(0.4), judged(0.2)],
        [judged(0.1), judged(0.3)],
        [judged(0.1), "diverged"],
        [judged(0.0), judged(0.0, refused="reads 9 samples")],
    ]
    root = tmp_path / "tuning"
    for name, tried in (
        ("a", found),
        ("b", [[judged(0.5, stayed=True)] * 2] * 2),
        ("c", [["failed"] * 2]),
    ):
        trials = []
        for number, seeds in enumerate(tried):
            whole = not any(isinstance(one, str) for one in seeds)
            refused = "; ".join(
                {one if isinstance(one, str) else one["refused"] for one in seeds} - {""}
            )
            trials.append(
                {
                    "trial": number,
                    "options": options[number],
                    "refused": refused,
                    "score": float(np.mean([one["score"] for one in seeds])) if whole else None,
                    "seeds": {str(7 + at): one for at, one in enumerate(seeds)},
                }
            )
            for seed in (7, 8):
                folder = root / "trials" / name / f"{number}-seed-{seed}"
                folder.mkdir(parents=True)
                (folder / "trial.json").write_text(
                    json.dumps({"cost": {"cpu_seconds": 2 * (number + 1)}})
                )
        chosen = {"a": 1, "b": 0, "c": None}[name]
        (root / f"{name}.json").write_text(
            json.dumps(
                {
                    "method": name,
                    "rule": "shipped",
                    "seeds": [7, 8],
                    "trials": trials,
                    "chosen": chosen,
                    "did_not_forget": name != "a",
                }
            )
        )
    for seed, seconds in ((7, 10), (8, 20)):
        (root / f"seed-{seed}" / "traces").mkdir(parents=True)
        (root / f"seed-{seed}" / "traces" / "retrain-0.json").write_text(
            json.dumps({"cost": {"cpu_seconds": seconds}})
        )
    (root / "plan.json").write_text(
        json.dumps(
            {
                "specs": [{"seed": 7}, {"seed": 8}],
                "trials": {"a": options, "b": options[:2], "c": options[:1]},
            }
        )
    )
    return root


def test_a_tuning_is_told_with_ties_failures_and_what_did_not_forget(
    tuning: Path, capsys: Any
) -> None:
    tuned.main([str(tuning)])
    tried, chosen = capsys.readouterr().out.strip().split("\n\n", 1)
    assert table(tried)["`a`"] == ["4", "lr 0.0001, 0.0003, 0.001; epochs 5, 50"]
    assert table(tried)["`c`"] == ["1", "-"]
    found = table(chosen)
    assert found["method"] == [
        "score of the first trial",
        "chosen options",
        "score",
        "gap",
        "JSf",
        "trials",
        "failed",
        "not allowed",
        "forgot",
        "time / retrain",
    ]
    # 4 s against 10 and against 20
    assert found["`a`"] == [
        "0.300",
        "lr 0.0003",
        "0.200",
        "0.050",
        "0.150",
        "4",
        "1",
        "1",
        "yes",
        "0.30",
    ]
    assert found["`b`"] == [
        "0.500",
        "the first trial's (tie of 2)",
        "0.500",
        "0.125",
        "0.375",
        "2",
        "0",
        "0",
        "no",
        "0.15",
    ]
    assert found["`c`"] == ["-", "none is allowed", "-", "-", "-", "1", "1", "0", "-", "-"]


def test_a_tuning_that_is_not_finished_is_refused(tuning: Path) -> None:
    (tuning / "b.json").unlink()
    with pytest.raises(SystemExit, match=r"not there yet: b"):
        tuned.main([str(tuning)])


def test_an_interval_over_forget_sets_by_hand() -> None:
    def cell(*found: Any) -> str:
        return ours_real.cell(
            [SimpleNamespace(draw=draw, found=one) for draw, one in found], lambda one: one.found
        )

    # set 0: mean .2, set 1: .4; half-width t(.975, 1) x s / sqrt 2 = 12.706 x .1
    wide = (-9.0, 9.0)
    found = cell(
        (0, Number(0.1, within=wide)), (0, Number(0.3, within=wide)), (1, Number(0.4, within=wide))
    )
    assert found == "0.30 [-0.97, 1.57]"
    assert (
        cell((0, Number(0.1)), (0, Number(0.3)), (1, Number(0.4))) == "0.30 [0.00, 1.00]"
    )  # what it can be
    assert cell((0, Number(0.1, (0.0, 0.2))), (0, Number(0.3, (0.2, 0.6)))) == "0.20 [0.10, 0.40]"
    assert cell((0, Number(0.1)), (1, Failed("gap", "diverged"))) == "diverged (1 of 2 runs)"


def test_what_is_not_made_yet_is_stated(tmp_path: Path, capsys: Any) -> None:
    ours_real.main(
        [
            "--out",
            str(tmp_path / "out"),
            "--cohort.patients",
            "40",
            "--cohort.size",
            "32",
            "--images.size",
            "32",
            "--no-presets",
            "--percents",
            "10",
            "--draws",
            "2",
            "--training-seeds",
            "0",
            "--methods",
            "consensus:lr=0.001",
        ]
    )
    said = capsys.readouterr().out
    assert set(table(said)["consensus: lr=0.001"]) == {"not run yet"}
    assert "0 models" in said


def test_bounds_of_relearning_are_kept() -> None:
    def found(value: float, bound: Any, epochs: float) -> ours.Taught:
        time = AttackOutput(value, {}, bound=bound, details={"epochs": epochs})
        return ours.Taught(time, AttackOutput(value / 2, {}))

    # Two models of one set, then one model a set: mean 1.5, half-width t(.975, 1) x s / sqrt(2) = 12.71 x .5
    both = [found(1.0, "", 4.0), found(2.0, "at least", 20.0)]
    assert ours._summary([both]) == ("12.0", "at least 1.50", "0.75")
    assert ours._summary([[one] for one in both]) == (
        "12.0",
        "at least 1.50 [0.00, 7.85]",
        "0.75 [0.00, 3.93]",
    )
    one_without = [[both[0]], [ours.Taught("neither side reached", AttackOutput(1.0, {}))]]
    assert ours._summary(one_without) == ("-", "-", "0.75 [0.00, 3.93]")


def test_distances_are_over_the_floor_and_costs_over_the_shortest_retraining() -> None:
    def models(*distances: float, change: float, seconds: float) -> np.ndarray:
        by_name = dict(zip(ours.COMPARED, distances, strict=True))
        by_name |= {"test AUC change": change, "time / retrain": seconds}
        return np.array([[by_name.get(name, 9.0) for name in ours.COLUMNS]])

    one = {
        ours.FLOOR_ROW: models(0.1, 0.2, 0.3, 0.4, change=0.0, seconds=1.0),
        ours.YARDSTICK: models(0.1, 0.2, 0.3, 0.4, change=0.0, seconds=0.5),
        "a": np.concatenate(
            [
                models(0.1, 0.2, 0.3, 0.4, change=0.02, seconds=0.1),
                models(0.3, 0.4, 0.3, 0.8, change=0.04, seconds=0.3),
            ]
        ),
    }
    measured = {ours.Setting(Path("a"), 9, 1, 10.0, 0): one}
    found = table("\n".join(ours.over_floor(measured)))
    assert found["a"] == ["2.00", "1.50", "1.00", "1.50", "0.40", "+0.030"]
    assert found[ours.YARDSTICK][-2] == "1.00"


def test_settings_are_compared_pair_by_pair() -> None:
    def models(*gaps: float) -> np.ndarray:
        return np.array([[gap, *[0.5] * (len(ours.COLUMNS) - 1)] for gap in gaps])

    tables = [
        {"a": models(0.1, 0.2), "b": models(0.2, 0.1)},
        {"a": models(0.1, 0.1), "b": models(0.4, 0.2)},
    ]
    found = table("\n".join(ours.compared(tables, ["a", "b"], percent=10)))
    # b is above a by .1, -.1, .3, .1: mean .1, half-width t(.975, 3) x s / 2 = 3.182 x .1633 / 2
    assert found["b"] == ["+0.100 [-0.160, +0.360], 3", *["+0.000 [+0.000, +0.000], 0"] * 3]
    assert ours.compared(tables, ["a"], percent=10) == []


@pytest.mark.slow
def test_our_own_methods_are_measured_and_taught_again(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
) -> None:
    monkeypatch.setattr(ours_models, "RECIPE", Recipe(epochs=1))
    monkeypatch.setattr(ours_models, "AUDIT", AuditSpec(relearn_epochs=2))
    monkeypatch.setattr(ours_models, "RETRAINS", 2)
    options = [
        "--cohorts",
        "0",
        "--seeds",
        "0",
        "--patients",
        "40",
        "--out",
        str(tmp_path / "out"),
        "--settings",
        "consensus:epochs=1,draws=1",
    ]
    ours.main(options)
    first = capsys.readouterr()
    rows = table(first.out)
    assert list(rows) == ["", "---", "original", "retrain (floor)", "consensus: epochs=1,draws=1"]
    assert rows["original"][6] == "0.000"
    assert float(rows["retrain (floor)"][7]) == 1.0
    assert "retrain-1 1/1" in first.err
    ours.main([*options, "--table", "relearning"])
    again = capsys.readouterr()
    assert "relearn-original 2/2" in again.err
    assert "retrain-1 1/1" not in again.err.replace("relearn-retrain-1", "")
    taught = table(again.out)
    assert taught["original"][0] in (
        "0.0",
        "-",
    )  # it knows them already; a dash where no retrained model gets there


def test_the_explaining_figures_are_drawn_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["explaining_figures.py", "--out", str(tmp_path)])
    with drawn_figures():
        explaining_figures.main()
    shown = {
        "verdicts.svg": ["OVER-FORGOTTEN"],
        "pipeline.svg": ["rule fixed before"],
        "four_losses.svg": ["UU", "MU", "UR", "MR", "its noisy copy", "gate"],
    }
    for name, words in shown.items():
        drawn = (tmp_path / name).read_text(encoding="utf-8")
        assert [word for word in words if f">{word}<" not in drawn] == []
