"""Whether a user's own model keeps its promises, asked of a few made-up samples before any work starts."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from forgetmi.core.batch import Batch, Outputs
from forgetmi.core.errors import Fault, ForgetMIError, SpecError
from forgetmi.core.inputs import Tokens
from forgetmi.core.modalities import JOINT, TEXT
from forgetmi.model.adapted import MODULE, Adapted
from forgetmi.model.image_text import parameter_digest
from forgetmi.model.made_up import SAMPLES, sample
from forgetmi.model.modes import evaluating
from forgetmi.model.own_files import load_files, save_files

# How far two computations of one output may be apart, of the largest output
ROUNDING = 1e-3

WHERE = "own model"


def first_outputs(model: Adapted) -> Outputs:
    """The outputs of made-up samples, in eval mode; the model then knows what it puts out.

    Raises:
        SpecError: It cannot be run, or what it returns is not what its sizes promise; all faults at once.
    """
    sizes = model.spec.sizes
    batch = sample(sizes, model.modalities).to(model.device)
    with evaluating(model), torch.no_grad():
        outputs = _run(model, batch)
    faults = _faults_of_shapes(model, outputs, len(batch), sizes.classes)
    if faults:
        raise SpecError(faults)
    return outputs


def check_net(model: Adapted, again: Callable[[], Adapted]) -> None:
    """Refuse a model that would mislead or break what is built on it.

    Args:
        model: A fresh one.
        again: Makes the same model once more.

    Raises:
        SpecError: Its outputs are of other shapes, not finite, not repeatable or depend on the other samples of a
            batch; a head is not what makes the predictions; a function does not use the module it is given; stages do
            not run in their order; nothing can be learned; weights do not come back as they were saved, or are
            others each time from one seed. All faults that can be seen at once.
    """
    outputs = first_outputs(model)
    batch = sample(model.spec.sizes, model.modalities).to(model.device)
    try:
        faults = _faults_of_outputs(model, batch, outputs)
    except ForgetMIError:
        raise
    except Exception as error:
        raise _cannot_run(error) from error

    if parameter_digest(again()) != parameter_digest(model):
        do = "Draw weights from torch's global generator, which is set for the factory."
        faults.append(Fault("the factory makes other weights each time", where=WHERE, do=do))
    faults += _faults_of_files(model, again)
    if faults:
        raise SpecError(faults)


def _faults_of_outputs(model: Adapted, batch: Batch, outputs: Outputs) -> list[Fault]:
    """What is found by running the model again, in other batches, as a copy, and piece by piece."""
    faults: list[Fault] = []
    with evaluating(model):
        with torch.no_grad():
            faults += _faults_of_repeats(model, batch, outputs)
            faults += _faults_of_heads(model, outputs)
            faults += _faults_of_copies(model, batch, outputs)
            faults += _faults_of_stages(model, batch)
            faults += _faults_of_words(model, batch)
        faults += _faults_of_learning(model, batch)
    return faults


def _cannot_run(error: Exception) -> SpecError:
    return SpecError(
        Fault(
            "the model cannot be run",
            where=WHERE,
            why=f"{type(error).__name__}: {str(error)[:200]}",
            do=f"It was given {SAMPLES} made-up samples; see docs/bring_your_own_model.md.",
        )
    )


def _run(model: Adapted, batch: Batch) -> Outputs:
    """Its outputs, or what stopped the user's code."""
    try:
        outputs = model._run(batch)
    except Exception as error:
        raise _cannot_run(error) from error

    if not isinstance(outputs, Outputs):
        why = f"it returns {type(outputs).__name__}"
        raise SpecError(Fault("forward must return forgetmi.Outputs", where=WHERE, why=why))
    for name, value in outputs.named().items():
        if not isinstance(value, Tensor):
            raise SpecError(Fault(f"{name} is no tensor", where=WHERE))
    return model(batch)


def _faults_of_shapes(model: Adapted, outputs: Outputs, samples: int, classes: int) -> list[Fault]:
    """Outputs that are missing, of another shape or not finite."""
    faults: list[Fault] = []
    if not outputs.logits:
        do = "Return logits of one head at least."
        faults.append(Fault("the model gives no predictions", where=WHERE, do=do))

    for head, values in outputs.logits.items():
        if tuple(values.shape) != (samples, classes):
            faults.append(_wrong_shape(f"the logits of head {head!r}", values, (samples, classes)))
    for name, values in outputs.embedding.items():
        if values.ndim != 2 or len(values) != samples:
            faults.append(_wrong_shape(f"the {name} embedding", values, (samples, "any width")))
        if name not in (*model.modalities, JOINT):
            do = f"Name it after a modality ({', '.join(model.modalities)}), or joint."
            faults.append(Fault(f"an embedding is called {name!r}", where=WHERE, do=do))

    for head in model.adapter.heads:
        if head not in outputs.logits:
            what = f"head {head!r} is named, but missing in the model's predictions"
            faults.append(Fault(what, where=WHERE))
        if head not in outputs.embedding:
            what = f"head {head!r} is named, but the model gives no embedding of that name"
            faults.append(Fault(what, where=WHERE))

    for name, values in outputs.named().items():
        if not bool(torch.isfinite(values).all()):
            faults.append(Fault(f"{name} is not finite", where=WHERE))
    return faults


