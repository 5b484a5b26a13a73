"""``forgetmi withdraw`` around its run: who is entered, what is said, how it goes on, what closes, which code."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from forgetmi.cli import main
from forgetmi.cohort.partition_file import read_partition
from forgetmi.core.cohort import Cohort
from forgetmi.core.files import write_json
from forgetmi.evidence.record import Record
from forgetmi.evidence.record_files import read_record
from forgetmi.evidence.verify import verify
from forgetmi.requests.ledger import Ledger
from forgetmi.run.directory import RunDirectory
from forgetmi.run.report_facts import stored_expectation
from forgetmi.run.withdrawal_files import read_withdrawal
from tests.runs import TINY

RECEIVED = ["--received", "2026-11-02"]


@dataclasses.dataclass(frozen=True)
class Hospital:
    """A model in service and lists of people, by what they are to it.

    Args:
        model: The run that made it.
        cohort: Its cohort.
        trained, held, gone: Raw identifiers of those it was trained on, held out, and has forgotten.
        folder: Where lists, ledger and runs go.
    """

    model: Path
    cohort: Cohort
    trained: list[str]
    held: list[str]
    gone: list[str]
    folder: Path

    def list(self, *people: str, name: str = "list.csv", columns: str = "") -> Path:
        """A list of people; with columns, each one is a whole row."""
        path = self.folder / name
        path.write_text(f"patient_id{columns}\n" + "\n".join(people) + "\n")
        return path

    def words(self, who: Path, *more: str, out: str = "out", ledger: bool = True) -> list[str]:
        """The words of a withdrawal."""
        kept = ["--ledger", str(self.folder / "l.sqlite")] if ledger else []
        here = ["--out", str(self.folder / out), *RECEIVED]
        return ["withdraw", "--model", str(self.model), "--list", str(who), *kept, *here, *more]

    @property
    def ledger(self) -> Ledger:
        """The ledger, only read."""
        return Ledger(self.folder / "l.sqlite", reading=True)


@pytest.fixture(scope="session")
def people(signed_run: Path) -> tuple[Cohort, dict[str, list[str]]]:
    """The cohort of the signed run, and raw identifiers by set."""
    cohort = TINY.cohort.load()
    partition = read_partition(signed_run / "partition.json", cohort)
    table = Path(str(cohort.image[0]).split("#")[0]).parent / "cohort.csv"
    header, *lines = table.read_text().splitlines()
    place = header.split(",").index("patient_id")
    raw = dict(
        zip(cohort.patient.tolist(), [line.split(",")[place] for line in lines], strict=True)
    )
    sets = {}
    for name in ("retain", "holdout", "forget"):
        sets[name] = [raw[one] for one in dict.fromkeys(cohort.patient[partition.rows(name)])]
    return cohort, sets


@pytest.fixture
def hospital(
    signed_run: Path, people: tuple[Cohort, dict[str, list[str]]], tmp_path: Path
) -> Hospital:
    cohort, sets = people
    return Hospital(signed_run, cohort, sets["retain"], sets["holdout"], sets["forget"], tmp_path)


@pytest.fixture
def verdict(monkeypatch: pytest.MonkeyPatch, hospital: Hospital) -> Callable[[str], list[Any]]:
    """Runs end at once with a chosen verdict; returns the specifications that were run."""
    runs: list[Any] = []

    def choose(outcome: str) -> list[Any]:
        def finish(spec: Any, out: Path, **_: Any) -> None:
            runs.append(spec)
            (out / "models" / "unlearned").mkdir(parents=True, exist_ok=True)

        def verify(root: Path, **_: Any) -> SimpleNamespace:
            return SimpleNamespace(record=_record(hospital, root, outcome))

        monkeypatch.setattr("forgetmi.commands.withdraw_steps.finish", finish)
        monkeypatch.setattr("forgetmi.run.withdrawal.verify", verify)
        return runs

    return choose


def _record(hospital: Hospital, root: Path, outcome: str) -> Record:
    """The record that a run of the stored withdrawal would have left."""
    rows = (root / "forget_list.csv").read_text().splitlines()[1:]
    made = read_record(hospital.model)
    before, after = made.model("before"), made.model("after")
    models = (
        dataclasses.replace(before, weights=after.weights),
        dataclasses.replace(after, weights="f" * 64),
        *[model for model in made.models if model.role == "reference"],
    )
    return dataclasses.replace(
        made,
        written=datetime.now(UTC).isoformat(timespec="seconds"),
        subjects=dataclasses.replace(
            made.subjects,
            patients=tuple(row.split(",")[0] for row in rows),
            earlier=made.subjects.patients,
        ),
        decision=dataclasses.replace(made.decision, outcome=outcome, flagged={}),
        models=models,
    )


@pytest.mark.parametrize(
    ("outcome", "code", "state"),
    [
        ("FORGOTTEN", 0, "closed"),
        ("NOT RESOLVABLE", 10, "processing"),
        ("NOT FORGOTTEN", 11, "processing"),
        ("OVER-FORGOTTEN", 12, "processing"),
    ],
)
def test_the_code_is_the_verdict_and_the_best_one_closes(
    outcome: str,
    code: int,
    state: str,
    hospital: Hospital,
    verdict: Callable[[str], list[Any]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    runs = verdict(outcome)
    who = hospital.list(*hospital.trained[:2], hospital.held[0], "stranger-1964")
    assert main(hospital.words(who, "--sign-off", "officer", "--json")) == code
    said = capsys.readouterr()
    told = json.loads(said.out)
    assert (told["verdict"], told["closed"][0]["state"]) == (outcome, state)
    assert "stranger" not in said.out + said.err

    # Who is in the run, and who needs no unlearning
    (spec,) = runs
    assert spec.given.original == hospital.model / "models" / "unlearned"
    assert (spec.request.id, spec.request.due) == ("R0001", "2026-12-02")
    stored = read_withdrawal(hospital.folder / "out")
    assert stored is not None
    (request,) = stored.requests
    assert (request.subjects, request.forgotten) == (4, 2)
    assert (len(request.never_trained), len(request.absent)) == (1, 1)
    (entry,) = hospital.ledger.entries()
    assert (entry.state, entry.batch) == (state, 1)
    assert entry.absent_from == hospital.cohort.digest
    assert "stranger" not in (hospital.folder / "out" / "withdrawal.json").read_text()

    # Given again, it goes on: nothing is entered or taken twice
    if outcome not in ("FORGOTTEN", "NOT RESOLVABLE"):
        return
    assert main(hospital.words(who, "--sign-off", "officer")) == code
    assert len(runs) == 2
    assert runs[0] == runs[1]
    assert [(one.state, one.batch) for one in hospital.ledger.entries()] == [(state, 1)]


@pytest.mark.parametrize(
    ("when", "flagged", "code"),
    [
        ("{at_most_patients: 5}", False, 0),
        ("{at_most_patients: 1}", False, 10),
        pytest.param("{at_least_retrained: 9}", False, 10, marks=pytest.mark.slow),
        ("{}", True, 10),
        pytest.param("{nobody_flagged: false}", True, 0, marks=pytest.mark.slow),
    ],
)
def test_a_policy_accepts_under_its_conditions(
    when: str,
    flagged: bool,
    code: int,
    hospital: Hospital,
    verdict: Callable[[str], list[Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    verdict("NOT RESOLVABLE")
    if flagged:
        record_of = _record

        def flagged_record(*words: Any) -> Record:
            record = record_of(*words)
            flags = {record.subjects.patients[0]: "remembered"}
            return dataclasses.replace(
                record, decision=dataclasses.replace(record.decision, flagged=flags)
            )

        monkeypatch.setattr("tests.run.test_withdrawal._record", flagged_record)

    policy = hospital.folder / "policy.yaml"
    policy.write_text(
        "accept: [NOT RESOLVABLE]\nsigned_off_by: data protection officer\n"
        f"reason: too few people to measure\nwhen: {when}\n"
    )
    who = hospital.list(*hospital.trained[:2])
    words = hospital.words(who, "--policy", str(policy))
    assert main(words) == code
    (entry,) = hospital.ledger.entries()
    assert entry.state == ("closed" if code == 0 else "processing")
    stored = read_withdrawal(hospital.folder / "out")
    assert stored is not None
    assert (hospital.folder / "out" / "policy.yaml").read_text() == policy.read_text()
    last = hospital.ledger.history(entry.number)[-1][2]
    assert (f"(policy {stored.policy[:16]})" in last) == (code == 0)

    # What is acceptable is not decided afterwards
    policy.write_text(policy.read_text().replace(when, "{at_most_patients: 400}"))
    assert main(words) == 2
    assert "--policy: the withdrawal began with another policy" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("accept: [NOT FORGOTTEN]\nsigned_off_by: a\nreason: b\n", "accept"),
        ("accept: [NOT RESOLVABLE]\nreason: b\n", "'signed_off_by' is missing"),
        ("accept: []\nsigned_off_by: a\nreason: b\n", "it accepts nothing"),
        ("accept: [NOT RESOLVABLE]\nsigned_off_by: a\nreason: b\nunless: c\n", "unknown key"),
        ("accept: [NOT RESOLVABLE]\nsigned_off_by: a\nreason: {}\n", "reason"),
    ],
)
def test_a_policy_is_read_strictly(
    text: str, said: str, hospital: Hospital, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = hospital.folder / "policy.yaml"
    policy.write_text(text)
    who = hospital.list(hospital.trained[0])
    assert main(hospital.words(who, "--policy", str(policy), "--json")) == 2
    error = capsys.readouterr()
    assert said in error.err
    assert set(json.loads(error.out)["error"][0]) == {"what", "where", "why", "do"}
    assert not (hospital.folder / "l.sqlite").exists()


def test_a_policy_names_nobody(hospital: Hospital, capsys: pytest.CaptureFixture[str]) -> None:
    policy = hospital.folder / "policy.yaml"
    name = hospital.trained[3]
    policy.write_text(f"accept: [NOT RESOLVABLE]\nsigned_off_by: a\nreason: asked for by {name}\n")
    assert main(hospital.words(hospital.list(hospital.trained[0]), "--policy", str(policy))) == 2
    said = capsys.readouterr().err
    assert "the policy holds the identifier of a patient" in said
    assert name not in said


def test_a_dry_run_says_all_and_does_nothing(
    hospital: Hospital, capsys: pytest.CaptureFixture[str]
) -> None:
    who = hospital.list(*hospital.trained[:3])
    before = sorted(hospital.folder.rglob("*"))
    assert main(hospital.words(who, "--dry-run", "--json")) == 0
    told = json.loads(capsys.readouterr().out)
    assert sorted(hospital.folder.rglob("*")) == before
    assert (told["trained_on"], told["expected"]["patients"]) == (3, 3)
    assert "cannot say FORGOTTEN" in told["expected"]["sentences"][0]
    assert told["retraining"]["seconds"] > 0

    # Without references nothing can be shown, and that is said
    assert main(hospital.words(who, "--dry-run", "--retrains", "0")) == 0
    assert "there are 0 retrained models" in capsys.readouterr().out


def test_what_was_expected_is_stored_before_the_run(
    hospital: Hospital, verdict: Callable[[str], list[Any]]
) -> None:
    verdict("NOT RESOLVABLE")
    main(hospital.words(hospital.list(*hospital.trained[:3])))
    expected = json.loads((hospital.folder / "out" / "expected.json").read_text())
    assert (expected["patients"], expected["can_show"]) == (3, False)

    # The report says it beside what came out
    out = RunDirectory(hospital.folder / "out")
    assert stored_expectation(out) == tuple(expected["sentences"])


@pytest.mark.parametrize("who", ["held", "held and stranger"])
def test_nobody_trained_on_is_closed_without_a_run(
    who: str, hospital: Hospital, capsys: pytest.CaptureFixture[str]
) -> None:
    named = [hospital.held[0], hospital.held[1] if who == "held" else "stranger-1"]
    words = hospital.words(hospital.list(*named))
    for message in ("no run was made", "answered before"):  # given again, nothing is entered
        assert main(words) == 0
        assert message in capsys.readouterr().out
        assert not (hospital.folder / "out").exists()
        (entry,) = hospital.ledger.entries()
        assert entry.state == "closed"
        assert "nothing to unlearn" in hospital.ledger.history(1)[-1][2]
    assert (len(entry.never_trained), len(entry.absent)) == ((2, 0) if who == "held" else (1, 1))


def test_a_list_of_strangers_alone_is_not_taken_for_done(
    hospital: Hospital, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong column or another hospital's list looks like this: nobody may be told that they were forgotten."""
    assert main(hospital.words(hospital.list("stranger-1", "stranger-2"))) == 2
    said = capsys.readouterr().err
    assert "nobody it names is in this cohort" in said
    assert "stranger" not in said
    assert not (hospital.folder / "out").exists()
    assert not (hospital.folder / "l.sqlite").exists()


