"""Nothing of a person reaches a message: files full of canaries go through every reader and command, and every place
that a message may reach is searched.

Places searched: standard output and standard error (of the process, also what libraries write there), the text of
every exception with all that its traceback would print (causes and contexts), the log of every library from DEBUG on,
and warnings. A run's own files are searched in the slow test: records, pages, lists and the ledger.

The names of files and folders that a person types are no canaries: a message has to say which file it is about.
"""

from __future__ import annotations

import contextlib
import logging
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forgetmi.cli import main
from forgetmi.cohort.forget_list import read_forget_list
from forgetmi.cohort.identifiers import Pseudonyms, load_key
from forgetmi.cohort.mimic_cxr import MimicCxrCohort
from forgetmi.cohort.openi import OpeniCohort
from forgetmi.cohort.table import TableCohort
from forgetmi.requests.subjects import read_subjects
from tests.contract.canary_files import (
    CLASSES,
    DIGITS,
    LISTS,
    MAPPINGS,
    MARK,
    OTHERS,
    TABLES,
    rows,
    text,
    write_films,
)


class Heard:
    """Everything that was said while something ran."""

    def __init__(self) -> None:
        self.places: dict[str, str] = {}
        self.code: int | None = None

    def add(self, place: str, said: str) -> None:
        self.places[place] = self.places.get(place, "") + said

    def traces(self) -> list[str]:
        """The lines with a canary, and where they were heard."""
        found = []
        for place, said in self.places.items():
            for line in said.splitlines():
                if MARK in line.lower() or DIGITS in line or "0417263" in line:
                    found.append(f"{place}: {line[:300]}")
        return found


def printed_of(error: BaseException | None) -> str:
    """What a traceback would print of an exception, without lines of source: its text, its notes, what led to it."""
    lines = []
    while error is not None:
        lines += traceback.format_exception_only(error)
        hidden = error.__suppress_context__ and error.__cause__ is None
        error = error.__cause__ or (None if hidden else error.__context__)
    return "".join(lines)


class _Log(logging.Handler):
    """Keeps every record of every library, with its arguments and its exception."""

    def __init__(self, heard: Heard) -> None:
        super().__init__(logging.NOTSET)
        self.heard = heard

    def emit(self, record: logging.LogRecord) -> None:
        said = f"{record.name} {record.getMessage()} {record.args!r}"
        if record.exc_info:
            said += printed_of(record.exc_info[1])
        self.heard.add("log", said + "\n")


@contextlib.contextmanager
def listening(capfd: pytest.CaptureFixture[str] | None = None) -> Iterator[Heard]:
    """Listen in every place until the block ends; an exception that leaves it is heard, and goes no further."""
    heard = Heard()
    root = logging.getLogger()
    handler, level = _Log(heard), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)

    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                yield heard
            except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it is, its text is searched
                heard.add("exception", printed_of(error))
        for warning in warned:
            heard.add("warning", f"{warning.category.__name__} {warning.message}\n")
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    if capfd is not None:
        printed = capfd.readouterr()
        heard.add("stdout", printed.out)
        heard.add("stderr", printed.err)


def run(capfd: pytest.CaptureFixture[str], *words: str) -> Heard:
    """One command; its exit status is `code`."""
    capfd.readouterr()
    with listening(capfd) as heard:
        heard.code = main(words)
    return heard


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_films(folder)
    return folder


def reader(path: Path, films: Path, **options: object) -> TableCohort:
    return TableCohort(
        path,
        image_root=films,
        classes=CLASSES,
        group="family",
        subgroups=("sex",),
        **options,  # type: ignore[arg-type]
    )


def of_table(path: Path, films: Path) -> list[str]:
    """The same on the command line."""
    words = ["--cohort", "table", "--cohort.path", str(path), "--cohort.image-root", str(films)]
    words += ["--cohort.group", "family", "--cohort.subgroups", "sex", "--cohort.classes", *CLASSES]
    return words


