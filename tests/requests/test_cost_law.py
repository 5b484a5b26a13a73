"""The cost law: its lines against closed forms, what it refuses, and what the advice makes of it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from forgetmi.cli import main
from forgetmi.core.errors import SpecError
from forgetmi.evidence.record import Record
from forgetmi.evidence.record_files import read_record
from forgetmi.requests.cost_advice import CostAdvice, choose
from forgetmi.requests.cost_check import checks
from forgetmi.requests.cost_law import (
    CostLaw,
    MeasuredCosts,
    MeasuredMethod,
    MeasuredRun,
    fitted,
    read_cost_law,
)
from forgetmi.requests.cost_line import fit_line
from forgetmi.requests.policy import Conditions, Policy

# Images and forgotten images of requests on three cohorts
GRID = [(n, f) for n in (100, 200, 400) for f in (n // 100, n // 20, n // 10)]


def planted(n: int, f: int) -> float:
    return 3.0 + 0.05 * n + 0.7 * f


def test_exact_costs_give_back_their_line() -> None:
    line = fit_line(*zip(*GRID, strict=True), [planted(*one) for one in GRID], name="m")  # type: ignore[arg-type]
    assert np.allclose(line.coefficients, [3.0, 0.05, 0.7])
    estimate = line.estimate(300, 15)
    assert estimate.seconds == pytest.approx(planted(300, 15))
    assert estimate.low == pytest.approx(estimate.high)

    # For one cohort a straight line in the share forgotten, per image
    per_image = [line.estimate(200, f).seconds / 200 for f in (2, 10, 20)]
    assert per_image[1] - per_image[0] == pytest.approx(0.7 * 0.04)
    assert per_image[2] - per_image[1] == pytest.approx(0.7 * 0.05)


def test_the_line_is_the_weighted_least_squares_one() -> None:
    """Against the normal equations and the textbook's interval of a prediction."""
    generator = np.random.default_rng(3)
    seconds = [planted(*one) * (1 + 0.1 * generator.standard_normal()) for one in GRID]
    line = fit_line(*zip(*GRID, strict=True), seconds, name="m")  # type: ignore[arg-type]

    x = np.array([[1.0, n, f] for n, f in GRID])
    weight = np.diag(1 / np.array(seconds) ** 2)
    inverse = np.linalg.inv(x.T @ weight @ x)
    beta = inverse @ x.T @ weight @ seconds
    squares = float((seconds - x @ beta) @ weight @ (seconds - x @ beta)) / (len(GRID) - 3)
    assert np.allclose(line.coefficients, beta)
    assert np.allclose(line.covariance, squares * inverse)

    new = np.array([1.0, 300, 9])
    deviation = np.sqrt(squares * (new @ inverse @ new + (new @ beta) ** 2))
    half = stats.t.ppf(0.975, len(GRID) - 3) * deviation
    estimate = line.estimate(300, 9)
    assert (estimate.low, estimate.high) == pytest.approx((new @ beta - half, new @ beta + half))


def test_new_runs_lie_in_their_interval_as_often_as_it_says() -> None:
    generator = np.random.default_rng(5)
    inside = 0
    for _ in range(400):
        seconds = [planted(*one) * (1 + 0.08 * generator.standard_normal()) for one in GRID]
        line = fit_line(*zip(*GRID, strict=True), seconds, name="m")  # type: ignore[arg-type]
        estimate = line.estimate(300, 15)
        new = planted(300, 15) * (1 + 0.08 * generator.standard_normal())
        inside += estimate.low <= new <= estimate.high
    assert 0.91 <= inside / 400 <= 0.98


def test_what_did_not_vary_is_left_out() -> None:
    retraining = fit_line([100, 200, 400], [0, 0, 0], [9.0, 17.0, 33.0], name="m")
    assert np.allclose(retraining.coefficients, [1.0, 0.08, 0.0])
    assert retraining.outside(300, 30) == ""
    one_cohort = fit_line([100, 100, 100], [1, 5, 10], [4.0, 8.0, 13.0], name="m")
    assert np.allclose(one_cohort.coefficients, [3.0, 0.0, 1.0])


