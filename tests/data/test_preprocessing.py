"""How films become model inputs is named by a digest, and films are read by the rule that it names."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from forgetmi.core.errors import SpecError
from forgetmi.core.serialization import from_plain
from forgetmi.data.image_store import build_image_store
from forgetmi.data.preprocessing import ImagePreprocessing
from tests.data.dicom_files import SHAPE, dicom, file_bytes, stored

FILM = stored()


def test_every_rule_has_a_digest_of_its_own() -> None:
    rules = [
        ImagePreprocessing(),
        ImagePreprocessing(window="2"),
        ImagePreprocessing(window="none"),
        ImagePreprocessing(window="released"),
        ImagePreprocessing(invert=False),
        ImagePreprocessing(size=32),
        ImagePreprocessing(fit="stretch"),
    ]
    assert len({rule.digest for rule in rules}) == len(rules)
    assert ImagePreprocessing(invert=False).digest == (
        ImagePreprocessing(invert=False, window="released").digest
    )


def test_files_written_before_windows_load() -> None:
    plain = {"size": 64, "fit": "pad", "invert": True}
    assert from_plain(ImagePreprocessing, plain, where="t", complete=True) == ImagePreprocessing()


@pytest.mark.parametrize("window", ["", "0", "-1", "01", "100", "1.5", "last", "first ", "\u0661"])
def test_windows_that_are_none_are_refused(window: str) -> None:
    with pytest.raises(SpecError, match="window"):
        ImagePreprocessing(window=window)


@pytest.mark.parametrize("window", ["none", "2"])
def test_a_window_of_films_as_they_are_stored_is_refused(window: str) -> None:
    with pytest.raises(SpecError, match="invert"):
        ImagePreprocessing(window=window, invert=False)


def test_the_store_reads_by_the_rule(make_cohort, tmp_path: Path) -> None:
    image = dicom(
        FILM,
        PhotometricInterpretation="MONOCHROME1",
        WindowCenter=["2000", "1000"],
        WindowWidth=["1001", "401"],
    )
    path = tmp_path / "x.dcm"
    path.write_bytes(file_bytes(image))
    cohort = make_cohort([str(path)])

    levels = FILM.astype(float)
    expected = {
        (True, "first"): 1 - np.clip((levels - 1499.5) / 1000, 0, 1),
        (True, "2"): 1 - np.clip((levels - 799.5) / 400, 0, 1),
        (True, "none"): 1 - levels / 4095,
        (True, "released"): 1 - levels / 4095,
        (False, "first"): levels / 4095,
        (False, "released"): levels / 4095,
    }
    for (invert, window), film in expected.items():
        rules = ImagePreprocessing(size=48, fit="center_crop", invert=invert, window=window)
        store = build_image_store(cohort, rules, cache=tmp_path / "cache")
        found = store.images(np.array([0]))[0, 0]
        top = (SHAPE[0] - 48) // 2
        np.testing.assert_allclose(found, film[top : top + 48], atol=1e-3)


def test_notices_are_counted_part_by_part(make_cohort, tmp_path: Path) -> None:
    contents = {
        "padded, cut": dicom(FILM, PixelPaddingValue=int(FILM[0, 0]), PixelRepresentation=1),
        "padded": dicom(FILM, PixelPaddingValue=int(FILM[0, 0])),
        "plain": dicom(FILM),
    }
    paths = []
    for name, image in contents.items():
        paths.append(str(tmp_path / f"{name}.dcm"))
        Path(paths[-1]).write_bytes(file_bytes(image))
    np.save(tmp_path / "stack.npy", np.zeros((2, 48, 48), np.uint8))
    paths.append(str(tmp_path / "stack.npy#1"))

    for _ in range(2):
        store = build_image_store(
            make_cohort(paths), ImagePreprocessing(size=48), cache=tmp_path / "cache"
        )
        counts = {notice.split(" ")[0]: rows for notice, rows in store.notices.items()}
        assert counts == {"padding": 2, "PixelRepresentation": 1, "a": 1}


def test_fields_are_those_that_checkpoints_name() -> None:
    names = [field.name for field in dataclasses.fields(ImagePreprocessing)]
    assert names == ["size", "fit", "invert", "window", "levels"]
