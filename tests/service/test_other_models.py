"""Models of a user's own and of other tasks are served by the same functions."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import forgetmi
from forgetmi.core.batch import Batch
from forgetmi.core.errors import CheckpointError, SpecError
from forgetmi.core.labels import Scale
from forgetmi.data.preprocessing import ImagePreprocessing
from forgetmi.data.tokenizer import Tokenizer
from forgetmi.data.wordpiece import SPECIAL
from forgetmi.model.checkpoint import Loaded
from forgetmi.model.checkpoint_facts import read_facts
from forgetmi.model.initialise import build
from forgetmi.model.tasks.by_name import training_task
from forgetmi.service.export import export
from forgetmi.service.hub import published_files, without_folders
from forgetmi.service.plain_inputs import PlainInputs, batches
from forgetmi.service.trained_model import TrainedModel
from tests.contract.foreign import COLUMNS, NAMES, prepared_for
from tests.model.test_composed import folders, kinds, spec_of  # noqa: F401 - fixtures

FILM = np.linspace(0, 1, 80).reshape(8, 10)


@pytest.fixture(scope="module", params=["image only", "table + text"])
def foreign(
    request: pytest.FixtureRequest, small: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """A checkpoint of a user's own model, and its factory."""
    prepared = prepared_for(request.param, small.prepared)
    folder = tmp_path_factory.mktemp("foreign") / "model"
    forgetmi.save(
        folder,
        build(prepared.spec, seed=0),
        prepared=prepared,
        partition=small.partition,
        without_forgotten=False,
    )
    return folder, NAMES[request.param]


def inputs_of(model: TrainedModel) -> dict[str, Any]:
    """Two samples of what a model reads."""
    table = {name: [0.5, None] for name in reversed(COLUMNS)}
    every = {"images": [FILM, FILM.T], "reports": ["No edema.", "Edema."], "table": table}
    names = {"image": "images", "text": "reports", "table": "table"}
    return {names[modality]: every[names[modality]] for modality in model.facts.modalities}


def test_a_model_of_ones_own_predicts_what_it_reads(foreign: tuple[Path, str]) -> None:
    folder, factory = foreign
    with pytest.raises(CheckpointError, match="--model-from"):
        forgetmi.load(folder)
    model = forgetmi.load(folder, factory=factory)
    inputs = inputs_of(model)
    done = model.predict(**inputs)
    assert done.joint.shape == (2, 4)
    np.testing.assert_allclose(done.joint.sum(axis=1), 1)
    with pytest.raises(SpecError, match="does not read it"):
        model.predict(
            **inputs,
            **({"reports": ["a", "b"]} if "reports" not in inputs else {"images": [FILM] * 2}),
        )


def test_a_model_of_ones_own_is_published(foreign: tuple[Path, str], tmp_path: Path) -> None:
    folder, factory = foreign
    model = forgetmi.load(folder, factory=factory)
    published = forgetmi.save_pretrained(model, tmp_path / "hub")
    again = forgetmi.from_pretrained(published, factory=factory)
    inputs = inputs_of(model)
    assert np.array_equal(again.predict(**inputs).joint, model.predict(**inputs).joint)


@pytest.mark.slow
def test_a_model_of_ones_own_is_exported(foreign: tuple[Path, str], tmp_path: Path) -> None:
    folder, factory = foreign
    model = forgetmi.load(folder, factory=factory)
    done = export(model, "torch-export", tmp_path / "model.pt2")
    assert done.checked == 5
    assert (done.tokens is None) == ("text" not in model.facts.modalities)


