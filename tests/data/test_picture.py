"""Pictures: upright, with all their bits, their alpha channel, and no larger than a radiograph."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from forgetmi.core.errors import SpecError
from forgetmi.data import image_bounds
from forgetmi.data.decode import Decoded, ImageFault, read_image

ROWS, COLUMNS = 37, 29
FILM = 0.1 + 0.9 * np.random.default_rng(1).random((ROWS, COLUMNS))
EIGHT = np.round(FILM * 255).astype(np.uint8)
DEEP = np.round(FILM * 65535).astype(np.uint16)
WHITE = np.full_like(DEEP, 65535)
GREY_ALPHA, COLOUR, COLOUR_ALPHA = 4, 2, 6

# How a picture lies on disk that an orientation shows upright (EXIF 2.32, table 6).
LYING = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def read(path: Path, content: bytes) -> Decoded:
    path.write_bytes(content)
    return read_image(str(path))


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def filtered(pixels: np.ndarray) -> bytes:
    """Rows of bytes by each of PNG's five filters in turn; int[h, w, bytes of a pixel]."""
    rows = pixels.reshape(len(pixels), -1)
    step = pixels.shape[2]
    above = np.zeros(rows.shape[1], int)
    parts = []
    for number, row in enumerate(rows):
        left = np.concatenate([np.zeros(step, int), row[:-step]])
        corner = np.concatenate([np.zeros(step, int), above[:-step]])
        guess = left + above - corner
        distances = [np.abs(guess - one) for one in (left, above, corner)]
        nearest = np.select(
            [
                (distances[0] <= distances[1]) & (distances[0] <= distances[2]),
                distances[1] <= distances[2],
            ],
            [left, above],
            corner,
        )
        kind = number % 5
        predicted = (0 * row, left, above, (left + above) // 2, nearest)[kind]
        parts.append(bytes([kind]) + ((row - predicted) % 256).astype(np.uint8).tobytes())
        above = row
    return b"".join(parts)


def deep_png(channels: list[np.ndarray], kind: int, *, interlaced: bool = False) -> bytes:
    """A PNG of 16 bits a channel, written by hand: Pillow writes none."""
    height, width = channels[0].shape
    samples = np.dstack(channels).astype(">u2")
    pixels = samples.view(np.uint8).reshape(height, width, -1).astype(int)

    rows = filtered(pixels)
    if interlaced:
        starts = [(0, 0), (0, 4), (4, 0), (0, 2), (2, 0), (0, 1), (1, 0)]
        steps = [(8, 8), (8, 8), (8, 4), (4, 4), (4, 2), (2, 2), (2, 1)]
        parts = []
        for (top, left), (down, across) in zip(starts, steps, strict=True):
            part = pixels[top::down, left::across]
            parts.append(filtered(part) if part.size else b"")
        rows = b"".join(parts)

    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, int(interlaced))
    packed = zlib.compress(rows)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            chunk(b"IDAT", packed[:100]),
            chunk(b"IDAT", packed[100:]),
            chunk(b"IEND", b""),
        ]
    )


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(
    ("channels", "kind", "notice"),
    [
        ([DEEP] * 3, COLOUR, "colour"),
        ([DEEP, WHITE], GREY_ALPHA, ""),
        ([DEEP, DEEP], GREY_ALPHA, "transparency dropped"),
        ([DEEP, DEEP, DEEP, WHITE], COLOUR_ALPHA, "colour"),
        ([0 * DEEP, DEEP], GREY_ALPHA, "alpha channel was read"),
        ([WHITE, WHITE, WHITE, DEEP], COLOUR_ALPHA, "alpha channel was read"),
    ],
)
def test_16_bits_are_kept(
    channels: list[np.ndarray], kind: int, notice: str, interlaced: bool, tmp_path: Path
) -> None:
    found = read(tmp_path / "x.png", deep_png(channels, kind, interlaced=interlaced))
    np.testing.assert_allclose(found.pixels, DEEP / DEEP.max(), atol=1e-7)
    assert len(np.unique(found.pixels)) == len(np.unique(DEEP)) > 256
    assert notice in found.notice


def test_a_damaged_deep_picture_is_refused(tmp_path: Path) -> None:
    whole = deep_png([DEEP] * 3, COLOUR)
    for damaged in (whole[:-300], whole[:200] + b"junk" + whole[204:]):
        with pytest.raises(ImageFault, match="truncated or damaged"):
            read(tmp_path / "x.png", damaged)


