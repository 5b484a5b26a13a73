"""Pictures of the pages for the docs: report, queue, benchmark, and the page of one patient.

    python studies/screenshots.py --work FOLDER [--out docs/images]

The pages are of a run and a benchmark of the embedded cohort, made in FOLDER where they are not there yet (about ten
minutes on two cores), and of a queue of invented requests. Without Chromium nothing is done, and the reason printed.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path

from PIL import Image

from forgetmi.cli import main as forgetmi
from forgetmi.core.files import write_bytes, write_text
from forgetmi.report.queue import QueueRow, render_queue
from forgetmi.report.queue_year import DriftPoint

LARGEST = 150 * 1024  # bytes of a picture
WIDTH = 1280
HEIGHTS: Mapping[str, int] = {"report": 1250, "queue": 1000, "benchmark": 1150, "explain": 1250}
COLOURS = (128, 64, 32, 16)  # of a picture, fewer where it is too large

METHODS = (
    "neg_grad",
    "cf_k",
    "bad_teaching",
    "consensus",
    "scrub",
    "sfron",
    "shrink_perturb",
    "forget_mi",
)
GRID = ("--percents", "10", "--training-seeds", "0", "--no-presets")

# Invented requests: received, due (days from today on), state, ended, verdict
REQUESTS = (
    (-150, -120, "closed", -131, "FORGOTTEN"),
    (-122, -92, "closed", -97, "NOT RESOLVABLE"),
    (-90, -60, "closed", -58, "FORGOTTEN"),
    (-64, -34, "refused", -60, ""),
    (-33, -3, "on_hold", None, ""),
    (-26, 4, "processing", None, ""),
    (-11, 19, "open", None, ""),
    (-2, 28, "open", None, ""),
)
# The model in service after the requests that a run closed: AUC on never-seen patients, gap
DRIFT = ((-131, 0.757, 0.021), (-58, 0.755, 0.024))


def queue_page(today: date) -> str:
    """A queue of invented requests, whose page counts days to the clock of whoever opens it."""
    drift = [DriftPoint("before", 0.760, None)]
    for day, auc, gap in DRIFT:
        drift.append(DriftPoint(str(today + timedelta(day)), auc, gap))

    rows = []
    for number, (received, due, state, ended, verdict) in enumerate(REQUESTS, start=1):
        rows.append(
            QueueRow(
                f"R{number:04}",
                1 + number % 3,
                0,
                today + timedelta(received),
                today + timedelta(due),
                state,
                "GDPR Art. 17, erasure",
                None if ended is None else today + timedelta(ended),
                verdict,
            )
        )
    return render_queue(rows, today=today, drift=drift)


def make_pages(work: Path) -> dict[str, Path]:
    """The pages by the name of their picture; what is finished in the folder is left as it is."""
    # A run with its report, and the page of the forgotten patient whom the new model knows best
    _carry_out("demo", "--out", str(work / "run"))
    run = work / "run" / "seed-0"
    audit = json.loads((run / "audit.json").read_text(encoding="utf-8"))
    known_best = min(audit["patients"], key=lambda one: one["channels"]["any"]["p"])
    explain = work / "explain.html"
    _carry_out("explain", str(run), "--patient", known_best["patient"], "--out", str(explain))

    # A benchmark of a few methods
    benchmark = work / "benchmark"
    _carry_out("benchmark", "--out", str(benchmark), *GRID, "--methods", *METHODS)

    queue = work / "queue.html"
    write_text(queue, queue_page(date.today()))
    return {
        "report": run / "report.html",
        "queue": queue,
        "benchmark": benchmark / "benchmark.html",
        "explain": explain,
    }


def _carry_out(*argv: str) -> None:
    if code := forgetmi(list(argv)):
        raise SystemExit(f"forgetmi {argv[0]} ended with {code}")


def taken(chromium: str, page: Path, height: int) -> bytes:
    """The upper part of a page as a small PNG file.

    Args:
        chromium: The program.
        page: An HTML file.
        height: Pixels; the width is `WIDTH`.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.png"
        command = [
            chromium,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--user-data-dir={folder}/user",
            f"--window-size={WIDTH},{height}",
            f"--screenshot={path}",
            page.absolute().as_uri(),
        ]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        return small(path.read_bytes())


def small(png: bytes) -> bytes:
    """The same picture in as many colours as fit into `LARGEST` bytes.

    Raises:
        SystemExit: It does not fit in the fewest.
    """
    with Image.open(io.BytesIO(png)) as opened:
        picture = opened.convert("RGB")
    for colours in COLOURS:
        kept = io.BytesIO()
        picture.quantize(colours, dither=Image.Dither.NONE).save(kept, "PNG", optimize=True)
        if kept.tell() < LARGEST:
            return kept.getvalue()
    raise SystemExit("a picture is larger than its limit in the fewest colours, too: show less")


def main() -> None:
    """Make the pages, then their pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder of runs and pages")
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    options = parser.parse_args()

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        print("Skipped: there is no Chromium to take pictures with.")
        return

    options.work.mkdir(parents=True, exist_ok=True)
    for name, page in make_pages(options.work).items():
        picture = taken(chromium, page, HEIGHTS[name])
        write_bytes(options.out / f"{name}.png", picture)
        print(f"{name}.png: {len(picture) / 1024:.0f} KB")


if __name__ == "__main__":
    main()
