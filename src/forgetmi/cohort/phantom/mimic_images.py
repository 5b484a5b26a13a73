"""Generated films as files of full size: DICOM as in MIMIC-CXR, JPEG as in MIMIC-CXR-JPG."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from forgetmi.cohort.phantom.mimic_rows import Row

_GRAIN = 0.004


def enlarged(
    film: npt.NDArray[np.uint8],
    size: tuple[int, int],
    bits: int,
    draw: np.random.Generator,
) -> npt.NDArray[np.uint16]:
    """A film at full size and depth, with a little grain.

    Args:
        film: uint8 [s, s].
        size: Rows and columns wanted.
        bits: Bits of each value, 8 to 16.
        draw: The random stream of the grain.

    Returns:
        uint16 [rows, columns].
    """
    from PIL import Image  # imported late: only this writer needs Pillow

    small = Image.fromarray(film.astype(np.float32))
    large = np.asarray(small.resize((size[1], size[0]), Image.Resampling.BICUBIC))
    values = large / 255 + _GRAIN * draw.standard_normal(size, dtype=np.float32)
    return (np.clip(values, 0, 1) * (2**bits - 1) + 0.5).astype(np.uint16)


def save_jpeg(folder: Path, row: Row, pixels: npt.NDArray[np.uint16], bits: int) -> None:
    """Write the eight highest bits as a JPEG file."""
    from PIL import Image  # imported late: only this writer needs Pillow

    folder.mkdir(exist_ok=True)
    eight = (pixels >> (bits - 8)).astype(np.uint8)
    Image.fromarray(eight).save(folder / f"{row.dicom}.jpg", quality=95)


def save_dicom(
    folder: Path,
    row: Row,
    pixels: npt.NDArray[np.uint16],
    bits: int,
    *,
    compressed: bool,
) -> None:
    """Write a DICOM file: MONOCHROME2, explicit VR little endian, or run-length encoded."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import (
        DigitalXRayImageStorageForPresentation,
        ExplicitVRLittleEndian,
        RLELossless,
        generate_uid,
    )

    # File meta information; identifiers follow from the names, so that the same arguments give the same file
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["forgetmi", row.dicom])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian

    # Whose image it is
    path = folder / f"{row.dicom}.dcm"
    image = FileDataset(path, {}, file_meta=meta, preamble=b"\0" * 128)
    image.SOPClassUID = meta.MediaStorageSOPClassUID
    image.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    image.StudyInstanceUID = generate_uid(entropy_srcs=["forgetmi", row.study])
    image.SeriesInstanceUID = generate_uid(entropy_srcs=["forgetmi", row.dicom, "series"])
    image.PatientID = row.subject
    image.StudyID = row.study
    image.Modality = "DX"

    # The pixels
    image.Rows, image.Columns = pixels.shape
    image.SamplesPerPixel = 1
    image.PhotometricInterpretation = "MONOCHROME2"
    image.PixelRepresentation = 0
    image.BitsAllocated = 16
    image.BitsStored = bits
    image.HighBit = bits - 1
    image.PixelData = pixels.astype("<u2").tobytes()
    image["PixelData"].VR = "OW"
    if compressed:
        image.compress(RLELossless, generate_instance_uid=False)

    folder.mkdir(exist_ok=True)
    image.save_as(path, enforce_file_format=True)
