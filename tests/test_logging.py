"""The package's log: silent by default; with a handler it names stages and counts, and nothing of a patient."""

from __future__ import annotations

import csv
import io
import json
import logging
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from forgetmi.cli import main
from forgetmi.core.logs import (
    STEP,
    JsonLines,
    LogOptions,
    job_of,
    listening,
    log_epoch,
    log_step,
    logging_to,
    working_on,
)
from forgetmi.data.image_store import build_image_store
from forgetmi.data.preprocessing import ImagePreprocessing
from forgetmi.jobs.pool import Job, run_jobs
from forgetmi.methods.forget_mi import ForgetMI
from forgetmi.model.recipe import Recipe
from forgetmi.requests.ledger import Ledger
from forgetmi.run import workflow
from forgetmi.run.heartbeat import Heartbeat, Journal
from tests.jobs import light_jobs


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


def test_lines_of_workers_reach_the_handler_with_their_job() -> None:
    jobs = [Job("original", light_jobs.logs, ()), Job("retrain-0", light_jobs.logs, ())]
    found: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = found.append  # type: ignore[method-assign]
    with listening(handler, logging.DEBUG):
        run_jobs(jobs, workers=2)
    epochs = [record for record in found if hasattr(record, "epoch")]
    assert {(job_of(one), one.epoch, one.values["loss"]) for one in epochs} == {
        ("original", 1, 0.5),
        ("retrain-0", 1, 0.5),
    }


def logged(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = main(words)
    return code, *capsys.readouterr()


def test_every_command_logs_where_it_is_told_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "log.jsonl"
    words = ["--log-file", str(file), "--log-format=json", "requests", "due"]
    code, _, err = logged([*words, "--ledger", str(tmp_path / "absent")], capsys)
    assert code == 2
    assert err.startswith("error: ")

    # Appended, one object a line, without the path that the message names
    assert logged([*words[:3], "--version"], capsys)[0] == 0
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["level"] for line in lines] == ["info", "error", "info", "info"]
    assert lines[1]["message"].startswith("command ended by EvidenceError after")
    assert str(tmp_path) not in file.read_text()

    # To standard error, as text; silent without the options
    _, out, err = logged(["--version", "--log-level", "info"], capsys)
    assert re.fullmatch(r"(\d{4}-\d\d-\d\dT[\d:.]+Z INFO forgetmi\.cli command .*\n){2}", err)
    assert out.startswith("forgetmi ")
    assert logged(["--version"], capsys) == (0, out, "")
    assert logging.getLogger("forgetmi").level == logging.NOTSET


def test_a_program_of_its_own_says_nothing_more_than_the_error(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "forgetmi.cli", "requests", "due", "--ledger", "absent"]
    words += ["--log-file", "log"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path)
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: absent: ")
    assert "ERROR forgetmi.cli command ended by" in (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["--log-level", "loud"], "--log-level: there is no such choice"),
        (["--log-format", "xml"], "--log-format: there is no such choice"),
        (["--log-file"], "--log-file needs a value"),
        (["--log-file", "/dev/null/log"], "the output cannot be written"),
        (["--log-file", "/dev/null"], "--log-file: this is no regular file"),
    ],
)
def test_a_log_that_cannot_be_written_is_refused(
    words: list[str], fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = logged(["--version", *words], capsys)
    assert (code, out) == (2, "")
    assert fault in err


def test_numbers_of_epochs_and_steps_are_numbers_in_json() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    logger = logging.getLogger("forgetmi.tests")
    with listening(handler, STEP), working_on("original"):
        log_epoch(logger, "training", 2, 5, {"loss": 0.25})
        log_step(logger, "training", 7, {"loss": 0.5})
    epoch, step = map(json.loads, stream.getvalue().splitlines())
    assert (epoch["job"], epoch["epoch"], epoch["epochs"]) == ("original", 2, 5)
    assert epoch["values"] == {"loss": 0.25}
    assert (step["level"], step["step"], step["values"]) == ("step", 7, {"loss": 0.5})


def test_without_a_terminal_long_work_says_how_far_it_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    now = 0.0
    journal = Journal(lambda: now)
    logger = logging.getLogger("forgetmi.tests")
    assert journal.lines() == ["at work for 0 s"]
    with listening(journal, logging.DEBUG), working_on("original"):
        logger.info("training begun: 10 epochs")
        now = 60.0
        assert journal.lines() == ["original: training begun: 10 epochs, 60 s so far"]
        log_epoch(logger, "training", 1, 10, {"loss": 0.75, "auc": 0.5})
        journal.update("original", 1, 10)
    assert journal.lines() == ["original: 1 of 10, loss 0.75, 60 s so far, about 9 min left"]

    # Work that was resumed: only what was done here says how fast it is
    now = 100.0
    journal.update("unlearned", 8, 10)
    now = 110.0
    journal.update("unlearned", 9, 10)
    journal.update("original", 10, 10)
    assert journal.lines() == ["unlearned: 9 of 10, 10 s so far, about 10 s left"]

    # A line every minute, here every hundredth of a second; none with -q
    with Heartbeat(journal.lines, journal, seconds=0.01):
        time.sleep(0.1)
    assert capsys.readouterr().err.startswith("unlearned: 9 of 10")
    with logging_to(LogOptions(quiet=True)), Heartbeat(journal.lines, journal, seconds=0.01):
        time.sleep(0.05)
    assert capsys.readouterr().err == ""


def test_parts_that_are_done_many_at_a_time_are_counted_one_by_one() -> None:
    # Films that a cluster reads come a portion at a time
    now = 0.0
    journal = Journal(lambda: now)
    journal.update("images", 128, 1024)
    now = 10.0
    journal.update("images", 256, 1024)
    assert journal.lines() == ["images: 256 of 1024, 10 s so far, about 60 s left"]