def test_columns_come_by_name_and_missing_values_stay_missing(small: Any) -> None:
    def made_of(inputs: PlainInputs) -> list[Batch]:
        found = batches(
            inputs,
            modalities=("table",),
            images=small.prepared.images,
            tokenizer=small.prepared.records.tokenizer,
            columns=("age", "pulse"),
            batch_size=8,
        )
        return list(found)

    inputs = PlainInputs(table={"pulse": [80, None, None], "age": [61.5, float("nan"), 40]})
    with pytest.raises(SpecError, match="sample 1: there is nothing of it"):
        inputs.check(("table",), ("age", "pulse"))
    made = made_of(inputs)
    table = made[0].inputs["table"]
    assert made[0].there("table").tolist() == [True, False, True]
    wanted = torch.tensor([[61.5, 80.0], [torch.nan, torch.nan], [40.0, torch.nan]])
    torch.testing.assert_close(table, wanted, equal_nan=True)

    for wrong, match in (
        ({"age": [1.0]}, "other columns"),
        ({"age": [1.0], "pulse": [1.0, 2.0]}, "as many of each"),
    ):
        with pytest.raises(SpecError, match=match):
            PlainInputs(table=wrong).check(("table",), ("age", "pulse"))
    words = PlainInputs(table={"age": [1.0], "pulse": ["Qzxkova"]})  # type: ignore[list-item]
    with pytest.raises(SpecError, match="pulse, row 0: it is no number") as fault:
        made_of(words)
    assert "qzxk" not in str(fault.value).lower()


def test_values_come_in_the_units_of_the_cohort(stored: Path) -> None:
    model = forgetmi.load(stored)
    model = dataclasses.replace(model, scale=Scale(mean=60.0, deviation=10.0))
    model.loaded.preprocessing["task"] = "value"
    plain = dataclasses.replace(model, scale=Scale())
    inputs = {"images": [FILM], "reports": ["No edema."]}
    wanted = 60 + 10 * plain.predict(**inputs).joint
    np.testing.assert_allclose(model.predict(**inputs).joint, wanted)


def test_findings_are_probabilities_one_by_one(stored: Path) -> None:
    model = forgetmi.load(stored)
    model.loaded.preprocessing["task"] = "findings"
    done = model.predict(images=[FILM], reports=["No edema."])
    assert np.all((done.joint > 0) & (done.joint < 1))
    assert abs(done.joint.sum() - 1) > 1e-3
    assert model.task == training_task("findings")


def test_folders_of_this_machine_are_not_published(stored: Path, tmp_path: Path) -> None:
    facts = read_facts(stored / "model.json")
    facts["spec"]["text"]["pretrained"] = str(Path("/", "wards", "Qzxkova", "bert"))
    content = without_folders(json.dumps({**facts, "digest": ""}).encode())
    (tmp_path / "model.json").write_bytes(content)
    assert b"Qzxkova" not in content
    assert read_facts(tmp_path / "model.json")["spec"]["text"]["pretrained"] == "bert"


@pytest.mark.slow
def test_a_model_of_towers_is_exported(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Films, texts of any length and a table with a column of categories."""
    places: tuple[Path, Path] = request.getfixturevalue("folders")
    tokenizer = Tokenizer((*SPECIAL, *(f"w{number}" for number in range(20))), max_length=10)
    spec = spec_of(places, table=True)
    loaded = Loaded(
        build(spec, seed=0).eval(),
        spec,
        ("a", "b", "c"),
        tokenizer.vocabulary,
        {"task": "classes"},
        {},
        "0",
        "",
    )
    images = ImagePreprocessing(size=32)
    model = TrainedModel(loaded, images, tokenizer, Scale(), patients=None, record=None)

    done = model.predict(
        images=[FILM] * 2, reports=["w1", "w2 w3"], table={"age": [61, None], "sex": [1, 0]}
    )
    assert list(done.heads) == ["image", "text", "table"]
    exported = export(model, "torch-export", tmp_path / "model.pt2")
    assert exported.inputs == ("pixels", "tokens", "mask", "table")
    assert exported.checked == 5

    # The folders that its towers came from
    content = published_files(model, patients=False)["model.json"]
    assert not [folder for folder in places if str(folder).encode() in content]