def _wrong_shape(what: str, values: Tensor, expected: tuple[object, ...]) -> Fault:
    shape, wanted = (", ".join(map(str, sizes)) for sizes in (tuple(values.shape), expected))
    why = f"of {len(values) if values.ndim else 0} samples it is ({shape})"
    return Fault(f"{what} must be of shape ({wanted})", where=WHERE, why=why)


def _apart(a: Tensor, b: Tensor) -> bool:
    """Whether two computations of one output differ by more than rounding."""
    size = float(a.abs().max())
    return float((a - b).abs().max()) > ROUNDING * max(size, 1e-6)


def _faults_of_repeats(model: Adapted, batch: Batch, outputs: Outputs) -> list[Fault]:
    """Outputs that differ from run to run, or with the other samples of the batch."""
    again = model(batch).named()
    for name, values in outputs.named().items():
        if _apart(values, again[name]):
            do = "Draw nothing at random in eval mode."
            return [Fault(f"{name} differs from run to run", where=WHERE, do=do)]

    # Each sample alone, its text without the others' padding
    singles = [model(_alone(batch, number)).named() for number in range(len(batch))]
    for name, values in outputs.named().items():
        if _apart(values, torch.cat([single[name] for single in singles])):
            return [
                Fault(
                    f"{name} of a sample depends on the other samples of its batch",
                    where=WHERE,
                    why="a withdrawn patient's outputs would change with who is beside them",
                    do="Mask padding, and use no statistics of the batch in eval mode.",
                )
            ]
    return []


def _alone(batch: Batch, number: int) -> Batch:
    """One sample as a batch of its own."""
    one = batch.select(slice(number, number + 1))
    if TEXT not in one.inputs:
        return one
    length = int(one.mask.sum())
    return one.with_inputs(text=Tokens(one.tokens[:, :length], one.mask[:, :length]))


def _faults_of_heads(model: Adapted, outputs: Outputs) -> list[Fault]:
    """Named heads that are not what makes the predictions."""
    faults: list[Fault] = []
    for name, head in model.heads.items():
        embedding = outputs.embedding[name]
        fits = embedding.shape[1] == head.in_features
        if not fits or _apart(outputs.logits[name], head(embedding)):
            why = "what the head makes of the embedding of that name is something else"
            faults.append(
                Fault(f"head {name!r} does not make its predictions", where=WHERE, why=why)
            )
    return faults


def _faults_of_copies(model: Adapted, batch: Batch, outputs: Outputs) -> list[Fault]:
    """A function that holds on to one module, whatever module it is given."""
    copied = copy.deepcopy(model)
    for parameter in copied.parameters():
        parameter.zero_()

    changed = copied(batch).named()
    if any(not torch.equal(values, changed[name]) for name, values in outputs.named().items()):
        return []
    why = "a copy without weights gives the same outputs"
    do = "Use the module that each function is given as its first argument."
    return [Fault("the model's functions run another module", where=WHERE, why=why, do=do)]


def _faults_of_stages(model: Adapted, batch: Batch) -> list[Fault]:
    """Stages that do not run, or not in the order in which they are named."""
    faults: list[Fault] = []
    for modality, stages in model.adapter.stages.items():
        ran: list[str] = []
        handles = [_noted(model.module.get_submodule(name), name, ran) for name in stages]
        model(batch)
        for handle in handles:
            handle.remove()

        missing = [name for name in stages if name not in ran]
        if missing:
            what = f"a stage of the {modality} tower does not run: {', '.join(missing)}"
            do = "Name modules that the forward pass calls."
            faults.append(Fault(what, where=WHERE, do=do))
        elif list(dict.fromkeys(ran)) != list(stages):
            what = f"the stages of the {modality} tower run in another order"
            faults.append(Fault(what, where=WHERE, why=", ".join(dict.fromkeys(ran))))
    return faults


def _noted(module: nn.Module, name: str, ran: list[str]) -> torch.utils.hooks.RemovableHandle:
    """Note a module's name when it runs."""
    return module.register_forward_hook(lambda *_: ran.append(name))


def _faults_of_words(model: Adapted, batch: Batch) -> list[Fault]:
    """A table of word embeddings that the outputs do not come from."""
    if not model.adapter.words:
        return []
    given = model.embed(batch, TEXT)
    before, after = model(batch).named(), model(batch, text_inputs=given * 2 + 1).named()
    if any(_apart(values, after[name]) for name, values in before.items()):
        return []
    what = (
        f"the outputs do not come from the table of word embeddings {MODULE}{model.adapter.words}"
    )
    return [Fault(what, where=WHERE)]


def _faults_of_learning(model: Adapted, batch: Batch) -> list[Fault]:
    """Predictions through which no gradient flows."""
    with torch.enable_grad():
        total = torch.stack([values.sum() for values in model(batch).logits.values()]).sum()
    if total.requires_grad:
        return []
    do = "Detach nothing, run nothing under no_grad, and leave some weights free."
    return [Fault("nothing can be learned from the model's predictions", where=WHERE, do=do)]


def _faults_of_files(model: Adapted, again: Callable[[], Adapted]) -> list[Fault]:
    """Weights that do not come back as they were saved."""
    changed, other = copy.deepcopy(model), again()
    with torch.no_grad():
        for parameter in changed.parameters():
            parameter.add_(0.125)

    with tempfile.TemporaryDirectory() as folder:
        save_files(changed, Path(folder))
        load_files(other, Path(folder))
    if parameter_digest(other) == parameter_digest(changed):
        return []
    why = "they are others after save and load"
    return [Fault("the model's weights cannot be stored", where=WHERE, why=why)]
