"""The ledger of withdrawals: exact deadlines, nothing lost to kill -9 or to a second process, no raw identifier."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forgetmi.cli import main
from forgetmi.cohort.forget_list import read_forget_list
from forgetmi.cohort.further_withdrawal import further_withdrawal
from forgetmi.cohort.partition import partition as make_partition
from forgetmi.cohort.partition_file import read_partition, write_partition
from forgetmi.cohort.synthetic import SyntheticCohort
from forgetmi.core.cohort import ForgetRequest
from forgetmi.core.errors import EvidenceError, ForgetMIError, PartitionError
from forgetmi.evidence.record_files import read_record
from forgetmi.requests.advise import advise, sisa_share
from forgetmi.requests.deadlines import deadline
from forgetmi.requests.ledger import Ledger
from tests.runs import new_key

KEY = "0123456789abcdef"
ADD = """
import sys
from datetime import date
from pathlib import Path
from forgetmi.requests.ledger import Ledger
ledger = Ledger.make(Path(sys.argv[1]), key_id="0123456789abcdef")
for number in range(int(sys.argv[2])):
    ledger.add(received=date(2026, 1, 1), due=date(2026, 2, 1), term="gdpr", ground="", scope="all_studies",
               patients=[f"{sys.argv[3]}-{number}-{part}" for part in range(3)], note="n")
