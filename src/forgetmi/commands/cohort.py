"""``forgetmi cohort make | check | show | canaries``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from forgetmi.cohort.files import read_strings
from forgetmi.commands.options import NoOptions, command_line, parse, take
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.files import default_cache, full_disk_explained, write_text
from forgetmi.core.types import Cohort, codes
from forgetmi.run.console import ProgressDisplay, echo


def cohort(argv: Sequence[str]) -> None:
    """Make, check or show a cohort."""
    actions = {"make": make, "check": check, "show": show, "canaries": canaries}
    if not argv or argv[0] not in actions:
        if argv and argv[0] in ("-h", "--help"):
            echo(
                "usage: forgetmi cohort make|check|show|canaries [OPTIONS]\n\n"
                "  make   write a generated cohort anybody can read, or with --like mimic a tree like MIMIC-CXR's\n"
                "  check  read every row and decode every image; report all faults at once\n"
                "  show   counts of a cohort and of its partition\n"
                "  canaries  before training: patients of whom a coin decides who is trained on and later forgotten"
            )
            return
        raise SpecError(Fault("cohort needs an action", do="One of: make, check, show, canaries."))
    actions[argv[0]](argv[1:])


@dataclass(frozen=True)
class MakeOptions:
    """Options of ``forgetmi cohort make``.

    Args:
        out: New directory; gets cohort.csv, the images and a note that nobody in it is real.
        patients: Number of patients, 1 to 1,000,000.
        seed: Seed of everything in it.
        size: Side of the images, pixels, 16 to 2048.
        ordinal: Four grades of edema; no = four named causes.
        reference_patients: Further patients that are never trained on, for audits.
    """

    out: Path
    patients: int = 270
    seed: int = 0
    size: int = 64
    ordinal: bool = True
    reference_patients: int = 0


def make(argv: Sequence[str]) -> None:
    """Write a generated cohort."""
    words, chosen = take(argv, {"like"})
    shapes = {"table": _make_table, "mimic": _make_mimic}
    like = chosen.get("like", "table")
    if like not in shapes:
        raise SpecError(
            Fault(f"no cohort like {like!r} can be made", do=f"One of: {', '.join(shapes)}.")
        )
    shapes[like](words)


def _make_table(argv: Sequence[str]) -> None:
    import yaml

    from forgetmi.cohort.synthetic import make_synthetic, synthetic_table
    from forgetmi.run.spec import to_plain

    own = command_line(
        MakeOptions,
        argv,
        prog="forgetmi cohort make",
        description="Write a generated cohort of chest radiographs and reports; nobody in it is real. "
        "--like mimic writes a tree like MIMIC-CXR's, with options of its own.",
    )
    with ProgressDisplay() as display:
        make_synthetic(
            own.out,
            patients=own.patients,
            seed=own.seed,
            size=own.size,
            ordinal=own.ordinal,
            reference_patients=own.reference_patients,
            progress=lambda done, total: display.update("patients", done, total),
        )
    table = synthetic_table(own.out, ordinal=own.ordinal)
    write_text(own.out / "spec.yaml", yaml.safe_dump({"cohort": to_plain(table)}))
    echo(
        f"Cohort: {own.out / 'cohort.csv'}\nUse it:  forgetmi run --spec {own.out / 'spec.yaml'} --out runs/mine"
    )


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
    seed: int = 0


def _make_mimic(argv: Sequence[str]) -> None:
    import yaml

    from forgetmi.cohort.mimic_cxr import MimicCxrCohort
    from forgetmi.cohort.phantom.mimic import make_mimic_phantom
    from forgetmi.run.spec import to_plain

    own = command_line(
        MakeMimicOptions,
        argv,
        prog="forgetmi cohort make --like mimic",
        description="Write a folder like MIMIC-CXR's, with generated radiographs and reports of nobody, "
        "to try everything without access.",
    )
    with ProgressDisplay() as display, full_disk_explained(own.out.name):
        made = make_mimic_phantom(
            own.out,
            split=own.split,
            patients=own.patients,
            size=own.size,
            bits=own.bits,
            images=own.images,
            compressed=own.compressed,
            seed=own.seed,
            progress=lambda done, total: display.update("patients", done, total),
        )
    reader = MimicCxrCohort(
        split=made.split,
        root=made.root,
        images=own.images,
        metadata=made.metadata,
        patients=made.patients,
    )
    write_text(
        own.out / "spec.yaml",
        yaml.safe_dump(
            {
                "cohort": to_plain(reader),
                "partition": {"forget_list": str(made.forget[10]), "validation": 0.1},
            }
        ),
    )
    rows = read_strings(made.split).columns
    counts = ", ".join(
        f"{len(set(rows[name]))} {what}"
        for name, what in (
            ("subject_id", "patients"),
            ("study_id", "studies"),
            ("dicom_id", "images"),
        )
    )
    shape = {
        "dicom": f"DICOM of {own.size[0]} x {own.size[1]} pixels, {own.bits} bits",
        "none": "reports alone",
        "jpg": f"JPEG of {own.size[0]} x {own.size[1]} pixels",
    }[own.images]
    lists = (made.split, made.all_data, made.metadata, made.patients, *made.forget.values())
    echo(
        f"{made.root}: {counts}; {shape}; generated, of nobody\n  {', '.join(path.name for path in lists)}\n"
        f"Use it:  forgetmi run --spec {own.out / 'spec.yaml'} --out runs/mimic"
    )


def check(argv: Sequence[str]) -> None:
    """Read every row and decode every image."""
    from forgetmi.data.image import build_image_store

    spec, _ = parse(
        NoOptions,
        argv,
        prog="forgetmi cohort check",
        only=("cohort", "images"),
        description="Read every row and decode every image; all faults are reported at once.",
    )
    found: Cohort = spec.cohort.load()
    with ProgressDisplay() as display:
        store = build_image_store(
            found,
            spec.images,
            cache=default_cache(),
            progress=lambda done, total: display.update("images", done, total),
        )
    echo(describe(found))
    for notice, rows in store.notices.items():
        echo(f"  note: {notice} ({rows} images)")
    echo("Every row can be used and every image can be decoded.")


def show(argv: Sequence[str]) -> None:
    """Counts of a cohort and of its partition."""
    from forgetmi.run.pipeline import load_data

    spec, _ = parse(
        NoOptions,
        argv,
        prog="forgetmi cohort show",
        only=("cohort", "partition", "seed", "split_seed"),
        description="Counts of a cohort, and of the partition these options give.",
    )
    found, partition = load_data(spec)
    echo(describe(found))
    for name, count in partition.counts().items():
        echo(f"  {name:<11}{count['patients']:>7} patients {count['images']:>8} images")
    for note in partition.notes:
        echo(f"  {note}")


@dataclass(frozen=True)
class CanaryOptions:
    """Options of ``forgetmi cohort canaries``.

    Args:
        out: Directory; gets the sealed list, the commitment to publish, and a specification that uses them.
        pairs: Pairs of patients, equal in study count and label; half of the canaries are trained on, on average.
        seed: Seed of the draw; the coins also depend on your secret identifier key.
    """

    out: Path
    pairs: int = 50
    seed: int = 0


def canaries(argv: Sequence[str]) -> None:
    """Draw canaries before training and seal who they are."""
    import yaml

    from forgetmi.cohort.canaries import COMMITMENT, SEALED, draw_canaries, write_canaries
    from forgetmi.cohort.identifiers import load_key
    from forgetmi.run.spec import to_plain

    spec, own = parse(
        CanaryOptions,
        argv,
        prog="forgetmi cohort canaries",
        only=("cohort",),
        description="Before training: draw matched pairs of patients and toss a coin for each, who is "
        "trained on and later forgotten, or never seen. The audit of such a run bounds "
        "epsilon from below.",
    )
    found: Cohort = spec.cohort.load()
    if (own.out / SEALED).exists():
        raise SpecError(
            Fault(
                "canaries are sealed there already", where=own.out.name, do="Choose another --out."
            )
        )
    drawn = draw_canaries(
        found, pairs=own.pairs, seed=own.seed, key=load_key(getattr(spec.cohort, "key_file", None))
    )
    write_canaries(own.out, drawn)
    write_text(
        own.out / "spec.yaml",
        yaml.safe_dump(
            {"cohort": to_plain(spec.cohort), "partition": {"canaries": str(own.out / SEALED)}}
        ),
    )
    echo(
        f"{len(drawn.patients)} canaries sealed in {own.out / SEALED}: keep it closed until the audit.\n"
        f"Publish {own.out / COMMITMENT}: {drawn.commitment}\n"
        f"Train with them:  forgetmi run --spec {own.out / 'spec.yaml'} --out runs/mine"
    )


def describe(cohort: Cohort) -> str:
    """A cohort in a few lines, without anything about a single patient."""
    known = cohort.label[cohort.label >= 0]
    shares = ", ".join(
        f"{name} {np.mean(known == number):.0%}" for number, name in enumerate(cohort.classes)
    )
    lines = [
        f"{cohort.name}: {len(cohort)} images, {len(codes(cohort.study)[1])} studies, "
        f"{len(codes(cohort.patient)[1])} patients",
        f"  classes ({'grades' if cohort.ordinal else 'names'}): {shares}; "
        f"unknown: {len(cohort) - len(known)} images",
        f"  content digest {cohort.digest[:16]}",
    ]
    return "\n".join([*lines, *(f"  note: {notice}" for notice in cohort.notices)])
