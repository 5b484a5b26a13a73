"""``forgetmi cohort make --like mimic``: write a generated folder like MIMIC-CXR's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from forgetmi.commands.command_line import command_line
from forgetmi.core.files import full_disk_explained, write_text
from forgetmi.core.ranges import Seed
from forgetmi.run.console import ProgressDisplay, echo


@dataclass(frozen=True)
class MakeMimicOptions:
    """Options of ``forgetmi cohort make --like mimic``.

    Args:
        out: New directory; gets files/ with images and reports, split.csv, all_data.tsv, and lists of whom to forget.
        split: A split list whose patients, studies, images, grades and folds to use; else made-up ones.
        patients: Number of made-up patients, 6 or more.
        size: Rows and columns of the images, pixels; MIMIC-CXR's are mostly 2544 by 3056 (16 MB each).
        bits: Bits a pixel, 8 to 16.
        images: dicom, jpg (as in MIMIC-CXR-JPG), or none for reports alone.
        compressed: Whether DICOM pixels are compressed (run-length encoded).
        seed: Seed of everything in it.
    """

    out: Path
    split: Path | None = None
    patients: int = 60
    size: tuple[int, int] = (2544, 3056)
    bits: int = 16
    images: Literal["dicom", "jpg", "none"] = "dicom"
    compressed: bool = False
    seed: Seed = 0


def make_mimic(argv: Sequence[str]) -> None:
    """Write a generated folder like MIMIC-CXR's."""
    options = command_line(
        MakeMimicOptions,
        argv,
        prog="forgetmi cohort make --like mimic",
        description="Write a folder like MIMIC-CXR's, with generated radiographs and reports of nobody, "
        "to try everything without access.",
    )

    # The generator and the run specification are imported after the help was printed.
    import yaml

    from forgetmi.cohort.files import read_strings
    from forgetmi.cohort.mimic_cxr import MimicCxrCohort
    from forgetmi.cohort.phantom.mimic import make_mimic_phantom
    from forgetmi.run.spec import to_plain

    with ProgressDisplay() as display, full_disk_explained(options.out.name):
        made = make_mimic_phantom(
            options.out,
            split=options.split,
            patients=options.patients,
            size=options.size,
            bits=options.bits,
            images=options.images,
            compressed=options.compressed,
            seed=options.seed,
            progress=lambda done, total: display.update("patients", done, total),
        )

    # A specification that reads it and forgets a tenth.
    reader = MimicCxrCohort(
        split=made.split,
        root=made.root,
        images=options.images,
        metadata=made.metadata,
        patients=made.patients,
    )
    partition = {"forget_list": str(made.forget[10]), "validation": 0.1}
    spec_file = options.out / "spec.yaml"
    write_text(spec_file, yaml.safe_dump({"cohort": to_plain(reader), "partition": partition}))

    columns = read_strings(made.split).columns
    counts = [
        f"{len(set(columns['subject_id']))} patients",
        f"{len(set(columns['study_id']))} studies",
        f"{len(set(columns['dicom_id']))} images",
    ]
    lists = (made.split, made.all_data, made.metadata, made.patients, *made.forget.values())
    echo(f"{made.root}: {', '.join(counts)}; {_format(options)}; generated, of nobody")
    echo(f"  {', '.join(path.name for path in lists)}")
    echo(f"Use it:  forgetmi run --spec {spec_file} --out runs/mimic")


def _format(options: MakeMimicOptions) -> str:
    """What the images are, in words."""
    if options.images == "none":
        return "reports alone"

    rows, columns = options.size
    if options.images == "jpg":
        return f"JPEG of {rows} x {columns} pixels"
    return f"DICOM of {rows} x {columns} pixels, {options.bits} bits"
