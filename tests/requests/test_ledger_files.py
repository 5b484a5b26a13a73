"""What is no ledger is told so, what is one is not lost, and two processes never take the same request."""

from __future__ import annotations

import os
import random
import sqlite3
import stat
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from forgetmi.cli import main
from forgetmi.core.errors import EvidenceError
from forgetmi.requests.ledger import Ledger

KEY = "0123456789abcdef"


def enter(ledger: Ledger, *patients: str) -> int:
    """A request of the given digests."""
    return ledger.add(
        received=date(2026, 1, 31),
        due=date(2026, 2, 28),
        term="gdpr",
        ground="Art. 17",
        scope="all_studies",
        patients=patients,
    ).number


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A ledger of three requests."""
    ledger = Ledger.make(tmp_path / "ledger.sqlite", key_id=KEY)
    for who in "abc":
        enter(ledger, who * 16)
    ledger.close()
    return tmp_path / "ledger.sqlite"


def tree(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {name.name: name.read_bytes() for name in folder.iterdir() if name.is_file()}


@pytest.mark.parametrize("command", ["list", "due", "drift"])
def test_reading_writes_nothing(path: Path, command: str, capsys: pytest.CaptureFixture) -> None:
    before = tree(path.parent)
    assert main(["requests", command, "--ledger", str(path)]) == 0
    assert tree(path.parent) == before
    if command != "drift":
        assert "R0003" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["list", "due", "drift"])
def test_an_empty_file_never_reads_as_nothing_due(
    tmp_path: Path, command: str, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "ledger.sqlite").touch()
    assert main(["requests", command, "--ledger", str(tmp_path / "ledger.sqlite")]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "this is no ledger (the file is empty)" in said.err
    assert (tmp_path / "ledger.sqlite").stat().st_size == 0


def test_nothing_is_made_in_another_database(tmp_path: Path) -> None:
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as database:
        database.execute("CREATE TABLE requests (number INTEGER)")
    before = other.read_bytes()
    with pytest.raises(EvidenceError, match=r"no ledger .*without a ledger's tables"):
        Ledger.make(other, key_id=KEY)
    assert other.read_bytes() == before


def test_a_pipe_and_a_folder_are_no_ledgers(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(EvidenceError, match="a pipe"):
        Ledger(tmp_path / "pipe")
    with pytest.raises(EvidenceError, match="a folder"):
        Ledger(tmp_path)


@pytest.mark.parametrize("name", ["what?.sqlite", "a#b.sqlite", "50%.sqlite", "a b&mode=memory"])
def test_any_file_name_will_do(tmp_path: Path, name: str) -> None:
    enter(Ledger.make(tmp_path / name, key_id=KEY), "a")
    assert [entry.patients for entry in Ledger(tmp_path / name, reading=True).entries()] == [("a",)]
    assert {path.name.split("-")[0] for path in tmp_path.iterdir()} == {name.split("-")[0]}


def test_a_ledger_is_read_where_nothing_can_be_written(path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    path.parent.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        assert len(Ledger(path, reading=True).entries()) == 3
    finally:
        path.parent.chmod(stat.S_IRWXU)


def test_the_ledger_made_first_stays(path: Path) -> None:
    assert len(Ledger.make(path, key_id=KEY).entries()) == 3


@pytest.mark.parametrize("number", range(40))
def test_a_damaged_ledger_is_told_or_whole(path: Path, number: int) -> None:
    """Cut, overwritten, or a bit flipped at a place of its own: an error in words, or every request as it was."""
    before = Ledger(path, reading=True).entries()
    draw = random.Random(number)
    content = bytearray(path.read_bytes())
    place = draw.randrange(len(content))
    kind = number % 4
    if kind == 0:
        del content[place:]
    elif kind == 1:
        content[place] ^= 1 << draw.randrange(8)
    elif kind == 2:
        content[place : place + 512] = bytes(len(content[place : place + 512]))
    else:
        content[place : place + 64] = draw.randbytes(len(content[place : place + 64]))
    path.write_bytes(content)

    for reading in (True, False):
        outcome: object
        try:
            outcome = Ledger(path, reading=reading).entries()
        except EvidenceError as error:
            outcome = error.faults[0].what
        assert outcome in (before, "this is no ledger", "the ledger is damaged")


@pytest.mark.parametrize("reading", [True, False])
def test_a_schema_that_is_no_text_is_damage(path: Path, reading: bool) -> None:
    content = path.read_bytes().replace(b"tablerequests", b"tablereque\x80ts")
    path.write_bytes(content.replace(b"CREATE TABLE requests", b"CREATE TIBLE requests"))
    with pytest.raises(EvidenceError, match="the ledger is damaged"):
        Ledger(path, reading=reading)


@pytest.mark.parametrize(
    ("change", "value"),
    [("received", "9999-99-99"), ("due", "soon"), ("state", "gone"), ("received", b"0")],
)
@pytest.mark.parametrize("sealed", [True, False])
def test_values_that_cannot_be_are_damage(
    path: Path, change: str, value: str | bytes, sealed: bool
) -> None:
    with sqlite3.connect(path) as database:
        database.execute(f"UPDATE requests SET {change} = ? WHERE number = 2", (value,))
        if not sealed:
            database.execute("DROP TABLE seals")
    with pytest.raises(EvidenceError, match="the ledger is damaged"):
        Ledger(path, reading=True).entries()


def test_a_digest_that_was_altered_is_damage(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("UPDATE subjects SET digest = ? WHERE request = 2", ("d" * 16,))
    with pytest.raises(EvidenceError, match=r"damaged \(1 requests are not as they were entered"):
        Ledger(path, reading=True)


def test_what_changed_since_it_was_gathered_is_refused_and_nothing_written(path: Path) -> None:
    ledger, other = Ledger(path), Ledger(path)
    gathered = ledger.entries([1, 2])
    other.move([2], "on_hold", note="a court asked for it")

    written: list[int] = []
    with pytest.raises(EvidenceError, match=r"R0002 was changed .*on hold now"):
        ledger.process(gathered, write=lambda: written.append(1))
    assert written == []
    assert [entry.state for entry in ledger.entries([1, 2])] == ["open", "on_hold"]


def test_a_list_that_cannot_be_written_leaves_the_ledger_as_it_was(path: Path) -> None:
    ledger = Ledger(path)

    def fail() -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        ledger.process(ledger.entries([1]), write=fail)
    assert ledger.entries([1])[0].state == "open"


PROCESS = """
import sys
from pathlib import Path
from forgetmi.core.errors import EvidenceError
from forgetmi.requests.ledger import Ledger
path, own, times = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
for number in range(times):
    ledger = Ledger(path.with_name(f"{number}.sqlite"))
    entries = ledger.entries(states=("open",))
    if not entries:
        continue
    written = own / f"{number}.csv"
    try:
        ledger.process(entries, write=lambda: written.write_text("list"))
    except EvidenceError as error:
        assert "was changed while the list was made" in str(error), error
    ledger.close()
