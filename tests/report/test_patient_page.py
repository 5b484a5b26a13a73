"""What a patient's page says of differences to retrained models: how often chance alone makes them."""

from __future__ import annotations

import pytest

from forgetmi.audit.patient_view import ChannelView, PatientView
from forgetmi.report.patient_page import PatientFacts, render_patient

SAID = "all 3 retrained models find this patient less familiar"


def page(unlearned: float, retrained: tuple[float, ...]) -> str:
    """The page of a patient whom one channel says something of."""
    familiar = {"original": 0.99, "unlearned": unlearned}
    familiar |= {f"retrain-{number}": share for number, share in enumerate(retrained)}
    channel = ChannelView("image", familiar, never_seen=20)
    view = PatientView("abcdef0123", 1, 1, (channel,), remembered=(), predicted={})
    return render_patient(PatientFacts("run <1>", view, None, (), {}))


def test_beyond_all_retrained_models_is_said_with_how_often_chance_does_it() -> None:
    said = page(0.9, (0.5, 0.6, 0.7))
    assert SAID in said
    assert "in 2 of 4 cases" in said
    assert "run &lt;1&gt;" in said


@pytest.mark.parametrize("retrained", [(0.5, 0.6, 0.95), (0.5,), ()])
def test_within_them_or_without_a_range_nothing_is_said(retrained: tuple[float, ...]) -> None:
    assert "familiar than the new model" not in page(0.9, retrained).replace("\n", " ")
