"""The command line: help, the steps alone, and every bad input as one clear error with exit code 2."""

from __future__ import annotations

import contextlib
import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from forgetmi.cli import COMMANDS, main
from forgetmi.core.errors import EvaluationError, SpecError
from forgetmi.core.signals import Signals
from forgetmi.run.spec import read_yaml, write_yaml
from tests.evidence.copied_runs import states
from tests.runs import SMALL, unnamed

MODEL = [
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
    "--images.size",
    "32",
    "--text.min-patients",
    "2",
    "--training.epochs",
    "1",
]


def table(
    folder: Path,
    *,
    patients: int = 24,
    change: Callable[[list[dict[str, str]]], None] | None = None,
) -> Path:
    """A table cohort with two small grey images a patient; ``change`` spoils its rows."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(0)
    rows = []
    for patient in range(patients):
        for image in range(2):
            name = f"p{patient:02}-{image}.png"
            Image.fromarray(draw.integers(0, 255, (40, 40), dtype=np.uint8)).save(folder / name)
            rows.append(
                {
                    "patient_id": f"subject{patient:02}",
                    "study_id": f"visit{patient:02}-{image}",
                    "image_id": f"film{patient:02}-{image}",
                    "image": name,
                    "label": str((patient + image) % 2),
                    "report": f"Heart size is normal. Lungs are clear in study {image} of grade {patient % 2}.",
                    "split": "",
                }
            )
    if change is not None:
        change(rows)
    path = folder / "cohort.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def spoil(column: str, value: str, row: int = 3) -> Callable[[list[dict[str, str]]], None]:
    return lambda rows: rows[row].update({column: value})


def run(path: Path, out: Path, *more: str) -> int:
    return main(
        [
            "run",
            "--cohort",
            "table",
            "--cohort.path",
            str(path),
            "--cohort.split",
            "split",
            "--out",
            str(out),
            *MODEL,
            "--method.epochs",
            "1",
            "--retrains",
            "0",
            "--resamples",
            "20",
            "--workers",
            "1",
            *more,
        ]
    )


def leaks(text: str, folder: Path) -> list[str]:
    return [
        word
        for word in ("subject03", "visit03", "film03", "Heart size", str(folder))
        if word in text
    ]


def drop_column(rows: list[dict[str, str]]) -> None:
    for row in rows:
        del row["report"]


def rename_to(name: str, old: str) -> Callable[[list[dict[str, str]]], None]:
    def change(rows: list[dict[str, str]]) -> None:
        for row in rows:
            row[name] = row.pop(old)

    return change


BAD: dict[str, tuple[Callable[[list[dict[str, str]]], None], str]] = {
    "missing column": (drop_column, "report"),
    "misspelt column": (rename_to("reprot", "report"), "reprot"),
    "duplicate image id": (spoil("image_id", "film00-0"), "image"),
    "image missing": (spoil("image", "nowhere.png"), "not found"),
    "empty report": (spoil("report", "  "), "report"),
    "label outside the classes": (spoil("label", "seven"), "label"),
    "a patient in two splits": (
        lambda rows: (rows[2].update(split="train"), rows[3].update(split="test")),
        "split",
    ),
    "blank patient": (spoil("patient_id", ""), "patient_id"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_table_is_one_clear_error(case: str, tmp_path: Path, capsys: Any) -> None:
    change, word = BAD[case]
    path = table(tmp_path / "data", change=change)
    assert run(path, tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert "cohort.csv" in said
    assert word in said
    assert not leaks(said, tmp_path)
    assert not (tmp_path / "out").exists()


def spoil_image(path: Path, kind: str) -> None:
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:150])
    elif kind == "garbage":
        path.write_bytes(b"not an image at all")
    elif kind == "DICOM without pixels":
        from pydicom.dataset import FileDataset, FileMetaDataset
        from pydicom.uid import ExplicitVRLittleEndian

        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
        data.PatientID = "subject03"
        data.save_as(path, enforce_file_format=False, little_endian=True, implicit_vr=False)


@pytest.mark.parametrize("kind", ["truncated", "garbage", "DICOM without pixels"])
def test_a_bad_image_is_named_by_row_and_digest(kind: str, tmp_path: Path, capsys: Any) -> None:
    path = table(tmp_path / "data")
    spoil_image(tmp_path / "data" / "p03-1.png", kind)
    assert run(path, tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert "row" in said
    assert not leaks(said, tmp_path)
    assert not (tmp_path / "out").exists()
    assert main(["cohort", "check", "--cohort", "table", "--cohort.path", str(path)]) == 2


def test_a_colour_image_is_converted_with_a_notice(tmp_path: Path, capsys: Any) -> None:
    path = table(tmp_path / "data")
    Image.fromarray(np.full((40, 40, 3), (200, 10, 10), np.uint8)).save(
        tmp_path / "data" / "p00-0.png"
    )
    assert main(["cohort", "check", "--cohort", "table", "--cohort.path", str(path)]) == 0
    assert "colour" in capsys.readouterr().out


def test_an_unrelated_column_named_split_is_refused_with_the_option_that_leaves_it_alone(
    tmp_path: Path,
    capsys: Any,
) -> None:
    def arms(rows: list[dict[str, str]]) -> None:
        for number, row in enumerate(rows):
            row["split"] = "ab"[number % 2]

    words = [
        "cohort",
        "check",
        "--cohort",
        "table",
        "--cohort.path",
        str(table(tmp_path / "data", change=arms)),
    ]
    assert main(words) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "column 'split'" in said
    assert "the split is not known (accepted: blank, train" in said
    assert 'If the column is something else, leave it alone with --cohort.split ""' in said
    assert main([*words, "--cohort.split", ""]) == 0


FORGET = {
    "not in the cohort": ("patient_id\nsubject03\nstranger\nother\n", "not in the cohort"),
    "empty list": ("patient_id\n", "no rows"),
    "everybody": ("patient_id\n" + "".join(f"subject{n:02}\n" for n in range(24)), "everybody"),
    "wrong column": ("who\nsubject03\n", "patient_id"),
}


@pytest.mark.parametrize("case", FORGET)
def test_a_bad_forget_list_is_refused(case: str, tmp_path: Path, capsys: Any) -> None:
    content, word = FORGET[case]
    path = table(tmp_path / "data")
    wanted = tmp_path / "forget.csv"
    wanted.write_text(content)
    assert run(path, tmp_path / "out", "--partition.forget-list", str(wanted)) == 2
    said = capsys.readouterr().err
    assert word in said
    assert "stranger" not in said
    if case == "not in the cohort":
        assert said.count("patient ") >= 2  # both strangers, each by digest
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("percent", ["0", "100", "-3"])
def test_percent_is_checked(percent: str, tmp_path: Path, capsys: Any) -> None:
    assert run(table(tmp_path / "data"), tmp_path / "out", "--partition.percent", percent) == 2
    assert "percent" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_forget_list_runs_to_a_report(tmp_path: Path, capsys: Any) -> None:
    path = table(tmp_path / "data")
    wanted = tmp_path / "forget.csv"
    wanted.write_text("patient_id\nsubject03\nsubject04\nsubject07\n")
    assert (
        run(
            path,
            tmp_path / "out",
            "--partition.forget-list",
            str(wanted),
            "--partition.reason",
            "asked <b>us</b>",
        )
        == 0
    )
    page = (tmp_path / "out" / "report.html").read_text()
    assert "asked &lt;b&gt;us" in page
    assert not leaks(page, tmp_path)
    assert not leaks(
        (tmp_path / "out" / "spec.yaml").read_text().replace(str(tmp_path), ""), tmp_path
    )
    assert "report.html" in capsys.readouterr().out


def test_unknown_keys_of_a_specification_are_named(tmp_path: Path, capsys: Any) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        write_yaml(SMALL)
        .replace("resamples:", "resampels:")
        .replace("  lr: 0.0003", "  lrr: 0.0003")
    )
    assert main(["run", "--spec", str(spec), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "Did you mean 'resamples'" in said
    assert "Did you mean 'lr'" in said
    assert not (tmp_path / "out").exists()


def test_unknown_options_and_names_end_with_two(tmp_path: Path, capsys: Any) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["run", "--out", str(tmp_path / "out"), "--method.lrr", "3"])
    assert stop.value.code == 2
    capsys.readouterr()
    for words in (
        ["rum"],
        ["run", "--method", "forget_my", "--out", "x"],
        ["run", "--cohort", "tabel", "--out", "x"],
        ["run", "--spec", str(tmp_path / "no.yaml"), "--out", "x"],
        ["cohort", "mkae"],
        ["report", str(tmp_path)],
    ):
        assert main(words) == 2
        assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize(
    "words",
    [
        ["--retrains", "-1"],
        ["--batch-size", "0"],
        ["--resamples", "-5"],
        ["--workers", "-1"],
        ["--threads", "0"],
        ["--gpus-per-job", "nan"],
        ["--method.epochs", "-1"],
        ["--method.lr", "0"],
        ["--method.lr", "nan"],
        ["--retrains", "99999999999999999999"],
    ],
)
def test_counts_out_of_range_are_refused_before_anything_is_written(
    words: list[str], tmp_path: Path, capsys: Any
) -> None:
    assert main(["run", "--out", str(tmp_path / "out"), *words]) == 2
    said = capsys.readouterr().err
    assert words[0].strip("-").replace("-", "_") in said
    assert " must be " in said or " is not a number" in said
    assert not (tmp_path / "out").exists()


def test_what_the_system_refuses_is_one_clear_error(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "file").write_text("in the way")
    assert (
        main(
            [
                "cohort",
                "make",
                "--out",
                str(tmp_path / "file" / "cohort"),
                "--patients",
                "2",
                "--size",
                "16",
            ]
        )
        == 2
    )
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("error: ")
    assert "file" in said
    assert "Check the path" in said
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("content", [b"", b"PK nothing", b"\x93NUMPY"])
def test_damaged_signals_are_one_clear_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.npz").write_bytes(content)
    with pytest.raises(EvaluationError, match="the signals cannot be read"):
        Signals.load(tmp_path / "model.npz")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: Any) -> None:
    with contextlib.suppress(
        SystemExit
    ):  # commands made of options end the process after their help
        main([command, "--help"])
    assert "usage: forgetmi" in capsys.readouterr().out


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Original, retrained and unlearned checkpoints made by the single commands."""
    folder = tmp_path_factory.mktemp("steps")
    path = table(folder / "data")
    cohort = ["--cohort", "table", "--cohort.path", str(path), "--partition.percent", "12"]
    assert main(["train", *cohort, *MODEL, "--out", str(folder / "original")]) == 0
    assert (
        main(
            [
                "train",
                *cohort,
                *MODEL,
                "--out",
                str(folder / "retrained"),
                "--without-forgotten",
                "--seed",
                "9",
                "--split-seed",
                "0",
            ]
        )
        == 0
    )
    assert (
        main(
            [
                "unlearn",
                *cohort,
                "--checkpoint",
                str(folder / "original"),
                "--out",
                str(folder / "unlearned"),
                "--method.epochs",
                "1",
            ]
        )
        == 0
    )
    return folder, cohort