def test_no_part_of_a_cost_is_negative() -> None:
    """The rest is fitted as if the part were not there."""
    seconds = [5 - 0.005 * n + 0.5 * f for n, f in GRID]
    line = fit_line(*zip(*GRID, strict=True), seconds, name="m")  # type: ignore[arg-type]
    x = np.array([[1.0, f] for _, f in GRID]) / np.array(seconds)[:, None]
    expected = np.linalg.lstsq(x, np.ones(len(GRID)), rcond=None)[0]
    assert np.allclose(line.coefficients, [expected[0], 0.0, expected[1]])
    assert line.freedom == len(GRID) - 2
    assert not line.covariance[1].any()

    # A part by forgotten image may be: who trains on the rest has less to do
    rest = [2 + 0.1 * n - 0.1 * f for n, f in GRID]
    line = fit_line(*zip(*GRID, strict=True), rest, name="m")  # type: ignore[arg-type]
    assert np.allclose(line.coefficients, [2.0, 0.1, -0.1])


def test_too_few_runs_and_runs_that_tell_nothing_are_refused() -> None:
    with pytest.raises(SpecError, match="too few runs of ours"):
        fit_line([100, 200, 400], [1, 2, 40], [1.0, 2.0, 3.0], name="ours")
    with pytest.raises(SpecError, match="do not tell"):
        fit_line([100, 200, 400, 800], [10, 20, 40, 80], [1.0, 2.0, 3.0, 4.0], name="ours")


def costs(*, undo: float = 0.02, edit: float = 0.3) -> MeasuredCosts:
    """A retraining of .08 s an image, an exact method at half of that, and two approximate ones."""
    per_image = {"retrain": 0.08, "short_retrain": 0.04, "undo": undo, "forget_mi": 0.002}
    per_forgotten = {"retrain": 0.0, "short_retrain": -0.04, "undo": -undo, "forget_mi": edit}
    runs = []
    for method, each in per_image.items():
        for n, f in GRID:
            forgotten = 0 if method == "retrain" else f
            seconds = 1 + each * n + per_forgotten[method] * forgotten
            people = forgotten and forgotten // 2 + 1
            runs.append(MeasuredRun(method, "fit", n, 0, 1.0, 0, n, forgotten, people, seconds))
    exact = {"retrain", "short_retrain"}
    methods = tuple(MeasuredMethod(one, one in exact, {"epochs": 4}) for one in per_image)
    return MeasuredCosts(1, "a machine", "a command", methods, tuple(runs))


def law(**changed: float) -> CostLaw:
    return fitted(costs(**changed))


def verdict(record: Record, kind: str, outcome: str, **options: Any) -> Record:
    method = dataclasses.replace(
        record.method, kind=kind, exact=False, options=options or {"epochs": 4}
    )
    decision = dataclasses.replace(record.decision, outcome=outcome, flagged={})
    return dataclasses.replace(record, method=method, decision=decision)


def advice(records: list[Record], **more: Any) -> CostAdvice:
    values: dict[str, Any] = {"patients": 3, "images": 300, "forgotten": 9, **more}
    return choose(law(), records, **values)


def chosen(records: list[Record], **more: Any) -> str:
    best = advice(records, **more).cheapest
    return "" if best is None else best.method


def test_the_cheapest_is_named_that_the_verdicts_allow(signed_run: Path) -> None:
    record = read_record(signed_run)
    forgot = verdict(record, "forget_mi", "FORGOTTEN")
    undone = verdict(record, "undo", "FORGOTTEN")
    assert chosen([]) == "short_retrain"
    assert chosen([undone]) == "undo"
    assert chosen([undone, forgot]) == "forget_mi"

    # Where more are forgotten, the one that does not read them is cheaper
    assert chosen([undone, forgot], forgotten=30) == "undo"
    assert chosen([undone, forgot], exact=True) == "short_retrain"

    # One verdict against it is enough, and other options are another method
    assert chosen([undone, forgot, verdict(record, "forget_mi", "NOT FORGOTTEN")]) == "undo"
    assert chosen([verdict(record, "undo", "FORGOTTEN", epochs=9)]) == "short_retrain"
    why = {one.method: one.why_not for one in advice([verdict(record, "undo", "x", e=9)]).choices}
    assert why["undo"] == "no verdict on it with these options (1 with others)"
    assert why["forget_mi"] == "no verdict on it"


