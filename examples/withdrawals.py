"""Three requests to a model in service, from training to closed requests, every promise an assertion (under a minute).

A model is trained on a table. Three requests come: one also names somebody who is not in the table, one names a
patient whom the model never saw, one names two patients. Two withdrawals carry them out, one after the other, and
nobody whom the model was trained on is ever called never seen.
"""

import csv
import tempfile
from contextlib import closing
from pathlib import Path

import forgetmi
from forgetmi.cli import main
from forgetmi.cohort.edema_labels import GRADES
from forgetmi.cohort.identifiers import Pseudonyms, load_key
from forgetmi.cohort.partition_file import read_partition
from forgetmi.cohort.table import TableCohort
from forgetmi.core.partition import NEVER_SEEN
from forgetmi.evidence.verify import verify
from forgetmi.requests.ledger import Ledger
from forgetmi.run.given_patients import patients_in

# A model and an audit of seconds
SMALL_MODEL = {
    "--images.size": "32",
    "--text.min-patients": "2",
    "--model.stem-width": "8",
    "--model.hidden": "16",
    "--model.heads": "2",
    "--model.layers": "1",
    "--model.intermediate": "32",
    "--training.epochs": "2",
}
QUICK = {
    "--method.epochs": "1",
    "--retrains": "2",
    "--resamples": "0",
    "--audit.rule.resamples": "200",
    "--audit.relearn-epochs": "0",
    "--audit.attacks": "population",
    "--workers": "1",
}
VERDICTS = (0, 10, 11, 12)  # exit codes of a withdrawal that was carried out
STRANGER = "stranger-1964"


def forgetmi_says(*words: str | Path) -> int:
    """One command, as on the command line."""
    print("\n$ forgetmi", *words)
    return main([str(word) for word in words])


def words_of(options: dict[str, str]) -> list[str]:
    """Options as words."""
    return [word for option in options.items() for word in option]


def write_list(path: Path, *rows: tuple[str, ...]) -> Path:
    """A list as a hospital has it: who, the request's number, the day it came."""
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("patient_id", "request", "received"), *rows])
    return path


def never_seen_in(run: Path) -> set[str]:
    """Digests of the patients whom a run calls never seen."""
    sets = read_partition(run / "partition.json", cohort)
    return {str(one) for name in NEVER_SEEN for one in cohort.patient[sets.rows(name)]}


def states_in(ledger: Path) -> dict[str, str]:
    """The state of each request."""
    with closing(Ledger(ledger, reading=True)) as kept:
        return {one.name: one.state for one in kept.entries()}


