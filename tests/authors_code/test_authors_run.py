"""The authors' configuration, checkpoints and data from the command line, on MIMIC-shaped trees of DICOM files."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from forgetmi.authors_code.checkpoint import write_checkpoint
from forgetmi.authors_code.checkpoint_files import CONFIG, WEIGHTS
from forgetmi.cli import main
from forgetmi.cohort.files import read_strings
from forgetmi.cohort.phantom.mimic import make_mimic_phantom
from forgetmi.data.wordpiece import SPECIAL
from forgetmi.model.initialise import build
from forgetmi.model.spec import ModelSpec, ResNetSpec, TextEncoderSpec

PATIENTS, EPOCHS, BATCH = 60, 3, 4
LETTERS = "abcdefghijklmnopqrstuvwxyz"
PIECES = (
    *LETTERS,
    ".",
    ",",
    ":",
    *(f"##{letter}" for letter in LETTERS),
    "lung",
    "lungs",
    "edema",
    "chest",
    "heart",
    "clear",
    "effusion",
    "no",
    "the",
    "small",
    "left",
    "right",
    "is",
)
SMALL = ModelSpec(
    image=ResNetSpec(
        size=64, stem_stride=4, stem_width=4, widths=(4, 8), blocks=2, pooling="average2x2"
    ),
    text=TextEncoderSpec(
        hidden=32,
        layers=2,
        heads=2,
        intermediate=48,
        vocabulary=len(SPECIAL) + len(PIECES),
        positions=200,
    ),
    classes=4,
)
FULL = ModelSpec(
    text=TextEncoderSpec(layers=2, intermediate=64, vocabulary=len(SPECIAL) + len(PIECES)),
    classes=4,
)


@dataclass(frozen=True)
class World:
    """What somebody with the authors' files has on disk."""

    root: Path
    config: Path

    def run(self, out: Path, *more: str) -> int:
        return main(
            [
                "run",
                "--authors-config",
                str(self.config),
                "--root",
                str(self.root),
                "--out",
                str(out),
                "--resamples",
                "20",
                "--workers",
                "1",
                *more,
            ]
        )

    def configure(self, **values: Any) -> None:
        """Write config.yaml with these keys changed (None = left out)."""
        keys = {
            "project": "forget_exp",
            "use_noise": True,
            "base_model_path": "original",
            "retrained_model_path": "retrained",
            "bert_pretrained_dir": "./scibert/",
            "text_data_dir": "./tree/",
            "data_split_path": "tree/split.csv",
            "forget_set_path": "tree/forget_set_10per.csv",
            "img_data_dir": "tree/files/",
            "synonyms_dir": "Synonyms.csv",
            "max_seq_length": 160,
            "learning_rate": "1e-4",
            "unlearn_epochs": EPOCHS,
            "unlearn_batch_size": BATCH,
            "scheduler": "ReduceLROnPlateau",
        } | values
        lists = {
            key: {"values" if isinstance(value, list) else "value": value}
            for key, value in keys.items()
            if value is not None
        }
        self.config.write_text(yaml.safe_dump({"method": "grid", "parameters": lists}))


def one_image_each(folder: Path) -> Path:
    """A split list with one image a patient; every fourth patient is in TEST."""
    whole = make_mimic_phantom(folder / "lists", patients=PATIENTS, images="none").split
    header, *rows = whole.read_text().splitlines()
    first = {row.split(",")[0]: row.rsplit(",", 1)[0] for row in reversed(rows)}
    made = [f"{row},{1 if k % 4 else 'TEST'}" for k, row in enumerate(first.values())]
    (folder / "split.csv").write_text("".join(f"{line}\n" for line in (header, *made)))
    return folder / "split.csv"


def world(folder: Path, spec: ModelSpec, *, size: tuple[int, int]) -> World:
    make_mimic_phantom(
        folder / "tree", split=one_image_each(folder), size=size, bits=12, compressed=True
    )
    (folder / "scibert").mkdir()
    (folder / "scibert" / "vocab.txt").write_text(
        "".join(f"{piece}\n" for piece in (*SPECIAL, *PIECES))
    )
    (folder / "Synonyms.csv").write_text(
        "first_word,second_word,similarity\nbrain,heart,0.7\nactive,normal,0.6\n"
    )
    for number, name in enumerate(("original", "retrained")):
        head = {
            "classifier.weight": torch.full((4, spec.text.hidden), 0.5 + number),
            "classifier.bias": torch.arange(4.0),
        }
        write_checkpoint(folder / name, build(spec, seed=number), unused_head=head)
    here = World(folder, folder / "config.yaml")
    here.configure()
    return here


