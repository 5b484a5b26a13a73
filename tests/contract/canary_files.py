"""Files full of canaries: whatever a hospital's files hold of a person, marked so that a search finds it."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from PIL.PngImagePlugin import PngInfo

# In every identifier, name, report, path and header that comes from a file; digits stand for numeric identifiers
MARK = "qzxk"
DIGITS = "90417263"
HEADER = [
    "patient_id",
    "study_id",
    "image_id",
    "image",
    "report",
    "label",
    "split",
    "family",
    "sex",
]
CLASSES = ("none", "mild")


def rows() -> list[list[str]]:
    """A sound table: eight patients, half of them with numbers for identifiers."""
    found = []
    for number in range(8):
        patient = f"Qzxkova-{number}" if number % 2 else f"{DIGITS}{number}"
        found.append(
            [
                patient,
                f"QZXK-S{number}",
                f"QZXK-I{number}",
                f"films/qzxk_{number}.png",
                f"Qzxk effusion, number {number}.",
                CLASSES[number // 2 % 2],
                "",
                f"qzxk family {number}",
                "F",
            ]
        )
    return found


def text(table: list[list[str]], header: list[str] | None = None, **options: str) -> str:
    """A table as CSV."""
    buffer = io.StringIO()
    written = csv.writer(buffer, lineterminator="\n", **options)  # type: ignore[arg-type]
    if header != []:
        written.writerow(header or HEADER)
    written.writerows(table)
    return buffer.getvalue()


def cell(row: int, column: str, value: str) -> str:
    """The sound table with one cell replaced."""
    table = rows()
    table[row][HEADER.index(column)] = value
    return text(table)


def parquet(frame: pd.DataFrame) -> bytes:
    """A table as Parquet."""
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    return buffer.getvalue()


def frame() -> pd.DataFrame:
    """The sound table as a data frame."""
    return pd.DataFrame(rows(), columns=HEADER)


def renamed(old: str, new: str) -> str:
    """The sound table with one name in its header replaced."""
    return text(rows(), [new if name == old else name for name in HEADER])


# Name to content of a table; the first is sound, all others are wrong in one way
TABLES: dict[str, Callable[[], str | bytes]] = {
    "sound": lambda: text(rows()),
    "no header": lambda: text(rows(), []),
    "header of names": lambda: text(rows(), [f"Qzxk {number}" for number in range(9)]),
    "one name in the header": lambda: renamed("report", "Qzxkova"),
    "column twice": lambda: renamed("report", "label"),
    "names twice": lambda: text(rows(), [*HEADER[:7], "Qzxkova", "Qzxkova"]),
    "misspelt": lambda: renamed("report", "reprot"),
    "one line": lambda: text(rows()[:1], []),
    "semicolons": lambda: text(rows(), delimiter=";"),
    "semicolons without header": lambda: text(rows(), [], delimiter=";"),
    "tabs": lambda: text(rows(), delimiter="\t"),
    "ragged": lambda: text([*rows(), ["Qzxk"], ["Qzxk"] * 12]),
    "quote not closed": lambda: text(rows()) + '"Qzxk,',
    "stray quote": lambda: text(rows()).replace("Qzxk effusion", '"Qzxk" x "effusion', 1),
    "not UTF-8": lambda: text(rows()).encode().replace(b"effusion", b"qzxk\xe9", 1),
    "UTF-16": lambda: text(rows()).encode("utf-16"),
    "NUL": lambda: text(rows()).replace("effusion", "\0", 1),
    "long cell": lambda: cell(1, "report", "Qzxk " * 40_000),
    "header again": lambda: text([*rows(), HEADER]),
    "control characters": lambda: cell(1, "patient_id", "Qzxk\x1b[31m\r\nerror: Qzxk"),
    "image twice": lambda: cell(1, "image_id", rows()[0][2]),
    "image blank": lambda: cell(1, "image", ""),
    "image absent": lambda: cell(1, "image", "qzxk/Qzxkova.png"),
    "image a folder": lambda: cell(1, "image", "films"),
    "image above": lambda: cell(1, "image", "../../qzxk.png"),
    "image absolute": lambda: cell(1, "image", "/qzxk/Qzxkova/film.dcm"),
    "image with NUL": lambda: cell(1, "image", "qzxk%00.png#7"),
    "stack beyond its end": lambda: cell(1, "image", "films/qzxk_stack.npy#99"),
    "stack of a word": lambda: cell(1, "image", "films/qzxk_stack.npy#qzxk"),
    "report blank": lambda: cell(1, "report", " "),
    "label a name": lambda: cell(1, "label", "Qzxkova"),
    "label a number": lambda: cell(1, "label", DIGITS),
    "split a name": lambda: cell(1, "split", "Qzxk"),
    "split a number": lambda: cell(1, "split", DIGITS),
    "patient blank": lambda: cell(1, "patient_id", ""),
    "patient missing": lambda: cell(1, "patient_id", "nan"),
    "patient damaged": lambda: cell(1, "patient_id", f"{DIGITS}.0"),
    "patient a power": lambda: cell(1, "patient_id", "9.0417263E+15"),
    "patient spelt twice": lambda: cell(1, "patient_id", f"00{DIGITS}0"),
    "patient in capitals": lambda: cell(0, "patient_id", "QZXKOVA-1"),
    "patient with marks": lambda: cell(0, "patient_id", "Qzxk\u200bova-1"),
    "family spelt twice": lambda: cell(1, "family", "QZXK family 0"),
    "study of two": lambda: cell(1, "study_id", rows()[0][1]),
    "patient in two splits": lambda: text(
        [*rows(), [rows()[0][0], "QZXK-S9", "QZXK-I9", *rows()[0][3:6], "test", *rows()[0][7:]]]
    ),
    "group in two splits": lambda: text(
        [[*row[:6], "train" if i else "test", "qzxk one", "F"] for i, row in enumerate(rows())]
    ),
    "film is text": lambda: cell(1, "image", "films/qzxk_text.png"),
    "film is cut": lambda: cell(1, "image", "films/qzxk_cut.png"),
    "film with words": lambda: cell(1, "image", "films/qzxk_words.png"),
    "film with tags": lambda: cell(1, "image", "films/qzxk_tags.jpg"),
    "film with tags, cut": lambda: cell(1, "image", "films/qzxk_tags_cut.jpg"),
    "TIFF": lambda: cell(1, "image", "films/qzxk.tif"),
    "DICOM": lambda: cell(1, "image", "films/qzxk.dcm"),
    "DICOM, cut": lambda: cell(1, "image", "films/qzxk_cut.dcm"),
    "DICOM, odd values": lambda: cell(1, "image", "films/qzxk_odd.dcm"),
    "DICOM without rows": lambda: cell(1, "image", "films/qzxk_without.dcm"),
    "NPY of objects": lambda: cell(1, "image", "films/qzxk_objects.npy"),
    "NPY, bad header": lambda: cell(1, "image", "films/qzxk_header.npy"),
    "empty": lambda: "",
    "gzip": lambda: gzip.compress(text(rows()).encode()),
    "gzip, cut": lambda: gzip.compress(text(rows()).encode())[:-20],
    "parquet": lambda: parquet(frame()),
    "parquet, cut": lambda: parquet(frame())[:-9],
    "parquet of names": lambda: parquet(frame().rename(columns={"report": "Qzxkova"})),
    "parquet of floats": lambda: parquet(frame().assign(patient_id=float(DIGITS))),
    "parquet, nested": lambda: parquet(frame().assign(report=[["Qzxk"]] * 8)),
    "parquet of bytes": lambda: parquet(frame().assign(report=[b"qzxk\xff"] * 8)),
}


def write_films(folder: Path) -> None:
    """Films for the rows, and damaged ones with canaries within."""
    films = folder / "films"
    films.mkdir(parents=True)
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    film = Image.fromarray(pixels)
    for number in range(8):
        film.save(films / f"qzxk_{number}.png")
    np.save(films / "qzxk_stack.npy", np.stack([pixels, pixels]))

    # Words in the chunks of a PNG, and in the tags of JPEG and TIFF
    words = PngInfo()
    words.add_text("Qzxkova", "Qzxk 1964")
    film.save(films / "qzxk_words.png", pnginfo=words)
    (films / "qzxk_text.png").write_text("Qzxkova, Jana: film of 1964")
    (films / "qzxk_cut.png").write_bytes((films / "qzxk_words.png").read_bytes()[:-60])
    tags = Image.Exif()
    tags[0x010E], tags[0x013B], tags[0x0112] = "Qzxkova", "Qzxk, Jana", 6
    film.save(films / "qzxk_tags.jpg", exif=tags)
    (films / "qzxk_tags_cut.jpg").write_bytes((films / "qzxk_tags.jpg").read_bytes()[:-150])
    film.save(films / "qzxk.tif", tiffinfo={270: "Qzxkova", 315: "Qzxk"})

    # Arrays
    np.save(films / "qzxk_objects.npy", np.array(["Qzxk", None], object), allow_pickle=True)
    (films / "qzxk_header.npy").write_bytes(
        b"\x93NUMPY\x01\x00\x20\x00{'descr': 'Qzxk', 'shape': (1,)} \n"
    )
    _write_dicom(films)


def _write_dicom(films: Path) -> None:
    """DICOM files that name a patient: sound, cut, with values of wrong forms, without an element."""
    import warnings

    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    def dataset(name: str) -> FileDataset:
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        made = FileDataset(str(films / name), {}, file_meta=meta, preamble=bytes(128))
        made.PatientName, made.PatientID = "Qzxkova^Jana", DIGITS
        made.SOPInstanceUID, made.SOPClassUID = generate_uid(), SecondaryCaptureImageStorage
        made.Rows = made.Columns = 16
        made.BitsAllocated = made.BitsStored = 16
        made.HighBit, made.PixelRepresentation, made.SamplesPerPixel = 15, 0, 1
        made.PhotometricInterpretation = "MONOCHROME2"
        made.PixelData = np.arange(256, dtype=np.uint16).tobytes()
        return made

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset("qzxk.dcm").save_as(films / "qzxk.dcm", enforce_file_format=True)
        content = (films / "qzxk.dcm").read_bytes()
        (films / "qzxk_cut.dcm").write_bytes(content[:-100])

        without = dataset("qzxk_without.dcm")
        del without.Rows
        without.save_as(films / "qzxk_without.dcm", enforce_file_format=True)

        # Values that pydicom warns of when it reads them
        odd = dataset("qzxk_odd.dcm")
        odd.StudyDate = "19640812"
        odd.RescaleSlope, odd.RescaleIntercept = "1", "0"
        odd.WindowCenter, odd.WindowWidth = "128", "256"
        odd.save_as(films / "qzxk_odd.dcm", enforce_file_format=True)
        content = (films / "qzxk_odd.dcm").read_bytes()
        content = content.replace(b"19640812", b"Qzxkova ").replace(
            b"MONOCHROME2 ", b"QZXKMONO    "
        )
        (films / "qzxk_odd.dcm").write_bytes(content)


# Name to content of a list of those who withdraw
LISTS: dict[str, Callable[[], str | bytes]] = {
    "sound": lambda: f"patient_id\nQzxkova-1\n{DIGITS}2\n",
    "name in the first line": lambda: "Qzxkova Jana 1964-08-12\nQzxkova-1\n",
    "one word in the first line": lambda: "Qzxk\nQzxkova-1\n",
    "number in the first line": lambda: f"{DIGITS}0\n{DIGITS}2\n",
    "one line": lambda: "Qzxkova\n",
    "unknown": lambda: f"patient_id\nQzxkstranger\n{DIGITS}77\n",
    "spelt otherwise": lambda: "patient_id\nqzxkOVA_1\n",
    "damaged": lambda: f"patient_id\n{DIGITS}.0\n9.0417263E+15\n",
    "blank": lambda: "patient_id,note\n,Qzxk\n",
    "ragged": lambda: "patient_id\nQzxk,Qzxk\n",
    "no digests": lambda: f"patient_digest\nQzxkova\n{DIGITS}{DIGITS}\n",
    "studies": lambda: "study_id\nQZXK-S1\nqzxk-nobody\n",
    "not UTF-8": lambda: b"patient_id\nQzxk\xe9\n",
    "binary": lambda: b"\x00\x01qzxk",
    "parquet of floats": lambda: parquet(pd.DataFrame({"patient_id": [float(DIGITS)]})),
    "two columns of names": lambda: "Qzxk,Jana\nQzxkova,Jana\n",
}

# Name to content of a file that says who is who
MAPPINGS: dict[str, str] = {
    "sound": f"written,identifier\nQzxkova-1,{DIGITS}0\n",
    "no header": f"Qzxkova-1,{DIGITS}0\nQzxkova-3,{DIGITS}2\n",
    "two identifiers": f"written,identifier\nQzxkova-1,{DIGITS}0\nQzxkova-1,{DIGITS}2\n",
    "chain": f"written,identifier\nQzxkova-1,{DIGITS}0\n{DIGITS}0,{DIGITS}2\n",
    "blank": "written,identifier\nQzxkova-1,nan\n",
}

# Name to content of files that commands read beside tables
OTHERS: dict[str, bytes] = {
    "words": b"Qzxkova Jana, 1964",
    "JSON of a word": b'"Qzxkova"',
    "JSON, cut": b'{"patients": ["Qzxkova',
    "JSON of other keys": json.dumps({"Qzxkova": DIGITS, "cohort": "Qzxk"}).encode(),
    "JSON of wrong kinds": json.dumps(
        {"cohort": ["Qzxk"], "patients": "Qzxk", "included": ["Qzxk"], "salt": DIGITS}
    ).encode(),
    "bytes": b"\x80\x04qzxk\xff\xfe",
    "zip of words": b"PK\x03\x04qzxk",
    "nothing": b"",
}