def test_a_policy_is_respected(signed_run: Path) -> None:
    unsure = [verdict(read_record(signed_run), "undo", "NOT RESOLVABLE")]
    few = len(unsure[0].subjects.patients)
    accepts = Policy(("NOT RESOLVABLE",), "officer", "decided", Conditions(at_most_patients=few))
    assert chosen(unsure) == "short_retrain"
    assert chosen(unsure, policy=accepts, patients=few) == "undo"
    assert chosen(unsure, policy=accepts, patients=few + 1) == "short_retrain"
    strict = dataclasses.replace(accepts, accept=("OVER-FORGOTTEN",))
    assert chosen(unsure, policy=strict, patients=few) == "short_retrain"


def test_outside_of_what_was_measured_nothing_is_chosen() -> None:
    for images, forgotten in ((99, 1), (401, 5), (300, 31), (400, 3)):
        found = advice([], images=images, forgotten=forgotten)
        why = {one.method: one.why_not for one in found.choices}
        assert "measured from" in why["short_retrain"], (images, forgotten)
        costs_nothing = [one.method for one in found.choices if one.cost is None]
        assert "short_retrain" in costs_nothing
    assert chosen([], images=300, forgotten=31) == "retrain"
    assert chosen([], images=401) == ""


def test_costs_are_scaled_to_a_retraining_measured_here() -> None:
    plain, scaled = advice([]), advice([], retraining=250.0)
    assert plain.retraining.seconds == pytest.approx(25.0)
    assert scaled.scale == pytest.approx(10.0)
    for one, other in zip(plain.choices, scaled.choices, strict=True):
        assert one.cost is not None
        assert other.cost is not None
        assert other.cost.seconds == pytest.approx(10 * one.cost.seconds)


def test_costs_that_cannot_be_told_apart_are_named() -> None:
    generator = np.random.default_rng(1)
    measured = costs(undo=0.0399)
    runs = tuple(
        dataclasses.replace(run, cpu_seconds=run.cpu_seconds * (1 + 0.1 * generator.uniform(-1, 1)))
        for run in measured.runs
    )
    exact = tuple(dataclasses.replace(one, exact=True) for one in measured.methods)
    near = fitted(dataclasses.replace(measured, runs=runs, methods=exact))
    found = choose(near, [], patients=3, images=300, forgotten=29)
    assert found.cheapest is not None
    alike = {found.cheapest.method, *(one.method for one in found.as_cheap())}
    assert {"undo", "short_retrain"} <= alike
    assert "retrain" not in alike


def test_seconds_of_a_device_make_the_lines_where_there_was_one(tmp_path: Path) -> None:
    measured = costs()
    assert fitted(measured).unit == "CPU s"
    runs = tuple(
        dataclasses.replace(run, device_seconds=run.cpu_seconds, cpu_seconds=1.0)
        for run in measured.runs
    )
    held = fitted(dataclasses.replace(measured, runs=runs))
    assert held.unit == "device s"
    assert held.lines["undo"].estimate(300, 29) == fitted(measured).lines["undo"].estimate(300, 29)

    # Seconds of two kinds make no line
    path = tmp_path / "mixed.json"
    mixed = dataclasses.replace(measured, runs=(*measured.runs[:-1], runs[-1]))
    path.write_text(json.dumps(dataclasses.asdict(mixed)))
    with pytest.raises(SpecError, match="some runs had a device and some had none"):
        read_cost_law(path)


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    path = tmp_path / "law.json"
    path.write_text(json.dumps(dataclasses.asdict(costs())))
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "format 2, not 1"),
        ({"methods": []}, "no method retrain"),
        ({"runs": []}, "no run forgets anybody"),
        ({"more": 1}, "unknown key"),
        ({"runs": [{"method": "undo"}]}, "missing"),
    ],
)
def test_other_files_are_refused(stored: Path, change: dict[str, Any], message: str) -> None:
    stored.write_text(json.dumps({**json.loads(stored.read_text()), **change}))
    with pytest.raises(SpecError, match=message):
        read_cost_law(stored)


