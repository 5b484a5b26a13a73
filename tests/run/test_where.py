"""Where people are left: models, logs, pools, signals, records, ledgers, files that name them."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch

from forgetmi.cli import main
from forgetmi.cohort.identifiers import Pseudonyms, load_key
from forgetmi.cohort.listed_people import ListedPeople, read_people
from forgetmi.core.cache_folder import FILMS
from forgetmi.core.errors import CohortError
from forgetmi.core.files import default_cache
from forgetmi.model.initialise import build
from forgetmi.run.artefact import TO_DO
from forgetmi.run.run_data import load_data
from forgetmi.run.where import left_to_account_for, where
from forgetmi.unlearning.early_checkpoints import EarlyCheckpoints
from tests.runs import TINY, unnamed


def identifiers() -> dict[str, str]:
    """Keyed digest of each patient of the generated cohort to the identifier in its table."""
    key = Pseudonyms(load_key(None))
    return {key.digest("patient", f"P{n:06d}"): f"P{n:06d}" for n in range(40)}


def listed(folder: Path, *names: str) -> ListedPeople:
    path = folder / "list.csv"
    path.write_text("patient_id\n" + "".join(f"{name}\n" for name in names))
    return read_people(path, Pseudonyms(load_key(None)))


@pytest.fixture(scope="module")
def sets() -> dict[str, str]:
    """A raw identifier out of each set of the small run."""
    cohort, partition = load_data(TINY)
    raw = identifiers()
    names = ("forget", "retain", "validation", "holdout")
    return {name: raw[str(cohort.patient[partition.rows(name)[0]])] for name in names}


def kinds(found: list) -> dict[str, set[str]]:  # type: ignore[type-arg]
    by_path: dict[str, set[str]] = {}
    for artefact in found:
        by_path.setdefault(artefact.path, set()).add(artefact.kind)
    return by_path


def test_of_a_run_who_was_trained_on_by_which_model(
    signed_run: Path, sets: dict[str, str], tmp_path: Path
) -> None:
    forgotten = kinds(where(signed_run, listed(tmp_path, sets["forget"])))
    assert forgotten["models/original"] == {"model"}
    assert forgotten["models/unlearned"] == {"digest"}  # it names them as forgotten
    assert forgotten["models/retrain-0"] == {"digest"}
    assert forgotten["record.json"] == {"record"}
    assert forgotten["signals/unlearned.npz"] == {"signals"}
    assert "model" not in forgotten.get("models/unlearned", set())

    retained = kinds(where(signed_run, listed(tmp_path, sets["retain"])))
    for name in ("original", "unlearned", "retrain-0", "retrain-1"):
        assert retained[f"models/{name}"] == {"model"}
    assert "record.json" not in retained

    for name in ("validation", "holdout"):
        found = kinds(where(signed_run, listed(tmp_path, sets[name])))
        assert found["models/original"] == {"digest"}
        assert "model" not in set.union(*found.values())


def test_a_stranger_is_nowhere(signed_run: Path, tmp_path: Path) -> None:
    assert where(signed_run, listed(tmp_path, "NOBODY-77")) == []


def test_files_that_name_people_as_written(sets: dict[str, str], tmp_path: Path) -> None:
    root = tmp_path / "share"
    root.mkdir()
    name = sets["retain"]
    (root / "mail.txt").write_text(f"please see {name}, thank you")
    (root / "longer.txt").write_text(f"{name}7 and X{name} are others")
    (root / f"{name}.png").write_bytes(b"\x89PNG")
    pyarrow.parquet.write_table(pyarrow.table({"who": ["x", name]}), root / "t.parquet")
    (root / "big.csv").write_text("a\n" * 2_100_000 + name)  # across two pieces of the search
    people = listed(tmp_path, name)
    found = where(root, people)
    assert [one.path for one in found] == [
        "(a name that holds an identifier)",
        "big.csv",
        "mail.txt",
        "t.parquet",
    ]
    assert {one.kind for one in found} == {"identifier"}
    assert not any(name in str(one) for one in found)


def test_what_says_nothing_is_named_as_such(
    signed_run: Path, sets: dict[str, str], tmp_path: Path
) -> None:
    root = tmp_path / "share"
    root.mkdir()
    unnamed(signed_run / "models" / "original", root / "old")
    shutil.copytree(signed_run / "models" / "original", root / "damaged")
    (root / "damaged" / "model.json").write_text("{")
    (root / "state").mkdir()
    (root / "state" / "x.pt").write_bytes(b"weights")
    (root / "gone.log").write_bytes(b"updates")
    found = kinds(where(root, listed(tmp_path, sets["retain"])))
    assert found == {
        "old": {"unknown"},
        "damaged": {"unknown"},
        "state/x.pt": {"progress"},
        "gone.log": {"unknown"},
    }


def test_a_training_log_depends_on_whom_its_model_was_trained_on(
    signed_run: Path, sets: dict[str, str], tmp_path: Path
) -> None:
    root = tmp_path / "share"
    for name in ("original", "unlearned"):
        shutil.copytree(signed_run / "models" / name, root / name)
        (root / f"{name}.log").mkdir()
        (root / f"{name}.log" / "sums.bin").write_bytes(b"0")
    found = kinds(where(root, listed(tmp_path, sets["forget"])))
    assert found["original.log"] == {"training log"}
    assert "unlearned.log" not in found


def test_an_early_checkpoint_that_saw_somebody_is_named(
    signed_run: Path, sets: dict[str, str], tmp_path: Path, small: Any
) -> None:
    """As rewinding keeps it beside the model, until unlearning leaves one without them."""
    kept = EarlyCheckpoints((1,))
    net = build(small.prepared.spec, seed=0)
    for done in (0, 1):
        kept.after_epoch(net, torch.optim.SGD(net.parameters(), lr=0.1), done)
    share = tmp_path / "share"
    for name in ("original", "unlearned"):
        shutil.copytree(signed_run / "models" / name, share / name)
        kept.save(share / f"{name}.log")

    people = listed(tmp_path, sets["forget"])
    found = {one.path: one for one in where(share, people)}
    assert found["original.log"].kind == "training log"
    assert found["original.log"].people == people.patients
    assert "unlearned.log" not in found
    assert [one.path for one in left_to_account_for(share, people)] == ["original", "original.log"]


def test_every_kind_of_artefact_is_found(
    signed_run: Path, pool: Path, sets: dict[str, str], tmp_path: Path
) -> None:
    """One tree with everything that the package leaves of a person, and weights that were exported."""
    share = tmp_path / "share"
    shutil.copytree(signed_run, share / "run")
    (share / "run" / "models" / "original.log").write_bytes(b"early")
    shutil.copytree(pool, share / "pool")
    (share / "run" / "state").mkdir(exist_ok=True)
    (share / "run" / "state" / "unlearned.pt").write_bytes(b"weights")
    for name in ("served.onnx", "served.pt2", "copy.safetensors"):
        (share / name).write_bytes(b"weights")
    (share / "letter.txt").write_text(f"Dear {sets['forget']}")

    # Decoded films, as the run left them in the cache, and a ledger
    shutil.copytree(default_cache() / FILMS, share / "cache" / FILMS)
    people = listed(tmp_path, sets["forget"])
    who = ["--who", str(tmp_path / "list.csv"), "--ledger", str(share / "ledger.sqlite")]
    assert main(["requests", "add", *who]) == 0

    found = kinds(where(share, people))
    assert set.union(*found.values()) == set(TO_DO)
    assert found["cache/decoded-films"] == {"films"}
    assert found["ledger.sqlite"] == {"ledger"}
    assert found["pool/folds.json"] == {"pool"}
    assert found["pool/in_service.npz"] == {"signals"}
    for name in ("served.onnx", "served.pt2", "copy.safetensors"):
        assert found[name] == {"unknown"}
    members = {path for path, kind in found.items() if "model" in kind and path.startswith("pool/")}
    assert len(members) == 3  # of each repetition one member of two was trained on them


def test_a_cache_whose_films_are_gone_is_none(tmp_path: Path, sets: dict[str, str]) -> None:
    (tmp_path / "share" / "decoded-films").mkdir(parents=True)
    (tmp_path / "share" / "decoded-films" / "notes.txt").write_text(sets["retain"])
    found = where(tmp_path / "share", listed(tmp_path, sets["retain"]))
    assert [one.kind for one in found] == ["identifier"]


def test_a_request_is_closed_when_nothing_is_left_or_it_is_accounted_for(
    signed_run: Path, sets: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    share, ledger = tmp_path / "share", str(tmp_path / "ledger")
    shutil.copytree(signed_run / "models" / "original", share / "copy")
    listed(tmp_path, sets["forget"])
    who = ["--who", str(tmp_path / "list.csv"), "--ledger", ledger]
    assert main(["requests", "add", *who]) == 0
    capsys.readouterr()

    people = listed(tmp_path, sets["forget"])
    assert [one.path for one in left_to_account_for(share, people)] == ["copy"]
    assert left_to_account_for(share, people, run=share) == []
    assert left_to_account_for(signed_run, people, run=signed_run) == []

    close = ["requests", "close", "R0001", "--record", str(signed_run), "--ledger", ledger]
    assert main([*close, "--search", str(share)]) == 2
    said = capsys.readouterr().err
    assert "share/copy: R0001: trained on them" in said
    assert "say in --note" in said
    assert sets["forget"] not in said

    note = ["--note", "the copy is kept until the audit ends"]
    assert main([*close, "--search", str(share), *note]) in (0, 2)  # the record itself may object


def test_with_another_key_nobody_is_called_absent(
    signed_run: Path, sets: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A list digested with another key fits nothing: no model may then seem never to have seen them."""
    (tmp_path / "key").write_bytes(b"another key of thirty-two bytes!")
    path = tmp_path / "list.csv"
    path.write_text(f"patient_id\n{sets['forget']}\n")
    ledger = str(tmp_path / "share" / "ledger")
    share = tmp_path / "share"
    shutil.copytree(signed_run / "models", share / "models")
    shutil.copy(signed_run / "record.json", share / "record.json")
    assert main(["requests", "add", "--who", str(path), "--ledger", ledger]) == 0

    found = kinds(where(share, read_people(path, Pseudonyms(load_key(tmp_path / "key")))))
    for name in ("original", "unlearned", "retrain-0"):
        assert found[f"models/{name}"] == {"unknown"}
    assert found["record.json"] == found["ledger"] == {"unknown"}

    # Digests as the ledger wrote them say nothing of a key, and are looked for as they are
    right = listed(tmp_path, sets["forget"])
    path.write_text(f"patient_digest\n{right.patients[0]}\n")
    by_digest = read_people(path, Pseudonyms(load_key(tmp_path / "key")))
    assert kinds(where(share, by_digest))["models/original"] == {"model"}
    capsys.readouterr()


