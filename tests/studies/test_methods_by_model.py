"""The tables of several kinds of models and of fourteen findings, without their models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import findings  # type: ignore[import-not-found]
import measured_models  # type: ignore[import-not-found]
import methods_by_model  # type: ignore[import-not-found]
from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.registry import methods
from tests.studies.test_pages import table


def test_a_cell_is_a_number_or_the_reason() -> None:
    columns = {
        "own model": {"original": "0.20 / 0.10", "references": "0.04 / 0.08", "ssd": "0.10 / 0.09"},
        "image only": {"original": "0.30 / 0.20", "references": "0.05 / 0.07", "ssd": "no texts"},
    }
    found = table("\n".join(methods_by_model._table(columns, ["ssd"])))
    assert found["original"] == ["0.20 / 0.10", "0.30 / 0.20"]
    assert found["retrained models"] == ["0.04 / 0.08", "0.05 / 0.07"]
    assert found["`ssd`"] == ["0.10 / 0.09", "no texts"]


def test_every_method_but_those_left_out_by_name_is_asked() -> None:
    assert set(methods_by_model.LEFT_OUT) < set(methods.names())


def test_one_seed_has_its_interval_and_several_their_range() -> None:
    assert findings._over_seeds([(0.5, (0.4, 0.7))]) == "0.50 (0.40 to 0.70)"
    assert findings._over_seeds([(0.5, (0.4, 0.7)), None, (0.7, None)]) == "0.60 (0.50 to 0.70)"
    assert findings._over_seeds([None]) == "-"


def test_what_was_made_or_refused_is_not_made_again(tmp_path: Path) -> None:
    study = measured_models.Study(tmp_path, None, None, None, seed=0, retrains=2)

    def refuse() -> Any:
        raise MethodError(Fault("it needs texts"))

    def never() -> Any:
        raise AssertionError("made again")

    assert study._stored("ssd", refuse) == "it needs texts"
    assert study._stored("ssd", never) == "it needs texts"
    with pytest.raises(AssertionError, match="made again"):
        study._stored("other", never)
