"""The published trainers, as recipes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from forgetmi.authors_code.optimiser import parameter_groups
from forgetmi.authors_code.recipes import FORGET_MI, JOINT_CHESTXRAY
from forgetmi.core.cohort import Cohort
from forgetmi.core.serialization import from_plain
from forgetmi.data.image_store import build_image_store
from forgetmi.data.loaders import Loader, SampleStore
from forgetmi.data.preprocessing import ImagePreprocessing
from forgetmi.data.tokenizer import Tokenizer
from forgetmi.model.image_text import ImageText
from forgetmi.model.initialise import build
from forgetmi.model.optimiser import training_optimiser
from forgetmi.model.recipe import Recipe
from forgetmi.model.spec import ModelSpec, TextEncoderSpec
from forgetmi.model.tasks.classes import GRADES
from forgetmi.model.train import fit

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("recipe", [JOINT_CHESTXRAY, FORGET_MI])
def test_decay_spares_what_the_published_trainers_spare(model: ImageText, recipe: Recipe) -> None:
    names = {
        id(parameter): name
        for name, parameter in model.named_parameters()
        if not name.startswith("gate.")
    }
    theirs = parameter_groups(model, weight_decay=0.1)
    ours = training_optimiser(model, recipe).param_groups
    for decay in (0.1, 0.0):
        expected, found = (
            {
                names[id(p)]
                for group in groups
                if group["weight_decay"] == decay
                for p in group["params"]
                if id(p) in names
            }
            for groups in (theirs, ours)
        )
        assert found == expected
        assert expected
    assert "img_model.bn1.weight" in {
        names[id(p)] for g in ours if g["weight_decay"] for p in g["params"]
    }
    assert {(group["eps"], group["correct_bias"]) for group in ours} == {(1e-6, False)}


@pytest.mark.parametrize(
    ("name", "recipe"), [("joint_chestxray", JOINT_CHESTXRAY), ("forget_mi_trainer", FORGET_MI)]
)
def test_the_example_files_are_the_recipes(name: str, recipe: Recipe) -> None:
    stored = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text())
    assert from_plain(Recipe, stored["training"], where=name) == recipe
    assert stored["images"] == {"size": 2048, "fit": "center_crop", "window": "released"}
    assert stored["model"]["preset"] == "paper"


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [{}, {"bf16": True, "accumulation": 2}], ids=["as published", "bf16, accumulated"]
)
def test_steps_at_full_size(
    tmp_path: Path, vocabulary: tuple[str, ...], options: dict[str, object]
) -> None:
    """2048 pixels, seven stages, two layers of text: the first step's rate is 0, the second's is not."""
    n = 8 if options else 4
    draw = np.random.default_rng(0)
    np.save(tmp_path / "stack.npy", draw.integers(0, 255, (n, 2048, 2048), dtype=np.uint8))
    names = np.array([f"{number:016x}" for number in range(n)], dtype=object)
    cohort = Cohort(
        name="full",
        patient=names,
        study=names,
        image_id=names,
        group=names,
        image=np.array([f"{tmp_path}/stack.npy#{number}" for number in range(n)], dtype=object),
        report=np.array(["chest clear normal heart"] * n, dtype=object),
        label=np.arange(n) % 4,
        split=np.array([""] * n, dtype=object),
        classes=("a", "b", "c", "d"),
        task="grades",
        subgroups={},
        show_images=False,
        digest="0",
        key_id="0",
    )
    store = build_image_store(
        cohort, ImagePreprocessing(size=2048, fit="center_crop"), cache=tmp_path / "cache"
    )
    records = SampleStore.of(cohort, store, Tokenizer(vocabulary, max_length=40))
    spec = ModelSpec(
        text=TextEncoderSpec(layers=2, intermediate=64, vocabulary=len(vocabulary)), classes=4
    )
    model, untouched = build(spec, seed=0), build(spec, seed=0)
    recipe = replace(JOINT_CHESTXRAY, epochs=1, batch_size=2, **options)  # pyright: ignore[reportArgumentType]
    trace = fit(
        model, Loader(records, np.arange(n), batch_size=2, seed=0), recipe, seed=0, task=GRADES
    )
    assert trace.epochs[0]["steps"] == 2
    assert np.isfinite(trace.epochs[0]["loss"] or np.nan)
    moved = {
        name
        for (name, old), (_, new) in zip(
            untouched.named_parameters(), model.named_parameters(), strict=True
        )
        if not torch.equal(old, new)
    }
    for part in (
        "img_model.conv1",
        "img_model.layer7",
        "img_model.fc1",
        "text_model.bert.encoder.layer.1",
        "text_model.classifier",
    ):
        assert any(name.startswith(part) for name in moved)
    assert not any(name.startswith("gate") for name in moved)