def test_all_faults_of_a_file_are_told_at_once(stored: Path) -> None:
    values = json.loads(stored.read_text())
    values["runs"][0] |= {"method": "other", "cpu_seconds": 0.0}
    values["methods"].append(values["methods"][0])
    stored.write_text(json.dumps(values))
    with pytest.raises(SpecError) as caught:
        read_cost_law(stored)
    assert len(caught.value.faults) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"forgotten_patients": 0}, "do not fit the images"),
        ({"forgotten_patients": -1}, "do not fit the images"),
        ({"forgotten_patients": 10**6}, "do not fit the images"),
        ({"cpu_seconds": 1e300}, "out of range"),
        ({"images": 10**13}, "out of range"),
    ],
)
def test_numbers_that_no_run_has_are_refused(
    stored: Path, change: dict[str, Any], message: str
) -> None:
    values = json.loads(stored.read_text())
    run = next(run for run in values["runs"] if run["forgotten"])
    run |= change
    stored.write_text(json.dumps(values))
    with pytest.raises(SpecError, match=message):
        read_cost_law(stored)


def test_the_command_names_the_cheapest(
    stored: Path, signed_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["requests", "advise", "--runs", str(signed_run), "--patients", "3"]
    with_law = [*words, "--cost-law", str(stored), "--images", "300"]
    assert main(with_law) == 0
    shown = capsys.readouterr().out
    assert "The cheapest that may be chosen: short_retrain." in shown
    assert "by the retrainings measured here" in shown
    assert "not to be chosen: no verdict on it" in shown
    assert main([*with_law, "--forgotten-images", "290"]) == 0
    assert "The cheapest that may be chosen: retrain." in capsys.readouterr().out

    for wrong in (["--exact"], ["--cost-law", str(stored)]):
        assert main([*words, *wrong]) == 2
    assert main([*with_law, "--forgotten-images", "300"]) == 2
    assert main([*words, "--cost-law", str(tmp_path / "absent"), "--images", "9"]) == 2


def test_exact_costs_are_chosen_right_for_requests_that_were_left_out() -> None:
    found = checks(costs(), ("undo", "forget_mi"))
    assert len(found) == len(GRID)
    assert all(one.excess == pytest.approx(0) and one.chosen == one.best for one in found)
    assert {one.chosen for one in found} == {"undo", "forget_mi"}
    assert {one.methods for one in found} == {2}


def test_a_request_is_judged_by_lines_that_have_not_seen_it() -> None:
    """One run that costs a hundred times what its line says is not expected by the others."""
    measured = costs()
    odd = next(run for run in measured.runs if (run.method, run.images) == ("forget_mi", 200))
    dear = dataclasses.replace(odd, cpu_seconds=100 * odd.cpu_seconds)
    runs = tuple(dear if run == odd else run for run in measured.runs)
    found = checks(dataclasses.replace(measured, runs=runs), ("undo", "forget_mi"))
    worst = max(found, key=lambda one: one.excess)
    assert (worst.images, worst.forgotten) == (200, odd.forgotten)
    assert worst.chosen == "forget_mi"
    assert worst.best == "undo"
    assert not worst.good
    assert worst.inside == 1


def test_requests_without_all_methods_or_runs_are_passed_over() -> None:
    measured = costs()
    without = tuple(run for run in measured.runs if (run.method, run.forgotten) != ("undo", 10))
    assert len(checks(dataclasses.replace(measured, runs=without), ("undo", "forget_mi"))) < 9
    few = tuple(run for run in measured.runs if run.images == 100 or run.method == "retrain")
    assert checks(dataclasses.replace(measured, runs=few), ("undo", "forget_mi")) == []
