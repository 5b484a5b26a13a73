"""Several processes say what one says."""

from __future__ import annotations

import contextlib
import copy
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from forgetmi.cli import _run_in_step, main
from forgetmi.core import distributed
from forgetmi.core.errors import SpecError
from forgetmi.core.registry import methods
from forgetmi.model.executing import in_micro_batches, micro_batches
from forgetmi.model.execution import Execution
from forgetmi.model.initialise import build
from forgetmi.run import workflow
from tests.core.together import (
    RECIPE,
    TRAININGS,
    UNLEARNING,
    child,
    compute,
    keep_start,
    left,
    prepared,
    unlearned_in_double,
)
from tests.processes import started

# The slow test has every method in equal shares, and the other three besides.
KINDS = ("forget_mi", "forget_mi bf16", "scrub shares")
SLOW_KINDS = ("chip", "jit", "forget_mi shares bf16")
AGREE = {"double": 1e-7, "forget_mi bf16": 3e-2}  # all else: 1e-4, in equal shares 0


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def both(folder: Path, kinds: tuple[str, ...], *, epochs: int) -> list[dict[str, torch.Tensor]]:
    """What each of two processes finds."""
    keep_start(folder, epochs=epochs)
    port = free_port()
    running = [started(child, rank, port, folder, kinds) for rank in (0, 1)]
    for one in running:
        one.join(600)
    assert [one.exitcode for one in running] == [0, 0]
    return [torch.load(folder / str(rank) / "found.pt") for rank in (0, 1)]