"""


def enter(ledger: Ledger, *patients: str, received: date = date(2026, 1, 31)) -> int:
    return ledger.add(
        received=received,
        due=deadline(received, "gdpr"),
        term="gdpr",
        ground="Art. 17",
        scope="all_studies",
        patients=patients,
    ).number


@pytest.mark.parametrize(
    ("received", "last"),
    [
        ("2026-01-31", "2026-02-28"),
        ("2024-01-31", "2024-02-29"),
        ("2026-01-28", "2026-02-28"),
        ("2026-12-31", "2027-01-31"),
        ("2026-03-31", "2026-04-30"),
        ("2026-06-15", "2026-07-15"),
    ],
)
def test_one_month_by_the_calendar(received: str, last: str) -> None:
    assert deadline(date.fromisoformat(received), "gdpr") == date.fromisoformat(last)


@given(st.dates(date(2000, 1, 1), date(2100, 1, 1)))
def test_a_month_is_the_next_month_and_at_most_its_last_day(received: date) -> None:
    last = deadline(received, "gdpr")
    assert (last.year * 12 + last.month) - (received.year * 12 + received.month) == 1
    assert last.day == received.day or (
        last.day < received.day and (last + timedelta(days=1)).day == 1
    )


def test_other_terms_count_days() -> None:
    assert deadline(date(2026, 1, 1), "uk_biobank") == date(2026, 4, 1)
    assert deadline(date(2026, 1, 1), "own", days=10) == date(2026, 1, 11)
    for days in (None, 0, 4000):
        with pytest.raises(EvidenceError, match="number of days"):
            deadline(date(2026, 1, 1), "own", days=days)
    with pytest.raises(EvidenceError, match="number of days"):
        deadline(date(2026, 1, 1), "gdpr", days=3)


def test_two_processes_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "two.sqlite"
    both = [
        subprocess.Popen([sys.executable, "-c", ADD, str(path), "50", who]) for who in ("a", "b")
    ]
    assert [process.wait(timeout=60) for process in both] == [0, 0]
    entries = Ledger(path).entries()
    assert sorted(entry.number for entry in entries) == list(range(1, 101))
    assert {digest for entry in entries for digest in entry.patients} == {
        f"{who}-{number}-{part}" for who in "ab" for number in range(50) for part in range(3)
    }


def test_a_killed_process_leaves_whole_requests(tmp_path: Path) -> None:
    path = tmp_path / "killed.sqlite"
    draw, before = random.Random(0), 0
    for attempt in range(3):
        process = subprocess.Popen([sys.executable, "-c", ADD, str(path), "100000", str(attempt)])
        deadline_ = time.monotonic() + 30
        while time.monotonic() < deadline_ and (not path.exists() or count(path) < before + 5):
            time.sleep(0.005)
        time.sleep(draw.random() * 0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        ledger = Ledger(path)
        entries = ledger.entries()
        assert len(entries) >= before + 5
        assert all(
            len(entry.patients) == 3 and len(ledger.history(entry.number)) == 1 for entry in entries
        )
        assert sqlite3.connect(path).execute("PRAGMA integrity_check").fetchone() == ("ok",)
        before = len(entries)


def count(path: Path) -> int:
    try:
        with sqlite3.connect(path) as database:
            return database.execute("SELECT COUNT(*) FROM requests").fetchone()[0]
    except sqlite3.Error:
        return 0


def test_states_and_history(tmp_path: Path) -> None:
    ledger = Ledger.make(tmp_path / "l.sqlite", key_id=KEY)
    one, two = enter(ledger, "a"), enter(ledger, "a", "b", received=date(2026, 1, 2))
    assert [entry.number for entry in ledger.entries()] == [two, one]  # by deadline
    assert [entry.number for entry in ledger.twins(ledger.entries([one])[0])] == [two]
    assert ledger.process(ledger.entries([one, two]), write=lambda: None) == 1
    ledger.move([one], "refused", note="asked for by somebody else")
    assert [state for _, state, _ in ledger.history(one)] == ["open", "processing", "refused"]
    with pytest.raises(EvidenceError, match="R0001 is refused already"):
        ledger.move([one, two], "open", note="again")
    assert ledger.entries([two])[0].state == "processing"  # all or nothing
    with pytest.raises(EvidenceError, match="reason is missing"):
        ledger.move([two], "closed", note="")
    with pytest.raises(EvidenceError, match="no request R0009"):
        ledger.entries([9])
    held = ledger.add(
        received=date(2026, 1, 1),
        due=date(2026, 2, 1),
        term="gdpr",
        ground="",
        scope="legal_hold",
        studies=["s"],
    )
    assert held.state == "on_hold"


def test_another_key_and_other_files_are_refused(tmp_path: Path) -> None:
    Ledger.make(tmp_path / "l.sqlite", key_id=KEY).close()
    with pytest.raises(EvidenceError, match="another identifier key"):
        Ledger.make(tmp_path / "l.sqlite", key_id="f" * 16)
    (tmp_path / "text").write_text("no database, but long enough to be read as one " * 50)
    with pytest.raises(EvidenceError, match=r"this is no ledger .*no SQLite file"):
        Ledger.make(tmp_path / "text", key_id=KEY)
    with pytest.raises(EvidenceError, match="there is no ledger"):
        Ledger(tmp_path / "absent")
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize(
    ("patients", "shards", "slices"), [(1, 2, 2), (2, 2, 2), (3, 1, 2), (2, 3, 1), (0, 2, 2)]
)
def test_the_share_of_sisa_is_the_mean_over_all_placements(
    patients: int, shards: int, slices: int
) -> None:
    cells = list(itertools.product(range(shards), range(slices)))
    total = []
    for placed in itertools.product(cells, repeat=patients):
        first = {shard: min(step for at, step in placed if at == shard) for shard, _ in placed}
        work = sum(step + 1 for shard in first for step in range(first[shard], slices))
        total.append(work / (shards * sum(range(1, slices + 1))))
    assert sisa_share(patients, shards=shards, slices=slices) == pytest.approx(np.mean(total))


def test_advice_compares_measured_seconds(signed_run: Path) -> None:
    record = read_record(signed_run)
    options = {option.way: option for option in advise([record], patients=2)}
    assert set(options) == {"retrain without the withdrawn patients", "forget_mi", "sisa"}
    costs = [record.cost[name]["cpu_seconds"] for name in ("retrain-0", "retrain-1")]
    assert options["retrain without the withdrawn patients"].seconds == pytest.approx(
        np.mean(costs)
    )
    assert options["forget_mi"].seconds == record.cost["unlearned"]["cpu_seconds"]
    assert options["sisa"].basis.startswith("estimated")
    assert "verdicts so far" in options["forget_mi"].risk
    assert [option.seconds is None for option in advise([], patients=2)] == [True, True]


def test_where_a_device_computed_its_seconds_are_compared(signed_run: Path) -> None:
    """Processors only wait then; runs without a device are of another kind and do not count."""
    record = read_record(signed_run)
    cost = {name: {**of, "device_seconds": 1.0 + len(name)} for name, of in record.cost.items()}
    held = dataclasses.replace(record, cost=cost)
    options = {option.way: option for option in advise([record, held], patients=2)}
    assert {option.unit for option in options.values()} == {"device s"}
    assert options["forget_mi"].seconds == 1.0 + len("unlearned")
    assert options["forget_mi"].share == pytest.approx(10 / 10)
    assert {option.unit for option in advise([record], patients=2)} == {"CPU s"}


def test_costs_stand_beside_the_cheapest_exact_retraining(signed_run: Path) -> None:
    """The cheaper of a short retraining that was run and of the recipe's own; without one nothing is guessed."""
    record = read_record(signed_run)
    assert all(option.share_of_cheapest is None for option in advise([record], patients=2))

    def short(seconds: float, epochs: int) -> Any:
        method = dataclasses.replace(
            record.method, kind="short_retrain", exact=True, options={"train_epochs": epochs}
        )
        after = record.model("after").name
        cost = {**record.cost, after: {**record.cost[after], "cpu_seconds": seconds}}
        return dataclasses.replace(record, method=method, cost=cost)

    retraining = float(np.mean([record.cost[f"retrain-{n}"]["cpu_seconds"] for n in (0, 1)]))
    runs = [record, short(0.4 * retraining, 6), short(0.6 * retraining, 6), short(retraining, 9)]
    options = {option.way: option for option in advise(runs, patients=2)}
    expected = record.cost["unlearned"]["cpu_seconds"] / (0.5 * retraining)
    assert options["forget_mi"].share_of_cheapest == pytest.approx(expected)
    whole = options["retrain without the withdrawn patients"]
    assert whole.share_of_cheapest == pytest.approx(2.0)
    dear = [record, short(3 * retraining, 20)]
    options = {option.way: option for option in advise(dear, patients=2)}
    assert options["short_retrain"].share_of_cheapest == pytest.approx(3.0)


