"""The package's log: silent by default; with a handler it names stages and counts, and nothing of a patient."""

from __future__ import annotations

import csv
import logging
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from forgetmi.data.image_store import build_image_store
from forgetmi.data.preprocessing import ImagePreprocessing
from forgetmi.jobs.pool import Job, run_jobs
from forgetmi.methods.forget_mi import ForgetMI
from forgetmi.model.recipe import Recipe
from forgetmi.requests.ledger import Ledger
from forgetmi.run import workflow


class Lines(logging.Handler):
    """Collects formatted lines."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.name} {record.levelname} {record.getMessage()}")


@pytest.fixture
def log() -> Iterator[list[str]]:
    handler = Lines()
    logger = logging.getLogger("forgetmi")
    level = logger.level

    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield handler.lines

    logger.removeHandler(handler)
    logger.setLevel(level)


def test_silent_by_default() -> None:
    program = "import logging, forgetmi; logging.getLogger('forgetmi.model.train').error('text')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")


def test_the_log_names_stages_and_no_patient(small, log: list[str], tmp_path: Path) -> None:
    cohort = small.cohort
    recipe = Recipe(epochs=1)

    def work(progress) -> None:
        progress(1, 1)

    # What logs, each once, at the size of the small cohort
    build_image_store(cohort, ImagePreprocessing(size=32), cache=tmp_path / "cache")
    model, _ = workflow.train(
        prepared=small.prepared, partition=small.partition, recipe=recipe, seed=3
    )
    workflow.unlearn(
        prepared=small.prepared,
        partition=small.partition,
        model=model,
        method=ForgetMI(epochs=1),
        recipe=recipe,
        seed=3,
    )
    run_jobs([Job("evaluate", work, ())], workers=1)
    _enter_request(tmp_path / "requests.sqlite", patient=str(cohort.patient[0]))

    # Every stage is named, with its level
    text = "\n".join(log)
    assert "forgetmi.data.image_store INFO reading images begun" in text
    assert "forgetmi.model.train INFO training begun: 1 epochs" in text
    assert "forgetmi.model.train DEBUG training: epoch 1 of 1, loss" in text
    assert "forgetmi.unlearning.context DEBUG unlearning: epoch 1 of 1" in text
    assert "forgetmi.unlearning.context INFO unlearning finished" in text
    assert "forgetmi.jobs.pool INFO job evaluate finished" in text
    assert "forgetmi.requests.ledger INFO request entered: 1 patients" in text

    # Nothing of a patient, and no place on the machine
    assert not [secret for secret in _secrets(cohort) if secret in text]
    assert str(tmp_path) not in text


def _enter_request(path: Path, *, patient: str) -> None:
    ledger = Ledger.make(path, key_id="0" * 16)
    ledger.add(
        received=date(2026, 1, 5),
        due=date(2026, 2, 5),
        term="own",
        ground="consent withdrawn",
        scope="all_studies",
        patients=[patient],
    )
    ledger.close()


def _secrets(cohort) -> set[str]:
    """Keyed digests, reports and paths of a cohort, and the identifiers that its table has."""
    secrets = set()
    for column in (cohort.patient, cohort.study, cohort.image_id, cohort.report, cohort.image):
        secrets |= {str(value) for value in column}

    folder = Path(str(cohort.image[0]).split("#")[0]).parent
    secrets.add(str(folder))
    with (folder / "cohort.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            secrets |= {value for name, value in row.items() if name.endswith("_id")}

    # Shorter ones are in any text
    return {secret for secret in secrets if len(secret) > 4}
