"""CF-k and EU-k with the outputs of their frozen layers held in memory end where they end without."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from forgetmi.methods.cf_k import CFk
from forgetmi.methods.eu_k import EUk
from forgetmi.model.image_text import ImageText
from forgetmi.model.recipe import Recipe
from forgetmi.model.tasks.classes import GRADES
from forgetmi.run import workflow
from forgetmi.run.prepared import Prepared
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.frozen_prefix import frozen_prefix
from forgetmi.unlearning.last_layers import free_only
from forgetmi.unlearning.loaders import GuardedLoaders
from forgetmi.unlearning.method import Method, Unlearned, unlearn

HELD, OVER = "frozen steps computed once", "too large to hold"


@pytest.fixture(scope="module")
def deeper(small: Any) -> Prepared:
    """The small cohort for a model of three text layers."""
    text = replace(small.prepared.spec.text, layers=3)
    return replace(small.prepared, spec=replace(small.prepared.spec, text=text))


def run(small: Any, prepared: Prepared, method: Method, recipe: Recipe | None = None) -> Unlearned:
    """Unlearn from an untrained model, two epochs long."""
    if isinstance(method, CFk):
        method = replace(method, epochs=min(method.epochs, 2))
    return unlearn(
        method,
        workflow.build(prepared.spec, seed=3).eval(),
        records=prepared.records,
        partition=small.partition,
        seed=5,
        recipe=recipe or Recipe(epochs=2),
        fresh_model=lambda seed: workflow.build(prepared.spec, seed=seed),
    )


def apart(one: ImageText, two: ImageText) -> float:
    """Largest difference of a weight or buffer."""
    other = two.state_dict()
    return max(float((value - other[name]).abs().max()) for name, value in one.state_dict().items())


@pytest.mark.parametrize(
    ("image_k", "text_k", "image_steps", "text_steps"),
    [
        (6, 8, 5, 3),  # the last stage and the last transformer layer
        (3, 5, 6, 3),  # within the last transformer layer: the cut is before it
        (2, 10, 6, 2),  # within the last residual block, and within the last layer but one
        (1, 1, 8, 5),  # the heads alone
        (0, 2, 8, 4),  # the image branch rests
    ],
)
@pytest.mark.parametrize("method", [CFk, EUk])
def test_held_or_computed_anew_the_weights_are_the_same(
    small: Any,
    deeper: Prepared,
    method: Any,
    image_k: int,
    text_k: int,
    image_steps: int,
    text_steps: int,
) -> None:
    held, anew = (
        run(small, deeper, method(image_k=image_k, text_k=text_k, cache_mb=limit))
        for limit in (512, 0)
    )
    assert apart(held.model, anew.model) < 1e-6
    assert held.trace.moved > 0.01
    assert held.trace.facts[HELD] == {"image": image_steps, "text": text_steps}
    assert anew.trace.facts[HELD] == {}
    once = len(small.partition.retain)
    assert held.trace.samples["retain"] == anew.trace.samples["retain"] + once
    assert anew.trace.samples["retain"] == len(anew.trace.epochs) * once


def test_batch_norms_that_learn_are_computed_anew(small: Any, deeper: Prepared) -> None:
    held, anew = (
        run(small, deeper, CFk(image_k=3, text_k=5, bn="train", cache_mb=limit))
        for limit in (512, 0)
    )
    assert held.trace.facts[HELD] == {"image": 6, "text": 3}
    assert apart(held.model, anew.model) < 1e-6
    assert any("running_mean" in name for name in held.trace.changed)


def test_what_changes_from_pass_to_pass_is_not_held(small: Any, deeper: Prepared) -> None:
    text = replace(deeper.spec.text, dropout=0.1)
    dropping = replace(deeper, spec=replace(deeper.spec, text=text))

    def held(method: Method, prepared: Prepared = deeper, **recipe: Any) -> dict[str, int]:
        return run(small, prepared, method, Recipe(epochs=2, **recipe)).trace.facts[HELD]

    assert held(EUk(image_k=6, text_k=8), dropping) == {"image": 5}
    assert held(CFk(image_k=6, epochs=2), dropping) == {
        "image": 5,
        "text": 3,
    }  # in eval mode nothing is dropped
    assert held(EUk(image_k=6, text_k=8), shift=1.0) == {"text": 3}
    assert held(EUk(image_k=6, text_k=8), bf16=True) == {}
    assert held(CFk(image_k=6, epochs=1)) == {}


def test_the_larger_part_is_given_up_first(small: Any, deeper: Prepared) -> None:
    rows = small.partition.retain
    images = len(rows) * 16 * 4  # the pooled embedding, float32
    texts = (
        sum(len(deeper.records.tokens.tokens(row)) for row in rows) * 16 * 4
    )  # every token but padding
    student = workflow.build(deeper.spec, seed=3).eval()
    free_only(student, ("img_model.fc1", "text_model.bert.encoder.layer.2"))
    loader = GuardedLoaders(
        deeper.records,
        {"retain": rows},
        patient=small.partition.patient,
        reads=frozenset({"retain"}),
        batch_size=16,
        seed=0,
    ).retain

    def held(size: int) -> tuple[dict[str, int], list[str]]:
        context = Context(
            seed=0,
            reads=frozenset(),
            task=GRADES,
            _recipe=Recipe(),
            _fresh_model=lambda seed: workflow.build(deeper.spec, seed=seed),
        )
        with frozen_prefix(student, loader, context, passes=2, limit=size / 2**20):
            assert {
                name: prefix.start for name, prefix in student.execution.prefixes.items()
            } == context.facts[HELD]
            assert sum(prefix.size for prefix in student.execution.prefixes.values()) <= size
            with torch.no_grad():
                with_table = student(deeper.records.batch(rows[:9])).joint_embedding
        assert student.execution.prefixes == {}
        with torch.no_grad():
            assert torch.allclose(
                student(deeper.records.batch(rows[:9])).joint_embedding, with_table, atol=1e-6
            )
        return context.facts[HELD], context.facts[OVER]

    assert texts > images
    assert held(images + texts) == ({"image": 8, "text": 3}, [])
    assert held(images + texts - 1) == ({"image": 8}, ["text"])
    assert held(images - 1) == ({}, ["image", "text"])
