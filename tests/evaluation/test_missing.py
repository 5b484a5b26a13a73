"""Rows that lack a head's modality: no score of that head counts them, and the notes say how many there are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from forgetmi.benchmark.yardstick import validation_auc
from forgetmi.core.scores import Evaluation, Failed, Score
from forgetmi.core.signals import Signals
from forgetmi.evaluation.signals import has_inputs, predictions
from forgetmi.evaluation.suite import evaluate
from forgetmi.evaluation.tasks import measures_of
from forgetmi.model.tasks.by_name import training_task
from forgetmi.search.rules import against_validation
from tests.made_tasks import Made

WHOLE = Made("classes")
HAVE_FILM = np.arange(len(WHOLE.owner)) % 3 > 0
LACKING = Made("classes", present={"image": HAVE_FILM})


def measured(made: Made, signals: dict[str, Signals] | None = None) -> Evaluation:
    return evaluate(
        signals or made.signals(),
        made.partition(),
        task=made.task,
        classes=made.names,
        seed=0,
        resamples=20,
    )


def of_head(found: Evaluation, model: str, head: str) -> list[Score | Failed]:
    return [score for score in found.scores[model] if score.head == head]


def without_labels(made: Made, there: np.ndarray) -> dict[str, Signals]:
    """The same models, with the label unknown wherever something is absent: left out by an older rule."""
    return {
        name: replace(signals, label=np.where(there, signals.label, -1), present={})
        for name, signals in made.signals().items()
    }


def test_a_head_is_measured_on_the_rows_that_have_what_it_reads() -> None:
    found = measured(LACKING)
    expected = measured(LACKING, without_labels(LACKING, HAVE_FILM))
    for model in ("original", "unlearned", "retrain-0"):
        ours, theirs = of_head(found, model, "image"), of_head(expected, model, "image")
        assert ours == theirs
        assert any(isinstance(score, Score) and score.name == "auc" for score in ours)

        # The other head lacks nothing
        assert of_head(found, model, "text") == of_head(measured(WHOLE), model, "text")


def test_the_notes_count_what_is_left_out() -> None:
    forget = LACKING.partition().forget
    labelled = forget[LACKING.label()[forget] >= 0]
    missing = int((~HAVE_FILM[labelled]).sum())
    said = [note for note in measured(LACKING).notes if "head image" in note]
    assert len(said) == 1
    assert f"{missing} of {len(labelled)} on forget" in said[0]
    assert not any("leave out" in note for note in measured(WHOLE).notes)
    score = measured(LACKING).get("original", "auc", head="image", on="forget")
    assert isinstance(score, Score)
    assert score.images == len(labelled) - missing


def test_all_heads_together_are_those_that_are_there() -> None:
    measures, model = measures_of("classes"), LACKING.model(0, ("forget",))
    both, text = (predictions(model, head, measures) for head in ("both", "text"))
    assert np.allclose(both[~HAVE_FILM], text[~HAVE_FILM])
    whole = predictions(replace(model, present={}), "both", measures)
    assert (both[HAVE_FILM] == whole[HAVE_FILM]).all()
    assert not np.allclose(both[~HAVE_FILM], whole[~HAVE_FILM])


def test_a_row_without_anything_that_a_head_reads_is_on_no_head() -> None:
    nothing = np.arange(len(WHOLE.owner)) % 5 > 0
    made = replace(LACKING, present={"image": HAVE_FILM, "text": nothing})
    model = made.model(0, ())
    assert (has_inputs(model, "both") == (HAVE_FILM | nothing)).all()
    assert "lack what any head reads" in " ".join(measured(made).notes)


def test_a_link_is_measured_on_complete_pairs() -> None:
    score = measured(LACKING).get("original", "pair_auc", head="both", on="forget")
    assert isinstance(score, Score), score
    forget = LACKING.partition().forget
    assert score.images == int(HAVE_FILM[forget].sum())


@pytest.mark.parametrize("task", ["findings", "value", "pairs"])
def test_other_tasks_are_measured_so_too(task: str) -> None:
    heads = () if task == "pairs" else ("image", "text")
    found = measured(Made(task, heads=heads, present={"image": HAVE_FILM}))
    failed = [one for one in found.scores["unlearned"] if isinstance(one, Failed)]
    assert not [one for one in failed if not one.name.startswith("auc_finding")]


def test_a_head_that_nobody_has_anything_for_says_so() -> None:
    nobody = replace(WHOLE, present={"image": np.zeros(len(WHOLE.owner), dtype=bool)})
    found = measured(nobody)
    assert all(isinstance(score, Failed) for score in of_head(found, "original", "image"))
    assert isinstance(found.get("original", "auc", head="text", on="test"), Score)


def test_tuning_and_yardstick_leave_them_out() -> None:
    without = without_labels(LACKING, HAVE_FILM)
    task = training_task("classes")
    partition = LACKING.partition()
    rows = np.concatenate([partition.validation, partition.retain])
    image_only = {name: {"image": signals.logits["image"]} for name, signals in without.items()}
    ours = replace(LACKING.signals()["original"], logits=image_only["original"])
    theirs = replace(without["original"], logits=image_only["original"])
    assert validation_auc(ours, rows, task=task) == validation_auc(theirs, rows, task=task)

    # A validation set that is large enough to be tuned on
    large = replace(partition, validation=partition.retain, retain=partition.validation)
    found = against_validation(LACKING.signals(), large)
    expected = against_validation(without, large)
    whole = against_validation(WHOLE.signals(), large)
    assert found["unlearned"].parts["image"] == expected["unlearned"].parts["image"]
    assert found["unlearned"].parts["text"] == whole["unlearned"].parts["text"]
