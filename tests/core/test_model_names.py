"""Names of models: one place makes them and reads them."""

from __future__ import annotations

import pytest

from forgetmi.core.model_names import (
    is_retrained,
    retrained_name,
    retrained_names,
    retrained_number,
)


def test_retrained_models_have_numbered_names() -> None:
    assert retrained_name(12) == "retrain-12"
    assert retrained_number("retrain-12") == 12
    assert is_retrained("retrain-0")
    assert not is_retrained("retrain")
    assert not is_retrained("retrain-0b")
    with pytest.raises(ValueError, match="'original'"):
        retrained_number("original")


def test_names_are_in_the_order_of_their_numbers() -> None:
    names = {"retrain-10": 0, "original": 0, "retrain-9": 0}
    assert retrained_names(names) == ["retrain-9", "retrain-10"]
