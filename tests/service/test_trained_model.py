"""A model that was loaded predicts of plain films and texts what it predicts of its cohort."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import forgetmi
from forgetmi.core.errors import CheckpointError, CohortError, SpecError
from forgetmi.model.ensemble import Ensemble
from forgetmi.model.initialise import build
from forgetmi.model.tasks.by_name import training_task
from forgetmi.run.given_patients import patients_in


def test_plain_inputs_are_prepared_as_the_cohort_is(small: Any, stored: Path) -> None:
    model = forgetmi.load(stored)
    rows = np.arange(7)
    cohort = small.cohort
    signals = forgetmi.predict(prepared=small.prepared, model=model.loaded.model)

    done = model.predict(
        images=[str(path) for path in cohort.image[rows]], reports=list(cohort.report[rows])
    )
    assert len(done) == 7
    assert done.classes == cohort.classes
    assert list(done.heads) == ["image", "text"]
    for head, values in done.heads.items():
        wanted = torch.from_numpy(signals.logits[head][rows]).softmax(1).numpy()
        np.testing.assert_allclose(values, wanted, atol=1e-6)
    np.testing.assert_allclose(done.joint, sum(done.heads.values()) / 2)


def test_films_are_to_the_bit_those_of_the_image_store(small: Any, stored: Path) -> None:
    from forgetmi.data.film import model_input

    rows = np.arange(5)
    wanted = small.prepared.records.images.images(rows)
    for row in rows:
        film = str(small.cohort.image[row])
        assert np.array_equal(model_input(film, small.prepared.images), wanted[row])


def test_arrays_are_read_as_files_of_arrays_are(small: Any, stored: Path, tmp_path: Path) -> None:
    model = forgetmi.load(stored)
    film = np.random.default_rng(0).integers(0, 4096, (50, 41)).astype(np.uint16)
    np.save(tmp_path / "film.npy", film)
    done = model.predict(images=[film, tmp_path / "film.npy"], reports=["No edema."] * 2)
    assert np.array_equal(done.joint[0], done.joint[1])


def test_facts_count_patients_and_name_none(small: Any, stored: Path) -> None:
    facts = forgetmi.load(stored).facts
    trained = np.union1d(small.partition.forget, small.partition.retain)
    assert facts.trained == len({*small.cohort.patient[trained]})
    assert facts.forgotten == 0
    assert facts.task == "grades"
    assert facts.classes == small.cohort.classes
    assert facts.cohort == small.cohort.digest
    assert facts.modalities == ("image", "text")
    assert not any(str(digest) in repr(facts) for digest in small.cohort.patient)


def test_save_says_who_was_forgotten(small: Any, stored: Path, tmp_path: Path) -> None:
    model = forgetmi.load(stored).loaded.model
    for without, partition in ((True, small.partition), (True, None)):
        forgetmi.save(
            tmp_path / "m",
            model,
            prepared=small.prepared,
            partition=partition,
            without_forgotten=without,
        )
        people = patients_in(tmp_path / "m")
        if partition is None:
            assert people is None
            assert forgetmi.load(tmp_path / "m").facts.trained is None
            continue
        gone = {*small.cohort.patient[small.partition.forget].astype(str)}
        assert people is not None
        assert {*people.forgotten.patients} == gone
        assert not gone & {*people.trained.patients}


def test_an_ensemble_predicts_the_mean(small: Any, tmp_path: Path) -> None:
    members = [build(small.prepared.spec, seed=seed) for seed in (0, 1)]
    inputs = {"images": [np.zeros((40, 30))], "reports": ["Edema."]}
    alone = []
    for number, member in enumerate((*members, Ensemble(members, task=training_task("grades")))):
        path = tmp_path / str(number)
        forgetmi.save(
            path,
            member,
            prepared=small.prepared,
            partition=None,
            without_forgotten=False,
        )
        alone.append(forgetmi.load(path).predict(**inputs).heads["image"])
    np.testing.assert_allclose((alone[0] + alone[1]) / 2, alone[2], atol=1e-6)


def test_a_sample_without_a_film_is_predicted_by_its_report_alone(stored: Path) -> None:
    model = forgetmi.load(stored)
    film = np.random.default_rng(0).random((30, 30), np.float32)
    whole = model.predict(images=[film] * 3, reports=["No edema.", "Edema.", "Edema."])
    done = model.predict(images=[film, None, film], reports=["No edema.", "Edema.", None])

    # A head says nothing of what is not there, and no number stands for it
    assert np.isnan(done.heads["image"][1]).all()
    assert np.isnan(done.heads["text"][2]).all()
    np.testing.assert_allclose(done.joint[1], whole.heads["text"][1], atol=1e-6)
    np.testing.assert_allclose(done.joint[2], whole.heads["image"][2], atol=1e-6)
    np.testing.assert_allclose(done.joint[0], whole.joint[0], atol=1e-6)
    assert not np.isnan(done.joint).any()


def test_all_faults_of_plain_inputs_at_once(stored: Path, tmp_path: Path) -> None:
    model = forgetmi.load(stored)
    with pytest.raises(SpecError, match="it is missing") as missing:
        model.predict()
    assert len(missing.value.faults) == 2
    with pytest.raises(SpecError, match="not as many of each"):
        model.predict(images=[np.zeros((9, 9))], reports=["a", "b"])
    with pytest.raises(SpecError, match="single one"):
        model.predict(images=[np.zeros((9, 9))], reports="No edema.")
    with pytest.raises(SpecError, match="nothing to predict"):
        model.predict(images=[], reports=[])
    with pytest.raises(SpecError, match="report 1: it is no text"):
        model.predict(images=[np.zeros((9, 9))] * 2, reports=["a", 3])  # type: ignore[list-item]
    with pytest.raises(SpecError, match="sample 1: there is nothing of it"):
        model.predict(images=[np.zeros((9, 9)), None], reports=["a", " "])

    # Films are named by their place: a path may name a patient
    (tmp_path / "Qzxkova.png").write_bytes(b"no film")
    bad = [tmp_path / "Qzxkova.png", tmp_path / "Qzxk-absent.png", np.zeros((3, 3, 3))]
    with pytest.raises(CohortError, match="image 0") as faults:
        model.predict(images=bad, reports=["a"] * 3)
    assert len(faults.value.faults) == 3
    assert "qzxk" not in str(faults.value).lower()


def test_an_altered_checkpoint_is_refused(stored: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(stored, copy)
    facts = json.loads((copy / "model.json").read_text())
    facts["classes"] = facts["classes"][::-1]
    (copy / "model.json").write_text(json.dumps(facts))
    with pytest.raises(CheckpointError, match="altered"):
        forgetmi.load(copy)
    with pytest.raises(SpecError, match="there is no model"):
        forgetmi.load(tmp_path / "absent")


def test_pairs_predict_no_label() -> None:
    from forgetmi.service.trained_model import check_headed

    check_headed(training_task("findings"))
    with pytest.raises(SpecError, match="nothing to predict"):
        check_headed(training_task("pairs"))


def test_what_tasks_predict() -> None:
    logits = torch.tensor([[0.0, 2.0]])
    assert float(training_task("grades").prediction(logits).sum()) == pytest.approx(1)
    assert training_task("findings").prediction(logits)[0, 0] == 0.5
    assert torch.equal(training_task("value").prediction(logits), logits)


def test_the_front_door_is_light() -> None:
    program = "import forgetmi, sys; forgetmi.__all__; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "False"
