"""Images: damaged files of every kind give grey values in [0, 1] or one fault, and never anything else."""

from __future__ import annotations

import gzip
import io
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from forgetmi.data.decode import ImageFault, read_image, silence
from forgetmi.data.dicom_file import read_elements
from tests.data.dicom_files import dicom, file_bytes, table
from tests.data.test_picture import COLOUR, DEEP, EIGHT, deep_png
from tests.fuzz.hostile import damaged
from tests.fuzzing import fuzz

pytestmark = pytest.mark.slow

SYNTAXES = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    RLELossless,
    JPEG2000Lossless,
)


def sound() -> list[bytes]:
    """Files of every kind that is read."""
    files = []
    for syntax in SYNTAXES:
        windowed = dicom(syntax=syntax, WindowCenter="2000", WindowWidth="900", RescaleSlope="2")
        tabled = dicom(
            syntax=syntax, PixelPaddingValue=7, VOILUTSequence=table(0, 12, [*range(99)])
        )
        files += [file_bytes(windowed), file_bytes(tabled)]

    for form in ("PNG", "JPEG"):
        buffer = io.BytesIO()
        Image.fromarray(EIGHT).save(buffer, form)
        files.append(buffer.getvalue())
    buffer = io.BytesIO()
    np.save(buffer, DEEP)
    return [*files, deep_png([DEEP] * 3, COLOUR), buffer.getvalue(), gzip.compress(files[0])]


FILES = sound()


def test_damaged_images_are_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "IM1"

    @given(st.sampled_from(FILES), st.data(), st.sampled_from(["first", "none", "2", "released"]))
    def check(content: bytes, data: st.DataObject, window: str) -> None:
        path.write_bytes(data.draw(damaged(content)))
        pixels = np.zeros((1, 1), np.float32)
        with suppress(ImageFault):
            pixels = read_image(str(path), window=window).pixels
        assert pixels.dtype == np.float32
        assert 0 <= pixels.min() <= pixels.max() <= 1

        with suppress(ImageFault), silence():
            read_elements(path, ["PatientID", "StudyInstanceUID"])

    fuzz(check)