def test_the_search_finds_what_is_there() -> None:
    """A message with a cell, a chained exception and a log line are each found."""
    with listening() as heard:
        logging.getLogger("any.library").debug("reading %s", "films/qzxk.png")
        warnings.warn("Invalid value: 'Qzxkova'", stacklevel=1)
        try:
            int("Qzxkova")
        except ValueError as error:
            raise RuntimeError("something went wrong") from error
    places = {trace.split(":")[0] for trace in heard.traces()}
    assert places == {"log", "warning", "exception"}

    with listening() as quiet:
        logging.getLogger("any.library").debug("8 rows")
    assert quiet.traces() == []


@pytest.mark.parametrize("case", TABLES)
def test_tables(case: str, films: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "cohort.csv", TABLES[case]())
    with listening() as heard:
        cohort = reader(path, films).load()
        heard.add("repr", f"{cohort!r} {cohort.notices}")
    assert heard.traces() == []
    if case == "sound":
        assert "exception" not in heard.places


@pytest.mark.parametrize("case", MAPPINGS)
def test_mapping_files(case: str, films: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "cohort.csv", TABLES["sound"]())
    mapping = write(tmp_path / "map.csv", MAPPINGS[case])
    with listening() as heard:
        reader(path, films, identifier_map=mapping).load()
    assert heard.traces() == []
    assert ("exception" in heard.places) == (case != "sound")


@pytest.mark.parametrize("case", LISTS)
def test_lists_of_those_who_withdraw(case: str, films: Path, tmp_path: Path) -> None:
    cohort = reader(write(tmp_path / "cohort.csv", TABLES["sound"]()), films).load()
    path = write(tmp_path / "list.csv", LISTS[case]())
    with listening() as heard:
        request = read_forget_list(path, cohort=cohort, key=load_key())
        heard.add("repr", repr(request))
    with listening() as of_ledger:
        subjects = read_subjects(path, Pseudonyms(load_key()), words=("Qzxkova-1 asked",))
        of_ledger.add("repr", repr(subjects))
    assert heard.traces() + of_ledger.traces() == []
    if case == "sound":
        assert "exception" not in heard.places


def tables_of_mimic(folder: Path) -> dict[str, str]:
    """Sound tables of a MIMIC-CXR folder whose identifiers and texts are canaries."""
    split, reports, metadata, patients = ([], [], [], [])
    for number in range(4):
        subject, study, image = f"{9041726300 + number}"[-8:], f"5{number}417263", f"qzxk-{number}"
        split.append(f"{subject},{study},{image},{number},{number % 2 + 1}")
        reports.append(f"{number}\t{number}\t{study}\ta\tQzxk edema .")
        metadata.append(f"{image},PA")
        patients.append(f"{subject},F")
        branch = folder / "files" / f"p{subject[:2]}" / f"p{subject}"
        branch.mkdir(parents=True)
        (branch / f"s{study}.txt").write_bytes(b"FINDINGS: Qzxk\xe9 effusion. QZXKOVA: mild.")
    return {
        "split.csv": "\n".join(["subject_id,study_id,dicom_id,edema_severity,fold", *split, ""]),
        "all_data.tsv": "\n".join([*reports, ""]),
        "metadata.csv": "\n".join(["dicom_id,ViewPosition", *metadata, ""]),
        "patients.csv": "\n".join(["subject_id,gender", *patients, ""]),
    }


# How each table of MIMIC-CXR is spoilt
SPOILT: dict[str, Callable[[str], str]] = {
    "sound": lambda content: content,
    "no header": lambda content: content.split("\n", 1)[1],
    "twice": lambda content: content + content.replace("qzxk", "QZXK").replace("PA", "qzxkAP"),
    "ragged": lambda content: content + "Qzxk\n\tQzxk,Qzxk\t\n",
    "other cells": lambda content: content.replace("0417263", "qzxk"),
    "other people": lambda content: content.replace("41726", "51726").replace("qzxk", "qzxkk"),
    "quote": lambda content: content.replace(",", ',"qzxk', 3),
    "folds": lambda content: content.replace(",1\n", ",Qzxk\n").replace(",F\n", ",Qzxk\n"),
    "empty": lambda content: "",
}


