"""A run's directory: one specification, one process at a time, every file written whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.files import full_disk_explained
from forgetmi.core.output import check_output, held
from forgetmi.core.partial_files import is_partial, remove_partials
from forgetmi.run.claim import check_same, claim

_LOCK = ".lock"


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
    def expected(self) -> Path:
        """What a withdrawal said beforehand that its audit can show; other runs have none."""
        return self.root / "expected.json"

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

    @property
    def adapters(self) -> Path:
        """Adapters of the unlearned model by themselves, where they are kept."""
        return self.root / "adapters"

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

    def drop_state(self, name: str) -> None:
        """Remove what a finished stage would have resumed from.

        A process that was killed between its last two steps leaves it: weights that were taught the forgotten again.
        """
        self.state(name).unlink(missing_ok=True)

    def drop_states(self, names: Iterable[str]) -> None:
        """Remove what finished stages would have resumed from, and the folder, once no worker needs it any more."""
        for name in names:
            self.drop_state(name)
        with suppress(OSError):
            self.state("").parent.rmdir()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the directory; a second process gets a clear error instead of mixing its files in.

        What killed processes left half-written in it is removed.

        Raises:
            SpecError: Another process holds it, or it cannot be written.
        """
        check_output(self.root, folder=True)
        with full_disk_explained(self.root.name):
            self.root.mkdir(parents=True, exist_ok=True)

        # The lock file stays; the lock itself ends with the process
        with held(self.root / _LOCK, where=self.root.name, kept=True):
            remove_partials(self.root)
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
        check_output(self.root, folder=True)
        if self.spec.exists():
            check_same(self.spec, spec, kind="run")
        else:
            self._check_empty()

    def _check_empty(self) -> None:
        """Refuse a directory with files of something else."""
        if not self.root.exists():
            return

        # A lock, and what a process that was killed at its first file left
        names = [path.name for path in self.root.iterdir()]
        others = sorted(name for name in names if name != _LOCK and not is_partial(name))
        if others:
            raise SpecError(
                Fault(
                    "the output directory is not empty and holds no run",
                    where=self.root.name,
                    why=f"it holds {', '.join(others[:3])}",
                    do="Choose another --out.",
                )
            )