@pytest.fixture
def small_world(shared_world: World) -> World:
    shared_world.configure()
    return shared_world


@pytest.fixture(scope="module")
def shared_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return world(tmp_path_factory.mktemp("authors"), SMALL, size=(72, 88))


def weights(run: Path, name: str) -> dict[str, torch.Tensor]:
    return load_file(run / "models" / name / "model.safetensors")


def forgotten(run: Path) -> int:
    """How many images were forgotten."""
    return len(json.loads((run / "partition.json").read_text())["forget"])


def check_release(run: Path) -> None:
    """Steps, what never changes, and what drifts, as the release's loop has it."""
    batches = math.ceil(forgotten(run) / BATCH)
    trace = json.loads((run / "traces" / "unlearned.json").read_text())
    assert trace["steps"] == EPOCHS - 1
    assert len(trace["epochs"]) == EPOCHS
    before, after = weights(run, "original"), weights(run, "unlearned")
    assert before.keys() == after.keys()
    heads = [name for name in before if "classifier" in name or "img_model.fc1" in name]
    assert heads
    assert all(torch.equal(before[name], after[name]) for name in heads)
    drifted = [name for name in before if "running_" in name]
    assert drifted
    assert not any(torch.equal(before[name], after[name]) for name in drifted)
    counters = [name for name in before if name.endswith("num_batches_tracked")]
    assert {int(after[name] - before[name]) for name in counters} == {3 * batches * EPOCHS}
    largest = max(
        float((after[name] - before[name]).abs().max())
        for name in before
        if "gate" not in name and before[name].is_floating_point() and "running_" not in name
    )
    assert (
        0.5e-4 < largest < 1e-4 * (EPOCHS - 1) * 1.2
    )  # each update moves a weight by the rate at most


def check_sets(run: Path, here: World) -> None:
    """Validation patients come from TEST, and the report says so."""
    rows = read_strings(here.root / "tree" / "split.csv").columns
    test = {row for row, fold in enumerate(rows["fold"]) if fold == "TEST"}
    partition = json.loads((run / "partition.json").read_text())
    assert set(partition["validation"]) | set(partition["holdout"]) == test
    assert partition["validation"]
    assert partition["holdout"]
    patients = {
        name: {rows["subject_id"][row] for row in partition[name]}
        for name in ("validation", "holdout")
    }
    assert not patients["validation"] & patients["holdout"]
    page = (run / "report.html").read_text()
    assert "were taken out of the holdout" in page
    assert not [one for one in set(rows["subject_id"]) if one in page]


def test_release_mode_behaves_as_released(small_world: World, tmp_path: Path, capsys: Any) -> None:
    assert small_world.run(tmp_path / "run", "--mode", "release") == 0
    check_release(tmp_path / "run")
    check_way_back(tmp_path / "run" / "models" / "unlearned", tmp_path / "theirs", small_world)
    check_sets(tmp_path / "run", small_world)
    measured = json.loads((tmp_path / "run" / "release.json").read_text())
    assert set(measured) == {"original", "retrain-0", "unlearned"}
    assert measured["retrain-0"]["dissimilarity"] == pytest.approx(0, abs=1e-12)
    assert measured["unlearned"]["attack"]["units"] == [2, 1, 1]
    assert "release.json" in json.loads((tmp_path / "run" / "record.json").read_text())["files"]
    said = capsys.readouterr().out
    assert "release.json" in said
    assert "without effect: scheduler" in said
    assert "without effect: synonyms_dir" not in said
    stored = yaml.safe_load((tmp_path / "run" / "spec.yaml").read_text())
    assert stored["method"]["kind"] == "forget_mi_release"
    assert stored["images"] == {
        "size": 2048,
        "fit": "center_crop",
        "invert": False,
        "window": "released",
    }
    assert stored["retrains"] == 0


