"""One image file, known by its content; a file that did not change is not read again."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any, final

import numpy as np
import numpy.typing as npt

from forgetmi.core.regular_file import open_regular
from forgetmi.data.decode import ImageFault, read_image
from forgetmi.data.decoded import Decoded
from forgetmi.data.grey_range import remark_on
from forgetmi.data.image_bounds import check_size, most_bytes, too_many_bytes
from forgetmi.data.image_content import NUMPY
from forgetmi.data.preprocessing import ImagePreprocessing
from forgetmi.data.seen_files import FileState, SeenFiles
from forgetmi.data.shards import Stored

# An image is stored as 16-bit integers; v / 255 = 257 v / 65535.
WHITE = np.float32(65535)
_FROM_8_BITS = np.uint16(257)


def as_stored(decoded: Decoded, preprocessing: ImagePreprocessing) -> Stored:
    """A decoded image at the model's size, uint16[size, size]; divided by `WHITE` it is the model's input."""
    resized = preprocessing.apply(decoded.pixels)
    return np.rint(resized * WHITE).astype(np.uint16)


@final
class ImageFile:
    """One image file: its content digests (one per slice of an NPY stack) and its images as they are stored.

    Args:
        path: The file.
        seen: Content digests of files already read.

    Raises:
        OSError: There is no such file.
        ImageFault: No file can have such a name.
    """

    def __init__(self, path: str, seen: SeenFiles) -> None:
        self.path = path
        self._seen = seen
        try:
            self._state = FileState.of(path)
        except ValueError:
            raise ImageFault(
                "the image file cannot be read",
                "no file can have such a name",
                "Check the image column.",
            ) from None

    def content(self, index: int) -> bytes:
        """Content digest of the file (index -1) or of one slice, remembered while the file is unchanged.

        Raises:
            OSError: It cannot be read, or is no regular file.
            ImageFault: It is far too large for a radiograph.
        """
        content = self._seen.get(self._state, index)
        if content is None:
            self._check_size(index)
            content = self._file_content if index < 0 else self._slice_content(index)
            self._seen.put(self._state, index, content)
        return content

    def known(self, index: int) -> bytes | None:
        """Content digest of the file (index -1) or of one slice, if it was read before and is unchanged."""
        return self._seen.get(self._state, index)

    def bytes_of(self, index: int) -> int:
        """Bytes of the file (index -1) or of one slice: how much there is to read."""
        if index < 0:
            return self._state.size
        return self._slices[0].nbytes if len(self._slices) else 0

    def stored(
        self, locator: str, index: int, preprocessing: ImagePreprocessing
    ) -> tuple[Stored, str]:
        """One image as it is stored, and the decoder's notice.

        Args:
            locator: The image, for `read_image`.
            index: Its slice; -1 = the whole file.
            preprocessing: How it becomes a model input.

        Returns:
            uint16[size, size], and what was converted, in words.

        Raises:
            ImageFault: It cannot be decoded, or was changed since its content was read.
        """
        pixels, notice = self._decoded(locator, index, preprocessing)

        # Digest and pixels come from two readings: they must be of one content.
        if FileState.of(self.path).version != self._state.version:
            raise ImageFault(
                "the image file was changed while it was read",
                do="Wait until the files are complete, then run again.",
            )
        return pixels, notice

    def _decoded(
        self, locator: str, index: int, preprocessing: ImagePreprocessing
    ) -> tuple[Stored, str]:
        """See `stored`."""
        if self._fits(index, preprocessing.size):
            values = self._slices[index]
            return values.astype(np.uint16) * _FROM_8_BITS, remark_on(values)

        decoded = read_image(locator, **preprocessing.reading)
        return as_stored(decoded, preprocessing), decoded.notice

    def _check_size(self, index: int) -> None:
        """Refuse what `read_image` would refuse for its size, before all of it is read for its digest."""
        stack = self._stack
        if stack is None:
            if self._state.size > most_bytes():
                raise too_many_bytes("holds")
            return

        # Of a stack, one image is read; values of 8 bytes are the longest that are taken.
        if stack.ndim >= 2:
            check_size(*stack.shape[-2:])
        images = len(stack) if stack.ndim and index >= 0 else 1
        if stack.nbytes // max(1, images) > 2 * most_bytes():
            raise too_many_bytes("holds")

    @cached_property
    def _stack(self) -> npt.NDArray[Any] | None:
        """The slices of an NPY stack; None where the file is none (`read_image` finds out what is wrong with it)."""
        with open_regular(self.path) as file:
            if file.read(len(NUMPY)) != NUMPY:
                return None

        try:
            return np.asarray(np.load(self.path, mmap_mode="r", allow_pickle=False))
        except Exception:  # noqa: BLE001 - a damaged header can make NumPy raise anything
            return None

    @property
    def _slices(self) -> npt.NDArray[Any]:
        """The stack; an empty one where the file is none."""
        return np.empty((0, 0, 0)) if self._stack is None else self._stack

    def _fits(self, index: int, size: int) -> bool:
        """Whether a slice is stored as it is: 8 bits, and of the model's size already."""
        if index < 0 or self._slices.ndim != 3 or index >= len(self._slices):
            return False
        return self._slices.dtype == np.uint8 and self._slices.shape[1:] == (size, size)

    @cached_property
    def _file_content(self) -> bytes:
        with open_regular(self.path) as file:
            return hashlib.file_digest(file, "sha256").digest()

    def _slice_content(self, index: int) -> bytes:
        # A slice that is not there has no content; `read_image` says what is wrong.
        if self._slices.ndim < 3 or index >= len(self._slices):
            return hashlib.sha256(f"no slice {index} {self._state.version}".encode()).digest()

        # Type and shape belong to the content: the same bytes may be another image.
        kind = f"{self._slices.dtype.str}{self._slices.shape[1:]}"
        digest = hashlib.sha256(kind.encode())
        digest.update(np.ascontiguousarray(self._slices[index]).data)
        return digest.digest()
