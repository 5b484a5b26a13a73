"""MIMIC-shaped data from the command line: made, shown, checked; each bad input is one clear error, or is counted."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import RLELossless

import forgetmi.data.image_file as image_file_module
from forgetmi.cli import main
from forgetmi.cohort.files import read_strings
from forgetmi.data.decode import Decoded, read_image
from forgetmi.model import checkpoint

SMALL = [
    "--images.size",
    "32",
    "--model.stem-width",
    "8",
    "--model.widths",
    "8",
    "16",
    "--model.hidden",
    "16",
    "--model.heads",
    "2",
    "--model.layers",
    "1",
    "--model.intermediate",
    "32",
    "--text.min-patients",
    "2",
    "--training.epochs",
    "1",
    "--method.epochs",
    "1",
    "--retrains",
    "0",
    "--resamples",
    "20",
    "--workers",
    "1",
    "--partition.validation",
    "0.1",
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "tree"
    assert (
        main(
            [
                "cohort",
                "make",
                "--like",
                "mimic",
                "--out",
                str(folder),
                "--patients",
                "24",
                "--size",
                "48",
                "56",
                "--bits",
                "12",
                "--compressed",
            ]
        )
        == 0
    )
    return folder


@pytest.fixture
def tree(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "tree")
    return tmp_path / "tree"


def options(tree: Path, *more: str) -> list[str]:
    return [
        "--cohort",
        "mimic_cxr",
        "--cohort.split",
        str(tree / "split.csv"),
        "--cohort.root",
        str(tree),
        *more,
    ]


def leaks(text: str, tree: Path) -> list[str]:
    cells = read_strings(tree / "patients.csv").columns["subject_id"]
    return [one for one in cells if one in text]


def test_what_is_made_can_be_run_as_it_says_and_later_runs_read_no_dicom_file(
    made: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
) -> None:
    films = sorted(made.rglob("*.dcm"))
    for path in films:
        os.utime(path, (1e9, 1e9))  # a file just written is not taken on trust
    decoded: list[str] = []

    def counting(locator: str) -> Decoded:
        decoded.append(locator)
        return read_image(locator)

    def refusing(*_: object) -> Decoded:
        raise AssertionError("a DICOM file was read again")

    # Two epochs read every film once at the model's size, and once for the search of copies
    monkeypatch.setenv("FORGETMI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(image_file_module, "read_image", counting)
    out = tmp_path / "run"
    words = ["run", "--spec", str(made / "spec.yaml"), "--out", str(out), *SMALL]
    assert main([*words, "--training.epochs", "2"]) == 0
    assert Counter(decoded) == {str(path): 2 for path in films}
    page = (out / "report.html").read_text()
    assert not leaks(page, made)
    assert "report.html" in capsys.readouterr().out
    assert (out / "duplicates.json").exists()

    # Another training of the same films reads none of them
    monkeypatch.setattr(image_file_module, "read_image", refusing)
    monkeypatch.setattr(image_file_module.ImageFile, "_file_content", property(refusing))
    trained = ["train", *options(made), *SMALL[:19], *SMALL[-2:], "--seed", "1"]
    assert main([*trained, "--out", str(tmp_path / "second")]) == 0
    one, two = out / "models" / "original", tmp_path / "second"
    assert checkpoint.load(one).digest != checkpoint.load(two).digest


@pytest.mark.parametrize(
    ("more", "word"),
    [
        (["--patients", "3"], "patients is 3"),
        (["--bits", "20"], "bits is 20"),
        (["--size", "4", "900"], "rows is 4"),
        (["--split", "nowhere.csv"], "cannot be read"),
    ],
)
def test_a_tree_that_cannot_be_made_leaves_nothing(
    more: list[str], word: str, tmp_path: Path, capsys: Any
) -> None:
    assert main(["cohort", "make", "--like", "mimic", "--out", str(tmp_path / "tree"), *more]) == 2
    assert word in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_likeness_and_an_existing_folder_are_refused(
    made: Path, tmp_path: Path, capsys: Any
) -> None:
    assert main(["cohort", "make", "--like", "mimik", "--out", str(tmp_path / "x")]) == 2
    assert "table, mimic" in capsys.readouterr().err
    assert main(["cohort", "make", "--like", "mimic", "--out", str(made)]) == 2
    assert "exists already" in capsys.readouterr().err


def test_a_tree_of_given_rows_holds_exactly_these(made: Path, tmp_path: Path) -> None:
    assert (
        main(
            [
                "cohort",
                "make",
                "--like",
                "mimic",
                "--out",
                str(tmp_path / "tree"),
                "--images",
                "none",
                "--split",
                str(made / "split.csv"),
            ]
        )
        == 0
    )
    assert (tmp_path / "tree" / "split.csv").read_bytes() == (made / "split.csv").read_bytes()
    assert not list((tmp_path / "tree").rglob("*.dcm"))


def first_image(tree: Path) -> Path:
    return sorted(tree.rglob("*.dcm"))[0]


def refused(tree: Path, more: list[str], capsys: Any) -> str:
    """What is said where neither a check nor a run is possible; nothing is written, and nobody is named."""
    out, said = tree.parent / "run", ""
    for words in (["cohort", "check"], ["run", "--out", str(out), *SMALL]):
        assert main([*words, *options(tree, *more)]) == 2
        said = capsys.readouterr().err
        assert "error: " in said
        assert not leaks(said, tree)
    assert not out.exists()
    return said


def test_a_truncated_dicom_stops_the_run_before_anything_is_written(
    tree: Path, capsys: Any
) -> None:
    path = first_image(tree)
    path.write_bytes(path.read_bytes()[:900])
    assert refused(tree, [], capsys).count("row 1, patient ") == 1


def test_a_compression_nobody_can_read_names_the_package(
    tree: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
) -> None:
    monkeypatch.setattr(get_decoder(RLELossless), "_available", {})
    for path in tree.rglob("*.dcm"):
        path.write_bytes(path.read_bytes() + b"\0\0")  # other content than the cache knows
    said = refused(tree, [], capsys)
    assert "forgetmi[dicom]" in said
    assert RLELossless.name in said


def edit(path: Path, change: Callable[[list[str]], None]) -> None:
    lines = path.read_text().split("\n")
    change(lines)
    path.write_text("\n".join(lines))


def repeat_header(lines: list[str]) -> None:
    lines.insert(5, lines[0])


def spoil_cell(number: int, value: str) -> Callable[[list[str]], None]:
    def change(lines: list[str]) -> None:
        for at in (3, 7):
            cells = lines[at].rstrip("\r").split(",")
            lines[at] = ",".join([*cells[:number], value, *cells[number + 1 :]])

    return change


def test_a_repeated_header_is_refused_by_line(tree: Path, capsys: Any) -> None:
    edit(tree / "split.csv", repeat_header)
    said = refused(tree, [], capsys)
    assert "repeats the header" in said
    assert "split.csv row" in said


@pytest.mark.parametrize("word", ["severe", "1.5", "7"])
def test_rows_without_a_grade_are_counted_and_listed(word: str, tree: Path, capsys: Any) -> None:
    edit(tree / "split.csv", spoil_cell(3, word))
    assert main(["cohort", "check", *options(tree)]) == 0
    assert (
        "2 rows of split.csv have a severity that is no grade"
        in capsys.readouterr().out.replace("\n", " ")
    )


def test_studies_without_a_report_are_counted_and_listed(tree: Path, capsys: Any) -> None:
    sorted(tree.rglob("s9*.txt"))[0].unlink()
    assert main(["cohort", "check", *options(tree)]) == 0
    said = capsys.readouterr().out
    assert "have no report and are left out (rows" in said
    assert not leaks(said, tree)


def test_reports_of_no_study_and_tabs_are_told(tree: Path, capsys: Any) -> None:
    edit(
        tree / "all_data.tsv",
        lambda lines: lines.insert(1, "9999\t1\t59999999\ta\tThe heart is\tlarge ."),
    )
    assert (
        main(["cohort", "check", *options(tree, "--cohort.reports", str(tree / "all_data.tsv"))])
        == 0
    )
    said = capsys.readouterr().out
    assert "1 reports of all_data.tsv belong to no study" in said
    assert "1 reports hold tabs, which became blanks" in said


def test_a_torn_table_of_reports_is_refused(tree: Path, capsys: Any) -> None:
    edit(tree / "all_data.tsv", lambda lines: lines.insert(1, "9999\t1\tno text"))
    assert "all_data.tsv line 2" in refused(
        tree, ["--cohort.reports", str(tree / "all_data.tsv")], capsys
    )


def test_whoever_was_never_trained_on_cannot_be_forgotten(
    tree: Path, tmp_path: Path, capsys: Any
) -> None:
    rows = read_strings(tree / "split.csv").columns
    test = next(
        one for one, fold in zip(rows["subject_id"], rows["fold"], strict=True) if fold == "TEST"
    )
    (tmp_path / "list.csv").write_text(f"subject_id\n{test}\n")
    assert (
        main(
            [
                "cohort",
                "show",
                *options(tree),
                "--partition.forget-list",
                str(tmp_path / "list.csv"),
            ]
        )
        == 2
    )
    said = capsys.readouterr().err
    assert "never trained on" in said
    assert test not in said