"""


@pytest.mark.parametrize("times", [5, pytest.param(100, marks=pytest.mark.slow)])
def test_two_processes_never_list_the_same_request(tmp_path: Path, times: int) -> None:
    for number in range(times):
        ledger = Ledger.make(tmp_path / f"{number}.sqlite", key_id=KEY)
        enter(ledger, "a" * 16)
        ledger.close()

    both = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        words = [
            sys.executable,
            "-c",
            PROCESS,
            str(tmp_path / "x"),
            str(tmp_path / name),
            str(times),
        ]
        both.append(subprocess.Popen(words))
    assert [process.wait(timeout=120) for process in both] == [0, 0]

    # Whoever came second found nothing open, or was refused: one list each time
    lists = [path.name for name in ("one", "two") for path in (tmp_path / name).iterdir()]
    assert sorted(lists) == sorted(f"{number}.csv" for number in range(times))
    for number in range(times):
        entry = Ledger(tmp_path / f"{number}.sqlite", reading=True).entries()[0]
        assert entry.state == "processing"
        assert entry.batch == 1


def test_a_note_that_names_somebody_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "key").write_bytes(bytes(range(32)))
    (tmp_path / "who.csv").write_text("patient_id\nSmith-1964\n")
    ledger = ["--ledger", str(tmp_path / "l.sqlite"), "--key-file", str(tmp_path / "key")]
    assert main(["requests", "add", "--who", str(tmp_path / "who.csv"), *ledger]) == 0
    assert "a new ledger was made" in capsys.readouterr().out

    for note in ("SMITH 1964 rang again", "for smith.1964"):
        assert main(["requests", "close", "R0001", "--note", note, *ledger]) == 2
        said = capsys.readouterr().err
        assert "--note: the note holds an identifier that R0001 names" in said
        assert "1964" not in said

    # With another key nothing could be found
    other = [*ledger[:2], "--key-file", str(tmp_path / "other")]
    (tmp_path / "other").write_bytes(b"x" * 32)
    assert main(["requests", "close", "R0001", "--note", "she rang again", *other]) == 2
    assert "another identifier key" in capsys.readouterr().err
    assert main(["requests", "close", "R0001", "--note", "she rang again", *ledger]) == 0


@pytest.mark.parametrize("day", ["1989-12-31", "2999-01-01"])
def test_a_day_that_cannot_be_is_refused(
    tmp_path: Path, day: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "who.csv").write_text("patient_id\np7\n")
    words = ["--who", str(tmp_path / "who.csv"), "--ledger", str(tmp_path / "l.sqlite")]
    assert main(["requests", "add", "--received", day, *words]) == 2
    assert "--received: the day lies" in capsys.readouterr().err
    assert not (tmp_path / "l.sqlite").exists()