def files_of(folder: Path) -> dict[Path, tuple[int, bytes]]:
    """Every file of a folder: when it was written, and what is in it."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found[path] = path.stat().st_mtime_ns, path.read_bytes()
    return found


with tempfile.TemporaryDirectory() as temporary:
    work = Path(temporary)
    key = work / "identifiers.key"
    key.write_text("0123456789abcdef" * 4)
    key.chmod(0o600)

    # A table of 40 made-up patients, and a model trained on most of them.
    make = ["cohort", "make", "--out", work / "data", "--patients", "40", "--size", "32"]
    assert not forgetmi_says(*make)
    reader = TableCohort(work / "data" / "cohort.csv", classes=GRADES, task="grades", key_file=key)
    table = ["--cohort", "table", "--cohort.path", reader.path, "--cohort.task", "grades"]
    table += ["--cohort.classes", *GRADES, "--cohort.key-file", key]
    service = work / "service"
    train = ["train", *table, *words_of(SMALL_MODEL), "--model.widths", "8", "16", "16"]
    assert not forgetmi_says(*train, "--seed", "3", "--out", service)

    # The checkpoint names whom it has seen, by digests that mean nothing without the key.
    cohort = reader.load()
    known = patients_in(service)
    assert known is not None
    trained = {*known.trained.patients}
    held_out = {*known.holdout.patients}
    assert trained.isdisjoint(held_out)
    assert trained | held_out | {*known.validation.patients} == {*map(str, cohort.patient)}
    assert not known.forgotten.patients

    # What went wrong before checkpoints did so: sets drawn anew hold out patients whom the model was trained on.
    anew = forgetmi.partition(cohort, forget=10.0, seed=11)
    assert trained & {str(one) for one in cohort.patient[anew.holdout]}

    # Who is who, as the hospital knows them.
    digest_of = Pseudonyms(load_key(key)).digest
    with reader.path.open(newline="") as file:
        names = list(dict.fromkeys(row["patient_id"] for row in csv.DictReader(file)))
    were_trained = [name for name in names if digest_of("patient", name) in trained]
    never_were = [name for name in names if digest_of("patient", name) in held_out]
    first, second, third = were_trained[:3]

    # The first two requests, on one list.
    ledger = work / "requests.sqlite"
    options = [*table, *words_of(QUICK), "--ledger", ledger, "--sign-off", "privacy officer"]
    october = write_list(
        work / "october.csv",
        (first, "A", "2025-10-05"),
        (STRANGER, "A", "2025-10-05"),
        (never_were[0], "B", "2025-10-12"),
    )
    november = write_list(
        work / "november.csv", (second, "C", "2025-11-02"), (third, "C", "2025-11-02")
    )
    runs = work / "2025-10", work / "2025-11"
    began = ["withdraw", "--model", service, "--list", october, "--out", runs[0], *options]

    # Said beforehand, and nothing written.
    assert forgetmi_says(*began, "--dry-run") == 0
    assert not runs[0].exists()
    assert not ledger.exists()

    # Carried out; given again, it is finished and nothing is written, not even times.
    code = forgetmi_says(*began)
    assert code in VERDICTS
    before = files_of(runs[0])
    assert forgetmi_says(*began) == code
    assert files_of(runs[0]) == before

    # The third request goes to the model that was made, under another seed.
    after_it = ["withdraw", "--model", runs[0], "--list", november, "--out", runs[1], *options]
    assert forgetmi_says(*after_it, "--seed", "11") in VERDICTS

    # Nobody whom the model was trained on is called never seen; whoever it held out still is.
    for run in runs:
        assert never_seen_in(run) == held_out

    # The models name who was forgotten, and the second withdrawal is about the pair alone.
    gone = {digest_of("patient", name) for name in (first, second, third)}
    last = patients_in(runs[1] / "models" / "unlearned")
    assert last is not None
    assert {*last.forgotten.patients} == gone
    assert {*last.trained.patients} == trained - gone
    sets = read_partition(runs[1] / "partition.json", cohort)
    assert {*map(str, cohort.patient[sets.earlier])} == {digest_of("patient", first)}
    assert {*map(str, cohort.patient[sets.retain])} == trained - gone

    # The records hold, one after the other, and start from each other's models.
    checked = verify(runs[1], previous=[runs[0]])
    records = verify(runs[0]).record, checked.record
    assert any("the chain holds over 2 records" in done for done in checked.done)
    assert records[0].model("before").weights != records[0].model("after").weights
    assert records[1].model("before").weights == records[0].model("after").weights
    assert {*records[1].subjects.patients} == gone - {digest_of("patient", first)}

    # What the audit could not settle on so few patients, a person decides and says why.
    for number, run in (("R0001", runs[0]), ("R0003", runs[1])):
        if states_in(ledger)[number] != "closed":
            note = "too few to measure; the next retraining is without them"
            words = ["requests", "close", number, "--ledger", ledger, "--key-file", key]
            assert not forgetmi_says(*words, "--record", run, "--note", note)
    assert states_in(ledger) == {"R0001": "closed", "R0002": "closed", "R0003": "closed"}
    with closing(Ledger(ledger, reading=True)) as kept:
        dues = [str(one.due) for one in kept.entries()]
        steps = [step.requests for step in kept.steps()]
    assert dues == ["2025-11-05", "2025-11-12", "2025-12-02"]
    assert steps == [(1,), (3,)]

    # The stranger stands in the list that came, and nowhere else.
    for path, (_, content) in files_of(work).items():
        assert (STRANGER.encode() in content) == (path == october), path.name
    print(f"\nAll closed. Of {len(trained)} patients trained on, 0 were called never seen.")
