"""Whatever stands in a file of signals: signals that fit together, or one clear error."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forgetmi.core.errors import EvaluationError
from forgetmi.core.signals import Signals
from tests.core.test_signals import signals
from tests.fuzzing import EXTREME_NUMBERS, damaged, fuzz

pytestmark = pytest.mark.slow

DTYPES = ["<f8", "<f4", "<i8", "<u1", "|b1", "<U3", "|S3", "|O", "<c16", "<M8[s]", "[('a', '<i4')]"]


def check(path: Path, content: bytes) -> None:
    """Read a file's content as signals."""
    path.write_bytes(content)
    try:
        read = Signals.load(path)
    except EvaluationError:
        return

    assert len(read) == len(read.patient) == len(read.label) == len(read.image_logits)
    assert read.select(read.row).model == read.model
    repr(read)


def test_fuzz_signals(tmp_path: Path) -> None:
    signals().save(tmp_path / "s.npz")
    whole = (tmp_path / "s.npz").read_bytes()

    @given(damaged(whole))
    def damaged_files_are_refused(content: bytes) -> None:
        check(tmp_path / "s.npz", content)

    fuzz(damaged_files_are_refused)


@st.composite
def arrays(draw: st.DrawFn) -> tuple[str, bytes]:
    """An array as it stands in an archive: any header, any content."""
    dtype = draw(st.sampled_from(DTYPES))
    sizes = st.one_of(st.integers(0, 4), EXTREME_NUMBERS)
    shape = tuple(draw(st.lists(sizes, max_size=3)))
    header = f"{{'descr': {dtype if dtype[0] == '[' else repr(dtype)}, 'fortran_order': {draw(st.booleans())}, "
    header += f"'shape': {shape!r}, }}"
    if draw(st.integers(0, 9)) == 0:
        header = draw(
            st.sampled_from(
                ["(" * 5000, "{" * 300, "", "'", "\x00", "{'descr': '<f8'}", "-" * 9000]
            )
        )
    text = header.encode("utf-8", "replace")
    version = draw(st.sampled_from([b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09\x00"]))
    width = 2 if version[0] == 1 else 4
    length = len(text) if draw(st.integers(0, 9)) else draw(st.integers(0, 2 ** (8 * width) - 1))
    content = draw(st.binary(max_size=64))
    return draw(
        st.sampled_from(
            ["row", "model", "label", "patient", "image_logits", "heads", "x_embedding", "x"]
        )
    ), (b"\x93NUMPY" + version + length.to_bytes(width, "little") + text + content)


def test_fuzz_arrays_of_signals(tmp_path: Path) -> None:
    signals().save(tmp_path / "good.npz")
    with zipfile.ZipFile(tmp_path / "good.npz") as archive:
        good = {name: archive.read(name) for name in archive.namelist()}

    @given(arrays(), st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
    def foreign_arrays_are_refused(array: tuple[str, bytes], compression: int) -> None:
        name, content = array
        written = io.BytesIO()
        with zipfile.ZipFile(written, "w", compression) as archive:
            for other, part in {**good, f"{name}.npy": content}.items():
                archive.writestr(other, part)
        check(tmp_path / "s.npz", written.getvalue())

    fuzz(foreign_arrays_are_refused)


def test_fuzz_values_of_signals(tmp_path: Path) -> None:
    good = signals()
    names = ["model", "row", "patient", "study", "label", "image_logits", "text_embedding"]

    @given(st.data())
    def values_fit_or_are_refused(data: st.DataObject) -> None:
        values: dict[str, Any] = {
            name: getattr(good, name)
            for name in (*names, "cohort", "text_logits")
            if getattr(good, name) is not None
        }
        name = data.draw(st.sampled_from(names))
        shape = data.draw(st.lists(st.integers(0, 4), max_size=3))
        dtype = data.draw(st.sampled_from([np.int64, np.uint64, np.float64, np.float32, np.bool_]))
        filled = np.full(shape, data.draw(st.sampled_from([0, 1, 2, 3, 255])), dtype)
        if data.draw(st.booleans()):
            # Characters that are none: NumPy stores any number.
            text_shape = data.draw(st.sampled_from([(), (3,), tuple(shape)]))
            numbers = st.sampled_from([0, 0x41, 0xD800, 0x10FFFF, 0x110000, 2**32 - 1])
            filled = np.full((*text_shape, 1), data.draw(numbers), np.uint32).view("<U1")[..., 0]
        values[name] = filled
        written = io.BytesIO()
        np.savez(written, **values)
        check(tmp_path / "s.npz", written.getvalue())

    fuzz(values_fit_or_are_refused)
