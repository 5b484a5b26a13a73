"""Train the original and every retrained model."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.types import Batch, Epochs, Outputs, Recorder
from forgetmi.model.image_text import ImageText, parameter_digest, recompute_activations
from forgetmi.model.losses import base_loss
from forgetmi.model.modes import evaluating, learning
from forgetmi.model.optimiser import TransformersAdamW
from forgetmi.model.recipe import Recipe
from forgetmi.model.resume import EpochLoop
from forgetmi.model.schedule import plateau_factor, shifted
from forgetmi.model.sharding import gather, resumable, shard, whole


@dataclass(frozen=True)
class TrainingTrace:
    """What happened, epoch by epoch.

    Args:
        epochs: For each epoch: mean ``loss`` and its parts ``image``, ``text`` and ``ranking``; ``steps`` and
            ``samples``; ``seconds`` and ``cpu_seconds`` of training alone; where validation rows were looked at
            ``validation_loss`` (mean cross-entropy of both heads, added) and ``validation_auc_image`` / ``_text`` (mean
            one-vs-rest, None where undefined).
    """

    epochs: tuple[dict[str, float | None], ...]

    def total(self, name: str) -> float:
        """Sum over the epochs, e.g. of ``steps``, ``samples``, ``seconds`` or ``cpu_seconds``."""
        return sum(epoch[name] or 0.0 for epoch in self.epochs)


class _Records:
    """The epochs' records, as a resumable part."""

    def __init__(self) -> None:
        self.epochs: list[dict[str, float | None]] = []

    def state_dict(self) -> dict[str, Any]:
        return {"epochs": self.epochs}

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        self.epochs = state_dict["epochs"]


def fit(
    model: ImageText,
    loader: Epochs,
    recipe: Recipe,
    *,
    seed: int,
    ordinal: bool = True,
    validation: Epochs | None = None,
    resume: Path | None = None,
    observers: Sequence[Recorder] = (),
    progress: Callable[[int, int], None] | None = None,
    sharded: bool = False,
) -> TrainingTrace:
    """Train a model in place, on its own device; it is in eval mode on return. Frozen layers stay as they are.

    The last epoch is the result: validation rows are only looked at, never used to choose. Dropout is a pure function
    of (seed, epoch), so that a run resumed from ``resume`` equals an uninterrupted one bit for bit.

    Args:
        model: Trained in place.
        loader: The training rows, in batches of at least 2.
        recipe: How.
        seed: Root seed.
        ordinal: Whether the labels are grades (see `ranking_loss`).
        validation: Rows to report loss and AUC on; see ``Recipe.validate_every``.
        resume: File that progress is saved to after each epoch and read from at the start; removed by the caller. Of
            several processes each has its own; of sharded ones the first's alone holds the weights and is handed on.
        observers: Called before and after each step; their state is saved to ``resume``, too.
        progress: Called with (epochs done, epochs in all).
        sharded: Spread the encoders' weights over the processes until the end; see `forgetmi.model.sharding`.

    Raises:
        MethodError: The loss is not finite, there are no rows, a batch has a single sample, or observers are asked for
            with accumulation or sharded weights.
        CheckpointError: ``resume`` is damaged or of another run.
    """
    if observers and recipe.accumulation > 1:
        raise MethodError(
            Fault(
                "a watched training cannot accumulate batches",
                why="each observer keeps its own record of single steps",
                do="Train with accumulation 1.",
            )
        )
    if observers and sharded:
        raise MethodError(
            Fault(
                "a watched training cannot be sharded",
                why="observers read whole weights",
                do="Launch without FSDP.",
            )
        )
    if len(loader.rows) == 0:
        raise MethodError(Fault("there are no training rows"))
    recompute_activations(model, recipe.recompute)
    records = _Records()
    rows = hashlib.sha256(np.ascontiguousarray(loader.rows, np.int64).tobytes()).hexdigest()
    key = f"{recipe!r} {seed} {ordinal} {validation is not None} {parameter_digest(model)} {rows} {len(loader)}"
    if sharded:
        shard(model)
    optimiser = _optimiser(model, recipe)
    watching = {f"observer {number}": observer for number, observer in enumerate(observers)}
    parts = resumable(model, optimiser, sharded=sharded)
    loop = EpochLoop(
        recipe.epochs,
        state={**parts, "records": records, **watching},
        file=resume,
        key=hashlib.sha256(key.encode()).hexdigest(),
        seed=seed,
        stage="train",
    )
    with closing(iter(loop)) as epochs:
        for epoch in epochs:
            wall, cpu = time.perf_counter(), time.process_time()
            learning(model)
            rate = recipe.lr * plateau_factor(
                [float(one["loss"] or 0.0) for one in records.epochs], recipe.plateau
            )
            record = _epoch(
                model,
                loader,
                recipe,
                optimiser,
                rate=rate,
                epoch=epoch,
                seed=seed,
                ordinal=ordinal,
                observers=observers,
            )
            record |= {
                "seconds": time.perf_counter() - wall,
                "cpu_seconds": time.process_time() - cpu,
            }
            if validation is not None and recipe.validates(epoch):
                record |= _validate(model, validation)
            records.epochs.append(record)
            if progress is not None:
                progress(epoch + 1, recipe.epochs)
    if sharded:
        gather(model)
    model.eval()
    return TrainingTrace(tuple(records.epochs))