def test_a_finished_checkpoint_is_left_as_it_is(
    steps: tuple[Path, list[str]], tmp_path: Path, capsys: Any
) -> None:
    folder, cohort = steps
    shutil.copytree(folder, tmp_path / "copy")
    folder = tmp_path / "copy"
    for name in ("original", "unlearned"):
        path = folder / f"{name}.options.yaml"
        path.write_text(
            path.read_text().replace(str(steps[0] / "original"), str(folder / "original"))
        )
    train = ["train", *cohort, *MODEL, "--out", str(folder / "original")]
    given = ["--checkpoint", str(folder / "original"), "--method.epochs", "1"]
    unlearn = ["unlearn", *cohort, *given, "--out", str(folder / "unlearned")]
    before = states(folder)
    for command in (train, unlearn):
        assert main(command) == 0
        assert "finished already. Nothing was done." in capsys.readouterr().out

    # Other options, or a name under which something else lies, are refused before any work
    for words, why in (
        ([*train, "--seed", "8"], "differ: seed"),
        ([*train, "--without-forgotten"], "differ: without_forgotten"),
        ([*unlearn, "--method.epochs", "2"], "differ: method.epochs"),
        ([*unlearn[:-1], str(folder / "data")], "what it was made with is not known"),
    ):
        assert main(words) == 2
        assert why in capsys.readouterr().err
    assert states(folder) == before

    # Damaged, or from another original, it is not called finished
    (folder / "original").rename(folder / "aside")
    shutil.copytree(folder / "retrained", folder / "original")
    assert main(unlearn) == 2
    assert "another original" in capsys.readouterr().err
    (folder / "original" / "vocab.txt").write_text("x")
    assert main(train) == 2
    assert "altered" in capsys.readouterr().err


