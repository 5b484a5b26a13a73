"""``forgetmi cohort make --from-dicom``: write the table of a folder of DICOM files and their reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from forgetmi.commands.command_line import command_line
from forgetmi.core.errors import CohortError, Fault
from forgetmi.core.files import full_disk_explained, private_folder, write_bytes, write_text
from forgetmi.run.console import ProgressDisplay, echo

TABLE, SPEC = "cohort.csv", "spec.yaml"


@dataclass(frozen=True)
class MakeFromDicomOptions:
    """Options of ``forgetmi cohort make --from-dicom``.

    Args:
        from_dicom: Folder of DICOM files, at any depth and under any names; they stay where they are.
        reports: Folder of text files named by SOPInstanceUID, StudyInstanceUID, AccessionNumber, PatientID or the image
            file's own name; or a table (CSV, Parquet) with a column image_id, image, study_id, accession_number or
            patient_id, a column report and, if there is one, a column label.
        out: New folder; gets cohort.csv, which holds patient identifiers and reports and which you alone may read, and
            spec.yaml, which reads it.
        key_file: Secret key of the digests in messages; default: $FORGETMI_KEY_FILE, else your own user-level key.
    """

    from_dicom: Path
    reports: Path
    out: Path
    key_file: Path | None = None


def make_from_dicom(argv: Sequence[str]) -> None:
    """Write the table of a folder of DICOM files and their reports."""
    options = command_line(
        MakeFromDicomOptions,
        argv,
        prog="forgetmi cohort make",
        description="Write a table of the DICOM files in a folder and of their reports, patients by PatientID. "
        "The table holds identifiers and reports as they are: it is yours, and nobody else may read it.",
    )

    # The readers are imported after the help was printed.
    import yaml

    from forgetmi.cohort.dicom_folder import dicom_table
    from forgetmi.cohort.edema_labels import GRADES
    from forgetmi.cohort.identifiers import Pseudonyms, load_key
    from forgetmi.cohort.table import TableCohort
    from forgetmi.run.spec import to_plain

    if options.out.exists():
        raise CohortError(
            Fault("the folder for the table exists already", "option out", do="Name a new folder.")
        )

    with ProgressDisplay() as display:
        made = dicom_table(
            options.from_dicom,
            options.reports,
            pseudonyms=Pseudonyms(load_key(options.key_file)),
            progress=lambda done, total: display.update("files", done, total),
        )

    # The table is the only place that identifiers go to.
    table, spec_file = options.out / TABLE, options.out / SPEC
    reader = TableCohort(
        path=table.absolute(),
        image_root=options.from_dicom.absolute(),
        classes=GRADES if made.graded else (),
        task="grades" if made.graded else "classes",
        key_file=options.key_file,
        name="dicom",
    )
    with full_disk_explained(options.out.name):
        private_folder(options.out)
        write_bytes(table, made.text.encode(), private=True)
        write_text(spec_file, yaml.safe_dump({"cohort": to_plain(reader)}))

    echo(f"Cohort: {table}, {made.images} images; it holds identifiers, and you alone may read it")
    for notice in made.notices:
        echo(f"  note: {notice}")
    if made.graded:
        echo("  note: the labels are the edema grades that the reports' words give")
    echo(f"Check it:  forgetmi cohort check --spec {spec_file}")
