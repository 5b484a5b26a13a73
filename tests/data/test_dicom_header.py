"""Headers that contradict the pixels: corrected where one reading fits, else refused with the element named."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from forgetmi.data import dicom_codestream, dicom_file
from forgetmi.data.decode import ImageFault, read_image
from tests.data.dicom_files import (
    SHAPE,
    TRUTH,
    data_set,
    decoded,
    dicom,
    file_bytes,
    similarity,
    stored,
    under,
)

FILM = stored()
SIGNED = FILM.astype(np.int16) - 2048
OVERLAY = FILM.copy()
OVERLAY[20:40, 10:30] |= 0x8000
DEFECT = FILM.copy()
DEFECT[30, 24] = 65535

# Pixels and elements; a word of the notice, "" = as the header says.
READ: dict[str, tuple[np.ndarray, dict[str, Any], str]] = {
    "12 bits": (FILM, {}, ""),
    "12 bits in the upper part": (FILM << 4, {"HighBit": 15}, ""),
    "12 bits, the upper part stated": (FILM, {"HighBit": 15}, "HighBit"),
    "12 bits in the upper part, unstated": (FILM << 4, {}, "BitsStored"),
    "13 bits": (stored(13), {}, "BitsStored"),
    "14 bits": (stored(14), {}, "BitsStored"),
    "16 bits": (stored(16), {}, "BitsStored"),
    "14 bits, 8 stated": (stored(14), {"BitsStored": 8, "HighBit": 7}, "BitsStored"),
    "bits a little above 12": ((TRUTH * 4300).astype(np.uint16), {}, "BitsStored"),
    "high bit too low": (FILM, {"HighBit": 3}, "HighBit"),
    "high bit too high": (FILM, {"HighBit": 20}, "HighBit"),
    "more bits stored than allocated": (FILM, {"BitsStored": 20, "HighBit": 19}, "BitsStored"),
    "unsigned called signed": (
        stored(16),
        {"BitsStored": 16, "HighBit": 15, "PixelRepresentation": 1},
        "PixelRepresentation",
    ),
    "12 bits called signed": (FILM, {"PixelRepresentation": 1}, "PixelRepresentation"),
    "signed": (SIGNED, {}, "negative"),
    "signed, its sign cut": (SIGNED & 0xFFF, {}, "negative"),
    "signed called unsigned": (SIGNED, {"PixelRepresentation": 0}, "PixelRepresentation"),
    "signed called unsigned, 16 bits": (
        SIGNED,
        {"PixelRepresentation": 0, "BitsStored": 16, "HighBit": 15},
        "PixelRepresentation",
    ),
    "bytes exchanged": (FILM.byteswap(), {}, "byte order"),
    "bytes exchanged, 16 bits": (
        stored(16).byteswap(),
        {"BitsStored": 16, "HighBit": 15},
        "byte order",
    ),
    "an overlay in bit 15": (OVERLAY, {}, "bits outside BitsStored"),
    "a defect beyond 12 bits": (DEFECT, {}, "exceed BitsStored"),
    "rows and columns exchanged": (
        FILM,
        {"Rows": SHAPE[1], "Columns": SHAPE[0]},
        "Rows and Columns were exchanged",
    ),
    "three samples, one held": (
        FILM,
        {"SamplesPerPixel": 3, "PlanarConfiguration": 0},
        "SamplesPerPixel read as 1",
    ),
    "one sample, three held": (
        np.dstack([FILM >> 4] * 3).astype(np.uint8),
        {"SamplesPerPixel": 1, "PhotometricInterpretation": "RGB"},
        "SamplesPerPixel read as 3",
    ),
    "a little surplus": (FILM, {"PixelData": FILM.tobytes() + b"SURPLUS."}, "surplus"),
    "no frames stated": (FILM, {"NumberOfFrames": 0}, ""),
}


@pytest.mark.parametrize("case", READ)
def test_the_reading_that_fits_is_taken_and_noticed(case: str, tmp_path: Path) -> None:
    pixels, tags, word = READ[case]
    found = decoded(tmp_path / "x.dcm", dicom(pixels, **tags))
    defect = pixels == 65535 if pixels.shape == SHAPE else np.zeros(SHAPE, bool)
    assert similarity(found.pixels, ~defect) > 0.999
    assert word in found.notice
    assert bool(found.notice) == bool(word)


@pytest.mark.parametrize("kind", ["smooth", "noise", "letter", "border", "two levels"])
@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("signed", [False, True])
def test_honest_headers_are_believed(kind: str, bits: int, signed: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    films = {
        "smooth": TRUTH,
        "noise": rng.random(SHAPE),
        "letter": np.where(np.indices(SHAPE)[0] % 20 < 4, 0.9 + 0.1 * rng.random(SHAPE), TRUTH / 4),
        "border": np.where(np.indices(SHAPE)[1] < 9, 1.0, TRUTH / 2),
        "two levels": (TRUTH > 0.4).astype(float),
    }
    levels = np.round(films[kind] * (2**bits - 1)).astype(np.int32)
    pixels = (levels - 2 ** (bits - 1)).astype(np.int16) if signed else levels.astype(np.uint16)
    found = decoded(tmp_path / "x.dcm", dicom(pixels, BitsStored=bits, HighBit=bits - 1))
    lowest = levels.min() if signed else 0
    expected = (levels - lowest) / (levels.max() - lowest)
    np.testing.assert_allclose(found.pixels, expected, atol=1e-6)
    assert found.notice in ("", "negative values shifted up to 0")


BORDER = FILM.copy()
BORDER[:6] = 65535
REFUSED: dict[str, tuple[np.ndarray, dict[str, Any], str]] = {
    "two frames": (np.concatenate([FILM, FILM]), {"Rows": SHAPE[0]}, "NumberOfFrames"),
    "two frames stated": (FILM, {"NumberOfFrames": 2}, "NumberOfFrames"),
    "frames in words": (FILM, {"NumberOfFrames": "3"}, "NumberOfFrames"),
    "8 bits allocated, 16 held": (
        FILM,
        {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7},
        "BitsAllocated",
    ),
    "a row too few": (FILM, {"Rows": SHAPE[0] - 1}, "Rows"),
    "a row too many": (FILM, {"Rows": SHAPE[0] + 1}, "Rows"),
    "a column too few": (FILM, {"Columns": SHAPE[1] - 1}, "Columns"),
    "a column too many": (FILM, {"Columns": SHAPE[1] + 1}, "Columns"),
    "no rows": (FILM, {"Rows": 0}, "Rows"),
    "12 bits allocated": (FILM, {"BitsAllocated": 12}, "BitsAllocated"),
    "32 bits allocated": (FILM, {"BitsAllocated": 32}, "BitsAllocated"),
    "two samples": (FILM, {"SamplesPerPixel": 2}, "SamplesPerPixel"),
    "colour of one sample": (FILM, {"PhotometricInterpretation": "RGB"}, "SamplesPerPixel"),
    "grey of three samples": (np.dstack([FILM] * 3), {}, "PhotometricInterpretation"),
    "an unknown colour": (
        FILM,
        {"PhotometricInterpretation": "SECRET"},
        "PhotometricInterpretation",
    ),
    "an unknown sign": (FILM, {"PixelRepresentation": 3}, "PixelRepresentation"),
    "a border beyond 12 bits": (BORDER, {}, "BitsStored"),
    "too large": (FILM, {"Rows": 65535, "Columns": 65535}, "far too large"),
    **{
        f"without {name}": (FILM, {name: None}, name)
        for name in (
            "Rows",
            "Columns",
            "SamplesPerPixel",
            "PhotometricInterpretation",
            "BitsAllocated",
            "BitsStored",
            "HighBit",
            "PixelRepresentation",
        )
    },
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_fits_no_reading_is_refused_with_the_element(case: str, tmp_path: Path) -> None:
    pixels, tags, element = REFUSED[case]
    with pytest.raises(ImageFault, match=element) as caught:
        decoded(tmp_path / "x.dcm", dicom(pixels, **tags))
    assert "SECRET" not in str(caught.value)
    assert caught.value.fault.do


def test_all_missing_elements_are_named_at_once(tmp_path: Path) -> None:
    image = dicom(FILM, Rows=None, BitsStored=None, PixelRepresentation=None)
    with pytest.raises(ImageFault, match="Rows, BitsStored, PixelRepresentation"):
        decoded(tmp_path / "x.dcm", image)


def same(content: bytes) -> bytes:
    return content


FILES: dict[str, tuple[Dataset, Callable[[bytes], bytes], str]] = {
    "named as on a disc": (dicom(), same, ""),
    "without preamble": (dicom(), lambda content: content[132:], ""),
    "gzip": (dicom(), gzip.compress, ""),
    "deflated": (dicom(syntax=DeflatedExplicitVRLittleEndian), same, ""),
    "implicit": (dicom(syntax=ImplicitVRLittleEndian), same, ""),
    "big endian": (dicom(syntax=ExplicitVRBigEndian), same, ""),
    "data set alone, explicit": (dicom(), data_set, ""),
    "data set alone, implicit": (dicom(syntax=ImplicitVRLittleEndian), data_set, ""),
    "data set alone, big endian": (dicom(syntax=ExplicitVRBigEndian), data_set, ""),
    "JPEG 2000": (dicom(syntax=JPEG2000Lossless), same, ""),
    "run lengths": (dicom(syntax=RLELossless), same, ""),
    "run lengths, signed": (dicom(SIGNED, syntax=RLELossless), same, "negative"),
    "JPEG 2000, signed": (dicom(SIGNED, syntax=JPEG2000Lossless), same, "negative"),
}
_ENCODINGS = {
    "implicit": ImplicitVRLittleEndian,
    "explicit": ExplicitVRLittleEndian,
    "big endian": ExplicitVRBigEndian,
}
_STATED = {
    **_ENCODINGS,
    "JPEG": JPEGBaseline8Bit,
    "JPEG 2000": JPEG2000Lossless,
    "RLE": RLELossless,
    "deflated": DeflatedExplicitVRLittleEndian,
}
for _name, _syntax in _ENCODINGS.items():
    for _other, _uid in _STATED.items():
        # Implicit or explicit is seen from the elements themselves.
        if _uid != _syntax and {_name, _other} != {"implicit", "explicit"}:
            FILES[f"{_name} called {_other}"] = (
                dicom(syntax=_syntax),
                lambda content, uid=_uid: under(uid, content),
                "TransferSyntaxUID",
            )
for _name, _syntax in (("RLE", RLELossless), ("JPEG 2000", JPEG2000Lossless)):
    for _uid in (ExplicitVRLittleEndian, JPEGBaseline8Bit, JPEGLSLossless, RLELossless):
        if _uid == _syntax:
            continue
        FILES[f"{_name} called {_uid.name}"] = (
            dicom(syntax=_syntax),
            lambda content, uid=_uid: under(uid, content),
            "TransferSyntaxUID is wrong",
        )


@pytest.mark.parametrize("case", FILES)
def test_files_under_any_name_and_encoding_are_read(case: str, tmp_path: Path) -> None:
    image, edit, word = FILES[case]
    path = tmp_path / "IM000001"
    found = decoded(path, edit(file_bytes(image)))
    assert similarity(found.pixels) > 0.9999
    assert word in found.notice
    assert bool(found.notice) == bool(word)


def jpeg(**tags: Any) -> Dataset:
    buffer = io.BytesIO()
    Image.fromarray((FILM >> 4).astype(np.uint8)).save(buffer, "JPEG", quality=95)
    image = dicom((FILM >> 4).astype(np.uint8), PixelData=encapsulate([buffer.getvalue()]))
    image.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    for name, value in tags.items():
        setattr(image, name, value)
    return image


def test_the_sign_of_a_compressed_image_is_its_own(tmp_path: Path) -> None:
    called_signed = dicom(FILM, syntax=JPEG2000Lossless, PixelRepresentation=1)
    found = decoded(tmp_path / "x.dcm", called_signed)
    assert similarity(found.pixels) > 0.9999
    assert "PixelRepresentation" in found.notice

    for tags in ({}, {"PixelRepresentation": 0}):
        signed = dicom(SIGNED, syntax=JPEG2000Lossless)
        for name, value in tags.items():
            setattr(signed, name, value)
        assert similarity(decoded(tmp_path / "x.dcm", signed).pixels) > 0.9999


COLOURS = np.dstack([FILM >> 4] * 3).astype(np.uint8)
NO_PICTURE: dict[str, tuple[Dataset, str]] = {
    "empty pixels": (dicom(PixelData=b""), "PixelData of the DICOM image is empty"),
    "floating-point pixels": (
        dicom(PixelData=None, BitsAllocated=32, FloatPixelData=FILM.astype("<f4").tobytes()),
        "FloatPixelData",
    ),
    "colours in no order": (
        dicom(COLOURS, PhotometricInterpretation="RGB", PlanarConfiguration=None),
        "PlanarConfiguration",
    ),
}


@pytest.mark.parametrize("case", NO_PICTURE)
def test_other_kinds_of_pixels_are_named(case: str, tmp_path: Path) -> None:
    image, element = NO_PICTURE[case]
    with pytest.raises(ImageFault, match=element):
        decoded(tmp_path / "x.dcm", image)


def test_the_bits_of_a_compressed_image_are_its_own(tmp_path: Path) -> None:
    found = decoded(tmp_path / "x.dcm", jpeg(BitsAllocated=16, BitsStored=12, HighBit=11))
    assert similarity(found.pixels) > 0.998
    assert "BitsAllocated" in found.notice

    plain = dicom(FILM, syntax=JPEG2000Lossless, BitsStored=16, HighBit=15)
    assert similarity(decoded(tmp_path / "x.dcm", plain).pixels) > 0.9999


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"Rows": SHAPE[0] + 2}, "Rows and Columns"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "SamplesPerPixel"),
        ({"PixelData": encapsulate([b"\xff\xd8\xff\xc0" + bytes(20)] * 2)}, "several frames"),
        (
            {"PixelData": encapsulate([b"\xff\xd8\xff\xc0" + bytes(20)] * 2, has_bot=False)},
            "several frames",
        ),
    ],
)
def test_compressed_images_are_compared_with_the_header(
    tags: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(ImageFault, match=words):
        decoded(tmp_path / "x.dcm", jpeg(**tags))


def test_a_compressed_image_of_another_size_is_refused_before_it_is_decoded(
    tmp_path: Path,
) -> None:
    content = bytearray(file_bytes(dicom(syntax=JPEG2000Lossless)))
    at = content.find(b"\xff\x4f\xff\x51")
    content[at + 8 : at + 16] = (60_000).to_bytes(4, "big") * 2
    with pytest.raises(ImageFault, match="far too large"):
        decoded(tmp_path / "x.dcm", bytes(content))


def test_a_decoder_that_panics_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The decoder of run lengths, in Rust, raises what is no Exception; stopping the program is none of its faults."""

    class PanicError(BaseException):
        pass

    def raising(error: type[BaseException]) -> Callable[..., object]:
        def decode(*_: object) -> object:
            raise error

        return decode

    monkeypatch.setattr("forgetmi.data.dicom._pixels", raising(PanicError))
    with pytest.raises(ImageFault, match="truncated or damaged"):
        decoded(tmp_path / "x.dcm", dicom())
    monkeypatch.setattr("forgetmi.data.dicom._pixels", raising(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        decoded(tmp_path / "x.dcm", dicom())


_NOTHING = b"\xfe\xff\x00\xe0" + bytes(4)
_IMPLICIT = data_set(file_bytes(dicom(syntax=ImplicitVRLittleEndian)))
_END = b"\xfe\xff\xdd\xe0" + bytes(4)
ENDLESS: dict[str, tuple[bytes, str]] = {
    "zeros": (bytes(40_000), "far more elements"),
    "zeros after the preamble": (bytes(128) + b"DICM" + bytes(40_000), "far more elements"),
    "meta information": (
        bytes(128) + b"DICM" + b"\x02\0\x10\0UI\0\0" * 5_000,
        "far more elements",
    ),
    "items of a sequence": (
        b"\x08\0\x40\x11" + bytes([255] * 4) + _NOTHING * 5_000 + _END + _IMPLICIT,
        "truncated or damaged",
    ),
    "items of a table": (
        _IMPLICIT[:-5768]
        + b"\x28\0\x10\x30"
        + (8 * 5_000).to_bytes(4, "little")
        + _NOTHING * 5_000
        + _IMPLICIT[-5768:],
        "far more elements",
    ),
}


@pytest.mark.parametrize("case", ENDLESS)
def test_files_of_endless_elements_are_refused(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dicom_file, "_MOST_READINGS", 2_000)
    content, words = ENDLESS[case]
    with pytest.raises(ImageFault, match=words):
        decoded(tmp_path / "x.dcm", content)
    assert similarity(decoded(tmp_path / "x.dcm", _IMPLICIT).pixels) > 0.9999


def test_endless_parts_of_compressed_pixels_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dicom_codestream, "_MOST_FRAGMENTS", 1_000)
    with pytest.raises(ImageFault, match="far more parts"):
        decoded(tmp_path / "x.dcm", jpeg(PixelData=_NOTHING * 2_000 + _END))


def test_the_index_of_a_disc_is_named(tmp_path: Path) -> None:
    image = dicom()
    image.SOPClassUID = "1.2.840.10008.1.3.10"
    image.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    with pytest.raises(ImageFault, match="DICOMDIR"):
        decoded(tmp_path / "DICOMDIR", image)


FIELD = Path(__file__).parents[2] / ".." / "shared" / "field" / "images"


@pytest.mark.skipif(not FIELD.is_dir(), reason="the folder of odd files is not beside the checkout")
@pytest.mark.parametrize(
    "name",
    [
        "IM000001",
        "rescale_slope_minus_one.dcm",
        "padding_65535.dcm",
        "padding_signed.dcm",
        "one_defect_pixel.dcm",
        "bits_stored_12_data_14.dcm",
        "high_bit_15.dcm",
        "unsigned_flagged_signed.dcm",
        "big_endian_no_meta.dcm",
        "exif_orientation_3.jpg",
        "exif_orientation_6.jpg",
        "film_in_alpha.png",
    ],
)
def test_odd_files_hold_the_film(name: str) -> None:
    film = np.load(FIELD / "truth.npy")
    found = read_image(str(FIELD / name)).pixels
    # Padding is black; a defect is white where the film is not.
    part = (found > 0) & ~((found == 1) & (film < 0.9))
    assert part.mean() > 0.8
    assert np.corrcoef(found[part], film[part])[0, 1] > 0.999
    assert abs(found[part].max() - film[part].max()) < 0.01


@pytest.mark.skipif(not FIELD.is_dir(), reason="the folder of odd files is not beside the checkout")
@pytest.mark.parametrize(
    ("name", "element"),
    [
        ("two_pages_no_number_of_frames.dcm", "NumberOfFrames"),
        ("bits_allocated_8_data_16.dcm", "BitsAllocated"),
        ("without_BitsStored.dcm", "BitsStored"),
        ("without_PhotometricInterpretation.dcm", "PhotometricInterpretation"),
        ("without_SamplesPerPixel.dcm", "SamplesPerPixel"),
    ],
)
def test_odd_files_are_refused_by_element(name: str, element: str) -> None:
    with pytest.raises(ImageFault, match=element):
        read_image(str(FIELD / name))
