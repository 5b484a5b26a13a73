"""One number a cell: means, intervals, failures; the estimate of time; the version of the source."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from forgetmi.benchmark.measured import POSITIVE, Measured, Number
from forgetmi.benchmark.progress import duration
from forgetmi.benchmark.published import TABLE_1, TABLE_2, is_papers
from forgetmi.benchmark.results import Results, summary
from forgetmi.benchmark.settings import PAPER, PRESETS, REQUIRED, read_setting
from forgetmi.benchmark.store import Outcome
from forgetmi.benchmark.tables import all_tables, noise_settings
from forgetmi.commands.benchmark_axes import read_axes
from forgetmi.commands.benchmark_options import BenchmarkOptions
from forgetmi.core.cost import Cost
from forgetmi.core.scores import Evaluation, Failed, Score
from forgetmi.methods.forget_mi import ForgetMI
from forgetmi.run.fingerprint import DRIVING_MODULES, TRAINING_MODULES
from forgetmi.run.source_digest import closure, source_digest
from forgetmi.run.spec import RunSpec

ROOMS_OF_A_MODEL = ("forgetmi.model.", "forgetmi.data.")


def score(name: str, value: float, on: str, reference: float | None = None) -> Score:
    return Score(name, value, (value - 0.1, value + 0.2), 20, 80, "closer", reference, "image", on)


def measured(
    row: str, seed: int, draw: int, auc: float, *, reason: str = "", cpu: float = 5.0
) -> Measured:
    model = row if row in ("original", "retrain") else f"{row}#0"
    models = ["retrain-0", "retrain-1"] if row == "retrain" else [model]
    scores = {
        name: (score("auc", auc + 0.1 * at, "forget"), score("accuracy", auc, "forget", 0.75))
        for at, name in enumerate(models)
    }
    return Measured(
        row,
        10.0,
        draw,
        seed,
        0,
        model,
        Outcome(reason, Cost(cpu, cpu, 1)),
        Evaluation(scores),
        20.0,
    )


def auc(one: Measured) -> Number | Failed:
    return one.score("auc", "image", "forget")


def results(*models: Measured, patients: int = 20, draws: int = 1) -> Results:
    return Results(models, {10.0: ((patients, 80),) * draws})


def test_interval_over_seeds_is_students_over_means_of_draws() -> None:
    found = results(
        measured("m", 0, 0, 0.4),
        measured("m", 0, 1, 0.6),
        measured("m", 1, 0, 0.5),
        measured("m", 1, 1, 0.5),
        measured("m", 2, 0, 0.6),
        measured("m", 2, 1, 0.6),
    )
    cell = found.cell("m", 10.0, auc)
    assert cell.value == pytest.approx(1.6 / 3)  # means of the seeds: 0.5, 0.5, 0.6
    half = 4.302653 * np.std([0.5, 0.5, 0.6], ddof=1) / np.sqrt(3)
    assert cell.interval == pytest.approx((1.6 / 3 - half, 1.6 / 3 + half), abs=1e-6)


def test_an_interval_ends_where_the_score_does() -> None:
    cell = results(
        *(measured("m", seed, 0, value) for seed, value in enumerate((0.9, 1.0, 1.0)))
    ).cell("m", 10.0, auc)
    assert cell.interval is not None
    assert 0.8 < cell.interval[0] < 0.9
    assert cell.interval[1] == 1.0
    order = summary([[Number(value, within=(-1.0, 1.0))] for value in (-0.9, -0.8, 0.1)])
    assert order.interval is not None
    assert order.interval[0] == -1.0
    assert order.interval[1] > 0


def test_one_seed_has_the_mean_of_the_intervals_over_patients() -> None:
    cell = results(measured("m", 0, 0, 0.5), measured("m", 0, 1, 0.7)).cell("m", 10.0, auc)
    assert cell.value == pytest.approx(0.6)
    assert cell.interval == pytest.approx((0.5, 0.8))


def test_retrained_models_are_one_row() -> None:
    cell = results(measured("retrain", 0, 0, 0.5)).cell("retrain", 10.0, auc)
    assert cell.value == pytest.approx(0.55)


def test_a_failed_run_is_stated_and_not_left_out() -> None:
    found = results(measured("m", 0, 0, 0.5), measured("m", 1, 0, 0.5, reason="it diverged"))
    cell = found.cell("m", 10.0, auc)
    assert cell.value is None
    assert cell.reason == "failed (1 of 2 runs)"
    assert found.failures(10.0) == ["10 %, m failed (1 run): it diverged"]
    assert results().cell("m", 10.0, auc).reason == "not run"
    assert results(measured("retrain", 0, 0, 0.5, reason="full disk")).failures(10.0) == [
        "10 %, retrain failed (1 run): full disk"
    ]


@pytest.mark.parametrize(("accuracy", "over"), [(0.65, 1.0), (0.66, 0.0), (0.9, 0.0)])
def test_over_forgetting_is_accuracy_below_retrain_by_the_margin(
    accuracy: float, over: float
) -> None:
    assert measured("m", 0, 0, accuracy).over_forgot() == Number(over)


def test_cost_is_a_share_of_one_retraining() -> None:
    assert measured("m", 0, 0, 0.5, cpu=5.0).share() == Number(0.25, within=POSITIVE)
    assert measured("retrain", 0, 0, 0.5).share() == Number(1.0, within=POSITIVE)


@pytest.mark.parametrize(
    ("patients", "draws", "enough"), [(15, 1, True), (14, 1, False), (14, 2, False), (5, 3, True)]
)
def test_few_patients_need_several_draws(patients: int, draws: int, enough: bool) -> None:
    assert results(patients=patients, draws=draws).resolvable(10.0) is enough


def test_tables_show_published_values_beside_measured_ones() -> None:
    settings = [read_setting(name) for name in ("cf_k", "scrub", PRESETS[1], PRESETS[2])]
    models = [
        measured(row, 0, 0, value)
        for row, value in (
            ("original", 0.9),
            ("retrain", 0.55),
            ("cf_k", 0.85),
            ("scrub", 0.62),
            (PRESETS[1], 0.7),
            (PRESETS[2], 0.8),
        )
    ]
    found = {
        one.name: one.table
        for one in all_tables(results(*models), settings, seeds=1, published=True)
    }
    rows = {row.label: row.cells for row in found["table1"].rows}
    assert rows["CF-k, published"][1].value == 1.0
    assert rows["Retrain, published"][0].value == 0.190
    at = found["table1"].headings.index("10 %: AUC forget")
    assert rows["SCRUB"][at].closest
    assert not rows["CF-k"][at].closest
    weights = [row.label for row in found["table2"].rows]
    assert "Forget-MI (setting multimodal), published" in weights
    assert "SCRUB" not in weights
    plain = {
        one.name: one.table
        for one in all_tables(results(*models), settings, seeds=1, published=False)
    }
    assert not any("published" in row.label for row in plain["table1"].rows)


def test_published_rows_are_the_papers_methods() -> None:
    assert set(TABLE_1) == {"original", *PAPER}
    assert set(TABLE_2) == set(PRESETS)
    assert all(set(values) == {3, 6, 10} for values in (*TABLE_1.values(), *TABLE_2.values()))


def test_noise_study_varies_one_thing_at_a_time() -> None:
    found = [one.method for one in noise_settings((0.1, 0.2), (0.05, 0.2))]
    assert [(one.noise_mean, one.noise_std) for one in found] == [
        (0.1, 0.05),
        (0.2, 0.05),
        (0.0, 0.05),
        (0.0, 0.2),
    ]
    assert all(one.noise == "given" for one in found)


def test_means_of_noise_alone_are_at_the_methods_own_deviation() -> None:
    found = [one.method for one in noise_settings((0.1, 0.2), ())]
    assert found == [ForgetMI(noise="given", noise_mean=mean) for mean in (0.1, 0.2)]
    assert noise_settings((), ()) == []
    asked = read_axes(
        RunSpec(), BenchmarkOptions(Path(), methods=("cf_k",), presets=False, noise_means=(0.1,))
    )
    assert [one.name for one in asked.settings] == [
        "cf_k",
        "forget_mi:noise=given,noise_mean=0.1,noise_std=0.1",
    ]


@pytest.mark.parametrize(
    ("images", "patients", "grades", "papers"),
    [
        (6742, 1663, (2883, 1511, 1709, 639), True),
        (
            6742,
            1663,
            (2883, 1709, 1511, 639),
            False,
        ),  # the paper's text has the shares of grades 1 and 2 the other way
        (6742, 1663, (6742,), False),
        (6741, 1663, (2882, 1511, 1709, 639), False),
        (6742, 1662, (2883, 1511, 1709, 639), False),
    ],
)
def test_the_papers_cohort_is_known_by_its_counts(
    images: int,
    patients: int,
    grades: tuple[int, ...],
    papers: bool,
) -> None:
    assert is_papers(images, patients, grades) is papers


def test_the_counts_of_the_papers_cohort_are_those_of_its_list(shared_data: Path) -> None:
    with next((shared_data / "mimic_splits").glob("mimic-cxr-sub-img-edema*.csv")).open() as file:
        rows = list(csv.DictReader(file))
    grades = Counter(float(row["edeme_severity"]) for row in rows)
    assert is_papers(
        len(rows), len({row["subject_id"] for row in rows}), [grades[grade] for grade in range(4)]
    )


def test_rewound_scrub_comes_after_the_papers_rows() -> None:
    settings = [read_setting(name) for name in REQUIRED if name != "retrain"]
    models = [
        measured(row, 0, 0, 0.5) for row in ("original", "retrain", *(one.name for one in settings))
    ]
    table = all_tables(results(*models), settings, seeds=1, published=True)[0].table
    rows = [row.label for row in table.rows]
    assert rows[-3:] == ["Forget-MI", "Forget-MI, published", "SCRUB (rewind error)"]
    assert len(rows) == 2 * len(TABLE_1) + 1


def test_source_of_a_part_is_what_it_imports() -> None:
    found = closure(["forgetmi.methods.cf_k"])
    assert {
        "forgetmi.methods.cf_k",
        "forgetmi.unlearning.info",
        "forgetmi.model.train",
        "forgetmi.core.seeding",
    } <= set(found)
    assert not {
        name
        for name in found
        if name.startswith(("forgetmi.report", "forgetmi.commands", "forgetmi.benchmark"))
    }
    assert "forgetmi.methods.scrub" not in found
    assert all(found.values())
    one, two = source_digest(("forgetmi.methods.cf_k",)), source_digest(("forgetmi.methods.eu_k",))
    assert one != two
    assert one == source_digest(("forgetmi.methods.cf_k",))
    assert source_digest(("forgetmi.core.seeding",)) != source_digest(
        ("forgetmi.core.seeding",), alone=("forgetmi.core.files",)
    )


def test_key_of_a_model_covers_whatever_makes_it_and_its_predictions() -> None:
    found = closure(TRAINING_MODULES)
    assert {
        "forgetmi.model.initialise",
        "forgetmi.model.pretrained",
        "forgetmi.model.image_text",
        "forgetmi.model.gate",
        "forgetmi.model.train",
        "forgetmi.model.fit_gate",
        "forgetmi.model.collect",
        "forgetmi.data.loaders",
        "forgetmi.data.tokenizer",
        "forgetmi.data.preprocessing",
    } <= set(found)

    # What else the driving modules lead to loads and stores models, or belongs to a method or to towers, whose modules
    # are added where a model has some
    driven = {name for name in closure(DRIVING_MODULES) if name.startswith(ROOMS_OF_A_MODEL)}
    assert driven - set(found) == {
        "forgetmi.model.checkpoint",
        "forgetmi.model.checkpoint_contents",
        "forgetmi.model.checkpoint_facts",
        "forgetmi.model.checkpoint_own",
        "forgetmi.model.checkpoint_weights",
        "forgetmi.model.ensemble",
        "forgetmi.model.hf_config",
        "forgetmi.model.tower_specs.hf",
    }


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (0.3, "< 1 s"), (5, "5 s"), (240, "4 min"), (7500, "2 h 5 min")],
)
def test_durations_in_words(seconds: float, text: str) -> None:
    assert duration(seconds) == text