def test_strangers_beside_others_stay_open(
    hospital: Hospital, verdict: Callable[[str], list[Any]]
) -> None:
    verdict("FORGOTTEN")
    rows = (f"{hospital.trained[0]},A", "stranger-1,B")
    assert main(hospital.words(hospital.list(*rows, columns=",request"))) == 0
    assert [entry.state for entry in hospital.ledger.entries()] == ["closed", "open"]


def test_one_batch_of_several_requests(
    hospital: Hospital, verdict: Callable[[str], list[Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    runs = verdict("FORGOTTEN")
    one, two, three = hospital.trained[:3]
    who = hospital.list(
        f"{one},A/7,2026-11-01,consent",
        f"{two},A/7,2026-11-01,consent",
        f"{three},B,2026-11-09,asked at the desk",
        f"{hospital.held[0]},C,2026-11-10,objection",
        columns=",request,received,ground",
    )
    assert main(hospital.words(who)) == 0
    entries = hospital.ledger.entries()
    assert [(entry.name, str(entry.due), entry.state) for entry in entries] == [
        ("R0001", "2026-12-01", "closed"),
        ("R0002", "2026-12-09", "closed"),
        ("R0003", "2026-12-10", "closed"),
    ]
    assert "number in the list: A/7" in hospital.ledger.history(1)[0][2]
    assert entries[0].ground == "consent withdrawn, GDPR Art. 17(1)(b)"

    # Each has its own date, deadline and ground in the record; the one without a run is not in it
    each = runs[0].request.each
    assert [(one.number, one.received, one.due) for one in each] == [
        ("R0001", "2026-11-01", "2026-12-01"),
        ("R0002", "2026-11-09", "2026-12-09"),
    ]
    assert runs[0].request.due == "2026-12-01"
    said = capsys.readouterr().out
    assert "R0003: nothing to unlearn: of those it names, 1 never trained on (holdout)" in said
    assert "it is closed with that reason" in said


def test_requests_of_the_ledger_by_number(
    hospital: Hospital, verdict: Callable[[str], list[Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    verdict("NOT RESOLVABLE")
    ledger = ["--ledger", str(hospital.folder / "l.sqlite")]
    for place in range(2):
        who = hospital.list(hospital.trained[place])
        assert main(["requests", "add", "--who", str(who), *ledger, *RECEIVED]) == 0
    model = ["withdraw", "--model", str(hospital.model), *ledger]
    out = hospital.folder / "by-number"
    assert main([*model, "--requests", "R0002", "--out", str(out)]) == 10
    assert f"--record {out} --ledger {ledger[1]} --note WHY" in capsys.readouterr().out
    assert [(one.name, one.state) for one in hospital.ledger.entries()] == [
        ("R0001", "open"),
        ("R0002", "processing"),
    ]

    # The batch belongs to its folder
    capsys.readouterr()
    assert main([*model, "--requests", "R0002", "--out", f"{out}-2"]) == 2
    assert "R0002 is being carried out already (forget list 1)" in capsys.readouterr().err
    assert not Path(f"{out}-2").exists()
    assert main(hospital.words(hospital.list(hospital.trained[1]), out="third")) == 2
    assert main([*model, "--requests", "R0001", "--out", str(out)]) == 2
    assert "began with other requests" in capsys.readouterr().err


def test_a_list_that_is_in_the_ledger_is_not_entered_twice(
    hospital: Hospital, verdict: Callable[[str], list[Any]]
) -> None:
    verdict("FORGOTTEN")
    who = hospital.list(hospital.trained[0])
    ledger = ["--ledger", str(hospital.folder / "l.sqlite")]
    assert main(["requests", "add", "--who", str(who), *ledger, *RECEIVED]) == 0
    assert main(hospital.words(who)) == 0
    assert [one.state for one in hospital.ledger.entries()] == ["closed"]


def test_killed_before_the_ledger_took_it_it_begins_again(
    hospital: Hospital, verdict: Callable[[str], list[Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    runs = verdict("FORGOTTEN")
    who = hospital.list(hospital.trained[0])
    assert main(hospital.words(who)) == 0
    root = hospital.folder / "out"

    # As if the commit had not come: the folder is taken, the ledger knows nothing
    (hospital.folder / "l.sqlite").unlink()
    shutil.rmtree(root / "models")
    assert main(hospital.words(who)) == 0
    assert len(runs) == 2
    assert [(one.name, one.state) for one in hospital.ledger.entries()] == [("R0001", "closed")]

    # A ledger that was lost after the run began is no reason to begin again
    (hospital.folder / "l.sqlite").unlink()
    write_json(root / "partition.json", {})
    capsys.readouterr()
    assert main(hospital.words(who)) == 2
    assert "the ledger does not know the forget list of this run" in capsys.readouterr().err


def test_without_a_ledger_it_is_carried_out_and_nothing_is_closed(
    hospital: Hospital, verdict: Callable[[str], list[Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    runs = verdict("FORGOTTEN")
    who = hospital.list(hospital.trained[0])
    assert main(hospital.words(who, ledger=False)) == 0
    assert runs[0].request.id == ""
    assert list(hospital.folder.glob("*.sqlite")) == []
    assert "no ledger is kept" in capsys.readouterr().out
    assert main(hospital.words(who)) == 2
    assert "the withdrawal began without a ledger" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--list", "gone.csv"], "cannot be read"),
        (["--model", "nowhere"], "there is no model"),
        (["--received", "2999-01-01"], "the day lies ahead"),
        (["--term", "own"], "number of days"),
        (["--scope", "legal_hold"], "asks for no unlearning"),
        (["--requests", "R0001"], "a list and numbers of requests"),
        (["--given.original", "elsewhere"], "two models are given"),
    ],
)
def test_wrong_input_is_told_and_nothing_is_written(
    change: list[str], said: str, hospital: Hospital, capsys: pytest.CaptureFixture[str]
) -> None:
    who = hospital.list(hospital.trained[0])
    before = sorted(hospital.folder.rglob("*"))
    assert main([*hospital.words(who), *change]) == 2
    assert said in capsys.readouterr().err
    assert sorted(hospital.folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["{0},A,2026-11-01", "{1},A,2026-11-02"], "two rows of one request differ"),
        (["{0},,2026-11-01"], "the request is blank"),
        (["{0},A,1.11.2026"], "no day"),
        (["{0},about {0},2026-11-01"], "the words hold this row's identifier"),
        (["{0},A,"], ""),
    ],
)
def test_a_list_of_several_requests_is_checked(
    rows: list[str], said: str, hospital: Hospital, capsys: pytest.CaptureFixture[str]
) -> None:
    filled = [row.format(*hospital.trained) for row in rows]
    who = hospital.list(*filled, columns=",request,received")
    assert main([*hospital.words(who), "--dry-run"]) == (2 if said else 0)
    error = capsys.readouterr().err
    assert said in error
    assert hospital.trained[0] not in error


def test_interrupted_it_ends_with_130_and_goes_on(
    hospital: Hospital,
    verdict: Callable[[str], list[Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    words = hospital.words(hospital.list(hospital.trained[0]))
    with monkeypatch.context() as patch:
        patch.setattr("forgetmi.commands.withdraw_steps.finish", interrupt)
        assert main([*words, "--json"]) == 130
    assert json.loads(capsys.readouterr().out)["error"][0]["what"] == "interrupted"
    verdict("FORGOTTEN")
    assert main(words) == 0
    assert [(one.state, one.batch) for one in hospital.ledger.entries()] == [("closed", 1)]


def test_what_another_process_entered_meanwhile_is_not_entered_twice(
    hospital: Hospital, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from forgetmi.run.withdrawal import begin

    who = hospital.list(hospital.trained[0])
    add = ["requests", "add", "--who", str(who), "--ledger", str(hospital.folder / "l.sqlite")]

    def begin_late(*words: Any) -> Any:
        assert main([*add, *RECEIVED]) == 0
        return begin(*words)

    monkeypatch.setattr("forgetmi.commands.withdraw_steps.begin", begin_late)
    assert main(hospital.words(who)) == 2
    assert "R0001 was entered while the list was read" in capsys.readouterr().err
    assert [one.state for one in hospital.ledger.entries()] == ["open"]
    assert not (hospital.folder / "out" / "spec.yaml").exists()


def test_a_folder_of_something_else_is_refused_before_anything(
    hospital: Hospital, capsys: pytest.CaptureFixture[str]
) -> None:
    who = hospital.list(hospital.trained[0])
    (hospital.folder / "out").mkdir()
    (hospital.folder / "out" / "thesis.txt").write_text("mine")
    for more in ([], ["--dry-run"]):
        assert main(hospital.words(who, *more)) == 2
        assert "holds no withdrawal (it holds thesis.txt)" in capsys.readouterr().err
    assert not (hospital.folder / "l.sqlite").exists()


def test_a_policy_overrules_the_verdict_alone(
    hospital: Hospital,
    verdict: Callable[[str], list[Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    verdict("NOT RESOLVABLE")
    record_of = _record

    def older(*words: Any) -> Record:
        return dataclasses.replace(record_of(*words), written="2020-01-01T00:00:00+00:00")

    monkeypatch.setattr("tests.run.test_withdrawal._record", older)
    policy = hospital.folder / "policy.yaml"
    policy.write_text("accept: [NOT RESOLVABLE]\nsigned_off_by: officer\nreason: too few\n")
    who = hospital.list(hospital.trained[0])
    assert main(hospital.words(who, "--policy", str(policy))) == 0
    assert "the record is older than R0001" in capsys.readouterr().out
    assert hospital.ledger.entries()[0].state == "processing"


def test_it_makes_a_model_and_a_record_that_holds(hospital: Hospital) -> None:
    """The whole run, without references; `examples/withdrawals.py` has two after each other with them."""
    who = hospital.list(*hospital.trained[:2])
    short = ["--retrains", "0", "--resamples", "0", "--method.epochs", "1", "--workers", "1"]
    quick = [*short, "--audit.relearn-epochs", "0", "--audit.attacks", "population"]
    assert main(hospital.words(who, *quick)) == 10  # nothing to compare with

    out = hospital.folder / "out"
    record = verify(out, previous=[hospital.model]).record
    assert len(record.subjects.patients) == 2
    assert record.model("before").weights == read_record(hospital.model).model("after").weights
    assert record.model("after").weights != record.model("before").weights
    (entry,) = hospital.ledger.entries()
    assert (entry.state, entry.batch) == ("processing", 1)