def test_a_sequel_keeps_everybody_in_their_set() -> None:
    cohort = SyntheticCohort(patients=26, seed=3, size=32).load()
    first = make_partition(cohort, forget=12.0, seed=3)
    new = tuple(dict.fromkeys(cohort.patient[first.retain].tolist()))[:2]
    second = further_withdrawal(first, ForgetRequest(patients=new), cohort=cohort)
    assert np.array_equal(second.holdout, first.holdout)
    assert np.array_equal(second.validation, first.validation)
    assert set(first.forget) < set(second.forget)
    assert set(cohort.patient[second.forget]) == {*new, *cohort.patient[first.forget]}
    assert sorted([*second.forget, *second.retain]) == sorted([*first.forget, *first.retain])
    assert np.array_equal(second.earlier, first.forget)
    now = second.of_request()
    assert set(cohort.patient[now.forget]) == set(new)
    assert np.array_equal(now.retain, second.retain)
    third = further_withdrawal(
        second, ForgetRequest(patients=(str(cohort.patient[second.retain[0]]),)), cohort=cohort
    )
    assert np.array_equal(third.earlier, second.forget)
    assert first.of_request() is first
    with pytest.raises(PartitionError, match="not a part of the forget set"):
        dataclasses.replace(first, earlier=first.retain[:1])
    with pytest.raises(PartitionError, match="or is all of it"):
        dataclasses.replace(first, earlier=first.forget)
    with pytest.raises(PartitionError, match="never trained on"):
        further_withdrawal(
            first, ForgetRequest(patients=(str(cohort.patient[first.holdout[0]]),)), cohort=cohort
        )
    with pytest.raises(PartitionError, match="forgotten already"):
        further_withdrawal(second, ForgetRequest(patients=new), cohort=cohort)