@pytest.mark.parametrize("spoilt", SPOILT)
@pytest.mark.parametrize("name", ["split.csv", "all_data.tsv", "metadata.csv", "patients.csv"])
def test_mimic(name: str, spoilt: str, tmp_path: Path) -> None:
    tables = tables_of_mimic(tmp_path)
    for file, content in tables.items():
        write(tmp_path / file, SPOILT[spoilt](content) if file == name else content)

    for reports in (tmp_path / "all_data.tsv", tmp_path / "files"):
        with listening() as heard:
            cohort = MimicCxrCohort(
                split=tmp_path / "split.csv",
                reports=reports,
                images="none",
                metadata=tmp_path / "metadata.csv",
                patients=tmp_path / "patients.csv",
            ).load()
            heard.add("repr", f"{cohort!r} {cohort.notices}")
        assert heard.traces() == []

    # Images that are not there
    with listening() as heard:
        MimicCxrCohort(split=tmp_path / "split.csv", root=tmp_path).load()
    assert heard.traces() == []


XML = (
    '<eCitation><uId id="CXR{number}"/><AbstractText Label="FINDINGS">Qzxk effusion</AbstractText>'
    '<AbstractText Label="Qzxkova">Qzxk</AbstractText><MeSH><major>Qzxk/mild</major></MeSH>'
    '<parentImage id="CXR{number}_IM-0001-3001"/></eCitation>'
)
REPORTS: dict[str, str] = {
    "sound": XML.format(number=9041726),
    "no number": XML.format(number="Qzxkova"),
    "not well formed": XML.format(number=9041726) + "<Qzxkova",
    "twice": XML.format(number=1),
    "entities": '<!DOCTYPE x [<!ENTITY q "Qzxkova">]><x>&q;</x>',
    "undefined": "<x>&Qzxkova;</x>",
    "words": "Qzxkova, Jana",
    "nothing": "",
}


