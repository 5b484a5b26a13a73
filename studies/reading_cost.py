"""CPU seconds of `forgetmi cohort check` on phantom DICOM films, and the size of the store that it makes.

    python studies/reading_cost.py                          # 58 films of MIMIC-CXR's size
    python studies/reading_cost.py --patients 245 --size 636 764
    python studies/reading_cost.py --source OTHER/src       # beside another version, in turn

Both versions read the same films. Seconds are those of the process (user and system): a busy machine stretches others.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import tyro

from forgetmi.cohort.phantom.mimic import make_mimic_phantom

PIXELS = 256


@dataclass(frozen=True)
class Options:
    """What is measured.

    Args:
        patients: Number of generated patients; each has about four films.
        size: Rows and columns of a film.
        rounds: Times that each version reads all films.
        source: Source folder of another version to compare with.
    """

    patients: int = 14
    size: tuple[int, int] = (2544, 3056)
    rounds: int = 2
    source: Path | None = None


def main() -> None:
    """Print a line a version and round."""
    options = tyro.cli(Options, description=__doc__)
    own = Path(__file__).parents[1] / "src"
    sources = [own] if options.source is None else [options.source, own]

    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        (here / "key").write_bytes(bytes(range(32)))
        made = make_mimic_phantom(here / "tree", patients=options.patients, size=options.size)
        films = len(list(made.root.rglob("*.dcm")))

        for _ in range(options.rounds):
            for source in sources:
                seconds, size = check(source, here, made.split, made.root)
                print(f"{source}: {films} films, {seconds:.1f} CPU s, {size:,} bytes", flush=True)


def check(source: Path, here: Path, split: Path, root: Path) -> tuple[float, int]:
    """CPU seconds and bytes of one check with an empty cache."""
    cache = here / "cache"
    shutil.rmtree(cache, ignore_errors=True)
    environment = os.environ | {
        "PYTHONPATH": str(source),
        "FORGETMI_CACHE": str(cache),
        "FORGETMI_KEY_FILE": str(here / "key"),
        "OMP_NUM_THREADS": "1",
    }
    words = ["cohort", "check", "--cohort", "mimic_cxr", "--cohort.split", str(split)]
    words += ["--cohort.root", str(root), "--images.size", str(PIXELS)]

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "forgetmi", *words]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)

    seconds = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    size = sum(path.stat().st_size for path in cache.rglob("*") if path.is_file())
    return seconds, size


if __name__ == "__main__":
    main()
