"""A given original decides who may be called never seen; where it does not, there is no verdict."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forgetmi.cohort.known_sides import sides_of_model
from forgetmi.cohort.partition_file import read_partition, write_partition
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import CheckpointError, PartitionError, SpecError
from forgetmi.core.partition import NEVER_SEEN, SETS, Partition
from forgetmi.evidence.request import RequestSpec
from forgetmi.model.checkpoint_facts import facts_digest
from forgetmi.run.given_patients import (
    UNPROVED,
    check_retrained,
    patients_after,
    patients_in,
)
from forgetmi.run.run_data import divide, load_data
from forgetmi.run.shadow_plan import inside, plan_for
from forgetmi.run.shadows import make_shadow
from forgetmi.run.spec import GivenModels, PartitionSpec, RunSpec, read_yaml, to_plain, write_yaml
from tests.runs import TINY, unnamed


def further(run: Path, name: str = "original", **changes: object) -> RunSpec:
    """A further run on a model of a finished one, with another seed."""
    spec = dataclasses.replace(TINY, seed=77, given=GivenModels(run / "models" / name))
    return dataclasses.replace(spec, **changes)  # type: ignore[arg-type]


def never_seen(sets: Partition, cohort: Cohort) -> set[str]:
    return {str(one) for name in NEVER_SEEN for one in cohort.patient[sets.rows(name)]}


def test_every_model_of_a_run_names_its_patients(signed_run: Path) -> None:
    cohort, sets = load_data(TINY)
    forgotten = set(cohort.patient[sets.forget])
    retained = set(cohort.patient[sets.retain])
    for name in ("original", "unlearned", "retrain-0", "retrain-1"):
        known = patients_in(signed_run / "models" / name)
        assert known is not None
        with_forgotten = name == "original"
        assert {*known.trained.patients} == (retained | forgotten if with_forgotten else retained)
        assert {*known.forgotten.patients} == (set() if with_forgotten else forgotten)
        assert {*known.holdout.patients} == set(cohort.patient[sets.holdout])


def test_another_seed_calls_nobody_trained_on_never_seen(signed_run: Path) -> None:
    known = patients_in(signed_run / "models" / "original")
    assert known is not None
    cohort, sets = load_data(further(signed_run))
    _, drawn_anew = load_data(dataclasses.replace(TINY, seed=77))

    assert not {*known.trained.patients} & never_seen(sets, cohort)
    assert {*known.trained.patients} & never_seen(drawn_anew, cohort)  # what it would have been
    assert not sets.unproved


@settings(max_examples=20)
@given(
    name=st.sampled_from(["original", "unlearned", "retrain-0"]),
    seed=st.integers(0, 10**6),
    changes=st.fixed_dictionaries(
        {
            "holdout": st.sampled_from([0.0, 0.25, 0.9]),
            "validation": st.sampled_from([0.0, 0.15, 0.5]),
            "validation_from": st.sampled_from(["training", "holdout"]),
            "percent": st.sampled_from([3.0, 20.0, 60.0]),
            "draw": st.integers(0, 1),
        }
    ),
    listed=st.integers(0, 4),
)
def test_no_option_of_a_run_moves_anybody(
    signed_run: Path,
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    seed: int,
    changes: dict[str, Any],
    listed: int,
) -> None:
    cohort = TINY.cohort.load()
    known = patients_in(signed_run / "models" / name)
    assert known is not None

    # Whoever is drawn, or the first of those it was trained on are named
    options = PartitionSpec(**changes)
    named = known.trained.patients[:listed]
    if named:
        forget_list = tmp_path_factory.mktemp("named") / "list.csv"
        forget_list.write_text("\n".join(["patient_digest", *named]))
        options = dataclasses.replace(options, forget_list=forget_list)
    try:
        sets = divide(further(signed_run, name, seed=seed, partition=options), cohort)
    except PartitionError:
        assert not named  # so many cannot be drawn
        return

    # Each patient is to the run what they are to the model
    of = {one: {*map(str, cohort.patient[sets.rows(one)])} for one in SETS}
    gone = {*map(str, cohort.patient[sets.earlier])}
    trained = {*known.trained.patients}
    assert not trained & never_seen(sets, cohort)
    assert of["holdout"] == {*known.holdout.patients}
    assert of["validation"] == {*known.validation.patients}
    assert gone == {*known.forgotten.patients}
    assert (of["forget"] | of["retain"]) - gone == trained
    assert not named or of["forget"] - gone == {*named}


def test_whoever_was_forgotten_stays_so_and_is_not_measured_again(signed_run: Path) -> None:
    cohort, before = load_data(TINY)
    _, sets = load_data(further(signed_run, "unlearned"))
    assert set(sets.earlier) == set(before.forget)
    assert not set(sets.of_request().forget) & set(before.forget)

    after = patients_after(further(signed_run, "unlearned"), cohort, sets, role="unlearned")
    assert after is not None
    assert {*after.forgotten.patients} == set(cohort.patient[sets.forget])


def test_an_earlier_partition_must_be_that_of_the_model(signed_run: Path, tmp_path: Path) -> None:
    cohort, before = load_data(TINY)
    (tmp_path / "list.csv").write_text(f"patient_digest\n{cohort.patient[before.retain[0]]}\n")
    options = PartitionSpec(forget_list=tmp_path / "list.csv", after=signed_run / "partition.json")
    _, sets = load_data(further(signed_run, "unlearned", partition=options))
    assert set(sets.earlier) == set(before.forget)

    with pytest.raises(PartitionError, match="not that of the given original"):
        load_data(further(signed_run, "original", partition=options))


def test_a_model_from_elsewhere_needs_a_list(signed_run: Path, tmp_path: Path) -> None:
    cohort, before = load_data(TINY)
    model = unnamed(signed_run / "models" / "original", tmp_path / "elsewhere")
    spec = dataclasses.replace(TINY, seed=77, given=GivenModels(model))
    _, sets = load_data(spec)
    assert sets.unproved == UNPROVED
    assert patients_after(spec, cohort, sets, role="unlearned") is None
    assert patients_after(spec, cohort, sets, role="retrain-0") is not None

    # The file keeps it
    write_partition(tmp_path / "partition.json", sets)
    assert read_partition(tmp_path / "partition.json", cohort).unproved == UNPROVED

    # A list proves it, also of patients whom the cohort does not have
    trained = [
        str(one) for one in dict.fromkeys(cohort.patient[np.union1d(before.forget, before.retain)])
    ]
    (tmp_path / "trained.csv").write_text("\n".join(["patient_digest", *trained, "f" * 16]))
    listed = dataclasses.replace(spec.given, trained_on=tmp_path / "trained.csv")
    _, proved = load_data(dataclasses.replace(spec, given=listed))
    assert not proved.unproved
    assert not set(trained) & never_seen(proved, cohort)
    assert any("1 of the list are not in the cohort" in note for note in proved.notes)


def test_whoever_may_have_been_trained_on_is_never_called_never_seen_later(
    signed_run: Path, tmp_path: Path
) -> None:
    """With references alone proved, everybody else stays in doubt for the model that is made, too."""
    model = unnamed(signed_run / "models" / "original", tmp_path / "elsewhere")
    references = dataclasses.replace(TINY.cohort, reference_patients=8)
    spec = dataclasses.replace(
        TINY, cohort=references, request=RequestSpec(), seed=77, given=GivenModels(model)
    )
    cohort, sets = load_data(spec)
    assert not sets.unproved
    assert not len(sets.holdout)
    outside = set(cohort.patient[cohort.split == "reference"])
    assert never_seen(sets, cohort) == outside

    # What the run's models name divides the next request
    for role in ("original", "unlearned"):
        known = patients_after(spec, cohort, sets, role=role)
        assert known is not None
        side, _ = sides_of_model(known, cohort)
        assert set(cohort.patient[np.isin(side, NEVER_SEEN)]) == outside
        assert np.any(side == "out")


def test_what_a_model_names_is_not_overruled(signed_run: Path, tmp_path: Path) -> None:
    (tmp_path / "trained.csv").write_text("patient_digest\n" + "a" * 16 + "\n")
    model = signed_run / "models" / "original"
    with pytest.raises(SpecError, match="names the patients it was trained on"):
        load_data(
            further(signed_run, given=GivenModels(model, trained_on=tmp_path / "trained.csv"))
        )
    elsewhere = unnamed(model, tmp_path / "elsewhere")
    with pytest.raises(SpecError, match="does not say whom the original was trained on"):
        load_data(further(signed_run, given=GivenModels(elsewhere, trained_as_split=True)))


def test_a_retrained_model_that_saw_them_is_refused(signed_run: Path) -> None:
    models = signed_run / "models"
    wrong = GivenModels(models / "original", (models / "original",))
    with pytest.raises(SpecError, match="studies that are to be forgotten"):
        load_data(further(signed_run, given=wrong))
    right = GivenModels(models / "original", (models / "retrain-0",))
    load_data(dataclasses.replace(TINY, given=right))


def test_of_a_retrained_model_that_names_nobody_it_is_said(
    signed_run: Path, tmp_path: Path
) -> None:
    models = signed_run / "models"
    elsewhere = unnamed(models / "retrain-0", tmp_path / "elsewhere")
    for retrained, trusted in ((models / "retrain-0", 0), (elsewhere, 1)):
        given = GivenModels(models / "original", (retrained,))
        _, sets = load_data(dataclasses.replace(TINY, given=given))
        assert sum("taken on trust" in note for note in sets.notes) == trusted


def test_a_retrained_model_under_another_key_is_refused(signed_run: Path) -> None:
    """Its digests fit nobody, so that one that was trained on the forgotten would pass for a reference."""
    given = GivenModels(
        signed_run / "models" / "original", retrained=(signed_run / "models" / "original",)
    )
    cohort = dataclasses.replace(TINY.cohort.load(), key_id="0" * 16)
    sets = divide(further(signed_run), TINY.cohort.load())
    with pytest.raises(SpecError, match="another identifier key"):
        check_retrained(given.retrained, cohort, sets)


def test_shadow_models_are_halves_of_the_run_s_patients_whatever_its_original_is_now(
    signed_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model that the run made has taken the place of the original that it was given."""
    _, sets = load_data(TINY)
    plan = plan_for(sets, models=2, unlearnings=0, seed=0)
    trained: list[Partition] = []

    def train(*, partition: Partition, **_: object) -> None:
        trained.append(partition)
        raise InterruptedError

    monkeypatch.setattr("forgetmi.run.shadows.workflow.train", train)
    with pytest.raises(InterruptedError):
        make_shadow(
            plan, further(signed_run, "unlearned"), signed_run, tmp_path, 0, lambda *_: None
        )
    (half,) = trained
    rows = np.union1d(half.forget, half.retain)
    inside_it = set(np.flatnonzero(inside(plan, sets)[0]))
    assert set(half.patient[rows]) == inside_it
    assert inside_it & set(sets.patient[sets.forget])


def test_an_altered_list_of_patients_is_refused(signed_run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(signed_run / "models" / "original", copy)
    facts = json.loads((copy / "model.json").read_text())
    del facts["digest"]
    facts["extra"]["patients"]["trained"]["patients"].pop()
    (copy / "model.json").write_text(json.dumps({**facts, "digest": facts_digest(facts)}))
    with pytest.raises(CheckpointError, match="not those of their root"):
        patients_in(copy)


def test_options_that_came_later_are_written_where_they_are_used(tmp_path: Path) -> None:
    assert "trained_on" not in to_plain(TINY)["given"]
    spec = dataclasses.replace(TINY, given=GivenModels(Path("/m"), trained_on=Path("/list.csv")))
    (tmp_path / "spec.yaml").write_text(write_yaml(spec))
    assert read_yaml(tmp_path / "spec.yaml").given == spec.given
    with pytest.raises(SpecError, match="without the model"):
        GivenModels(trained_as_split=True)
