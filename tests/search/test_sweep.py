"""Sweeps: the file's form, one study for many workers, early stopping, one trial for an agent."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from forgetmi.cli import main
from forgetmi.cohort.synthetic import synthetic_table
from forgetmi.cohort.synthetic_making import make_synthetic
from forgetmi.core.errors import SpecError
from forgetmi.core.signals import Signals
from forgetmi.methods.cf_k import CFk
from forgetmi.methods.forget_mi import ForgetMI
from forgetmi.run.run_data import close_runs, load_data, open_run
from forgetmi.run.spec import RunSpec, applied, write_yaml
from forgetmi.search import sweep
from forgetmi.search.objectives import split_objective
from forgetmi.search.study import Tried
from forgetmi.search.sweep import best_of
from forgetmi.search.sweep_file import grid, read_sweep
from forgetmi.search.sweep_values import Distribution
from forgetmi.search.trial import home_of
from tests.evidence.copied_runs import states
from tests.runs import SMALL

SPEC = replace(SMALL, method=CFk(epochs=2), retrains=0)


def file(folder: Path, text: str) -> Path:
    path = folder / "sweep.yaml"
    path.write_text(text)
    return path


def spec_file(folder: Path) -> str:
    path = folder / "spec.yaml"
    path.write_text(write_yaml(SPEC))
    return str(path)


@pytest.mark.parametrize(
    ("given", "oracle"),
    [
        (Distribution("uniform", 2, 5), stats.uniform(2, 3)),
        (Distribution("log_uniform_values", 1e-5, 1e-1), stats.loguniform(1e-5, 1e-1)),
        (Distribution("inv_log_uniform_values", 1e-5, 1e-1), stats.loguniform(1e-5, 1e-1)),
        (Distribution("log_uniform", -3, 1), stats.loguniform(np.exp(-3), np.exp(1))),
        (Distribution("normal", mu=1, sigma=2), stats.norm(1, 2)),
        (Distribution("log_normal", mu=1, sigma=0.5), stats.lognorm(0.5, scale=np.exp(1))),
    ],
)
def test_distributions_are_those_of_their_names(
    given: Distribution, oracle: stats.rv_frozen
) -> None:  # type: ignore[name-defined]
    shares = np.linspace(0.02, 0.98, 25)
    assert [given.at(share) for share in shares] == pytest.approx(
        list(oracle.ppf(shares)), rel=1e-9
    )


def test_inverse_log_uniform_of_the_exponents() -> None:
    found = Distribution("inv_log_uniform", -3, 1)
    assert (found.at(0.0), found.at(1.0)) == pytest.approx((np.exp(3), np.exp(-1)))


def test_whole_numbers_come_equally_often_and_steps_are_rounded() -> None:
    shares = (np.arange(6000) + 0.5) / 6000
    drawn = [Distribution("int_uniform", 2, 4).at(share) for share in shares]
    assert np.bincount(drawn).tolist() == [0, 0, 2000, 2000, 2000]
    assert Distribution("int_uniform", 2, 4).at(1.0) == 4
    assert {
        round(float(Distribution("q_uniform", 0, 1, q=0.25).at(share)), 9) for share in shares
    } == {0, 0.25, 0.5, 0.75, 1}


def test_a_file_as_it_is(tmp_path: Path) -> None:
    found = read_sweep(
        file(
            tmp_path,
            """
program: train.py
method: bayes
metric: {name: own, goal: minimize}
run_cap: 12
early_terminate: {type: hyperband, min_iter: 2, eta: 3, s: 2}
command: ["${env}", python, "${program}", "${args}"]
parameters:
  method.lr: {distribution: log_uniform_values, min: 1e-5, max: 1e-2}
  method.epochs: {min: 2, max: 9}
  method.k: {values: [1, 2]}
  batch_size: {value: 8}
  method.clip: {distribution: q_normal, mu: 5, sigma: 1}
""",
        )
    )
    assert (found.method, found.metric, found.maximise, found.most) == ("bayes", "own", False, 12)
    assert found.early is not None
    assert (found.early.bands[:3], found.early.factor) == ((2, 6, 18), 3)
    assert found.parameters["method.lr"] == Distribution("log_uniform_values", 1e-5, 1e-2)
    assert found.parameters["method.epochs"] == Distribution("int_uniform", 2, 9)
    assert found.parameters["method.k"] == (1, 2)
    assert found.parameters["batch_size"] == (8,)
    assert found.parameters["method.clip"] == Distribution("q_normal", mu=5, sigma=1, q=1)


def test_every_fault_of_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        read_sweep(
            file(
                tmp_path,
                """
