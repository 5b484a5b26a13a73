"""What the tests of several processes compute, alone and together."""

from __future__ import annotations

import dataclasses
import functools
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.nn.utils import clip_grad_norm_

from forgetmi.cohort.partition import partition
from forgetmi.cohort.synthetic import SyntheticCohort
from forgetmi.core import distributed
from forgetmi.core.batch import Batch, Outputs
from forgetmi.core.registry import methods
from forgetmi.data.loaders import SampleStore
from forgetmi.data.preprocessing import ImagePreprocessing
from forgetmi.methods.forget_mi import ForgetMI
from forgetmi.model.architecture import Architecture
from forgetmi.model.executing import in_micro_batches
from forgetmi.model.execution import Execution
from forgetmi.model.fit_gate import fit_gate
from forgetmi.model.image_text import ImageText
from forgetmi.model.initialise import build
from forgetmi.model.losses import base_loss
from forgetmi.model.optimiser import TransformersAdamW
from forgetmi.model.recipe import Recipe
from forgetmi.model.sharding import gather, shard, whole
from forgetmi.model.tasks.classes import GRADES
from forgetmi.run import workflow

Found = Iterator[tuple[str, Tensor]]
RECIPE = Recipe(epochs=3, batch_size=17, lr=3e-4)
UNLEARNING, START = "unlearning.pt", "start.pt"
TRAININGS = {"train": {}, "sharded": {"ACCELERATE_USE_FSDP": "true"}}  # what a launcher sets


def without_gate_fit(call: Callable[..., Any]) -> Callable[..., Any]:
    """The gate's fit is slow and enlarges rounding."""
    return patch.object(workflow, "fit_gate", new=lambda *given, **more: None)(call)


in_few_steps = patch.dict(fit_gate.__kwdefaults__, steps=20)
"""The gate's fit in a few steps, wherever it is called."""


@functools.cache
def prepared() -> tuple[Any, Any]:
    cohort = SyntheticCohort(patients=20, seed=3, size=32).load()
    sets = partition(cohort, forget=12.0, seed=3)
    return sets, workflow.prepare(
        cohort=cohort,
        partition=sets,
        images=ImagePreprocessing(size=32),
        min_patients=2,
        architecture=Architecture(
            stem_width=8, widths=(8, 16), blocks=1, hidden=16, heads=2, layers=2, intermediate=32
        ),
    )


def says(name: str, outputs: Outputs, *, joint: bool) -> Found:
    """All outputs, or those that do not pass the gate, whose fit enlarges rounding."""
    for output, values in outputs.named().items():
        if joint or output != "joint_embedding":
            yield f"{name} {output}", values.detach()


def one_step(model: ImageText, batch: Any, *, training: bool) -> Found:
    """Outputs, gradients of weights and of word embeddings, and what batch normalisation keeps."""
    name, model = f"step {training}", model.train(training)
    words = model.text_model.embed(batch.tokens).detach().requires_grad_()
    outputs = model(batch, text_inputs=words)
    yield from says(name, outputs, joint=True)
    loss = base_loss(outputs, batch, task=GRADES).total + 0.01 * sum(
        p.abs().sum() for p in model.parameters()
    )
    named = [
        ("words", words),
        *((key, p) for key, p in model.named_parameters() if "word_embeddings" not in key),
    ]
    for (key, _), gradient in zip(
        named, torch.autograd.grad(loss, [p for _, p in named]), strict=True
    ):
        yield f"{name} {key}", gradient
    for key, value in model.named_buffers():
        yield f"{name} {key}", value.float()


@without_gate_fit
def trained(folder: Path, name: str, batch: Any) -> Found:
    """A training, with its progress after the last epoch but one kept aside."""
    sets, made = prepared()
    state = folder / f"{name}.pt"
    with patch.dict(os.environ, TRAININGS[name]):
        model, trace = workflow.train(
            prepared=made, partition=sets, recipe=RECIPE, seed=0, resume=state, progress=keep(state)
        )
    yield f"{name} losses", torch.tensor([float(epoch["loss"] or 0.0) for epoch in trace.epochs])
    with torch.no_grad():
        yield from says(name, model(batch), joint=False)


@in_few_steps
def keep_start(folder: Path, *, epochs: int) -> None:
    """A trained original, the same for one process and for several."""
    sets, made = prepared()
    original, _ = workflow.train(
        prepared=made, partition=sets, recipe=dataclasses.replace(RECIPE, epochs=epochs), seed=2
    )
    torch.save(original.state_dict(), folder / START)


