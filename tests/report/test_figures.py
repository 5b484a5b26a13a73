"""Figures: stable bytes, names for screen readers, and bins that hold every image."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forgetmi.report import figures, loss_figure, trade_off_figure
from forgetmi.report.svg import ORIGINAL, UNLEARNED

ROW = figures.DotRow(
    "AUC, image head",
    figures.Mark(0.988, (0.97, 1.0)),
    figures.Mark(0.754, (0.66, 0.84)),
    (figures.Mark(0.722), figures.Mark(0.689), figures.Mark(0.657)),
    0.7,
)
LOSSES = np.geomspace(1e-4, 5, 81)
POINTS = (
    trade_off_figure.ModelPoint(
        "original", "Original", figures.Mark(0.279), figures.Mark(0.722, (0.68, 0.76))
    ),
    trade_off_figure.ModelPoint(
        "unlearned", "Unlearned", figures.Mark(0.042, (0.03, 0.08)), figures.Mark(0.719)
    ),
    trade_off_figure.ModelPoint(
        "retrain", "", figures.Mark(0.046), figures.Mark(0.709, (0.67, 0.75))
    ),
)


def draw(kind: str) -> str:
    match kind:
        case "dots":
            return figures.dot_panel("d", "Withdrawn", [ROW, ROW], span=(0, 1))
        case "strip":
            return figures.strip("s", ROW, span=(0, 1))
        case "loss":
            span = loss_figure.loss_span([LOSSES])
            return loss_figure.loss_panel(
                "l", "Original", withdrawn=LOSSES, never_seen=LOSSES * 2, span=span, top=0.2
            )
        case _:
            return trade_off_figure.trade_off_panel(
                "t", "Trade", POINTS, x_label="gap", y_label="AUC"
            )


@pytest.mark.parametrize("kind", ["dots", "strip", "loss", "trade-off"])
def test_figures_are_stable_named_and_free_of_outside_references(kind: str) -> None:
    picture = draw(kind)

    assert picture == draw(kind)
    assert "http" not in picture
    assert "<style" not in picture

    root = ET.fromstring(picture)
    title, description = (root.find(tag) for tag in ("title", "desc"))

    assert title is not None
    assert description is not None
    assert title.text
    assert description.text
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"

    ids = [element.get("id") for element in root.iter() if element.get("id")]

    assert len(ids) == len(set(ids))

    links = {element.get("href", "#")[1:] for element in root.iter("use")}

    assert links <= set(ids)


def test_description_tells_the_numbers_of_the_picture() -> None:
    picture = draw("dots")

    assert "original 0.988 (0.970 to 1.000)" in picture
    assert "3 retrained from 0.657 to 0.722" in picture
    assert "0.99 → 0.75 | 0.69" in " ".join(picture.split())  # printed beside the row
    assert "Median loss of the withdrawn patients' 81 images 0.0224" in draw("loss")
    assert "Unlearned: gap 0.042, AUC 0.719." in draw("trade-off")


def test_what_was_not_measured_is_not_drawn() -> None:
    empty = figures.dot_panel(
        "d", "Withdrawn", [figures.DotRow("AUC", None, figures.Mark(0.5), ())], span=(0, 1)
    )

    assert "original not measured, unlearned 0.500." in empty
    assert ORIGINAL not in empty
    assert UNLEARNED in empty


def test_dollar_signs_are_no_formulas() -> None:
    row = figures.DotRow("cost in $ or $$ <b>", None, figures.Mark(0.5), ())
    assert "cost in $ or $$ &lt;b&gt;" in figures.dot_panel("d", "h", [row], span=(0, 1))


@given(
    st.lists(st.floats(0, 50), min_size=1, max_size=60),
    st.lists(st.floats(0, 50), min_size=1, max_size=60),
)
@settings(deadline=None, max_examples=60)
def test_every_image_is_in_a_bin(one: list[float], two: list[float]) -> None:
    losses = [np.array(one), np.array(two)]
    low, high = loss_figure.loss_span(losses)
    assert 0 < low < high
    for values in losses:
        assert loss_figure.loss_shares(values, (low, high)).sum() == pytest.approx(1)


@pytest.mark.parametrize("kind", figures.SIGNS)
def test_signs_of_the_key_are_hidden_from_screen_readers(kind: str) -> None:
    assert ET.fromstring(figures.sign(kind)).get("aria-hidden") == "true"


def test_many_models_are_numbered_from_left_to_right_and_named_beside_the_axes() -> None:
    many = []
    for index in range(trade_off_figure.MOST_LABELS + 1):
        x = figures.Mark(0.3 - index / 100)
        many.append(
            trade_off_figure.ModelPoint("unlearned", f"Model {index}", x, figures.Mark(0.7))
        )
    few = many[:-1]

    def words(points: list[trade_off_figure.ModelPoint]) -> list[str]:
        root = ET.fromstring(
            trade_off_figure.trade_off_panel("t", "Trade", points, x_label="gap", y_label="AUC")
        )
        return [element.text or "" for element in root.iter("text")]

    assert {f"Model {at}" for at in range(trade_off_figure.MOST_LABELS)} <= set(words(few))

    last = trade_off_figure.MOST_LABELS

    assert {f"{1 + last - at}  Model {at}" for at in range(last + 1)} <= set(words(many))
    assert {str(number) for number in range(1, last + 2)} <= set(words(many))