def test_what_was_forgotten_earlier_is_stored(tmp_path: Path) -> None:
    cohort = SyntheticCohort(patients=26, seed=3, size=32).load()
    first = make_partition(cohort, forget=12.0, seed=3)
    second = further_withdrawal(
        first, ForgetRequest(patients=(str(cohort.patient[first.retain[0]]),)), cohort=cohort
    )
    for name, made in (("first", first), ("second", second)):
        write_partition(tmp_path / name, made)
        assert np.array_equal(read_partition(tmp_path / name, cohort).earlier, made.earlier)
    assert "earlier" not in json.loads(
        (tmp_path / "first").read_text()
    )  # as it was before there were further requests
    with pytest.raises(PartitionError, match="these differ: earlier"):
        write_partition(tmp_path / "second", dataclasses.replace(second, earlier=()))


def test_an_old_record_does_not_meet_a_later_request(signed_run: Path, tmp_path: Path) -> None:
    record = read_record(signed_run)
    record = dataclasses.replace(
        record, decision=dataclasses.replace(record.decision, outcome="FORGOTTEN")
    )
    ledger = Ledger.make(tmp_path / "l.sqlite", key_id=record.subjects.key_id)
    number = enter(ledger, *record.subjects.patients, received=date(2026, 2, 1))
    old = dataclasses.replace(record, written="2026-01-31T23:59:59+00:00")
    with pytest.raises(EvidenceError, match="older than R0001"):
        ledger.close_requests([number], old, folder=tmp_path)
    assert ledger.entries([number])[0].state == "open"
    ledger.close_requests(
        [number], dataclasses.replace(record, written="2026-02-01T00:00:00+00:00"), folder=tmp_path
    )
    assert ledger.entries([number])[0].state == "closed"


def test_a_list_that_names_strangers_can_be_closed(signed_run: Path, tmp_path: Path) -> None:
    record = read_record(signed_run)
    decision = dataclasses.replace(record.decision, outcome="FORGOTTEN", flagged={})
    record = dataclasses.replace(record, decision=decision)
    own, stranger = record.subjects.patients[0], "f" * 16
    ledger = Ledger.make(tmp_path / "l.sqlite", key_id=record.subjects.key_id)
    number = enter(ledger, own, stranger, received=date(2026, 1, 1))

    # Nobody has looked yet whether the cohort has them, or it was another cohort
    with pytest.raises(EvidenceError, match="1 of 2 are missing"):
        ledger.close_requests([number], record, folder=tmp_path)
    for cohort, closes in (("0" * 64, False), (record.data.cohort, True)):
        ledger.process(
            ledger.entries([number]),
            write=lambda: None,
            absent={number: [stranger]},
            cohort=cohort,
        )
        if not closes:
            with pytest.raises(EvidenceError, match="1 of 2 are missing"):
                ledger.close_requests([number], record, folder=tmp_path)

    said = ledger.close_requests([number], record, folder=tmp_path)
    assert said[number] == f"1 of 2 are not in this cohort (digest {record.data.cohort[:16]})"
    assert ledger.history(number)[-1][2].endswith(said[number])


def test_who_stands_out_singly_is_not_plainly_met(signed_run: Path, tmp_path: Path) -> None:
    record = read_record(signed_run)
    one, two, three = record.subjects.patients[:3]
    decision = dataclasses.replace(
        record.decision, outcome="FORGOTTEN", flagged={one: "remembered", two: "copy retained"}
    )
    ledger = Ledger.make(tmp_path / "l.sqlite", key_id=record.subjects.key_id)
    asked = [
        enter(ledger, *patients, received=date(2026, 1, 1))
        for patients in ((one,), (two, three), (three,))
    ]
    said = ledger.close_requests(
        asked, dataclasses.replace(record, decision=decision), folder=tmp_path
    )
    notes = [ledger.history(number)[-1][2] for number in asked]
    assert set(said) == set(asked[:2])
    assert notes[0].startswith(
        f"verdict FORGOTTEN; patient {one}: flagged as remembered (unlearn again or retrain"
    )
    assert f"patient {two}: not part of the verdict" in notes[1]
    assert notes[2] == "verdict FORGOTTEN"
    older = enter(ledger, three, received=date(2026, 1, 1))
    ledger.close_requests(
        [older],
        dataclasses.replace(record, decision=dataclasses.replace(decision, flagged=None)),
        folder=tmp_path,
    )
    assert "does not say whether single patients" in ledger.history(older)[-1][2]