@pytest.mark.slow
def test_paper_mode_keeps_statistics_and_gives_a_grid(
    small_world: World, tmp_path: Path, capsys: Any
) -> None:
    small_world.configure(learning_rate=["1e-3", 1e-4])
    out = tmp_path / "grid"
    assert small_world.run(out) == 0
    assert not list(out.rglob("release.json"))
    assert "without effect: synonyms_dir" in capsys.readouterr().out
    for name, rate in (("000", 1e-3), ("001", 1e-4)):
        trace = json.loads((out / name / "traces" / "unlearned.json").read_text())
        assert trace["steps"] == EPOCHS * math.ceil(forgotten(out / name) / BATCH)
        before, after = weights(out / name, "original"), weights(out / name, "unlearned")
        assert all(
            torch.equal(before[key], after[key])
            for key in before
            if "running_" in key or "tracked" in key
        )
        stored = yaml.safe_load((out / name / "spec.yaml").read_text())["method"]
        assert (stored["kind"], stored["setting"], stored["noise"], stored["lr"]) == (
            "forget_mi",
            "multimodal",
            "given",
            rate,
        )
        check_sets(out / name, small_world)
    table = read_strings(out / "grid.csv").columns
    assert set(table["run"]) == {"000", "001"}
    assert set(table["lr"]) == {"0.001", "0.0001"}
    stamp = (out / "000" / "models" / "unlearned" / "model.safetensors").stat().st_mtime_ns
    assert small_world.run(out) == 0  # given again, nothing is done twice
    assert (out / "000" / "models" / "unlearned" / "model.safetensors").stat().st_mtime_ns == stamp


def check_way_back(unlearned: Path, theirs: Path, here: World) -> None:
    """What was unlearned loads in the authors' code, with their configuration and their unused head."""
    assert (
        main(
            [
                "checkpoint",
                "convert",
                "--to",
                "authors",
                "--source",
                str(unlearned),
                "--out",
                str(theirs),
            ]
        )
        == 0
    )
    first, back = (
        torch.load(folder / WEIGHTS, weights_only=True)
        for folder in (here.root / "original", theirs)
    )
    assert first.keys() == back.keys()
    assert torch.equal(first["classifier.weight"], back["classifier.weight"])
    assert not torch.equal(first["img_model.conv1.weight"], back["img_model.conv1.weight"])
    assert json.loads((here.root / "original" / CONFIG).read_text()) == json.loads(
        (theirs / CONFIG).read_text()
    )


def test_conversion_both_ways_on_the_command_line(
    small_world: World, tmp_path: Path, capsys: Any
) -> None:
    words = [
        "checkpoint",
        "convert",
        "--source",
        str(small_world.root / "original"),
        "--out",
        str(tmp_path / "ours"),
    ]
    assert main(words) == 2
    assert "vocab.txt" in capsys.readouterr().err
    assert main([*words, "--vocabulary", str(small_world.root / "scibert" / "vocab.txt")]) == 2
    assert "200 positions" in capsys.readouterr().err
    assert not (tmp_path / "ours").exists()
    assert (
        main(
            [
                *words,
                "--vocabulary",
                str(small_world.root / "scibert" / "vocab.txt"),
                "--max-length",
                "160",
            ]
        )
        == 0
    )
    assert (
        main(
            [
                "checkpoint",
                "convert",
                "--to",
                "authors",
                "--source",
                str(tmp_path / "ours"),
                "--out",
                str(tmp_path / "theirs"),
            ]
        )
        == 0
    )
    first, back = (
        torch.load(folder / WEIGHTS, weights_only=True)
        for folder in (small_world.root / "original", tmp_path / "theirs")
    )
    assert first.keys() == back.keys()
    assert all(torch.equal(first[name], back[name]) for name in first)
    assert main(["checkpoint", "covnert"]) == 2


@pytest.mark.slow
def test_without_checkpoints_the_models_are_trained_once_for_the_whole_grid(
    small_world: World,
    tmp_path: Path,
) -> None:
    small_world.configure(
        base_model_path=None, retrained_model_path=None, use_noise=[True, False], noise_std=0.2
    )
    out = tmp_path / "grid"
    assert (
        small_world.run(
            out,
            "--model.preset",
            "compact",
            "--model.pretrained",
            "",
            "--model.widths",
            "4",
            "8",
            "--model.layers",
            "1",
            "--model.hidden",
            "16",
            "--model.heads",
            "2",
            "--model.intermediate",
            "16",
            "--images.size",
            "32",
            "--images.fit",
            "pad",
            "--text.min-patients",
            "2",
            "--training.epochs",
            "1",
            "--retrains",
            "2",
        )
        == 0
    )
    for name in ("original", "retrain-0", "retrain-1"):
        assert all(
            torch.equal(value, weights(out / "001", name)[key])
            for key, value in weights(out / "000", name).items()
        )
    given = yaml.safe_load((out / "001" / "spec.yaml").read_text())["given"]
    assert given["original"] == str(out / "000" / "models" / "original")
    assert json.loads((out / "000" / "partition.json").read_text())["validation"]