@pytest.mark.parametrize("orientation", LYING)
@pytest.mark.parametrize("kind", ["jpeg", "png", "png of 16 bits", "colour png of 16 bits"])
def test_pictures_are_turned_upright(orientation: int, kind: str, tmp_path: Path) -> None:
    smooth = np.add.outer(np.linspace(0.1, 0.6, ROWS), np.linspace(0, 0.4, COLUMNS))
    film = np.round(smooth * (255 if kind in ("jpeg", "png") else 65535))
    film = film.astype(np.uint8 if kind in ("jpeg", "png") else np.uint16)
    lying = Image.fromarray(film)
    if LYING[orientation] is not None:
        lying = lying.transpose(LYING[orientation])

    exif = Image.Exif()
    exif[0x0112] = orientation
    if kind == "colour png of 16 bits":
        content = deep_png([np.asarray(lying)] * 3, COLOUR)
        content = content[:33] + chunk(b"eXIf", exif.tobytes()[6:]) + content[33:]
    else:
        content = encoded(lying, "JPEG" if kind == "jpeg" else "PNG", exif=exif)

    found = read(tmp_path / "x", content)
    scale = 255 if kind in ("jpeg", "png") else film.max()
    assert found.pixels.shape == (ROWS, COLUMNS)
    np.testing.assert_allclose(found.pixels, film / scale, atol=0.02 if kind == "jpeg" else 1e-6)
    assert ("EXIF" in found.notice) == (orientation != 1)