def test_what_cannot_be_looked_into_is_named(
    signed_run: Path, sets: dict[str, str], tmp_path: Path
) -> None:
    share, away = tmp_path / "share", tmp_path / "away"
    shutil.copytree(signed_run / "models" / "original", away / "original")
    (share / "inside").mkdir(parents=True)
    (share / "inside" / "note.txt").write_text("nobody")
    (share / "current").symlink_to(away / "original")
    (share / "facts").symlink_to(away / "original" / "model.json")
    (share / "near").symlink_to(share / "inside")
    with gzip.open(share / "table.csv.gz", "wt") as file:
        file.write(sets["forget"])
    np.savez_compressed(share / "other.npz", who=np.array([sets["forget"]]))

    found = kinds(where(share, listed(tmp_path, sets["forget"])))
    assert found == {
        "current": {"unknown"},
        "facts": {"unknown"},
        "table.csv.gz": {"unknown"},
        "other.npz": {"unknown"},
    }


def test_the_command_prints_no_identifier(
    signed_run: Path, sets: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    people = listed(tmp_path, sets["forget"])
    words = ["where", str(signed_run), "--list", str(tmp_path / "list.csv")]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "/models/original\n  trained on them, 1 of them: make it forget them" in printed
    assert sets["forget"] not in printed

    assert main([*words, "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert plain["people"] == sorted(people.digests)
    assert {one["kind"] for one in plain["artefacts"]} >= {"model", "signals", "record"}

    assert main(["where", str(tmp_path / "absent"), "--list", str(tmp_path / "list.csv")]) == 2


def test_lists_of_digests_and_lists_of_nobody(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("patient_digest\n0123456789abcdef\n")
    people = read_people(path, Pseudonyms(load_key(None)))
    assert people.patients == ("0123456789abcdef",)
    assert not people.named_in("0123456789abcdef")
    for text in ("patient_id\n", "name\nx\n"):
        path.write_text(text)
        with pytest.raises(CohortError):
            read_people(path, Pseudonyms(load_key(None)))
    assert np.isscalar(len(people.digests))