def _optimiser(model: ImageText, recipe: Recipe) -> torch.optim.Optimizer:
    """Over everything but the gate, which the training loss does not reach."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and not name.startswith("gate."):
            factor = recipe.text_lr_factor if name.startswith("text_model.") else 1.0
            spared = not recipe.decay_all and (
                ("bias" in name or "LayerNorm" in name)
                if recipe.decay_batch_norm
                else parameter.ndim == 1
            )
            decay = 0.0 if spared else recipe.weight_decay
            groups.setdefault((factor, decay), []).append(parameter)
    parts = [
        {"params": parameters, "factor": factor, "weight_decay": decay}
        for (factor, decay), parameters in groups.items()
    ]
    if recipe.optimiser == "bert":
        return TransformersAdamW(parts, lr=recipe.lr, correct_bias=False)
    return torch.optim.AdamW(parts, lr=recipe.lr, fused=True)


def _epoch(
    model: ImageText,
    loader: Epochs,
    recipe: Recipe,
    optimiser: torch.optim.Optimizer,
    *,
    rate: float,
    epoch: int,
    seed: int,
    ordinal: bool,
    observers: Sequence[Recorder],
) -> dict[str, float | None]:
    """One pass over the loader; means of the loss and its parts."""
    per_epoch = math.ceil(len(loader) / recipe.accumulation)
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    sums, samples, step = torch.zeros(4, device=model.device), 0, epoch * per_epoch
    waiting, share = 0, 1
    for number, batch in enumerate(loader.epoch(epoch), start=1):
        _refuse_single(batch)
        if recipe.shift > 0:
            batch = shifted(batch, std=recipe.shift, seed=seed, epoch=epoch)
        batch = batch.to(model.device)
        for observer in observers:
            observer.before_step(model, batch)
        if waiting == 0:
            share = min(recipe.accumulation, len(loader) - number + 1)
            optimiser.zero_grad(set_to_none=True)
        losses = _losses(model, batch, recipe, ordinal=ordinal)
        (losses[0] / share).backward()
        sums += losses.detach() * len(batch)
        samples += len(batch)
        waiting += 1
        if waiting < share:
            continue
        waiting = 0
        norm = whole(
            nn.utils.clip_grad_norm_(parameters, recipe.clip if recipe.clip > 0 else math.inf)
        )
        lr = rate * recipe.lr_factor(step, recipe.epochs * per_epoch)
        if not math.isfinite(float(norm + sums[0])):
            raise MethodError(
                Fault(
                    f"training diverged at step {step} (epoch {epoch})",
                    do="Use a smaller learning rate.",
                    why=f"loss {float(losses[0].detach())}, gradient norm {float(norm)}, learning rate {lr:.3g}",
                )
            )
        for group in optimiser.param_groups:
            group["lr"] = lr * group["factor"]
        optimiser.step()
        step += 1
        for observer in observers:
            observer.after_step(model, batch)
    means = (sums / samples).tolist()
    return {
        **dict(zip(("loss", "image", "text", "ranking"), means, strict=True)),
        "steps": step - epoch * per_epoch,
        "samples": samples,
    }


def _losses(model: ImageText, batch: Batch, recipe: Recipe, *, ordinal: bool) -> Tensor:
    """Total loss and its parts, Float[4]."""
    with torch.autocast(model.device.type, dtype=torch.bfloat16, enabled=recipe.bf16):
        outputs = model(batch)
    outputs = Outputs(*(getattr(outputs, f.name).float() for f in fields(outputs)))
    return torch.stack(
        base_loss(outputs, batch, ordinal=ordinal, ranking_weight=recipe.ranking_weight)
    )


def _refuse_single(batch: Batch) -> None:
    if len(batch) < 2:
        raise MethodError(
            Fault(
                "a training batch has a single sample",
                why="batch statistics and the ranking loss need at least 2",
                do="Make the loader with Loader(..., avoid_single=True), or choose another batch size.",
            )
        )


@torch.no_grad()
def _validate(model: ImageText, loader: Epochs) -> dict[str, float | None]:
    """Cross-entropy of both heads, added, and the AUC of each, over the rows with a label."""
    image, text, label = [], [], []
    with evaluating(model):
        for batch in loader.epoch(0):
            outputs = model(batch.to(model.device))
            image.append(outputs.image_logits)
            text.append(outputs.text_logits)
            label.append(batch.label)
    y = torch.cat(label)
    heads = {"image": torch.cat(image).cpu()[y >= 0], "text": torch.cat(text).cpu()[y >= 0]}
    y = y[y >= 0]
    if len(y) == 0:
        return {"validation_loss": None, "validation_auc_image": None, "validation_auc_text": None}
    loss = sum(float(nn.functional.cross_entropy(logits.double(), y)) for logits in heads.values())
    return {
        "validation_loss": loss,
        **{f"validation_auc_{head}": _auc(logits, y) for head, logits in heads.items()},
    }


def _auc(logits: Tensor, label: Tensor) -> float | None:
    """Mean one-vs-rest AUC over the classes present; None where fewer than two are."""
    present = [int(k) for k in label.unique()]
    if len(present) < 2:
        return None
    p = logits.double().softmax(dim=1).numpy()
    return float(np.mean([roc_auc_score(label.numpy() == k, p[:, k]) for k in present]))
