"""Coarse levels of JPEG 2000: within the stated bound of the whole film, and only where they can stand for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.uid import JPEG2000Lossless

from forgetmi.core.errors import SpecError
from forgetmi.data.decode import ImageFault, read_image
from forgetmi.data.preprocessing import ImagePreprocessing
from tests.data.dicom_files import dicom, file_bytes

NEEDED = ImagePreprocessing(size=32, levels="needed")
WHOLE = ImagePreprocessing(size=32)


def film() -> np.ndarray:
    """A film of 620 x 510 pixels of 12 bits: smooth shadows, sharp edges, grain, a bright letter, odd sides."""
    rows, columns = np.indices((620, 510))
    values = 0.4 + 0.3 * np.sin(rows / 90) * np.cos(columns / 70)
    values[80:420, 60:200] -= 0.25
    values[80:420, 300:440] -= 0.2
    values[20:60, 20:44] = 0.97
    values += 0.01 * np.random.default_rng(0).standard_normal(values.shape)
    return (values.clip(0, 1) * 4095).astype(np.uint16)


FILM = film()
WINDOW = {"WindowCenter": 2048, "WindowWidth": 4096}


def prepared(path: Path, how: ImagePreprocessing) -> tuple[np.ndarray, str]:
    image = read_image(str(path), **how.reading)
    return how.apply(image.pixels), image.notice


@pytest.mark.parametrize("fit", ["pad", "stretch"])
@pytest.mark.parametrize("tags", [WINDOW, WINDOW | {"PhotometricInterpretation": "MONOCHROME1"}])
def test_a_small_image_from_coarse_levels_is_within_the_bound(
    tmp_path: Path, fit: Any, tags: dict[str, Any]
) -> None:
    path = tmp_path / "film.dcm"
    path.write_bytes(file_bytes(dicom(FILM, syntax=JPEG2000Lossless, **tags)))
    whole, _ = prepared(path, ImagePreprocessing(size=32, fit=fit))
    coarse, notice = prepared(path, ImagePreprocessing(size=32, fit=fit, levels="needed"))
    assert "JPEG 2000 decoded at 1/" in notice
    apart = np.abs(whole - coarse)
    assert apart.mean() <= 0.002
    assert np.quantile(apart, 0.999) <= 0.05

    # A film that is shifted by a pixel of the image, or half of one, would not be
    assert np.abs(whole - np.roll(whole, 1, 0)).mean() > 0.01


@pytest.mark.parametrize(
    ("tags", "size"),
    [(WINDOW | {"PixelPaddingValue": 0}, 32), (WINDOW, 300), ({}, 32)],
)
def test_what_coarse_levels_cannot_stand_for_is_decoded_whole(
    tmp_path: Path, tags: dict[str, Any], size: int
) -> None:
    path = tmp_path / "film.dcm"
    path.write_bytes(file_bytes(dicom(FILM, syntax=JPEG2000Lossless, **tags)))
    coarse, notice = prepared(path, ImagePreprocessing(size=size, levels="needed"))
    whole, _ = prepared(path, ImagePreprocessing(size=size))
    np.testing.assert_array_equal(coarse, whole)
    assert "resolution" not in notice


def test_plain_pixels_are_decoded_whole(tmp_path: Path) -> None:
    path = tmp_path / "film.dcm"
    path.write_bytes(file_bytes(dicom(FILM)))
    np.testing.assert_array_equal(prepared(path, NEEDED)[0], prepared(path, WHOLE)[0])


def test_eight_bits_are_decoded_whole(tmp_path: Path) -> None:
    path = tmp_path / "film.dcm"
    eight = (FILM >> 4).astype(np.uint8)
    content = dicom(eight, syntax=JPEG2000Lossless, WindowCenter=128, WindowWidth=256)
    path.write_bytes(file_bytes(content))
    np.testing.assert_array_equal(prepared(path, NEEDED)[0], prepared(path, WHOLE)[0])


def test_damaged_pixels_are_a_fault_of_the_film(tmp_path: Path) -> None:
    content = file_bytes(dicom(FILM, syntax=JPEG2000Lossless, **WINDOW))
    at = content.index(b"\xff\x4f\xff\x51")
    path = tmp_path / "film.dcm"
    for kept in (at + 60, at + 200):
        path.write_bytes(content[:kept])
        with pytest.raises(ImageFault):
            prepared(path, NEEDED)


def test_the_cache_keeps_both_kinds_apart() -> None:
    assert NEEDED.digest != WHOLE.digest


@pytest.mark.parametrize(
    "other", [{"fit": "center_crop"}, {"invert": False}, {"window": "released"}]
)
def test_the_release_takes_whole_films(other: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="levels needed"):
        ImagePreprocessing(levels="needed", **other)
