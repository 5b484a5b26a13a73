"""Paths of a specification mean the same from any working directory."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from forgetmi.cohort.table import TableCohort
from forgetmi.commands.options import NoOptions, parse
from forgetmi.run.absolute_paths import absolute
from forgetmi.run.directory import RunDirectory
from forgetmi.run.spec import GivenModels, PartitionSpec, RunSpec, spec_of, write_yaml
from forgetmi.run.stored_spec import spec_text

RELATIVE = RunSpec(
    cohort=TableCohort(Path("data/cohort.csv"), image_root=Path("films")),
    partition=PartitionSpec(
        forget_list=Path("list.csv"),
        canaries=Path("../canaries"),
        after=Path("/runs/1/partition.json"),
    ),
    given=GivenModels(original=Path("service"), retrained=(Path("a"), Path("/b"))),
)


def paths(spec: RunSpec) -> list[Path]:
    found = [spec.cohort.path, spec.cohort.image_root, spec.partition.forget_list]
    return [
        *found,
        spec.partition.canaries,
        spec.partition.after,
        spec.given.original,
        *spec.given.retrained,
    ]


def test_every_path_is_seen_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    spec = absolute(RELATIVE)
    work = tmp_path / "work"
    assert paths(spec) == [
        work / "data" / "cohort.csv",
        work / "films",
        work / "list.csv",
        tmp_path / "canaries",
        Path("/runs/1/partition.json"),
        work / "service",
        work / "a",
        Path("/b"),
    ]
    assert absolute(spec) is spec
    changed = ("cohort", "partition", "given")
    same = {field.name for field in dataclasses.fields(spec)} - set(changed)
    assert all(getattr(spec, name) == getattr(RELATIVE, name) for name in same)


def test_a_command_line_gives_absolute_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--cohort", "table", "--cohort.path", "c.csv", "--partition.forget-list", "l.csv"]
    spec, _ = parse(NoOptions, words, prog="forgetmi x", description="")
    assert (spec.cohort.path, spec.partition.forget_list) == (
        tmp_path / "c.csv",
        tmp_path / "l.csv",
    )


def test_a_run_that_stored_relative_paths_goes_on_where_it_was_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = RunDirectory(tmp_path / "run")
    directory.root.mkdir()
    directory.spec.write_text(write_yaml(RELATIVE))
    monkeypatch.chdir(tmp_path)
    spec = absolute(RELATIVE)
    assert spec_text(spec, directory) == write_yaml(RELATIVE)

    # Seen from elsewhere, what is stored means other files
    monkeypatch.chdir(tmp_path / "run")
    assert spec_text(spec, directory) == write_yaml(spec)


def test_a_stored_path_may_be_relative_to_the_run(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "cohort.csv").write_text("")
    (tmp_path / "spec.yaml").write_text(write_yaml(RELATIVE))
    spec = spec_of(tmp_path)
    assert spec.cohort.path == tmp_path / "data" / "cohort.csv"
    assert spec.partition.forget_list == Path("list.csv")