@pytest.mark.parametrize("case", REPORTS)
def test_openi(case: str, films: Path, tmp_path: Path) -> None:
    (tmp_path / "xml").mkdir()
    write(tmp_path / "xml" / "qzxk_1.xml", XML.format(number=1))
    write(tmp_path / "xml" / "qzxk_2.xml", REPORTS[case])
    write(tmp_path / "xml" / "Qzxkova.txt", "Qzxk")
    for images in (None, films / "films"):
        with listening() as heard:
            cohort = OpeniCohort(path=tmp_path / "xml", images=images).load()
            heard.add("repr", f"{cohort!r} {cohort.notices}")
        assert heard.traces() == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    start=st.integers(0, 600),
    length=st.integers(0, 40),
    piece=st.sampled_from(
        [b"", b",", b'"', b"\n", b"\r", b"\xff", b"\0", b";", b"qzxk", b"\t", b"-1"]
    ),
)
def test_tables_with_bytes_lost_and_added(
    start: int, length: int, piece: bytes, films: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = text(rows()).encode()
    path = tmp_path_factory.mktemp("bytes") / "cohort.csv"
    write(path, content[:start] + piece + content[start + length :])
    with listening() as heard:
        reader(path, films).load()
    assert heard.traces() == []


# Commands on a table; each gets every table that is not sound
ON_TABLES: dict[str, Callable[[Path], list[str]]] = {
    "cohort check": lambda folder: ["cohort", "check", "--images.size", "16"],
    "cohort show": lambda folder: ["cohort", "show"],
    "cohort canaries": lambda folder: ["cohort", "canaries", "--out", str(folder), "--pairs", "1"],
    "requests process": lambda folder: [
        *("requests", "process", "--out", str(folder / "list")),
        *("--ledger", str(folder / "ledger.sqlite")),
    ],
    "run --dry-run": lambda folder: ["run", "--dry-run", "--out", str(folder / "run")],
}


def check_on_table(
    command: str, case: str, films: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "cohort.csv", TABLES[case]())
    heard = run(capfd, *ON_TABLES[command](tmp_path), *of_table(path, films))
    assert heard.traces() == []


@pytest.mark.parametrize("case", TABLES)
def test_cohort_check(
    case: str, films: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    check_on_table("cohort check", case, films, tmp_path, capfd)


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in TABLES if case != "sound"])
@pytest.mark.parametrize("command", [name for name in ON_TABLES if name != "cohort check"])
def test_other_commands_on_tables(
    command: str, case: str, films: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    check_on_table(command, case, films, tmp_path, capfd)


# Tables that no command can use, for those that would train on any other
USELESS = (
    *("no header", "header of names", "ragged", "not UTF-8", "quote not closed", "label a name"),
    *("split a name", "image absent", "patient spelt twice", "study of two", "film is text"),
)


@pytest.mark.slow
@pytest.mark.parametrize("case", USELESS)
@pytest.mark.parametrize("command", ["train", "tune", "benchmark", "run"])
def test_commands_that_train(
    command: str, case: str, films: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "cohort.csv", TABLES[case]())
    words = [command, "--out", str(tmp_path / "out"), *of_table(path, films), "--workers", "1"]
    if command == "train":
        words = words[:-2]
    heard = run(capfd, *words)
    assert heard.traces() == []
    assert heard.code == 2


@pytest.mark.parametrize("case", ["sound", "no header", "header of names", "ragged", "not UTF-8"])
def test_a_folder_of_dicom_files(
    case: str, films: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The table that is made holds identifiers, and is the user's; what is said of it holds none."""
    reports = write(tmp_path / "reports.csv", TABLES[case]())
    texts = tmp_path / "texts"
    texts.mkdir()
    write(texts / f"{DIGITS}.txt", "FINDINGS: Qzxk effusion.")
    write(texts / "Qzxkova.txt", b"FINDINGS: Qzxk\xe9" if case == "ragged" else "Qzxk")
    sound = tmp_path / "qzxk"
    sound.mkdir()
    write(sound / "Qzxkova.dcm", (films / "films" / "qzxk.dcm").read_bytes())
    for folder in (films / "films", sound):
        for source in (reports, texts):
            out = tmp_path / f"made-{source.stem}-of-{folder.parent.name}"
            words = ["cohort", "make", "--from-dicom", str(folder), "--reports", str(source)]
            heard = run(capfd, *words, "--out", str(out))
            # The folder is named by the user
            said = [line for line in heard.traces() if str(folder) not in line]
            assert said == []
    if case == "sound":
        assert DIGITS in (out / "cohort.csv").read_text()


@pytest.mark.parametrize("case", LISTS)
def test_the_cache(
    case: str, films: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    table = write(tmp_path / "cohort.csv", TABLES["sound"]())
    who = write(tmp_path / "list.csv", LISTS[case]())
    for words in (
        ["cohort", "check", *of_table(table, films), "--images.size", "16"],
        ["cache", "show"],
        ["cache", "forget", "--forget-list", str(who), *of_table(table, films)],
    ):
        assert run(capfd, *words).traces() == [], words[:2]


@pytest.mark.parametrize("case", LISTS)
def test_requests(
    case: str, films: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A list is entered, shown, gathered and drawn as a partition; the ledger itself holds no canary."""
    who = write(tmp_path / "list.csv", LISTS[case]())
    table = write(tmp_path / "cohort.csv", TABLES["sound"]())
    ledger = ["--ledger", str(tmp_path / "ledger.sqlite")]
    cohort = of_table(table, films)
    for words in (
        ["requests", "add", "--who", str(who), *ledger, "--note", "asked by letter"],
        ["requests", "list", *ledger],
        ["requests", "list", "--as-json", *ledger],
        ["requests", "due", *ledger],
        ["requests", "process", "--out", str(tmp_path / "out.csv"), *ledger, *cohort],
        ["requests", "close", "R0001", "--note", "done", *ledger],
        ["requests", "drift", *ledger],
        ["cohort", "show", *cohort, "--partition.forget-list", str(who)],
    ):
        heard = run(capfd, *words)
        assert heard.traces() == [], words
    for file in ("ledger.sqlite", "out.csv"):
        if (tmp_path / file).exists():
            content = (tmp_path / file).read_bytes().lower()
            assert MARK.encode() not in content
            assert DIGITS.encode() not in content


def other_files(folder: Path, path: Path, cohort: list[str]) -> list[list[str]]:
    """Commands that read a file beside the table, each given one file of words instead."""
    file, out = str(path), str(folder / "out")
    return [
        ["cohort", "show", *cohort, "--partition.canaries", file],
        [
            *("cohort", "show", *cohort, "--partition.after", file),
            *("--partition.forget-list", str(folder / "list.csv")),
        ],
        [
            *("evaluate", "--original", file, "--unlearned", file, "--partition", file),
            *("--out", out, *cohort),
        ],
        ["verify", file],
        ["record", str(path.parent)],
        ["report", str(path.parent)],
        ["audit", str(path.parent)],
        ["requests", "close", "R0001", "--record", file, "--ledger", str(folder / "l.sqlite")],
        ["requests", "list", "--ledger", file],
        ["requests", "advise", "--runs", str(path.parent), "--ledger", file],
        ["predict", "--checkpoint", str(path.parent), "--out", out, *cohort],
    ]


@pytest.mark.parametrize("case", OTHERS)
def test_other_files(
    case: str, films: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    table = write(tmp_path / "cohort.csv", TABLES["sound"]())
    write(tmp_path / "list.csv", LISTS["sound"]())
    given = tmp_path / "given"
    given.mkdir()
    names = ("file", "record.json", "partition.json", "canaries.json", "model.json", "metrics.json")
    for name in names:
        write(given / name, OTHERS[case])
    for words in other_files(tmp_path, given / "file", of_table(table, films)):
        heard = run(capfd, *words)
        assert heard.traces() == [], words[:3]
        assert heard.code == 2 or case == "nothing", words[:3]


@pytest.mark.slow
def test_a_whole_run(films: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Train, retrain, unlearn, audit, record; what it prints and what it leaves behind names nobody."""
    table = write(tmp_path / "cohort.csv", text(many_rows()))
    who = write(tmp_path / "list.csv", LISTS["sound"]())
    out = tmp_path / "run"
    heard = run(
        capfd,
        *("run", "--out", str(out), "--partition.forget-list", str(who), *of_table(table, films)),
        *("--images.size", "16", "--training.epochs", "1", "--method.epochs", "1"),
        *("--retrains", "2", "--workers", "1", "--resamples", "20", "--text.min-patients", "2"),
        *("--model.stem-width", "8", "--model.widths", "8", "16", "--model.hidden", "16"),
        *("--model.heads", "2", "--model.layers", "1", "--model.intermediate", "32"),
    )
    assert heard.code == 0, heard.places
    assert heard.traces() == []

    # A vocabulary holds words that several patients' reports share: that is what it is for
    left = []
    for path in sorted(out.rglob("*")):
        if path.is_file() and "vocab" not in path.name:
            content = path.read_bytes().lower()
            if DIGITS.encode() in content or b"qzxkova" in content or b"qzxk effusion" in content:
                left.append(path.relative_to(out).as_posix())
    assert left == []


def many_rows() -> list[list[str]]:
    """Forty patients, so that every set has some."""
    found = []
    for number in range(40):
        row = list(rows()[number % 8])
        row[0] = f"Qzxkova-{number}" if number % 2 else f"{DIGITS}{number}"
        row[1], row[2], row[7] = f"QZXK-S{number}", f"QZXK-I{number}", ""
        row[4] = f"Qzxk effusion, number {number}."
        found.append(row)
    return found