def test_the_steps_alone_make_a_measurement(steps: tuple[Path, list[str]], capsys: Any) -> None:
    folder, cohort = steps
    for name in ("original", "retrained", "unlearned"):
        out = str(folder / f"{name}.npz")
        assert main(["predict", *cohort[:4], "--checkpoint", str(folder / name), "--out", out]) == 0
    assert (
        main(
            [
                "evaluate",
                *cohort[:4],
                "--original",
                str(folder / "original.npz"),
                "--unlearned",
                str(folder / "unlearned.npz"),
                "--retrained",
                str(folder / "retrained.npz"),
                "--partition",
                str(folder / "unlearned.partition.json"),
                "--out",
                str(folder / "m.json"),
                "--resamples",
                "20",
            ]
        )
        == 0
    )
    said = capsys.readouterr().out
    assert "m.json" in said
    scores = json.loads((folder / "m.json").read_text())["scores"]
    assert set(scores) >= {"original", "unlearned", "retrain-0"}


def test_unlearning_reads_what_the_original_said(
    steps: tuple[Path, list[str]], capsys: Any
) -> None:
    folder, cohort = steps
    said = str(folder / "said.npz")
    assert (
        main(["predict", *cohort[:4], "--checkpoint", str(folder / "original"), "--out", said]) == 0
    )
    unlearn = ["unlearn", *cohort, "--checkpoint", str(folder / "original"), "--method.epochs", "1"]
    assert main([*unlearn, "--out", str(folder / "reading"), "--signals", said]) == 0
    samples = [
        json.loads((folder / f"{name}.trace.json").read_text())["samples"]
        for name in ("unlearned", "reading")
    ]
    assert samples[1]["retain"] < samples[0]["retain"]
    assert (
        main(["predict", *cohort[:4], "--checkpoint", str(folder / "retrained"), "--out", said])
        == 0
    )
    capsys.readouterr()
    wrong = ["--out", str(folder / "wrong"), "--signals", said]
    for options, why in (
        (wrong, "another model"),
        ([*wrong, "--method", "fine_tune"], "does not read the original"),
        ([*wrong[:3], str(folder / "unlearned.trace.json")], "cannot be read"),
    ):
        assert main([*unlearn, *options]) == 2
        assert why in capsys.readouterr().err
    assert not list(folder.glob("*wrong*"))