@without_gate_fit
def unlearned_in_double(state: Path, progress: Callable[[int, int], None]) -> dict[str, Tensor]:
    """Three epochs of Forget-MI, computed in float64: what is left of rounding is far below any difference of meaning.

    Args:
        state: Progress is saved there and taken up from there.
        progress: Called with (epochs done, epochs in all).
    """
    sets, made = prepared()
    single = SampleStore.batch

    def batch(records: SampleStore, rows: Any, **more: Any) -> Batch:
        one = single(records, rows, **more)
        return one.with_inputs(image=one.image.double())

    with patch.object(SampleStore, "batch", batch):
        done = workflow.unlearn(
            prepared=made,
            partition=sets,
            model=build(made.spec, seed=4).eval().double(),
            method=ForgetMI(epochs=3),
            batch_size=4,
            state=state,
            progress=progress,
        )
        with torch.no_grad():
            return dict(says("double", done.model(made.records.batch(sets.retain[:7])), joint=True))


def left(state: Path) -> Path:
    """Where the progress of all epochs but the last is kept."""
    return state.with_name(f"{state.stem}-left.pt")


def keep(state: Path) -> Callable[[int, int], None]:
    """Called with (epochs done, epochs in all): keep what was saved before the last epoch."""

    def at_the_end(done: int, total: int) -> None:
        if done == total:
            shutil.copy(state, left(state))

    return at_the_end


def spread_steps(model: ImageText, batch: Any) -> Found:
    """A step of each optimiser with activations computed again; of several processes each holds half."""
    encoders = {
        name: (encoder, sum(p.numel() for p in encoder.parameters()))
        for name, encoder in (("image", model.img_model), ("text", model.text_model))
    }
    model.execution = Execution(recompute=True)
    spread = distributed.world_size() > 1
    if spread:
        shard(model)
    for make in (torch.optim.AdamW, TransformersAdamW):
        weights = [*model.img_model.parameters(), *model.text_model.parameters()]
        optimiser = make(weights, lr=1e-4)
        base_loss(model(batch), batch, task=GRADES).total.backward()
        norms = [
            whole(clip_grad_norm_(weights, 0.1)) for _ in range(2)
        ]  # the second is what clipping left
        yield f"spread norms {make.__name__}", torch.stack(norms)
        optimiser.step()
        held = [
            value
            for state in optimiser.state.values()
            for value in state.values()
            if isinstance(value, Tensor)
        ]
        optimiser.zero_grad()
        if spread:
            moments = sum(value.to_local().numel() for value in held if isinstance(value, DTensor))
            assert moments < 0.55 * 2 * sum(most for _, most in encoders.values())
    for encoder, most in encoders.values() if spread else ():
        assert sum(p.to_local().numel() for p in encoder.parameters()) < 0.55 * most
    if spread:
        gather(model)
        assert not any(isinstance(p, DTensor) for p in model.parameters())
    yield from says("spread", model.eval()(batch), joint=True)


def unlearned(kind: str, folder: Path, batch: Any) -> Found:
    """Two epochs of a method, from random weights; with "shares" from a trained model, in the shares of two processes.

    Args:
        kind: Name of the method, then words that say how: bf16, shares.
        folder: Of this process.
        batch: What the new model is asked about.
    """
    sets, made = prepared()
    name, *how = kind.split()
    method, recipe = methods.get(name)(), dataclasses.replace(RECIPE, bf16="bf16" in how)
    if "epochs" in {f.name for f in dataclasses.fields(method)}:
        method = dataclasses.replace(method, epochs=2)
    start = build(made.spec, seed=4).eval()
    unlearn = workflow.unlearn if "shares" in how else without_gate_fit(workflow.unlearn)
    if "shares" in how:
        start.load_state_dict(torch.load(folder.parent / START))
    done = unlearn(
        prepared=made,
        partition=sets,
        model=start,
        method=method,
        recipe=recipe,
        batch_size=9,
        micro_batches=2 if "shares" in how else 1,
    )
    with torch.no_grad(), in_micro_batches(done.model, 2 if "shares" in how else 1):
        yield from says(kind, done.model(batch), joint="shares" in how)


@in_few_steps
def compute(folder: Path, kinds: tuple[str, ...]) -> dict[str, Tensor]:
    """Everything that must not depend on the number of processes."""
    torch.set_num_threads(1)
    found: dict[str, Tensor] = {}
    sets, made = prepared()
    batch = made.records.batch(sets.retain[:7])
    for training in (False, True):
        found |= dict(one_step(build(made.spec, seed=1), batch, training=training))
    for name in TRAININGS:
        found |= dict(trained(folder, name, batch))
    found |= dict(spread_steps(build(made.spec, seed=1), batch))
    found |= unlearned_in_double(folder / UNLEARNING, keep(folder / UNLEARNING))
    for kind in kinds:
        found |= dict(unlearned(kind, folder, batch))
    return found


def child(
    rank: int, port: int, folder: Path, kinds: tuple[str, ...], call: Callable[..., Any] = compute
) -> None:
    """One of two processes; the first keeps what was found."""
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }
    if rank > 0:
        sys.stderr = sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    with distributed.process_group():
        own = folder / str(rank)
        found = call(own, kinds)
        torch.save(found, own / "found.pt")
