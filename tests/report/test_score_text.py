"""Sentences about numbers: hand-made cases of the rule and of the sentences."""

from __future__ import annotations

import pytest

from forgetmi.core.scores import Evaluation, Failed, Score
from forgetmi.report import number_text, readings, score_text


def score(
    value: float, interval: tuple[float, float] | None = None, name: str = "auc", on: str = "forget"
) -> Score:
    return Score(name, value, interval, 16, 81, "closer", head="image", on=on)


@pytest.mark.parametrize(
    ("model", "others", "apart"),
    [
        (score(0.9, (0.8, 0.95)), [score(0.7, (0.6, 0.75))], True),
        (
            score(0.9, (0.65, 0.95)),
            [score(0.7, (0.6, 0.75))],
            False,
        ),  # its interval reaches the other value
        (
            score(0.74, (0.72, 0.76)),
            [score(0.7, (0.6, 0.75))],
            False,
        ),  # it lies in the other's interval
        (
            score(0.9, (0.8, 0.95)),
            [score(0.7, (0.6, 0.75)), score(0.82, (0.81, 0.83))],
            False,
        ),  # reaches the range
        (
            score(0.7, (0.69, 0.71)),
            [score(0.6, (0.59, 0.61)), score(0.8, (0.79, 0.81))],
            False,
        ),  # within the range
        (score(0.5, (0.4, 0.55)), [score(0.7, (0.6, 0.75)), score(0.8, (0.7, 0.85))], True),
        (score(0.9), [score(0.1, (0.0, 0.2))], False),  # no interval
        (score(0.9, (0.8, 1.0)), [score(0.1)], False),
        (score(0.9, (0.8, 1.0)), [], False),
    ],
)
def test_models_are_told_apart_only_by_clear_intervals(
    model: Score, others: list[Score], apart: bool
) -> None:
    assert readings.told_apart(model, others) is apart
    if len(others) == 1:
        assert readings.told_apart(others[0], [model]) is apart


def evaluation(unlearned: Score | Failed, retrains: int = 3) -> Evaluation:
    values = (0.722, 0.689, 0.657)[:retrains]

    return Evaluation(
        {
            "original": (score(0.988, (0.97, 0.999)),),
            "unlearned": (unlearned,),
            **{
                f"retrain-{k}": (score(value, (value - 0.1, value + 0.1)),)
                for k, value in enumerate(values)
            },
            "retrain": (score(0.04, name="gap_floor", on=""),),
        }
    )


def test_sentence_says_before_after_retrained_and_what_is_resolvable() -> None:
    (reading,) = readings.read(evaluation(score(0.754, (0.66, 0.84))))

    assert score_text.sentence(reading) == (
        "On the withdrawn patients, AUC of the image head was 0.99 and is now 0.75 (95 % interval 0.66 to 0.84); "
        "3 retrained models reach 0.66 to 0.72. With 16 patients the change from the original is resolvable, "
        "the difference to the retrained models not resolvable."
    )
    assert reading.retrained == pytest.approx((0.6893333, 0.657, 0.722))
    assert reading.counts == (16, 81)
    assert score_text.nearer([reading]) == (
        "1 of 1 measure lies nearer to the mean of the retrained models than to the original; "
        "on 1 of 1 the difference to them is not resolvable."
    )


def test_a_resolvable_difference_to_retraining_is_said() -> None:
    (reading,) = readings.read(evaluation(score(0.95, (0.93, 0.96))))

    assert score_text.sentence(reading).endswith(
        "is resolvable, the difference to the retrained models resolvable."
    )
    assert score_text.nearer([reading]).startswith("0 of 1 measure lie nearer")

    difference = readings.difference(reading.unlearned, reading.retrains)

    assert difference == readings.ScoreDifference("+0.261", resolvable=True)


def test_when_nothing_is_resolvable_the_sentence_says_so_once() -> None:
    (reading,) = readings.read(evaluation(score(0.85, (0.6, 0.99))))
    assert score_text.sentence(reading).endswith(
        "neither the change from the original nor the difference to the retrained models is resolvable."
    )


def test_missing_numbers_are_said_to_be_missing() -> None:
    (reading,) = readings.read(evaluation(Failed("auc", "one class only", "image", "forget")))

    assert score_text.sentence(reading).endswith(
        "not measured for the unlearned model: one class only"
    )
    assert readings.difference(reading.unlearned, reading.retrains) is None
    assert score_text.nearer([reading]).startswith("no measure")
    assert score_text.largest_change([reading]).startswith("no measure")

    (alone,) = readings.read(evaluation(score(0.754, (0.66, 0.84)), retrains=0))

    assert score_text.sentence(alone).endswith("there is no retrained model to compare with.")


def test_the_largest_change_is_found_in_both_directions() -> None:
    scores = Evaluation(
        {
            "original": (score(0.7, on="test"), score(0.6)),
            "unlearned": (score(0.65, on="test"), score(0.61)),
        }
    )

    assert score_text.largest_change(readings.read(scores)) == (
        "the largest change is −0.050 (AUC, image head, never-seen test patients: 0.700 before, 0.650 now), "
        "not resolvable."
    )


def test_read_keeps_order_and_selects() -> None:
    scores = evaluation(score(0.754))

    assert [reading.name for reading in readings.read(scores)] == [
        "auc"
    ]  # the floor belongs to no single model
    assert readings.read(scores, ("f1",)) == []
    assert readings.read(scores, ("auc",), on=("test",)) == []
    assert readings.read(scores, ("auc",), heads=("text",)) == []


@pytest.mark.parametrize(
    ("value", "digits", "expected"),
    [(-0.0004, 3, "0.000"), (-0.25, 2, "−0.25"), (0.125, 1, "0.1"), (2, 0, "2")],
)
def test_numbers_as_text(value: float, digits: int, expected: str) -> None:
    assert number_text.plain(value, digits) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(0.0123, "+0.012"), (-0.0123, "−0.012"), (0.0001, "0.000")]
)
def test_signed_numbers(value: float, expected: str) -> None:
    assert number_text.signed(value) == expected


@pytest.mark.parametrize(
    ("number", "noun", "expected"),
    [
        (1, "patient", "1 patient"),
        (1198, "image", "1,198 images"),
        (3, "study", "3 studies"),
        (0, "study", "0 studies"),
    ],
)
def test_counts_in_words(number: int, noun: str, expected: str) -> None:
    assert number_text.many(number, noun) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(1.94, "1.9 seconds"), (37.2, "37 seconds"), (600, "10 minutes"), (50400, "14.0 hours")],
)
def test_durations(seconds: float, expected: str) -> None:
    assert number_text.duration(seconds) == expected