def test_who_was_never_trained_on_or_is_forgotten_is_answered(
    signed_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    record, cohort = read_record(signed_run), SyntheticCohort(patients=26, seed=3, size=32).load()
    before = read_partition(signed_run / "partition.json", cohort)
    held, kept = (str(cohort.patient[rows[0]]) for rows in (before.holdout, before.retain))
    gone = record.subjects.patients[0]
    ledger = Ledger.make(Path("requests.sqlite"), key_id=cohort.key_id)
    for patients in (record.subjects.patients, (held,), (kept, held, gone), (gone,)):
        enter(ledger, *patients, received=date(2026, 1, 1))
    ledger.close_requests([1], record, folder=signed_run, note="a test")
    words = [
        "--cohort",
        "synthetic",
        "--cohort.patients",
        "40",
        "--cohort.seed",
        "3",
        "--cohort.size",
        "32",
    ]
    assert main(["requests", "process", "--out", "forget.csv", *words]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "R0002 is left out: of those it names, 1 never trained on (holdout): there is nothing to unlearn"
        in said
    )
    assert "R0003: 1 of 3 are never trained on (holdout)" in said
    assert "R0003: 1 of 3 are forgotten by an earlier run" in said
    assert (
        "R0004 is left out: of those it names, 1 forgotten by an earlier run: close it by the record"
        in said
    )
    assert Path("forget.csv").read_text().splitlines()[1:] == [f"{kept},R0003"]
    for patient, message in (
        (held, "never trained on"),
        (gone, "forgotten already"),
    ):  # what forgetmi run says of them
        with pytest.raises(PartitionError, match=message):
            further_withdrawal(before, ForgetRequest(patients=(patient,)), cohort=cohort)
    assert (
        main(["requests", "close", "R0002", "--note", "the model was never trained on them"]) == 0
    )
    then = dataclasses.replace(
        record,
        subjects=dataclasses.replace(
            record.subjects, patients=(kept,), earlier=record.subjects.patients
        ),
        decision=dataclasses.replace(record.decision, outcome="FORGOTTEN", flagged={}),
    )
    with pytest.raises(EvidenceError, match="verdict is about nobody R0004 names"):
        ledger.close_requests([4], then, folder=tmp_path)
    with pytest.raises(EvidenceError, match="some whom R0003 names may have been trained on here"):
        ledger.close_requests(
            [3], then, folder=tmp_path
        )  # as before, it starts from the first original
    after = record.model("after").weights
    then = dataclasses.replace(
        then,
        models=tuple(
            dataclasses.replace(one, weights=after) if one.role == "before" else one
            for one in then.models
        ),
    )
    remark = ledger.close_requests([3], then, folder=tmp_path)[3]
    assert "1 of 3 were forgotten by an earlier run" in remark
    assert "1 of 3 were never trained on" in remark
    assert ledger.entries([3])[0].never_trained == (held,)


def test_a_withdrawal_from_the_list_to_the_record(
    signed_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    cohort = SyntheticCohort(patients=26, seed=3, size=32).load()
    words = [
        "--cohort",
        "synthetic",
        "--cohort.patients",
        "40",
        "--cohort.seed",
        "3",
        "--cohort.size",
        "32",
    ]
    forgotten = read_record(signed_run).subjects.patients
    table = Path(str(cohort.image[0]).split("#")[0]).parent / "cohort.csv"
    header, *lines = table.read_text().splitlines()
    place = header.split(",").index("patient_id")
    raw = list(dict.fromkeys(line.split(",")[place] for line in lines))
    digest = dict(zip(raw, dict.fromkeys(cohort.patient.tolist()), strict=False))
    asked = [one for one in raw if digest.get(one) in forgotten][:2]
    Path("who.csv").write_text("patient_id\n" + "\n".join(asked) + "\n")
    Path("strange.csv").write_text("patient_id\nnobody-known\n")

    assert main(["requests", "add", "--who", "who.csv", "--received", "2026-01-31"]) == 0
    assert "R0001: 2 patients, all_studies, open, due 2026-02-28" in capsys.readouterr().out
    assert main(["requests", "add", "--who", "strange.csv", "--term", "own", "--days", "5"]) == 0
    assert main(["requests", "due", "--today", "2026-03-02"]) == 0
    assert "OVERDUE by 2 d" in capsys.readouterr().out
    assert main(["requests", "process", "--out", "forget.csv", *words]) == 0
    out = capsys.readouterr().out
    assert "R0002 is left out: nobody it names is in this cohort" in out
    assert "--request.id R0001" in out
    key = Path(os.environ["FORGETMI_KEY_FILE"]).read_bytes()
    assert set(read_forget_list(Path("forget.csv"), cohort=cohort, key=key).patients) == {
        digest[one] for one in asked
    }
    assert main(["requests", "close", "R1", "--record", str(signed_run)]) == 2
    assert "the verdict is" in capsys.readouterr().err
    words = [
        "requests",
        "close",
        "R1",
        "--record",
        str(signed_run),
        "--note",
        "accepted by the officer",
    ]
    stranger = new_key(tmp_path / "stranger.key")
    assert main([*words, "--key", f"{stranger}.pub"]) == 2
    assert "another key than the one to trust" in capsys.readouterr().err
    assert main(words) == 0
    assert "not checked: whose key it is" in capsys.readouterr().out
    assert main(["requests", "close", "R2", "--record", str(signed_run), "--note", "no"]) == 2
    assert "does not forget everybody R0002 names" in capsys.readouterr().err
    assert main(["requests", "drift"]) == 0
    assert "1 requests  AUC " in capsys.readouterr().out
    assert main(["requests", "advise", "--runs", str(signed_run), "--patients", "2"]) == 0
    assert "of a retraining" in capsys.readouterr().out
    assert main(["requests", "list", "--as-json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {one["request"]: one["state"] for one in listed} == {"R0001": "closed", "R0002": "open"}
    stored = (
        b"".join(path.read_bytes() for path in Path().glob("requests.sqlite*"))
        + Path("forget.csv").read_bytes()
    )
    assert not [one for one in [*asked, "nobody-known"] if one.encode() in stored]


def test_wrong_input_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("who.csv").write_text('patient_id\nsubject07\n" "\n')
    Path("other.csv").write_text("name\nsubject07\n")
    Path("good.csv").write_text("patient_id\nsubject07\n")
    cases = {
        "is blank": ["add", "--who", "who.csv"],
        "no column": ["add", "--who", "other.csv"],
        "cannot be read": ["add", "--who", "absent.csv"],
        "is no day": ["add", "--who", "good.csv", "--received", "soon"],
        "hold this row's identifier": ["add", "--who", "good.csv", "--note", "about subject07"],
        "number of days": ["add", "--who", "good.csv", "--term", "own"],
        "there is no ledger": ["list"],
        "Give 0 or more": ["due", "--within", "-1"],
        "needs an action": ["ad"],
        "no number of a request": ["close", "seven", "--note", "x"],
    }
    for message, words in cases.items():
        assert main(["requests", *words]) == 2, words
        error = capsys.readouterr().err
        assert message in error
        assert "subject07" not in error
    assert not Path("requests.sqlite").exists()


def test_a_forget_list_of_digests_never_prints_an_identifier(tmp_path: Path) -> None:
    cohort = SyntheticCohort(patients=26, seed=3, size=32).load()
    key = Path(os.environ["FORGETMI_KEY_FILE"]).read_bytes()
    path = tmp_path / "list.csv"
    path.write_text(f"patient_digest\n{cohort.patient[0]}\n")
    assert read_forget_list(path, cohort=cohort, key=key).patients == (cohort.patient[0],)
    path.write_text("patient_digest\nsubject07\n" + "0" * 16 + "\n")
    with pytest.raises(ForgetMIError) as found:
        read_forget_list(path, cohort=cohort, key=key)
    assert len(found.value.faults) == 2
    assert "subject07" not in str(found.value)