def test_one_process_computes_in_shares(steps: tuple[Path, list[str]], capsys: Any) -> None:
    folder, cohort = steps
    unlearn = [
        "unlearn",
        *cohort,
        "--checkpoint",
        str(folder / "original"),
        "--method.epochs",
        "1",
        "--out",
    ]
    assert main([*unlearn, str(folder / "halves"), "--micro-batches", "2"]) == 0
    weights = [
        (folder / name / "model.safetensors").read_bytes() for name in ("unlearned", "halves")
    ]
    assert weights[0] != weights[1]
    capsys.readouterr()
    assert main([*unlearn, str(folder / "wrong"), "--shares", "0"]) == 2
    error = capsys.readouterr().err
    assert "--shares is now --micro-batches" in error  # the old name, for one version more
    assert "0 micro-batches" in error
    assert not list(folder.glob("*wrong*"))
    facts = json.loads((folder / "halves.trace.json").read_text())["facts"]
    assert facts["shares of a batch"] == 2


def test_a_checkpoint_names_its_training_side(steps: tuple[Path, list[str]], capsys: Any) -> None:
    folder, cohort = steps
    words = ["unlearn", *cohort, "--split-seed", "5", "--method.epochs", "1"]
    of_original = json.loads((folder / "original.partition.json").read_text())
    trained = {*of_original["forget"], *of_original["retain"]}

    # Whatever the seed, the sets are the model's
    assert (
        main([*words, "--checkpoint", str(folder / "original"), "--out", str(folder / "s5")]) == 0
    )
    found = json.loads((folder / "s5.partition.json").read_text())
    assert {*found["forget"], *found["retain"]} == trained
    assert (found["holdout"], found["validation"]) == (
        of_original["holdout"],
        of_original["validation"],
    )

    # An older one does not name them; the partition next to it is another one then
    older = unnamed(folder / "original", folder / "older")
    shutil.copy(folder / "original.partition.json", folder / "older.partition.json")
    capsys.readouterr()
    assert main([*words, "--checkpoint", str(older), "--out", str(folder / "wrong")]) == 2
    assert "training side" in capsys.readouterr().err
    assert not (folder / "wrong").exists()


