"""CPU seconds of reading a large table as a cohort, with all rules about identifiers.

    python studies/table_cost.py                  # 100,000 rows: 25,000 patients, 50,000 studies
    python studies/table_cost.py --rows 20000

Seconds are those of the process (user and system), the second of two readings.
"""

from __future__ import annotations

import csv
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import tyro

from forgetmi.cohort.table import TableCohort


@dataclass(frozen=True)
class Options:
    """What is measured.

    Args:
        rows: Rows of the table; four are of one patient, two of one study.
    """

    rows: int = 100_000


def write_table(folder: Path, rows: int) -> Path:
    """Write a table whose rows share one file of an image; it is not opened."""
    (folder / "film.png").write_bytes(b"")
    path = folder / "cohort.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["patient_id", "study_id", "image_id", "image", "report", "label"])
        for row in range(rows):
            patient = f"P{row // 4:06d}"
            study = f"{patient}-S{row // 2}"
            writer.writerow([patient, study, f"i{row}", "film.png", f"report {row}", row % 3])
    return path


def seconds_of(path: Path, key: Path) -> float:
    """CPU seconds of one reading."""
    begun = time.process_time()
    TableCohort(path, key_file=key).load()
    return time.process_time() - begun


def main() -> None:
    """Print the seconds."""
    options = tyro.cli(Options, description=__doc__)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        key = folder / "key"
        key.write_bytes(bytes(range(32)))
        key.chmod(0o600)
        path = write_table(folder, options.rows)

        # What is imported and compiled on the first reading is no part of its cost
        seconds_of(path, key)
        print(f"{options.rows:,} rows: {seconds_of(path, key):.1f} CPU s")


if __name__ == "__main__":
    main()
