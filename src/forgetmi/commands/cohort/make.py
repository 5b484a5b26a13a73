"""``forgetmi cohort make``: write a generated cohort."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from forgetmi.commands.cohort.make_from_dicom import make_from_dicom
from forgetmi.commands.cohort.make_mimic import make_mimic
from forgetmi.commands.command_line import command_line, take_options
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.files import write_text
from forgetmi.core.former_options import present_words
from forgetmi.core.ranges import Seed
from forgetmi.run.console import ProgressDisplay, echo


@dataclass(frozen=True)
class MakeOptions:
    """Options of ``forgetmi cohort make``.

    Args:
        out: New directory; gets cohort.csv, the images and a note that nobody in it is real.
        patients: Number of patients, 1 to 1,000,000.
        seed: Seed of everything in it.
        size: Side of the images, pixels, 16 to 2048.
        task: What the labels are: four grades of edema; classes, four named causes; or fourteen findings.
        reference_patients: Further patients that are never trained on, for audits.
        measured: Whether each study also has age, sex, vital signs and laboratory values, for a table tower.
        films_missing: Share of patients without any film, 0 to below 1.
    """

    out: Path
    patients: int = 270
    seed: Seed = 0
    size: int = 64
    task: Literal["grades", "classes", "findings"] = "grades"
    reference_patients: int = 0
    measured: bool = False
    films_missing: float = 0.0


def make(argv: Sequence[str]) -> None:
    """Write a generated cohort, or the table of a folder of DICOM files."""
    if any(word == "--from-dicom" or word.startswith("--from-dicom=") for word in argv):
        make_from_dicom(argv)
        return

    layouts = {"table": make_table, "mimic": make_mimic}

    # The layout decides which other options there are.
    words, values = take_options(argv, {"like"})
    like = values.get("like", "table")
    if like not in layouts:
        raise SpecError(
            Fault(f"no cohort like {like!r} can be made", do=f"One of: {', '.join(layouts)}.")
        )

    layouts[like](words)


def make_table(argv: Sequence[str]) -> None:
    """Write a generated cohort as a table and images."""
    options = command_line(
        MakeOptions,
        present_words(argv),
        prog="forgetmi cohort make",
        description="Write a generated cohort of chest radiographs and reports; nobody in it is real. "
        "--like mimic writes a tree like MIMIC-CXR's, with options of its own; --from-dicom FOLDER --reports FOLDER "
        "writes the table of your own DICOM files instead (--from-dicom . --help lists its options).",
    )

    # The generator and the run specification are imported after the help was printed.
    import yaml

    from forgetmi.cohort.synthetic import synthetic_table
    from forgetmi.cohort.synthetic_making import make_synthetic
    from forgetmi.run.spec import to_plain

    with ProgressDisplay() as display:
        make_synthetic(
            options.out,
            patients=options.patients,
            seed=options.seed,
            size=options.size,
            task=options.task,
            reference_patients=options.reference_patients,
            measured=options.measured,
            films_missing=options.films_missing,
            progress=lambda done, total: display.update("patients", done, total),
        )

    # A specification that reads it.
    reader = synthetic_table(
        options.out,
        task=options.task,
        measured=options.measured,
        films_missing=options.films_missing,
    )
    spec_file = options.out / "spec.yaml"
    write_text(spec_file, yaml.safe_dump({"cohort": to_plain(reader)}))

    echo(f"Cohort: {options.out / 'cohort.csv'}")
    echo(f"Use it:  forgetmi run --spec {spec_file} --out runs/mine")
