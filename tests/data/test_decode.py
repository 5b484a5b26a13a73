"""Images are read exactly, or refused with words that hold neither path nor identifier."""

from __future__ import annotations

import io
import logging
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

from forgetmi.data.decode import ImageFault, read_image, split_locator

SECRET = "p10000032"  # stands for an identifier in a path or a header
GREY8 = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
GREY16 = np.array([[0, 1, 40000], [65535, 300, 7]], np.uint16)


def dicom(
    pixels: np.ndarray, *, syntax=ExplicitVRLittleEndian, photometric="MONOCHROME2", **tags
) -> Dataset:
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.SOPClassUID = image.SOPInstanceUID = "1.2.3"
    image.PatientName = SECRET
    image.Rows, image.Columns = pixels.shape[:2]
    image.SamplesPerPixel = pixels.shape[2] if pixels.ndim == 3 else 1
    image.PhotometricInterpretation = photometric
    image.BitsAllocated = image.BitsStored = 8 * pixels.dtype.itemsize
    image.HighBit = image.BitsStored - 1
    image.PixelRepresentation = int(pixels.dtype.kind == "i")
    if pixels.ndim == 3:
        image.PlanarConfiguration = 0
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    image.PixelData = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    if syntax in (RLELossless, JPEG2000Lossless):
        image.compress(syntax, encoding_plugin="pylibjpeg", generate_instance_uid=False)
    else:
        image.file_meta.TransferSyntaxUID = syntax
    for name, value in tags.items():
        setattr(image, name, value)
    return image


def write(path: Path, content: object) -> str:
    """Store bytes, an array (.npy), a Pillow image (by ending) or a DICOM data set, and return the locator."""
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, np.ndarray):
        np.save(path, content)
    elif isinstance(content, Image.Image):
        content.save(path)
    elif isinstance(content, Dataset):
        dcmwrite(path, content, enforce_file_format=True)
    return str(path)


def encoded(image: Image.Image, form: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form)
    return buffer.getvalue()


