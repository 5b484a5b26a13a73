"""A run's directory: one specification, one process at a time, every file written whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.files import full_disk_explained
from forgetmi.run.claim import check_same, claim


class RunDirectory:
    """Paths of one run.

    Args:
        root: The directory; made when first written to.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def spec(self) -> Path:
        """The resolved specification."""
        return self.root / "spec.yaml"

    @property
    def partition(self) -> Path:
        """Rows of each set."""
        return self.root / "partition.json"

    @property
    def cohort(self) -> Path:
        """What the pages say of the cohort."""
        return self.root / "cohort.json"

    @property
    def duplicates(self) -> Path:
        """Copies of what is forgotten, by digest, and what to do."""
        return self.root / "duplicates.json"

    @property
    def notices(self) -> Path:
        """What was converted while images were decoded, and for how many."""
        return self.root / "notices.json"

    @property
    def metrics(self) -> Path:
        """All scores."""
        return self.root / "metrics.json"

    @property
    def rule(self) -> Path:
        """What the audit decides by; a run writes it before its first signal."""
        return self.root / "rule.json"

    @property
    def audit(self) -> Path:
        """The result of the audit."""
        return self.root / "audit.json"

    @property
    def manifest(self) -> Path:
        """Versions, digests, seeds, hardware, cost."""
        return self.root / "manifest.json"

    @property
    def report(self) -> Path:
        """The page to read."""
        return self.root / "report.html"

    def model(self, name: str) -> Path:
        """Checkpoint directory of one model."""
        return self.root / "models" / name

    def trace(self, name: str) -> Path:
        """What was done to make one model, and its cost."""
        return self.root / "traces" / f"{name}.json"

    def signals(self, name: str) -> Path:
        """One model's signals for every row."""
        return self.root / "signals" / f"{name}.npz"

    def relearning(self, name: str) -> Path:
        """Signals of one model while it learns some of the forgotten again, epoch by epoch."""
        return self.root / "relearn" / name

    def state(self, name: str) -> Path:
        """Where an interrupted stage resumes from; gone when it is done."""
        return self.root / "state" / f"{name}.pt"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the directory; a second process gets a clear error instead of mixing its files in."""
        import fcntl

        # The lock file stays; the lock itself ends with the process
        with full_disk_explained(self.root.name):
            self.root.mkdir(parents=True, exist_ok=True)
            handle = (self.root / ".lock").open("a")

        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise SpecError(
                    Fault(
                        "another process is working in this run directory",
                        where=self.root.name,
                        do="Wait for it, or choose another --out.",
                    )
                ) from error

            yield

    def claim(self, spec: str) -> None:
        """Take the directory for a specification, or go on with the same one.

        Args:
            spec: The resolved specification as YAML.

        Raises:
            SpecError: The directory holds another run; the keys that differ are named.
        """
        # Without a specification it must be empty
        if not self.spec.exists():
            self._check_empty()

        # With another one the keys that differ are named
        claim(self.spec, spec, kind="run")

    def check_claim(self, spec: str) -> None:
        """Find out whether `claim` would take the directory; nothing is written.

        Args:
            spec: The resolved specification as YAML.

        Raises:
            SpecError: It would not.
        """
        if self.root.exists() and not self.root.is_dir():
            raise SpecError(
                Fault("the output is a file", where=self.root.name, do="Choose another --out.")
            )
        if self.spec.exists():
            check_same(self.spec, spec, kind="run")
        else:
            self._check_empty()

    def _check_empty(self) -> None:
        """Refuse a directory with files of something else."""
        if not self.root.exists():
            return

        # The lock was made a moment ago by this process
        others = sorted(path.name for path in self.root.iterdir() if path.name != ".lock")
        if others:
            raise SpecError(
                Fault(
                    "the output directory is not empty and holds no run",
                    where=self.root.name,
                    why=f"it holds {', '.join(others[:3])}",
                    do="Choose another --out.",
                )
            )