def ruin(here: World, tmp_path: Path, case: str) -> list[str]:
    """Spoil one thing; further options for the command."""
    state = torch.load(here.root / "original" / WEIGHTS, weights_only=True)
    spoilt = tmp_path / "spoilt" / WEIGHTS
    spoilt.parent.mkdir()
    shutil.copy(here.root / "original" / CONFIG, spoilt.parent)
    write = {
        "a pickle that is no state dict": lambda: torch.save([1, 2, 3], spoilt),
        "a pickle that runs code": lambda: torch.save({"weight": print}, spoilt),
        "an empty state dict": lambda: torch.save({}, spoilt),
        "a missing weight": lambda: torch.save(
            {name: value for name, value in state.items() if name != "img_model.bn1.weight"}, spoilt
        ),
        "an unexpected weight": lambda: torch.save(
            state | {"img_model.extra": torch.zeros(1)}, spoilt
        ),
        "a truncated file": lambda: spoilt.write_bytes(
            (here.root / "original" / WEIGHTS).read_bytes()[:2000]
        ),
    }
    if case in write:
        write[case]()
        here.configure(base_model_path=str(spoilt.parent))
    elif case == "an unknown key":
        here.configure(lerning_rate=1)
    elif case == "paths that are not there":
        here.configure(base_model_path="nowhere", img_data_dir="nothing")
    elif case == "weights of no setting":
        here.configure(theta=5)
    elif case == "a retrained model alone":
        here.configure(base_model_path=None)
    elif case == "a retrained model of another kind":
        write_checkpoint(
            tmp_path / "other",
            build(
                ModelSpec(
                    image=SMALL.image,
                    text=TextEncoderSpec(
                        hidden=32,
                        layers=1,
                        heads=2,
                        intermediate=48,
                        vocabulary=SMALL.text.vocabulary,
                        positions=200,
                    ),
                ),
                seed=0,
            ),
        )
        here.configure(retrained_model_path=str(tmp_path / "other"))
    else:
        return ["--partition.validation", "1.5"]
    return []


RUINED = {
    "a pickle that is no state dict": "state dict",
    "a pickle that runs code": "more than tensors",
    "an empty state dict": "state dict",
    "a missing weight": "img_model.bn1.weight is missing",
    "an unexpected weight": "img_model.extra is unexpected",
    "a truncated file": "cannot be read",
    "an unknown key": "Did you mean 'learning_rate'",
    "paths that are not there": "base_model_path is not there",
    "weights of no setting": "none of the paper's settings",
    "a retrained model alone": "without base_model_path",
    "an impossible share": "validation must be below 1",
}


@pytest.mark.parametrize("case", RUINED)
def test_bad_input_is_a_clear_error_and_writes_nothing(
    case: str,
    small_world: World,
    tmp_path: Path,
    capsys: Any,
) -> None:
    more = ruin(small_world, tmp_path, case)
    assert small_world.run(tmp_path / "run", *more) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert RUINED[case] in said
    if case == "paths that are not there":
        assert said.count("error: ") == 2
    assert not (tmp_path / "run").exists()


def test_models_compared_must_be_of_one_kind(
    small_world: World, tmp_path: Path, capsys: Any
) -> None:
    ruin(small_world, tmp_path, "a retrained model of another kind")
    assert small_world.run(tmp_path / "run") == 2
    assert "another kind than the original" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["release", "paper"])
def test_full_size_images_of_sixty_patients(mode: str, full_world: World, tmp_path: Path) -> None:
    """2048 pixels, seven stages, two text layers: what the definitions ask of release mode."""
    full_world.configure()
    assert full_world.run(tmp_path / "run", "--mode", mode) == 0
    assert BATCH < forgotten(tmp_path / "run") <= 12
    check_sets(tmp_path / "run", full_world)
    if mode == "release":
        check_release(tmp_path / "run")


@pytest.fixture(scope="module")
def full_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return world(tmp_path_factory.mktemp("full"), FULL, size=(254, 306))