EXACT = {
    "png8": ("x.png", Image.fromarray(GREY8), GREY8 / 255),
    "png16": ("x.png", Image.fromarray(GREY16), GREY16 / 65535),
    "png1": ("x.png", Image.fromarray(GREY8 > 100), (GREY8 > 100).astype(float)),
    "npy8": ("x.npy", GREY8, GREY8 / 255),
    "npy16": ("x.npy", GREY16 // 2, (GREY16 // 2) / 32767),
    "npy int64": ("x.npy", GREY8.astype(np.int64), GREY8 / 235),
    "npy float": ("x.npy", GREY8 / 255, GREY8 / 255),
    "npy fortran order": ("x.npy", np.asfortranarray(GREY8), GREY8 / 255),
    "dicom8 by its maximum": ("x.dcm", dicom(GREY8), GREY8 / 235),
    "dicom16": ("x.dcm", dicom(GREY16), GREY16 / 65535),
    "dicom 12 of 16 bits": (
        "x.dcm",
        dicom(GREY16 >> 4, BitsStored=12, HighBit=11),
        (GREY16 >> 4) / 4095,
    ),
    "dicom inverted": ("x.dcm", dicom(GREY16, photometric="MONOCHROME1"), 1 - GREY16 / 65535),
    "dicom implicit": ("x.dcm", dicom(GREY16, syntax=ImplicitVRLittleEndian), GREY16 / 65535),
    "dicom big endian": ("x.dcm", dicom(GREY16, syntax=ExplicitVRBigEndian), GREY16 / 65535),
    "dicom run lengths": ("x.dcm", dicom(GREY16, syntax=RLELossless), GREY16 / 65535),
    "dicom jpeg 2000": (
        "x.dcm",
        dicom(np.tile(GREY16, (32, 24)), syntax=JPEG2000Lossless),
        np.tile(GREY16, (32, 24)) / 65535,
    ),
    "dicom, other ending": ("x.img", dicom(GREY16), GREY16 / 65535),
    "png, other ending": ("x.dcm", encoded(Image.fromarray(GREY8), "PNG"), GREY8 / 255),
}


@pytest.mark.parametrize("case", EXACT)
def test_exact_values_without_notice(case: str, tmp_path: Path) -> None:
    name, content, expected = EXACT[case]
    decoded = read_image(write(tmp_path / name, content))
    assert decoded.pixels.dtype == np.float32
    assert decoded.pixels.flags.writeable
    np.testing.assert_allclose(decoded.pixels, expected, rtol=0, atol=1e-7)
    assert decoded.notice == ""


def test_jpeg_close_to_what_was_stored(tmp_path: Path) -> None:
    smooth = np.linspace(0, 255, 64 * 64).reshape(64, 64).astype(np.uint8)
    Image.fromarray(smooth).save(tmp_path / "x.jpg", quality=95)
    assert np.abs(read_image(str(tmp_path / "x.jpg")).pixels - smooth / 255).max() < 0.02
    image = dicom(smooth)
    image.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    image.PixelData = encapsulate([(tmp_path / "x.jpg").read_bytes()])
    assert np.abs(read_image(write(tmp_path / "x.dcm", image)).pixels - smooth / 255).max() < 0.02


COLOUR = np.dstack([GREY8, 255 - GREY8, GREY8 // 2])
CONVERTED = {
    "rgb": (
        "x.png",
        Image.fromarray(COLOUR),
        np.asarray(Image.fromarray(COLOUR).convert("L")) / 255,
        "colour",
    ),
    "grey stored as rgb": ("x.png", Image.fromarray(np.dstack([GREY8] * 3)), GREY8 / 255, "colour"),
    "palette": ("x.png", Image.fromarray(GREY8).convert("P"), GREY8 / 255, "colour"),
    "grey with transparency": (
        "x.png",
        Image.fromarray(np.dstack([GREY8, GREY8])),
        GREY8 / 255,
        "transparency",
    ),
    "signed": ("x.npy", GREY8.astype(np.int16) - 100, GREY8 / 235, "negative"),
    "signed dicom": ("x.dcm", dicom(GREY8.astype(np.int16) - 100), GREY8 / 235, "negative"),
    "rgb dicom": ("x.dcm", dicom(np.dstack([GREY8] * 3), photometric="RGB"), GREY8 / 235, "colour"),
}


@pytest.mark.parametrize("case", CONVERTED)
def test_conversions_are_noticed(case: str, tmp_path: Path) -> None:
    name, content, expected, notice = CONVERTED[case]
    decoded = read_image(write(tmp_path / name, content))
    np.testing.assert_allclose(decoded.pixels, expected, rtol=0, atol=2e-6)
    assert notice in decoded.notice


PNG, JPEG = (encoded(Image.fromarray(np.tile(GREY8, (20, 20))), form) for form in ("PNG", "JPEG"))
FAULTS = {
    "absent": ("x.png", None, "cannot be read"),
    "empty": ("x.png", b"", "empty"),
    "text": ("x.png", b"not an image" * 30, "no PNG"),
    "truncated png": ("x.png", PNG[: len(PNG) // 2], "truncated"),
    "png, only its mark": ("x.png", PNG[:8], "truncated"),
    "truncated jpeg": ("x.jpg", JPEG[: len(JPEG) // 2], "truncated"),
    "gif": ("x.gif", encoded(Image.fromarray(GREY8), "GIF"), "no PNG"),
    "npy of objects": ("x.npy", np.array([{}, {}], dtype=object), "Python objects"),
    "npy of words": ("x.npy", np.array([["a"]]), "grey values"),
    "npy of flags": ("x.npy", GREY8 > 3, "grey values"),
    "npy of complex numbers": ("x.npy", GREY8 * 1j, "grey values"),
    "npy above 1": ("x.npy", np.array([[0.5, 1.5]]), "from 0 to 1"),
    "npy with nan": ("x.npy", np.array([[0.5, np.nan]]), "from 0 to 1"),
    "npy stack without index": ("x.npy", np.zeros((3, 4, 4), np.uint8), "one grey image"),
    "npy without pixels": ("x.npy", np.zeros((0, 4), np.uint8), "one grey image"),
    "npy, only its mark": ("x.npy", b"\x93NUMPY", "damaged"),
    "several frames": ("x.dcm", dicom(GREY16, NumberOfFrames=2), "several frames"),
    "32 bits": ("x.dcm", dicom(GREY16.astype(np.uint32)), "8 to 16 bits"),
    "colour table": ("x.dcm", dicom(GREY8, photometric="PALETTE COLOR"), "colour table"),
    "dicom garbage": ("x.dcm", b"garbage" * 100, "no pixel data"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_faults_say_what_why_and_do_but_not_where(case: str, tmp_path: Path) -> None:
    name, content, words = FAULTS[case]
    folder = tmp_path / SECRET
    folder.mkdir()
    with pytest.raises(ImageFault, match=words) as caught:
        read_image(write(folder / name, content))
    fault = caught.value.fault
    assert fault.what
    assert fault.do
    assert fault.where == ""
    assert SECRET not in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_dicom_without_pixels_and_cut_short(tmp_path: Path) -> None:
    whole = Path(write(tmp_path / "x.dcm", dicom(GREY16))).read_bytes()
    for length in range(132, len(whole), 7):
        with pytest.raises(ImageFault, match=r"no pixel data|truncated"):
            read_image(write(tmp_path / "y.dcm", whole[:length]))
    empty = dicom(GREY16)
    del empty.PixelData
    with pytest.raises(ImageFault, match="no pixel data"):
        read_image(write(tmp_path / "z.dcm", empty))


def test_dicom_without_preamble_is_read_by_its_ending(tmp_path: Path) -> None:
    image = dicom(GREY16, syntax=ImplicitVRLittleEndian)
    del image.file_meta
    buffer = io.BytesIO()
    dcmwrite(buffer, image, implicit_vr=True, little_endian=True)
    np.testing.assert_allclose(
        read_image(write(tmp_path / "x.dcm", buffer.getvalue())).pixels, GREY16 / 65535, atol=1e-7
    )


def test_missing_decoder_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locator = write(tmp_path / "x.dcm", dicom(GREY16, syntax=RLELossless))
    monkeypatch.setattr(get_decoder(RLELossless), "_available", {})
    with pytest.raises(ImageFault) as caught:
        read_image(locator)
    assert "forgetmi[dicom]" in caught.value.fault.do
    assert "RLE" in caught.value.fault.why


def test_transfer_syntax_that_holds_no_image(tmp_path: Path) -> None:
    image = dicom(GREY16)
    image.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.100"  # MPEG2 video
    image["PixelData"].is_undefined_length = True
    image.PixelData = (
        b"\xfe\xff\x00\xe0\x00\x00\x00\x00\xfe\xff\x00\xe0\x04\x00\x00\x00\x00\x00\x00\x00"
    )
    with pytest.raises(ImageFault, match="transfer syntax"):
        read_image(write(tmp_path / "x.dcm", image))


def test_no_warning_or_log_line_leaves_the_decoder(
    tmp_path: Path,
    recwarn: pytest.WarningsRecorder,
    caplog: pytest.LogCaptureFixture,
) -> None:
    image = dicom(GREY8, BitsStored=8)
    image.PixelData += b"more"
    whole = Path(write(tmp_path / "y.dcm", image)).read_bytes()
    with caplog.at_level(logging.DEBUG):
        read_image(str(tmp_path / "y.dcm"))
        with pytest.raises(ImageFault):
            read_image(write(tmp_path / "z.dcm", whole[:200]))
    assert not recwarn.list
    assert not caplog.records
    assert not logging.getLogger("pydicom").disabled


def test_stack_reads_one_image(tmp_path: Path) -> None:
    stack = np.arange(5 * 4 * 3, dtype=np.uint16).reshape(5, 4, 3)
    locator = write(tmp_path / "stack.npy", stack)
    for index in (0, 4):
        expected = stack[index] / stack[index].max()
        np.testing.assert_allclose(read_image(f"{locator}#{index}").pixels, expected, atol=1e-7)
    with pytest.raises(ImageFault, match="no image 5"):
        read_image(f"{locator}#5")
    flat = write(tmp_path / "flat.npy", GREY8)
    with pytest.raises(ImageFault, match="no image 0"):
        read_image(f"{flat}#0")
    whole = Path(locator).read_bytes()
    with pytest.raises(ImageFault, match="damaged"):
        read_image(write(tmp_path / "cut.npy", whole[:-2]) + "#0")
    with pytest.raises(ImageFault, match="not an NPY"):
        read_image(write(tmp_path / "false.npy", PNG) + "#0")


@pytest.mark.parametrize(
    ("locator", "expected"),
    [
        ("a/stack.npy#17", ("a/stack.npy", 17)),
        ("a/stack.NPY#0", ("a/stack.NPY", 0)),
        ("a#3.png", ("a#3.png", None)),
        ("a.png#3", ("a.png#3", None)),
        ("a.npy#", ("a.npy#", None)),
        ("a.npy#-1", ("a.npy#-1", None)),
    ],
)
def test_split_locator(locator: str, expected: tuple[str, int | None]) -> None:
    assert split_locator(locator) == expected


@settings(deadline=None)
@given(st.sampled_from([PNG, JPEG]), st.integers(0, 400), st.binary(min_size=1, max_size=40))
def test_damage_gives_an_image_or_a_fault(
    tmp_path_factory: pytest.TempPathFactory, whole: bytes, at: int, junk: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.bin"
    path.write_bytes(whole[:at] + junk + whole[at + len(junk) :])
    try:
        pixels = read_image(str(path)).pixels
    except ImageFault:
        pixels = np.zeros((1, 1), np.float32)
    assert 0 <= pixels.min() <= pixels.max() <= 1
