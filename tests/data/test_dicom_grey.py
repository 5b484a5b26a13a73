"""From stored values to grey: tables, windows, polarity and padding, each against a formula or the film itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.uid import ImplicitVRLittleEndian

from forgetmi.data.decode import ImageFault
from tests.data.dicom_files import (
    SHAPE,
    TRUTH,
    decoded,
    dicom,
    file_bytes,
    similarity,
    stored,
    table,
)

FILM = stored()
LEVELS = FILM.astype(float)
NEGATIVE = (4095 - FILM).astype(np.uint16)
SQUARE = [round((entry / 4095) ** 2 * 4095) for entry in range(4096)]
REVERSED = list(range(4095, -1, -1))

POLARITY: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
    "plain": (FILM, {}),
    "identity": (FILM, {"PresentationLUTShape": "IDENTITY"}),
    "monochrome1": (NEGATIVE, {"PhotometricInterpretation": "MONOCHROME1"}),
    "monochrome1, inverse": (
        NEGATIVE,
        {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"},
    ),
    "slope -1": (NEGATIVE, {"RescaleSlope": "-1", "RescaleIntercept": "4095"}),
    "slope -1 of monochrome1": (
        FILM,
        {
            "PhotometricInterpretation": "MONOCHROME1",
            "RescaleSlope": "-1",
            "RescaleIntercept": "4095",
        },
    ),
    "slope -1 of monochrome1, inverse": (
        FILM,
        {
            "PhotometricInterpretation": "MONOCHROME1",
            "PresentationLUTShape": "INVERSE",
            "RescaleSlope": "-1",
            "RescaleIntercept": "4095",
        },
    ),
    "slope -1 and a window": (
        NEGATIVE,
        {
            "RescaleSlope": "-1",
            "RescaleIntercept": "4095",
            "WindowCenter": "2048",
            "WindowWidth": "4096",
        },
    ),
    "modality table": (NEGATIVE, {"ModalityLUTSequence": table(0, 16, REVERSED)}),
    "modality table and a window": (
        NEGATIVE,
        {
            "ModalityLUTSequence": table(0, 16, REVERSED),
            "WindowCenter": "2048",
            "WindowWidth": "4096",
        },
    ),
}


@pytest.mark.parametrize("case", POLARITY)
def test_polarity_is_decided_by_all_elements_together(case: str, tmp_path: Path) -> None:
    pixels, tags = POLARITY[case]
    found = decoded(tmp_path / "x.dcm", dicom(pixels, **tags))
    assert similarity(found.pixels) > 0.9999
    assert found.notice == ""


@pytest.mark.parametrize(
    ("photometric", "shape"), [("MONOCHROME1", "IDENTITY"), ("MONOCHROME2", "INVERSE")]
)
def test_a_contradiction_of_polarity_is_noticed(
    photometric: str, shape: str, tmp_path: Path
) -> None:
    tags = {"PhotometricInterpretation": photometric, "PresentationLUTShape": shape}
    found = decoded(tmp_path / "x.dcm", dicom(NEGATIVE, **tags))
    assert similarity(found.pixels) > 0.9999
    assert "PresentationLUTShape contradict" in found.notice
    as_stored = decoded(tmp_path / "x.dcm", dicom(NEGATIVE, **tags), invert=False)
    assert similarity(as_stored.pixels) < -0.9999


def test_case_and_blanks_do_not_matter(tmp_path: Path) -> None:
    content = file_bytes(dicom(NEGATIVE, PhotometricInterpretation="MONOCHROME1"))
    content = content.replace(b"MONOCHROME1", b"Monochrome1")
    assert similarity(decoded(tmp_path / "x.dcm", content).pixels) > 0.9999


def line(low: float, high: float) -> np.ndarray:
    return np.clip((LEVELS - low) / (high - low), 0, 1)


# Elements, and the grey values that PS3.3 C.11.2 gives.
WINDOWS: dict[str, tuple[dict[str, Any], np.ndarray]] = {
    "linear": ({"WindowCenter": "2000", "WindowWidth": "1001"}, line(1499.5, 2499.5)),
    "exact": (
        {"WindowCenter": "2000", "WindowWidth": "1000", "VOILUTFunction": "LINEAR_EXACT"},
        line(1500, 2500),
    ),
    "sigmoid": (
        {"WindowCenter": "2000", "WindowWidth": "1000", "VOILUTFunction": "SIGMOID"},
        1 / (1 + np.exp(-4 * (LEVELS - 2000) / 1000)),
    ),
    "table": ({"VOILUTSequence": table(0, 12, SQUARE)}, (FILM / 4095) ** 2),
    "table before the window": (
        {
            "VOILUTSequence": table(0, 12, SQUARE),
            "WindowCenter": "2000",
            "WindowWidth": "1001",
        },
        (FILM / 4095) ** 2,
    ),
    "table in words": (
        {"VOILUTSequence": table(0, 12, np.array(SQUARE, "<u2").tobytes(), 4096)},
        (FILM / 4095) ** 2,
    ),
    "table of 12 bits called 16": (
        {"VOILUTSequence": table(0, 16, SQUARE)},
        (FILM / 4095) ** 2,
    ),
    "table of 8 bits for 12": (
        {"VOILUTSequence": table(0, 8, [entry >> 4 for entry in SQUARE])},
        np.array(SQUARE)[FILM] // 16 / 255,
    ),
    "table of 8 bits in bytes": (
        {"VOILUTSequence": table(0, 8, bytes(entry >> 4 for entry in SQUARE), 4096)},
        np.array(SQUARE)[FILM] // 16 / 255,
    ),
    "table after rescaling": (
        {"VOILUTSequence": table(0, 12, SQUARE), "RescaleSlope": "1", "RescaleIntercept": "0"},
        (FILM / 4095) ** 2,
    ),
}


@pytest.mark.parametrize("case", WINDOWS)
def test_windows_and_tables_against_their_formula(case: str, tmp_path: Path) -> None:
    tags, expected = WINDOWS[case]
    found = decoded(tmp_path / "x.dcm", dicom(FILM, **tags))
    np.testing.assert_allclose(found.pixels, expected, atol=3e-4)
    assert found.notice == ""


RAMP = list(range(0, 65536, 16))
SHIFT = {"RescaleSlope": "1", "RescaleIntercept": "-2048"}


@pytest.mark.parametrize("element", ["ModalityLUTSequence", "VOILUTSequence"])
def test_the_first_value_of_a_table_is_read_with_its_sign(element: str, tmp_path: Path) -> None:
    # Below 0, written without its sign; and by implicit types, which give it none where stored values have none.
    without = table(63_488, 16, RAMP)
    without[0]["LUTDescriptor"].VR = "US"
    signed = FILM.astype(np.int16) - 2048
    found = decoded(tmp_path / "x.dcm", dicom(signed, **{element: without}))
    np.testing.assert_allclose(found.pixels, FILM / 4095, atol=1e-6)

    tags = {"VOILUTSequence": table(63_488, 16, RAMP), **SHIFT}
    implicit = dicom(FILM, syntax=ImplicitVRLittleEndian, **tags)
    found = decoded(tmp_path / "x.dcm", implicit)
    np.testing.assert_allclose(found.pixels, FILM / 4095, atol=1e-6)


@pytest.mark.parametrize(
    ("center", "width"), [(["2048", "1000"], "4096"), ("2048", ["4096", "500"])]
)
def test_half_of_a_window_is_none(center: Any, width: Any, tmp_path: Path) -> None:
    image = dicom(FILM, WindowCenter=center, WindowWidth=width)
    found = decoded(tmp_path / "x.dcm", image, window="2")
    np.testing.assert_allclose(found.pixels, FILM / 4095, atol=3e-4)
    assert "no window of that number" in found.notice


def test_the_window_is_chosen(tmp_path: Path) -> None:
    image = dicom(FILM, WindowCenter=["2000", "2048"], WindowWidth=["1001", "4096"])
    first = decoded(tmp_path / "x.dcm", image)
    np.testing.assert_allclose(first.pixels, line(1499.5, 2499.5), atol=3e-4)
    assert "several windows" in first.notice

    second = decoded(tmp_path / "x.dcm", image, window="2")
    np.testing.assert_allclose(second.pixels, FILM / 4095, atol=3e-4)
    assert second.notice == ""

    third = decoded(tmp_path / "x.dcm", image, window="3")
    np.testing.assert_array_equal(third.pixels, first.pixels)
    assert "no window of that number" in third.notice

    for window in ("none", "released"):
        own = decoded(tmp_path / "x.dcm", image, window=window)
        np.testing.assert_allclose(own.pixels, FILM / 4095, atol=1e-6)


def test_the_released_rule_heeds_no_element(tmp_path: Path) -> None:
    tags = {
        "RescaleSlope": "2",
        "RescaleIntercept": "-1000",
        "WindowCenter": "9",
        "WindowWidth": "3",
        "PixelPaddingValue": int(FILM[0, 0]),
    }
    for photometric, sign in (("MONOCHROME1", -1), ("MONOCHROME2", 1)):
        image = dicom(FILM, PhotometricInterpretation=photometric, **tags)
        as_stored = decoded(tmp_path / "x.dcm", image, window="released", invert=False)
        np.testing.assert_allclose(as_stored.pixels, FILM / FILM.max(), atol=1e-7)
        turned = decoded(tmp_path / "x.dcm", image, window="released")
        assert sign * similarity(turned.pixels) > 0.9999


@pytest.mark.parametrize(
    ("tags", "element"),
    [
        ({"WindowCenter": "9", "WindowWidth": "0"}, "WindowWidth"),
        ({"WindowCenter": "9", "WindowWidth": "9", "VOILUTFunction": "ODD"}, "VOILUTFunction"),
        ({"VOILUTSequence": table(0, 12, SQUARE[:9], 4096)}, "VOILUTSequence"),
        ({"ModalityLUTSequence": table(0, 16, SQUARE[:9], 4096)}, "ModalityLUTSequence"),
        ({"RescaleSlope": "0", "RescaleIntercept": "1"}, "RescaleSlope"),
        ({"RescaleSlope": ["1", "2"], "RescaleIntercept": "1"}, "RescaleSlope"),
        ({"PresentationLUTShape": "ODD"}, "PresentationLUTShape"),
    ],
)
def test_what_cannot_be_applied_is_refused_by_name(
    tags: dict[str, Any], element: str, tmp_path: Path
) -> None:
    with pytest.raises(ImageFault, match=element):
        decoded(tmp_path / "x.dcm", dicom(FILM, **tags))


def test_half_of_a_rescaling_is_completed_and_noticed(tmp_path: Path) -> None:
    found = decoded(tmp_path / "x.dcm", dicom(NEGATIVE, RescaleSlope="-1"))
    assert similarity(found.pixels) > 0.9999
    assert "lacks RescaleIntercept" in found.notice


@pytest.mark.parametrize("center", ["60000", "-400"])
def test_a_window_beside_the_film_is_noticed(center: str, tmp_path: Path) -> None:
    found = decoded(tmp_path / "x.dcm", dicom(FILM, WindowCenter=center, WindowWidth="100"))
    assert "hardly any of the film" in found.notice


INSIDE = np.ones(SHAPE, bool)
INSIDE[:6] = False


def bordered(value: int, pixels: np.ndarray = FILM) -> np.ndarray:
    return np.where(INSIDE, pixels, value).astype(pixels.dtype)


WIDE = {"BitsStored": 16, "HighBit": 15}
PADDED: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
    "65535": (bordered(65535), {**WIDE, "PixelPaddingValue": 65535}),
    "65535 in 12 bits": (bordered(65535), {"PixelPaddingValue": 65535}),
    "-2000": (bordered(-2000, FILM.astype(np.int16)), {**WIDE, "PixelPaddingValue": -2000}),
    "a range": (
        np.where(INSIDE, FILM, 60_000 + np.arange(SHAPE[1])).astype(np.uint16),
        {**WIDE, "PixelPaddingValue": 60_100, "PixelPaddingRangeLimit": 60_000},
    ),
    "of a negative": (
        bordered(65535, NEGATIVE),
        {**WIDE, "PixelPaddingValue": 65535, "PhotometricInterpretation": "MONOCHROME1"},
    ),
    "slope -1": (
        bordered(65535, NEGATIVE),
        {
            **WIDE,
            "PixelPaddingValue": 65535,
            "RescaleSlope": "-1",
            "RescaleIntercept": "4095",
        },
    ),
}


@pytest.mark.parametrize("case", PADDED)
def test_padding_takes_no_part(case: str, tmp_path: Path) -> None:
    pixels, tags = PADDED[case]
    found = decoded(tmp_path / "x.dcm", dicom(pixels, **tags))
    assert similarity(found.pixels, INSIDE) > 0.9999
    assert np.ptp(found.pixels[INSIDE]) > 0.6
    assert not found.pixels[~INSIDE].any()
    assert "PixelPaddingValue" in found.notice


def test_a_film_of_padding_alone_is_blank(tmp_path: Path) -> None:
    image = dicom(np.full(SHAPE, 9, np.uint16), PixelPaddingValue=9)
    found = decoded(tmp_path / "x.dcm", image)
    assert not found.pixels.any()
    assert "blank" in found.notice


def test_a_defect_does_not_darken_the_film(tmp_path: Path) -> None:
    for value, dtype in ((65535, np.uint16), (-30000, np.int16)):
        pixels = FILM.astype(dtype)
        pixels[30, 24] = value
        found = decoded(tmp_path / "x.dcm", dicom(pixels, **WIDE))
        rest = pixels != value
        np.testing.assert_allclose(found.pixels[rest], FILM[rest] / 4095, atol=1e-6)
        assert "far outside the film" in found.notice


def test_without_outliers_the_range_ends_at_the_brightest_pixel(tmp_path: Path) -> None:
    """Neither a bright letter nor a small defect counts as an outlier."""
    pixels = (FILM // 2).astype(np.uint16)
    pixels[30, 24] = 2500
    found = decoded(tmp_path / "x.dcm", dicom(pixels))
    np.testing.assert_allclose(found.pixels, pixels / 2500, atol=1e-6)
    assert found.notice == ""


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (np.full(SHAPE, 7, np.uint16), "blank"),
        ((30_000 + TRUTH * 300).astype(np.uint16), "less than a hundredth of the grey range"),
        ((TRUTH * 400).astype(np.uint16), "less than a hundredth of the range that their bits"),
        (np.where(INSIDE, FILM, 65535).astype(np.uint16), "other pixels lie far outside"),
    ],
)
def test_odd_films_are_noticed(pixels: np.ndarray, words: str, tmp_path: Path) -> None:
    assert words in decoded(tmp_path / "x.dcm", dicom(pixels, **WIDE)).notice
