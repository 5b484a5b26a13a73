"""DICOM files of one film, with whatever is wrong about them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_file_meta_info
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian

from forgetmi.data.decode import read_image
from forgetmi.data.decoded import Decoded

SHAPE = (60, 48)


def truth() -> np.ndarray:
    """A film in [0, 1]: soft tissue with grain, two dark lungs, a white letter; its darkest pixel is .12."""
    rows, columns = np.indices(SHAPE)
    film = 0.35 + 0.3 * rows / SHAPE[0] + 0.02 * np.sin(columns)
    film += 0.02 * np.random.default_rng(0).standard_normal(SHAPE)
    film[15:45, 6:20] = 0.12 + 0.002 * (rows[15:45, 6:20] % 7)
    film[15:45, 28:42] = 0.15 + 0.002 * (columns[15:45, 28:42] % 7)
    film[3:8, 3:8] = 1.0
    return film


TRUTH = truth()


def stored(bits: int = 12) -> np.ndarray:
    """The film in so many bits."""
    return np.round(TRUTH * (2**bits - 1)).astype(np.uint16)


def dicom(
    pixels: np.ndarray | None = None, *, syntax: str = ExplicitVRLittleEndian, **tags: Any
) -> Dataset:
    """A data set of a film, of 12 bits unless said otherwise; elements replace or, as None, remove the usual ones."""
    if pixels is None:
        pixels = stored()
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.SOPClassUID, image.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1.1", "1.2.3"
    image.PatientName = "SECRET^NAME"
    image.PatientID = "SECRET-7"
    image.Rows, image.Columns = pixels.shape[:2]
    image.SamplesPerPixel = pixels.shape[2] if pixels.ndim == 3 else 1
    image.PhotometricInterpretation = "MONOCHROME2"
    image.BitsAllocated = 8 * pixels.dtype.itemsize
    image.BitsStored = 8 if pixels.dtype.itemsize == 1 else 12
    image.HighBit = image.BitsStored - 1
    image.PixelRepresentation = int(pixels.dtype.kind == "i")
    if pixels.ndim == 3:
        image.PlanarConfiguration = 0
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    image.PixelData = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    if str(syntax).startswith("1.2.840.10008.1.2.4") or syntax.name == "RLE Lossless":
        image.compress(syntax, encoding_plugin="pylibjpeg", generate_instance_uid=False)
    else:
        image.file_meta.TransferSyntaxUID = syntax
        image["PixelData"].VR = "OW"
    for name, value in tags.items():
        if value is None:
            delattr(image, name)
        else:
            setattr(image, name, value)
    return image


def file_bytes(image: Dataset) -> bytes:
    """A data set as a file with preamble and meta information."""
    buffer = io.BytesIO()
    dcmwrite(buffer, image, enforce_file_format=True)
    return buffer.getvalue()


def data_set(content: bytes) -> bytes:
    """A file without preamble and meta information."""
    file = io.BytesIO(content)
    file.seek(132)
    read_dataset(file, False, True, stop_when=lambda tag, kind, length: tag.group != 2)
    return content[file.tell() :]


def under(syntax: str, content: bytes) -> bytes:
    """A file whose meta information states another transfer syntax than it has."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = (
        "1.2.840.10008.5.1.4.1.1.1.1",
        "1.2.3",
    )
    meta.TransferSyntaxUID = syntax
    buffer = io.BytesIO()
    buffer.write(bytes(128) + b"DICM")
    write_file_meta_info(buffer, meta)
    return buffer.getvalue() + data_set(content)


def table(first: int, bits: int, entries: list[int] | bytes, length: int | None = None) -> Sequence:
    """A lookup table as DICOM stores it."""
    item = Dataset()
    item.LUTDescriptor = [len(entries) if length is None else length, first, bits]
    item.LUTData = entries
    item["LUTData"].VR = "OW" if isinstance(entries, bytes) else "US"
    return Sequence([item])


def decoded(path: Path, content: Dataset | bytes, **options: Any) -> Decoded:
    """What reading a data set, or a file's bytes, gives."""
    path.write_bytes(content if isinstance(content, bytes) else file_bytes(content))
    return read_image(str(path), **options)


def similarity(found: np.ndarray, where: np.ndarray | None = None) -> float:
    """Correlation with the film."""
    part = np.ones(SHAPE, bool) if where is None else where
    return float(np.corrcoef(found[part], TRUTH[part])[0, 1])