def test_a_tampered_checkpoint_is_refused(
    steps: tuple[Path, list[str]], tmp_path: Path, capsys: Any
) -> None:
    folder, cohort = steps
    shutil.copytree(folder / "original", tmp_path / "tampered")
    weights = tmp_path / "tampered" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-5] ^= 1
    weights.write_bytes(content)
    out = str(tmp_path / "x.npz")
    assert (
        main(["predict", *cohort[:4], "--checkpoint", str(tmp_path / "tampered"), "--out", out])
        == 2
    )
    assert "altered" in capsys.readouterr().err
    assert not (tmp_path / "x.npz").exists()


def test_a_checkpoint_of_other_classes_is_refused(
    steps: tuple[Path, list[str]], tmp_path: Path, capsys: Any
) -> None:
    folder, _ = steps

    def relabel(rows: list[dict[str, str]]) -> None:
        for number, row in enumerate(rows):
            row["label"] = str(number % 3)

    three = table(tmp_path / "three", change=relabel)
    assert (
        main(
            [
                "predict",
                "--cohort",
                "table",
                "--cohort.path",
                str(three),
                "--checkpoint",
                str(folder / "original"),
                "--out",
                str(tmp_path / "x.npz"),
            ]
        )
        == 2
    )
    assert "classes" in capsys.readouterr().err


def test_cohort_make_show_and_check(tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "made"
    assert main(["cohort", "make", "--out", str(out), "--patients", "20", "--size", "32"]) == 0
    assert "cohort.csv" in capsys.readouterr().out
    where = ["--spec", str(out / "spec.yaml")]
    assert main(["cohort", "check", *where]) == 0
    assert main(["cohort", "show", *where]) == 0
    assert "20 patients" in capsys.readouterr().out


def test_check_refuses_an_odd_split_and_quotes_no_cell(tmp_path: Path, capsys: Any) -> None:
    path = table(tmp_path / "data", change=spoil("split", "tset"))
    assert main(["cohort", "check", "--cohort", "table", "--cohort.path", str(path)]) == 2
    said = capsys.readouterr().err
    assert "cohort.csv row 4 (line 5), column 'split'" in said
    assert "the split is not known" in said
    assert "tset" not in said
    assert not leaks(said, tmp_path)


def test_a_yaml_error_names_the_place_and_quotes_nothing(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text("retrains: 2\nseed: [secret-word\n", encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        read_yaml(tmp_path / "spec.yaml")
    assert "spec.yaml, line 3, column 1" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
