"""The programs behind the tables of docs/audit.md, on a tiny benchmark whose models are made up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import attack_calibration  # type: ignore[import-not-found]
import calibration  # type: ignore[import-not-found]
import embedding_attacks  # type: ignore[import-not-found]
import planted  # type: ignore[import-not-found]
import stored_grid  # type: ignore[import-not-found]
from forgetmi.audit.rule import Rule
from forgetmi.benchmark import grid as bench_grid
from forgetmi.benchmark.grid import cells, points
from forgetmi.benchmark.store import Outcome, Store
from forgetmi.commands.benchmark_axes import read_axes
from forgetmi.commands.benchmark_options import USED, BenchmarkOptions
from forgetmi.commands.options import parse
from forgetmi.core.cost import Cost
from forgetmi.core.seeding import numpy_generator
from forgetmi.core.signals import Signals
from forgetmi.evaluation.attacks.toy import toy_knowledge
from forgetmi.run.run_data import open_run

OPTIONS = [
    "--cohort.patients",
    "70",
    "--cohort.size",
    "32",
    "--images.size",
    "32",
    "--cohort.reference-patients",
    "120",
    "--no-presets",
    "--percents",
    "10",
    "--draws",
    "2",
    "--training-seeds",
    "0",
    "--methods",
    "forget_mi",
    "neg_grad_plus:alpha=0.8",
]


def made_up(
    point: bench_grid.Point, cell: bench_grid.Cell, *, remembers: bool, forgot_too_much: bool
) -> Signals:
    """A model that knows its training patients by a larger margin."""
    data = open_run(point.spec)
    cohort, partition = data.cohort, data.partition
    r = numpy_generator(0, cell.label)  # a digest changes with the source
    rows = np.arange(len(cohort.patient))
    known = np.isin(rows, partition.retain).astype(float)
    if remembers:
        known[partition.forget] = 1
    if forgot_too_much:
        known[partition.forget] = -3
    shared = numpy_generator(0, "patients").normal(size=partition.patient.max() + 1)
    label = cohort.label
    logits = [
        (1 + shared[partition.patient] + 0.3 * r.normal(size=len(rows)) + 3 * known)[:, None]
        * np.eye(len(cohort.classes))[np.maximum(label, 0)]
        for _ in range(2)
    ]
    own = r.normal(size=(len(rows), 4))
    return Signals.image_text(
        model=cell.digest,
        cohort=cohort.digest,
        row=rows,
        patient=cohort.patient,
        study=cohort.study,
        label=label,
        image_logits=logits[0],
        text_logits=logits[1],
        image_embedding=own.astype(np.float32),
        text_embedding=(r.normal(size=own.shape) + known[:, None] * own).astype(np.float32),
    )


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    out = tmp_path_factory.mktemp("benchmark")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FORGETMI_CACHE", str(tmp_path_factory.mktemp("cache")))
        given = ["--out", str(out), *OPTIONS]
        spec, own = parse(BenchmarkOptions, given, prog="test", only=USED, description="")
        store = Store(out)
        for point in points(spec, read_axes(spec, own)):
            for cell in cells([point]):
                if "forget_mi" in cell.setting and point.spec.partition.draw == 1:
                    continue
                store.folder(cell.digest).mkdir(parents=True, exist_ok=True)
                store.keep(
                    cell.digest,
                    made_up(
                        point,
                        cell,
                        remembers=cell.role == "original",
                        forgot_too_much="neg_grad" in cell.setting,
                    ),
                    {},
                )
                store.finish(cell.digest, Outcome("", Cost(1.0, 1.0, 0), "w"), identity={})
        yield given


def test_planted_cases_get_their_verdicts(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.md"
    monkeypatch.setattr(planted, "REFERENCES", (0, 120))
    monkeypatch.setattr(planted, "RULE", Rule(resamples=500))
    page.write_text(
        "before\n<!-- planted: begin -->\nold\n<!-- planted: end -->\nafter\n", encoding="utf-8"
    )
    status = planted.main(["--into", str(page), *options])
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert "--out OUT" in text
    assert options[1] not in text
    assert "Left out, failed or not made yet: 1 of 11 models." in text
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line[:1] == "|"
    ]
    verdict = {line[0]: (line[3], line[-1]) for line in lines if len(line) == 10}
    assert verdict["identity (the original)"] == ("NOT FORGOTTEN", "yes")
    assert verdict["NegGrad+ (alpha 0.8)"] == ("OVER-FORGOTTEN", "yes")
    assert verdict["Forget-MI"][1] == ""
    assert verdict["retrain-1 against the others"][1] == "yes"
    share = {(line[0], line[1]): line[4] for line in lines if len(line) == 7}
    assert share["+8 sd", "0"] == "0%"  # 17 never-seen patients: no p-value is below .05
    assert share["+8 sd", "120"] == "100%"
    assert status == 0, text
    assert lines[-1][3:7] == ["yes", "NOT RESOLVABLE", "yes", "no"]


def test_a_must_that_fails_is_written_and_told(
    options: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(planted, "MUST_BE", {"forget_mi": "NOT FORGOTTEN"})
    monkeypatch.setattr(planted, "REFERENCES", (0,))
    monkeypatch.setattr(planted, "RULE", Rule(resamples=200))
    assert planted.main(options) == 1
    assert "**no**" in capsys.readouterr().out


def test_calibration_counts_what_it_says(
    options: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(calibration, "WEIGHTS", (0.1, 1.0))
    monkeypatch.setattr(calibration, "RULE", Rule(resamples=200))
    assert (
        calibration.main(["--nulls", "4", "--replicates", "20", "--resamples", "200", *options])
        == 0
    )
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in capsys.readouterr().out.splitlines()
        if line[:1] == "|"
    ]
    counts = {line[0]: int(line[1]) for line in lines if len(line) == 6 and line[1].isdigit()}
    assert counts["never-seen patients, one set"] == 4
    assert counts["retrained, one set"] == 6
    assert counts["retrained, sets of a seed pooled"] == 3
    power = {line[0]: line[2] for line in lines if len(line) == 7 and line[1].endswith("of 6")}
    assert power["1"].startswith("100.0%")
    assert len([line for line in lines if len(line) == 7 and line[1] in "23"]) == 8


def test_a_mixture_is_the_model_at_0_and_the_original_at_1(options: list[str]) -> None:
    one = stored_grid.read_grid(options, prog="test").sets[0]
    mixed = calibration.Mixed(one, "retrain-1")
    for channel, at_0 in mixed.draws(0.0).items():
        at_1 = mixed.draws(1.0)[channel]
        np.testing.assert_allclose(at_1.unlearned, at_1.original, atol=1e-12)
        assert len(at_0.retrained) == 2
        assert np.abs(at_0.unlearned - at_0.original)[: at_0.members].mean() > 0.1


def test_a_null_treats_never_seen_patients_as_forgotten(options: list[str]) -> None:
    one = stored_grid.read_grid(options, prog="test").sets[0]
    population = calibration.Population(one)
    asked, others = np.arange(5), np.arange(5, 40)
    draw = population.draw("image", asked, others, 2)
    retrain = one.knowledge["image"]
    outside = np.concatenate([one.partition.holdout, one.partition.reference])
    assert np.isin(draw.patient, one.partition.patient[outside]).all()
    assert draw.members == 5
    assert len(draw.retrained) == 2
    code = draw.patient[0]
    own = outside[one.partition.patient[outside] == code]
    seen = replace(retrain, partition=replace(one.partition, holdout=own, reference=own[:0]))
    assert draw.unlearned[0] == pytest.approx(seen.signal(one.signals["retrain-2"], "holdout")[0])


def test_gaussian_delta_is_the_mean_over_many_patients() -> None:
    case = calibration.Gaussian(sets=1, retrained=40, shift=1.0, forgotten=2000, never_seen=2000)
    draw = case.sample(np.random.default_rng(0))[0]
    separations = [
        float((one[:2000, None] > one[None, 2000:]).mean())
        for one in (draw.unlearned, *draw.retrained)
    ]
    assert separations[0] - np.mean(separations[1:]) == pytest.approx(case.delta, abs=0.03)


def test_planted_sets_hold_the_share_of_retained_patients_that_they_say() -> None:
    knowledge = toy_knowledge(memory=0.0)
    before = knowledge.partition
    for share, inside in ((0.0, 0), (0.5, 6), (1.0, 12)):
        after = embedding_attacks.planted(knowledge, share, 3).partition
        assert len(np.unique(after.patient[after.forget])) == 12
        assert len(np.intersect1d(after.forget, before.retain)) == 2 * inside  # images each
        assert len(np.intersect1d(after.forget, before.holdout)) == 2 * (12 - inside)
        for rows in (after.retain, after.holdout):
            assert not np.isin(rows, after.forget).any()

    # Every head and share has a line; what is known whole is found more often than what nobody knows
    lines = embedding_attacks.alarms([knowledge], draws=12)
    assert [line[0] for line in lines[::4]] == ["image", "text", "both"]
    assert [line[1] for line in lines[:4]] == ["0%", "25%", "50%", "100%"]
    assert float(lines[3][3]) < float(lines[0][3])
    assert len(embedding_attacks.as_they_are("toy", knowledge)) == 6


def test_the_residual_on_made_up_embeddings_is_what_was_kept() -> None:
    case = attack_calibration.MadeUp(retrained=2, common=0.0, kept=0.2)
    line = attack_calibration.made_up(case, 60)
    assert float(line[3]) == pytest.approx(0.2, abs=0.04)

    # Their mean in both factors adds half of a training's variance of .5: (.2 + .25) / (1 + .25)
    assert float(line[4]) == pytest.approx(0.36, abs=0.04)


def test_what_is_mixed_in_and_planted_is_found() -> None:
    knowledge = toy_knowledge(memory=0.0)
    few, many = (attack_calibration.trained([knowledge], "image", kept) for kept in (0.0, 0.5))
    assert float(few[2]) < 0.3 < float(many[2])
    assert many[4] == "2 of 2"

    # Nobody and everybody of a set is known to a model, and to no verifier
    none, whole = (
        attack_calibration.ignorance([knowledge], "image", part, 4) for part in (0.0, 1.0)
    )
    assert float(none[3]) < 0.8 < float(whole[3])
    assert whole[5].startswith("100%")
    assert len(attack_calibration.as_they_are("toy", knowledge)) == 3
