"""A published model is a checkpoint with a card, names nobody, runs nothing, and goes nowhere unasked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

import forgetmi
from forgetmi.cli import main
from forgetmi.core.errors import CheckpointError, EvidenceError, SpecError
from forgetmi.run.given_patients import patients_in
from forgetmi.service import hub


def traces(folder: Path, cohort: Any) -> set[str]:
    """Files of a folder that name a patient or a study by digest, or hold a sentence of a report."""
    words = {*map(str, cohort.patient), *map(str, cohort.study)}
    words |= {str(text)[:60] for text in cohort.report if len(str(text)) >= 60}
    marks = [word.encode() for word in words]

    found = set()
    for path in folder.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        if any(mark in content for mark in marks):
            found.add(path.name)
    return found


@pytest.fixture(scope="module")
def published(stored: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub") / "model"
    return forgetmi.save_pretrained(forgetmi.load(stored), folder, license="apache-2.0")


def test_it_is_read_back_and_predicts_the_same(stored: Path, published: Path) -> None:
    one, other = forgetmi.load(stored), forgetmi.from_pretrained(published)
    assert {path.name for path in published.iterdir()} == {
        "README.md",
        "config.json",
        "model.json",
        "model.safetensors",
        "vocab.txt",
    }
    inputs = {"images": [[[0.0, 0.5], [0.2, 1.0]]], "reports": ["No edema."]}
    assert (one.predict(**inputs).joint == other.predict(**inputs).joint).all()
    assert one.facts == other.facts


def test_nobody_is_named_unless_asked_for(
    small: Any, stored: Path, published: Path, tmp_path: Path
) -> None:
    # The search finds what is there
    assert traces(stored, small.cohort) == {"model.json"}
    assert traces(published, small.cohort) == set()
    assert patients_in(published) is None

    named = forgetmi.save_pretrained(forgetmi.load(stored), tmp_path / "named", patients=True)
    assert traces(named, small.cohort) == {"model.json"}
    assert patients_in(named) == patients_in(stored)
    assert "names the patients by keyed digests" in (named / "README.md").read_text()


def test_what_else_a_checkpoint_holds_is_not_published(
    small: Any, stored: Path, tmp_path: Path
) -> None:
    """Only what is known to name nobody: a note of the user's is not."""
    model = forgetmi.load(stored)
    model.loaded.extra["note"] = "Qzxkova"
    model.loaded.extra["source"] = {"config": "Qzxkova"}
    folder = forgetmi.save_pretrained(model, tmp_path / "hub")
    assert not [path for path in folder.iterdir() if b"Qzxkova" in path.read_bytes()]


def test_the_card_says_what_is_known_and_what_is_not(published: Path, stored: Path) -> None:
    facts = forgetmi.load(stored).facts
    _, header, page = (published / "README.md").read_text().split("---\n", 2)
    values = yaml.safe_load(header)
    assert values["library_name"] == "forgetmi"
    assert values["license"] == "apache-2.0"
    assert values["forgetmi"] == {
        "task": "grades",
        "classes": list(facts.classes),
        "weights": facts.weights,
        "cohort": facts.cohort,
        "patients_root": facts.root,
        "verdict": "none",
    }
    for words in (
        f"Trained on {facts.trained} patients.",
        "there is no verdict on this model",
        "What is not proven",
        "Intended use",
        "no medical device",
        "neither by identifier nor by digest",
    ):
        assert words in page


def test_class_names_cannot_change_the_page(stored: Path, tmp_path: Path) -> None:
    import dataclasses

    model = forgetmi.load(stored)
    hostile = ("a|b", "`c`\n# Head", "<script>", "d: [1")
    model = dataclasses.replace(model, loaded=dataclasses.replace(model.loaded, classes=hostile))
    folder = forgetmi.save_pretrained(model, tmp_path / "hub")

    _, header, page = (folder / "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(header)["forgetmi"]["classes"] == list(hostile)
    assert "`a/b`, `'c'\\n# Head`, `<script>`, `d: [1`" in page
    assert json.loads((folder / "config.json").read_text())["id2label"]["0"] == "a|b"


def test_other_folders_are_not_replaced(stored: Path, published: Path, tmp_path: Path) -> None:
    model = forgetmi.load(stored)
    copy = tmp_path / "model"
    shutil.copytree(stored, copy)
    with pytest.raises(CheckpointError, match="other files"):
        forgetmi.save_pretrained(model, copy)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "README.md").touch()
    (tmp_path / "notes" / "thesis.tex").touch()
    with pytest.raises(CheckpointError, match="other files"):
        forgetmi.save_pretrained(model, tmp_path / "notes")
    shutil.copytree(published, tmp_path / "again")
    forgetmi.save_pretrained(model, tmp_path / "again", license="mit")
    assert "license: mit" in (tmp_path / "again" / "README.md").read_text()