def test_an_orientation_that_is_none_is_ignored(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 77
    assert read(tmp_path / "x", encoded(Image.fromarray(EIGHT), "PNG", exif=exif)).notice == ""


@pytest.mark.parametrize("blank", [0, 255])
@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_a_film_in_the_alpha_channel_is_read_and_noticed(
    mode: str, blank: int, tmp_path: Path
) -> None:
    channels = [Image.new("L", (COLUMNS, ROWS), blank)] * (len(mode) - 1)
    image = Image.merge(mode, [*channels, Image.fromarray(EIGHT)])
    found = read(tmp_path / "x.png", encoded(image, "PNG"))
    np.testing.assert_allclose(found.pixels, EIGHT / 255, atol=1e-7)
    assert "alpha channel was read" in found.notice


def hot(pixels: np.ndarray) -> np.ndarray:
    pixels = pixels.copy()
    pixels[5, 5] = 65535
    return pixels


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (0 * EIGHT, "blank"),
        (0 * EIGHT + 9, "blank"),
        (0 * DEEP, "blank"),
        (EIGHT // 100, "less than a hundredth"),
        (EIGHT // 16, "less than a tenth"),
        (hot(DEEP // 200), "less than a hundredth of the grey range, as other pixels"),
        (hot(DEEP // 16), "less than a tenth of the grey range, as other pixels"),
        (np.where(FILM > 0.9, 65535, DEEP // 16), "other pixels lie far outside"),
        (DEEP // 200, "less than a hundredth of the range that their bits"),
    ],
)
@pytest.mark.parametrize("form", ["png", "npy"])
def test_blank_and_dim_films_are_noticed(
    pixels: np.ndarray, words: str, form: str, tmp_path: Path
) -> None:
    pixels = pixels.astype(EIGHT.dtype if pixels.max() < 256 and pixels.dtype == np.uint8 else "u2")
    path = tmp_path / f"x.{form}"
    if form == "png":
        Image.fromarray(pixels).save(path)
    else:
        np.save(path, pixels)
    assert words in read_image(str(path)).notice


@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_values_that_collapse_are_noticed(dtype: type, tmp_path: Path) -> None:
    """A pixel so bright that all others become one grey value."""
    pixels = hot(DEEP // 200).astype(dtype)
    pixels[5, 5] = 2**40
    np.save(tmp_path / "x.npy", pixels / 2**40 if dtype == np.float32 else pixels)
    assert "hardly told apart" in read_image(str(tmp_path / "x.npy")).notice


def test_an_animation_is_refused(tmp_path: Path) -> None:
    frames = [Image.fromarray(EIGHT), Image.fromarray(EIGHT // 2)]
    content = encoded(frames[0], "PNG", save_all=True, append_images=frames[1:])
    with pytest.raises(ImageFault, match="animation"):
        read(tmp_path / "x.png", content)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"II*\0" + bytes(200), "TIFF"),
        (b"GIF89a" + bytes(200), "GIF"),
        (b"PK\x03\x04" + bytes(200), "ZIP"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git-lfs"),
        (b"<!DOCTYPE html><title>SECRET</title>", "page of text"),
    ],
)
def test_the_kind_of_another_file_is_named(content: bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(ImageFault, match=words) as caught:
        read(tmp_path / "x.dcm", content)
    assert "SECRET" not in str(caught.value)


def bomb(width: int, height: int, depth: int, kind: int) -> bytes:
    """A PNG whose header states many pixels."""
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    packed = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + packed + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("depth", "kind", "side"), [(8, 0, 9000), (16, COLOUR, 9000), (8, 0, 60_000)]
)
def test_size_is_checked_before_pixels_are_decoded(
    depth: int, kind: int, side: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image.Image, "load", lambda _: pytest.fail("it was decoded"))
    with pytest.raises(ImageFault, match="far too large"):
        read(tmp_path / "x.png", bomb(side, side, depth, kind))


def test_the_bound_can_be_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = encoded(Image.fromarray(EIGHT), "PNG")
    monkeypatch.setenv(image_bounds.PIXELS_VARIABLE, str(ROWS * COLUMNS))
    read(tmp_path / "x.png", content)
    np.save(tmp_path / "x.npy", EIGHT)
    read_image(str(tmp_path / "x.npy"))

    monkeypatch.setenv(image_bounds.PIXELS_VARIABLE, str(ROWS * COLUMNS - 1))
    for name in ("x.png", "x.npy"):
        with pytest.raises(ImageFault, match=f"{ROWS} x {COLUMNS} pixels"):
            read_image(str(tmp_path / name))

    for wrong in ("many", "0", "-4", "1e9", "9" * 40):
        monkeypatch.setenv(image_bounds.PIXELS_VARIABLE, wrong)
        with pytest.raises(SpecError, match=image_bounds.PIXELS_VARIABLE):
            read_image(str(tmp_path / "x.png"))


def test_the_bytes_of_deep_colours_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Colour and alpha of 16 bits have 8 bytes a pixel.
    monkeypatch.setenv(image_bounds.PIXELS_VARIABLE, "4500000")
    with pytest.raises(ImageFault, match="inflates to more bytes"):
        read(tmp_path / "x.png", bomb(2100, 2100, 16, 6))


def test_inflated_bytes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import gzip

    monkeypatch.setattr(image_bounds, "_HEADER_BYTES", 0)
    monkeypatch.setenv(image_bounds.PIXELS_VARIABLE, "1000")
    with pytest.raises(ImageFault, match="inflates to more bytes"):
        read(tmp_path / "x.gz", gzip.compress(bytes(5000)))

    # A deflated DICOM file of zeros.
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    from tests.data.dicom_files import dicom, file_bytes

    content = file_bytes(
        dicom(np.zeros((60, 48), np.uint16), syntax=DeflatedExplicitVRLittleEndian)
    )
    assert len(content) < 1000
    with pytest.raises(ImageFault, match="inflates to more bytes"):
        read(tmp_path / "x.dcm", content)

    # A file that is longer than any image, packed or not.
    with pytest.raises(ImageFault, match="holds more bytes"):
        read(tmp_path / "x.png", encoded(Image.fromarray(EIGHT), "PNG") + bytes(5000))


@pytest.mark.parametrize("name", ["pipe", "folder", "null"])
def test_only_regular_files_are_opened(name: str, tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    path = "/dev/null" if name == "null" else str(tmp_path / name)
    with pytest.raises(ImageFault, match="not a file"):
        read_image(path)


@pytest.mark.parametrize("shape", ["(9999999999, 9999999999)", "(-4, 4)", "(4, [4])", "(10**9, 1)"])
def test_an_array_of_an_impossible_shape_is_refused(shape: str, tmp_path: Path) -> None:
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    header = b"\x93NUMPY\x01\0" + struct.pack("<H", len(text)) + text.encode()
    with pytest.raises(ImageFault, match="damaged"):
        read(tmp_path / "x.npy", header + bytes(64))


def test_a_large_array_is_refused_without_reading_it(tmp_path: Path) -> None:
    text = "{'descr': '|u1', 'fortran_order': False, 'shape': (70000, 70000), }".ljust(117) + "\n"
    with (tmp_path / "x.npy").open("wb") as file:
        file.write(b"\x93NUMPY\x01\0" + struct.pack("<H", len(text)) + text.encode())
        file.truncate(128 + 70000**2)
    with pytest.raises(ImageFault, match="far too large"):
        read_image(str(tmp_path / "x.npy"))