method: grid
metric: {name: own, goal: up}
run_cap: 0
early_terminate: {type: median}
parameters:
  a: {distribution: uniform, min: 0, max: 1}
  b: {distribution: gamma, min: 0, max: 1}
  c: {min: 3, max: 1}
  d: {values: []}
""",
            )
        )
    assert len(caught.value.faults) == 7
    with pytest.raises(SpecError, match="Did you mean 'parameters'"):
        read_sweep(file(tmp_path, "parameters: {}\nparameter: {}\n"))
    with pytest.raises(SpecError, match="'parameters' is empty"):
        read_sweep(file(tmp_path, "method: random\nparameters: {}\n"))


def test_grid_varies_the_last_parameter_fastest() -> None:
    assert grid({"a": (1, 2), "b": ("x", "y")}) == [
        {"a": 1, "b": "x"},
        {"a": 1, "b": "y"},
        {"a": 2, "b": "x"},
        {"a": 2, "b": "y"},
    ]


def test_options_are_named_as_on_the_command_line() -> None:
    assert applied(SPEC, {"method.lr": 1e-5, "batch-size": 4}, where="x") == replace(
        SPEC, method=replace(SPEC.method, lr=1e-5), batch_size=4
    )
    with pytest.raises(SpecError, match=r"Did you mean 'method'"):
        applied(SPEC, {"methd.lr": 1e-5}, where="x")
    with pytest.raises(SpecError, match=r"method\.epochs"):
        applied(SPEC, {"method.epochs": "many"}, where="x")


def test_best_is_what_may_be_chosen() -> None:
    tried = [
        Tried(0, {}, 0.1, "complete", "AUC lost"),
        Tried(1, {}, 0.3, "complete", ""),
        Tried(2, {}, 0.2, "pruned", ""),
        Tried(3, {}, None, "failed", "diverged"),
        Tried(4, {}, 0.4, "complete", ""),
    ]
    assert best_of(tried, maximise=False) == tried[1]
    assert best_of(tried, maximise=True) == tried[4]
    assert best_of(tried[2:4], maximise=False) is None
    assert split_objective("gap") == ("gap", "image", "")
    assert split_objective("jsf:text:forget") == ("jsf", "text", "forget")


def test_grid_of_a_file_goes_on_where_it_was_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("optuna")
    text = "method: grid\nparameters:\n  method.lr: {values: [0.0001, 0.001]}\n  method.epochs: {values: [1, 2]}\n"
    words = [
        "sweep",
        str(file(tmp_path, text)),
        "--spec",
        spec_file(tmp_path),
        "--out",
        str(tmp_path / "out"),
        "--storage",
        "journal",
    ]
    assert main([*words, "--trials", "3"]) == 0
    first = json.loads((tmp_path / "out" / "trials.json").read_text())
    assert main(words) == 0
    tried = json.loads((tmp_path / "out" / "trials.json").read_text())
    assert [one for one in tried if one["number"] < 3] == [
        one for one in first if one["state"] == "complete"
    ]
    assert sorted(
        (one["options"]["method.lr"], one["options"]["method.epochs"]) for one in tried
    ) == [(0.0001, 1), (0.0001, 2), (0.001, 1), (0.001, 2)]
    assert all(one["state"] == "complete" and one["value"] > 0 for one in tried)
    chosen = any(not one["refused"] for one in tried)
    assert (
        ("Best by validation" in capsys.readouterr().out)
        == (tmp_path / "out" / "best.yaml").exists()
        == chosen
    )

    # Given again, the finished sweep is left as it is
    before = states(tmp_path / "out")
    assert main(words) == 0
    assert "finished already. Nothing was done." in capsys.readouterr().out
    assert states(tmp_path / "out") == before


def test_one_trial_without_a_file_scores_like_the_sweep(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("optuna")
    text = (
        "method: bayes\nearly_terminate: {type: hyperband, min_iter: 1, eta: 2}\nparameters:\n"
        "  method.lr: {value: 0.0002}\n  method.epochs: {value: 2}\n"
    )
    words = ["--spec", spec_file(tmp_path), "--out", str(tmp_path / "out")]
    assert main(["sweep", str(file(tmp_path, text)), *words, "--trials", "1"]) == 0
    value = json.loads((tmp_path / "out" / "trials.json").read_text())[0]["value"]
    capsys.readouterr()
    assert main(["sweep", *words, "--method.lr=0.0002", "--method.epochs=2"]) == 0
    assert capsys.readouterr().out.startswith(f"validation: {value:.6f}")
    _, partition = load_data(SPEC)
    looked = [Signals.load(path).row for path in (tmp_path / "out" / "models").rglob("*.npz")]
    assert looked
    assert not any(np.isin(rows, partition.holdout).any() for rows in looked)


def test_an_original_is_used_again_only_for_the_same_data_and_source(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_synthetic(tmp_path / "data", patients=20, seed=1, size=32)
    table = tmp_path / "data" / "cohort.csv"
    spec = replace(SPEC, cohort=synthetic_table(table.parent))

    def home(spec: RunSpec = spec) -> Path:
        close_runs()
        return home_of(spec, tmp_path, open_run(spec)).root

    first, text = home(), table.read_text()
    assert home() == home(replace(spec, method=CFk(epochs=3))) == first
    found = {
        first,
        home(replace(spec, retrains=2)),
        home(replace(spec, text=replace(spec.text, min_patients=3))),
    }
    table.write_text(text.replace("normal", "usual"))
    found.add(home())
    table.write_text(text)
    stack = next(table.parent.rglob("*.npy"))
    pixels = np.load(stack)
    np.save(stack, np.flip(pixels, -1))
    found.add(home())
    np.save(stack, pixels)
    assert home() == first
    monkeypatch.setattr(
        "forgetmi.run.fingerprint.source_digest", lambda *names, **more: "another source"
    )
    found.add(home())
    assert len(found) == 6


def test_a_bad_trial_is_given_up_after_its_first_epochs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("optuna")
    made = []

    def score(spec: RunSpec, root: Path, **options: object) -> tuple[float, str]:
        made.append((spec.method.lr, spec.method.epochs))
        return spec.method.lr, ""  # the smaller, the better

    monkeypatch.setattr(sweep, "score", score)
    text = (
        "method: grid\nearly_terminate: {type: hyperband, min_iter: 1, eta: 2}\nparameters:\n"
        "  method.lr: {values: [0.2, 0.3, 0.1]}\n  method.epochs: {value: 4}\n"
    )
    assert (
        main(
            [
                "sweep",
                str(file(tmp_path, text)),
                "--spec",
                spec_file(tmp_path),
                "--out",
                str(tmp_path / "out"),
                "--workers",
                "1",
                "--storage",
                "journal",
            ]
        )
        == 0
    )
    assert made == [(0.2, 1), (0.2, 2), (0.2, 4), (0.3, 1), (0.1, 1), (0.1, 2), (0.1, 4)]
    tried = json.loads((tmp_path / "out" / "trials.json").read_text())
    assert [(one["state"], one["value"]) for one in tried] == [
        ("complete", 0.2),
        ("pruned", 0.3),
        ("complete", 0.1),
    ]
    assert "lr: 0.1" in (tmp_path / "out" / "best.yaml").read_text()


def test_a_sweep_of_unknown_options_starts_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("optuna")
    text = (
        "method: random\nparameters:\n  method.rate: {values: [0.1]}\n  seed: {values: [1, two]}\n"
    )
    words = [
        "sweep",
        str(file(tmp_path, text)),
        "--spec",
        spec_file(tmp_path),
        "--out",
        str(tmp_path / "out"),
    ]
    assert main(words) == 2
    assert capsys.readouterr().err.count("error:") == 2
    assert not (tmp_path / "out").exists()


def test_forget_mi_has_what_the_published_sweep_tries() -> None:
    options = {"method.noise_std": 0.2, "method.setting": "unimodal"}
    found = applied(replace(SPEC, method=ForgetMI()), options, where="x")
    assert (found.method.noise_std, found.method.setting) == (0.2, "unimodal")