def test_code_in_the_folder_is_neither_run_nor_fetched(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(published, folder)
    trap = f"open({str(tmp_path / 'ran')!r}, 'w')"
    for name in ("modeling_forgetmi.py", "__init__.py", "configuration.py"):
        (folder / name).write_text(trap)
    (folder / "config.json").write_text('{"auto_map": {"AutoModel": "modeling_forgetmi.M"}}')

    seen: dict[str, Any] = {}

    def fetch(name: str, **options: Any) -> str:
        seen.update(options, name=name)
        return str(folder)

    monkeypatch.setattr(hub, "snapshot_download", fetch)
    forgetmi.from_pretrained("clinic/model", download=True, revision="abc")
    assert not (tmp_path / "ran").exists()
    assert seen["name"] == "clinic/model"
    assert seen["revision"] == "abc"
    assert not seen["local_files_only"]
    assert not [one for one in seen["allow_patterns"] if one.endswith((".py", "*.*", ".bin"))]


def test_nothing_is_fetched_unasked_nor_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    with pytest.raises(CheckpointError, match="there is no such model"):
        forgetmi.from_pretrained("clinic/absent")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match="HF_HUB_OFFLINE"):
        forgetmi.from_pretrained("clinic/absent", download=True)


def test_nothing_is_uploaded_offline(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match="cannot be uploaded"):
        forgetmi.push_to_hub(forgetmi.load(stored), "clinic/model")


def test_uploads_are_private_and_name_nobody(
    small: Any, stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, sent = forgetmi.load(stored), tmp_path / "sent"

    class Api:
        public = False

        def __init__(self, **_: Any) -> None: ...

        def create_repo(self, name: str, *, private: bool, exist_ok: bool) -> None:
            assert private

        def repo_info(self, name: str) -> Any:
            return SimpleNamespace(private=not self.public)

        def upload_folder(self, *, repo_id: str, folder_path: Path, commit_message: str) -> Any:
            shutil.copytree(folder_path, sent)
            return SimpleNamespace(commit_url=f"there/{repo_id}")

    monkeypatch.setattr(hub, "HfApi", Api)
    assert forgetmi.push_to_hub(model, "clinic/model") == "there/clinic/model"
    assert traces(sent, small.cohort) == set()

    # A public one that is there already
    shutil.rmtree(sent)
    Api.public = True
    with pytest.raises(SpecError, match="is public"):
        forgetmi.push_to_hub(model, "clinic/model")
    assert not sent.exists()


def test_a_function_of_the_users_own_is_not_published(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="function of the user's own"):
        hub._check_own({"own/0/patients.csv": b""})
    hub._check_own({"own/0/weights.safetensors": b"", "model.json": b""})


def test_the_command_writes_the_folder(
    small: Any, stored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "hub"
    assert main(["export", str(stored), "--to", "hub", "--out", str(out)]) == 0
    assert "Nothing was uploaded." in capsys.readouterr().out
    assert traces(out, small.cohort) == set()
    assert main(["export", str(stored), "--to", "onnx", "--out", "x", "--license", "mit"]) == 2


@pytest.mark.slow
def test_the_card_of_a_run_has_its_verdict(signed_run: Path, stored: Path, tmp_path: Path) -> None:
    """In the words of the report, for the model that the verdict is about, and without anybody's digest."""
    from forgetmi.evidence.record_files import read_record
    from forgetmi.report.verdict_text import ANSWERS

    record = read_record(signed_run)
    folder = forgetmi.save_pretrained(forgetmi.load(signed_run), tmp_path / "hub")
    card = (folder / "README.md").read_text()
    outcome = record.decision.outcome
    assert f"**{outcome}**" in card
    assert ANSWERS[outcome].means in card  # type: ignore[index]
    assert record.digest in card
    assert "It is no proof of erasure." in card

    people = {*record.subjects.patients, *record.subjects.studies, *(record.decision.flagged or {})}
    text = b"".join(path.read_bytes() for path in folder.iterdir()).decode("latin1")
    assert people
    assert not [one for one in people if one in text or one[:8] in card]

    # The original is in the record, and the verdict is not about it; another model is not in it
    before = forgetmi.load(signed_run / "models" / "original")
    folder = forgetmi.save_pretrained(before, tmp_path / "before")
    assert "there is no verdict on this model" in (folder / "README.md").read_text()
    with pytest.raises(EvidenceError, match="not of this model"):
        forgetmi.save_pretrained(forgetmi.load(stored), tmp_path / "other", record=signed_run)
