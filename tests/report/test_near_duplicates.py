"""Near-duplicates in words, and the file they are stored in."""

from __future__ import annotations

import pytest

from forgetmi.core.near_duplicates import NearDuplicate, NearDuplicates
from forgetmi.core.partition import SetName
from forgetmi.report.near_duplicates import advice, from_plain, to_plain, warnings


def pair(place: SetName) -> NearDuplicate:
    return NearDuplicate("same image", 0.98, "p1", "p2", place, item="i1", other_item="i2")


@pytest.mark.parametrize("place", ["retain", "holdout"])
def test_each_place_has_its_warning_and_its_advice(place: SetName) -> None:
    duplicates = NearDuplicates((pair(place),), (3, 40), (3, 38))
    expected = "stay in training" if place == "retain" else "count as never seen"

    assert warnings(duplicates) == [
        f"Of the withdrawn patients' images, 1 have copies under 1 patients who {expected}; "
        "duplicates.json lists them by digest."
    ]
    assert ("in training" in advice(pair(place))) == (place == "retain")
    assert duplicates.counts() == {place: 1}


def test_the_file_is_read_back() -> None:
    report = NearDuplicate("same report", 0.7, "p1", "p3", "holdout", item="s1", other_item="s3")
    duplicates = NearDuplicates((pair("retain"), report), (3, 40), (3, 38))
    stored = to_plain(duplicates)

    assert sorted(stored) == ["copies", "images_compared", "reports_compared", "warnings"]

    assert sorted(stored["copies"][0]) == [
        "do",
        "item",
        "kind",
        "other_item",
        "other_patient",
        "other_set",
        "patient",
        "similarity",
    ]

    assert ["images" in stored["warnings"][0], "reports" in stored["warnings"][1]] == [True, True]
    assert from_plain(stored) == duplicates


def test_nothing_found_warns_of_nothing() -> None:
    assert warnings(NearDuplicates((), (3, 40), (3, 38))) == []