def compare(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    apart = {name: float((value - other[name]).abs().max()) for name, value in one.items()}
    kinds = {name: name.rpartition(" ")[0] for name in one}
    assert not {
        name: most
        for name, most in apart.items()
        if not most <= AGREE.get(kinds[name], 0.0 if "shares" in kinds[name] else 1e-4)
    }


def test_two_processes_agree_with_one_and_go_on_where_one_stopped(tmp_path: Path) -> None:
    for name in ("alone", "0", "1"):
        (tmp_path / name).mkdir()

    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    sets, made = prepared()
    with pytest.raises(KeyboardInterrupt):  # one process trains the first epoch
        workflow.train(
            prepared=made,
            partition=sets,
            recipe=RECIPE,
            seed=0,
            resume=tmp_path / "started.pt",
            progress=stop,
        )
    with pytest.raises(KeyboardInterrupt):  # and unlearns for one
        unlearned_in_double(tmp_path / UNLEARNING, stop)
    for rank in ("0", "1"):
        shutil.copy(tmp_path / UNLEARNING, tmp_path / rank)
        for name in TRAININGS:
            shutil.copy(tmp_path / "started.pt", tmp_path / rank / f"{name}.pt")
    first, second = both(tmp_path, KINDS, epochs=2)
    assert all(
        torch.equal(value, second[name]) for name, value in first.items()
    )  # the two never differ at all
    alone = compute(tmp_path / "alone", KINDS)
    compare(alone, first)
    assert bool(
        (first["forget_mi bf16 image_embedding"] != first["forget_mi image_embedding"]).any()
    )
    last = unlearned_in_double(left(tmp_path / "0" / UNLEARNING), lambda done, total: None)
    compare(
        {name: alone[name] for name in last}, last
    )  # one process does the last epoch where two stopped
    for name in TRAININGS:
        _, trace = workflow.train(
            prepared=made,
            partition=sets,
            recipe=RECIPE,
            seed=0,
            resume=left(tmp_path / "0" / f"{name}.pt"),
        )
        losses = torch.tensor([float(epoch["loss"] or 0.0) for epoch in trace.epochs])
        compare({name: losses}, {name: first[f"{name} losses"]})


@pytest.mark.slow
def test_no_method_brings_processes_apart(tmp_path: Path) -> None:
    training = {
        "afs",
        "ct",
        "eu_k",
        "forget_mi_release",
        "msg",
        "short_retrain",
        "shrink_perturb",
    }  # with statistics of whole batches
    every = (
        f"{name} shares"
        for name in methods.names()
        if methods.get(name).info.title != "Retrain"
        and "training log" not in methods.get(name).info.reads
    )
    kinds = (*SLOW_KINDS, *every)
    for name in ("alone", "0", "1"):
        (tmp_path / name).mkdir()
    first, second = both(tmp_path, kinds, epochs=12)
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert all(f"{kind} image_logits" in first for kind in kinds)
    alone = compute(tmp_path / "alone", kinds)
    compare(
        *(
            {name: value for name, value in found.items() if name.partition(" ")[0] not in training}
            for found in (alone, first)
        )
    )


@pytest.mark.parametrize(("launched", "samples"), [(1, 5), (3, 3), (4, 10), (3, 2)])
def test_a_shard_is_everybodys_once(
    launched: int, samples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributed, "world_size", lambda: launched)
    taken, sizes = [], set()
    for rank in range(launched):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        own = list(range(samples))[distributed.shard(samples)]
        taken += own
        sizes.add(len(own))
    assert taken == list(range(samples))
    assert max(sizes) - min(sizes) <= 1


def test_micro_batches_are_those_of_as_many_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [distributed.micro_batch(10, number, of=3) for number in range(3)]
    monkeypatch.setattr(distributed, "world_size", lambda: 3)
    for number, part in enumerate(parts):
        monkeypatch.setattr(distributed, "rank", lambda number=number: number)
        assert distributed.shard(10) == part


def test_micro_batches_are_set_for_a_block(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(small.prepared.spec, seed=0)
    with contextlib.suppress(KeyboardInterrupt), in_micro_batches(model, 3):
        assert micro_batches(model) == 3
        assert micro_batches(copy.deepcopy(model)) == 3
        with in_micro_batches(model, 2):
            assert micro_batches(model) == 2
        assert micro_batches(model) == 3
        raise KeyboardInterrupt
    assert micro_batches(model) == 1

    with pytest.raises(SpecError, match="1 or more"), in_micro_batches(model, 0):
        pass

    monkeypatch.setattr(distributed, "world_size", lambda: 3)
    with in_micro_batches(model, 1), in_micro_batches(model, 3):
        assert micro_batches(model) == 3
    with pytest.raises(SpecError, match="there are 3 processes"), in_micro_batches(model, 2):
        pass


def test_an_unlearned_model_computes_whole_batches_again(small: Any) -> None:
    original = build(small.prepared.spec, seed=0).eval()
    done = workflow.unlearn(
        prepared=small.prepared,
        partition=small.partition,
        model=original,
        method=methods.get("fine_tune")(epochs=1),
        micro_batches=2,
    )
    assert done.trace.facts["shares of a batch"] == 2
    assert done.model.execution == original.execution == Execution()


def test_in_training_mode_a_batch_is_whole(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = (
        build(small.prepared.spec, seed=0),
        small.prepared.records.batch(small.partition.retain[:5]),
    )
    sizes: list[int] = []
    model.gate.register_forward_hook(lambda module, given, out: sizes.append(len(out)))
    with in_micro_batches(model, 2):
        for training, expected in ((True, [5]), (False, [2, 3])):
            sizes.clear()
            out = model.train(training)(batch)
            assert sizes == expected
        with torch.no_grad():
            assert torch.allclose(out.joint_embedding, model(batch).joint_embedding)
            words = model.text_model.embed(batch.tokens)
            assert torch.equal(model(batch, text_inputs=words).text_embedding, out.text_embedding)
        sizes.clear()
        model(small.prepared.records.batch(small.partition.retain[:1]))
        assert sizes == [1]


def test_deepspeed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    with pytest.raises(SpecError, match="use_fsdp"), distributed.process_group():
        pass


def test_one_process_shards_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert not distributed.sharded()


def test_other_commands_run_in_one_process(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["methods"]) == 2
    assert "runs in one process" in capsys.readouterr().err


@pytest.mark.slow
def test_torchrun_trains_and_unlearns(tmp_path: Path) -> None:
    options = [
        "--cohort.patients",
        "30",
        "--cohort.size",
        "32",
        "--images.size",
        "32",
        "--device",
        "cpu",
        "--training.epochs",
        "1",
        "--model.widths",
        "8",
        "16",
        "--text.min-patients",
        "2",
    ]
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--master-port",
        str(free_port()),
        "-m",
        "forgetmi",
    ]
    train = [*launch, "train", "--out", str(tmp_path / "m" / "original"), *options]
    done = subprocess.run(train, capture_output=True, text=True, env=os.environ, check=True)
    assert done.stdout.count("Checkpoint:") == 1
    names = {path.name for path in (tmp_path / "m").iterdir()}
    beside = {"options.yaml", "partition.json", "trace.json"}
    assert names == {"original", *(f"original.{name}" for name in beside)}
    run = [
        *launch,
        "run",
        "--out",
        str(tmp_path / "run"),
        *options,
        "--retrains",
        "2",
        "--method.epochs",
        "1",
    ]
    done = subprocess.run(run, capture_output=True, text=True, env=os.environ, check=True)
    assert (tmp_path / "run" / "report.html").exists()
    assert done.stdout.count("Report:") == 1


def test_unlearning_is_not_sharded_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    # As in one of the processes of accelerate launch --use_fsdp
    monkeypatch.setattr(distributed, "process_group", contextlib.nullcontext)
    monkeypatch.setattr(distributed, "sharded", lambda: True)
    monkeypatch.setattr("forgetmi.core.process_output.private_output", contextlib.nullcontext)
    with pytest.raises(SpecError, match="unlearning cannot be sharded") as caught:
        _run_in_step("unlearn", ["--out", "model"])
    assert "Launch without FSDP" in str(caught.value)
