"""Export of a model's prediction to ONNX or torch.export; the file appears once it predicts what the model predicts."""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from forgetmi.core.errors import CheckpointError, Fault, SpecError
from forgetmi.core.partial_files import mode_of_new, unfinished_file
from forgetmi.model.modes import evaluating
from forgetmi.service.plain_tensors import (
    SHORTEST,
    TOKENS,
    PlainTensors,
    TensorSizes,
    dynamic_shapes,
    output_names,
    plain_tensors,
    random_inputs,
    sizes_of,
)
from forgetmi.service.trained_model import TrainedModel

Format = Literal["onnx", "torch-export"]

# Largest difference to the model that is taken
TOLERANCE = 1e-4

# Version of ONNX's operators, and most bytes of a file in its form
OPSET = 20
_MOST_ONNX = 2**31 - 2**24

# Batches that the exported file is compared on: samples, and which part of the longest text
_TRIED = ((1, 0.0), (1, 1.0), (2, 0.3), (3, 0.0), (5, 1.0))

METADATA = "facts.json"
_EXTRA = "pip install 'forgetmi[export]'"

# From plain tensors to the outputs, in the order of `output_names`
Run = Callable[[tuple[Tensor, ...]], list[Tensor]]


@dataclass(frozen=True)
class Exported:
    """What was exported, and how it was checked.

    Args:
        inputs, outputs: Names, in their order.
        checked: How many batches it was compared with the model on; 0 = what runs it is not installed here.
        samples, tokens: Fewest and most of these batches; no tokens where the model reads no text.
        difference: Largest difference to the model.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    checked: int
    samples: tuple[int, int]
    tokens: tuple[int, int] | None
    difference: float


def export(model: TrainedModel, to: Format, out: Path) -> Exported:
    """Write a model's prediction as a file for another runtime, and compare the two on batches of several sizes.

    Use it where the model is to run without this package. The file takes pixels, tokens and mask as the model's
    preprocessing makes them (see its metadata), in batches of any size and texts of any length up to the longest.

    Args:
        model: Any, an ensemble too.
        to: "onnx" (needs the extra ``export``), or "torch-export" (``torch.export.load``).
        out: The file; an earlier one is replaced once the new one is checked.

    Returns:
        Names of inputs and outputs, and what the check found.

    Raises:
        SpecError: A package is missing, or the model reads or predicts what cannot be exported.
        CheckpointError: torch cannot export it, or the exported file predicts something else; nothing is written.
    """
    if to == "onnx":
        _check_packages()
    sizes = sizes_of(model)
    device = model.loaded.model.device
    plain = plain_tensors(model, sizes)
    example = random_inputs(sizes, samples=3, length=min(7, sizes.longest), number=0)

    with _on_processor(plain, device), torch.no_grad(), unfinished_file(out) as partial:
        with _silence():
            program = _program(plain, example, sizes)
            outputs = output_names(tuple(_heads(plain, example, model)))
            metadata = _metadata(model, sizes, outputs)
            if to == "onnx":
                _write_onnx(program, partial, sizes, outputs, metadata)
            else:
                # By handle: of a path it wants a certain ending
                with partial.open("wb") as file:
                    torch.export.save(program, file, extra_files={METADATA: metadata})

            # As whoever gets the file runs it
            run = _onnx_run(partial, sizes) if to == "onnx" else _torch_run(partial)
        checked = _compare(plain, run, sizes)
        os.chmod(partial, mode_of_new(0o666))
        os.replace(partial, out)

    return Exported(sizes.names, outputs, *checked)


def _program(
    plain: PlainTensors, example: tuple[Tensor, ...], sizes: TensorSizes
) -> torch.export.ExportedProgram:
    """The model as a graph, without the paths of the source files that it came from."""
    shapes = dynamic_shapes(sizes)
    try:
        program = torch.export.export(plain, example, dynamic_shapes=(shapes,), strict=False)
    except Exception as error:
        raise _failed(error) from error

    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    return program


def _heads(plain: PlainTensors, example: tuple[Tensor, ...], model: TrainedModel) -> list[str]:
    """The heads in the order of the outputs, from a forward pass."""
    plain(*example)
    return list(model.net.logit_names)


def _write_onnx(
    program: torch.export.ExportedProgram,
    path: Path,
    sizes: TensorSizes,
    outputs: tuple[str, ...],
    metadata: str,
) -> None:
    """The graph in ONNX's form, in one file."""
    held = sum(value.nbytes for value in program.state_dict.values())
    if held > _MOST_ONNX:
        why = f"its weights have {held:,} bytes, and one file holds 2 GiB"
        do = "Choose --to torch-export."
        raise SpecError(Fault("the model is too large for ONNX", why=why, do=do))

    try:
        converted = torch.onnx.export(
            program,
            (),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=list(sizes.names),
            output_names=list(outputs),
        )
    except Exception as error:
        raise _failed(error) from error
    assert converted is not None

    # The library notes where in the source each node came from: paths of this machine
    content = converted.model
    content.metadata_props.clear()
    content.graph.metadata_props.clear()
    for node in content.graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None
    content.metadata_props["forgetmi"] = metadata
    converted.save(path, external_data=False)


def _torch_run(path: Path) -> Run:
    """Runs an exported program."""
    with path.open("rb") as file:
        loaded = torch.export.load(file).module()
    return lambda tensors: list(loaded(*tensors))


def _onnx_run(path: Path, sizes: TensorSizes) -> Run | None:
    """Runs a file of ONNX; None where no runtime is installed."""
    if find_spec("onnxruntime") is None:
        return None
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(tensors: tuple[Tensor, ...]) -> list[Tensor]:
        given = dict(zip(sizes.names, (tensor.numpy() for tensor in tensors), strict=True))
        # What the graph does not read, it does not take
        taken = {one.name: given[one.name] for one in session.get_inputs()}
        return [torch.from_numpy(value) for value in session.run(None, taken)]

    return run


def _compare(
    plain: PlainTensors, run: Run | None, sizes: TensorSizes
) -> tuple[int, tuple[int, int], tuple[int, int] | None, float]:
    """Run both on the same batches: how many, of which sizes, and the largest difference.

    Raises:
        CheckpointError: They differ by more than `TOLERANCE`, or what was exported cannot run a batch.
    """
    lengths = [round(SHORTEST + part * (sizes.longest - SHORTEST)) for _, part in _TRIED]
    samples = [count for count, _ in _TRIED]
    texts = (min(lengths), max(lengths)) if TOKENS in sizes.names else None
    tried = (min(samples), max(samples)), texts
    if run is None:
        return 0, *tried, 0.0

    largest = 0.0
    for number, (count, length) in enumerate(zip(samples, lengths, strict=True), start=1):
        tensors = random_inputs(sizes, samples=count, length=length, number=number)
        wanted = plain(*tensors)
        try:
            found = run(tensors)
        except Exception as error:
            raise _failed(error) from error
        for one, other in zip(wanted, found, strict=True):
            # A difference that is no number is none that can be taken
            difference = float((one - other).abs().max())
            if not difference <= TOLERANCE:
                raise CheckpointError(
                    Fault(
                        "the exported model predicts something else; nothing was written",
                        why=f"it differs by {difference:.2g} on {count} samples",
                        do="Use the model itself, and report this.",
                    )
                )
            largest = max(largest, difference)
    return len(_TRIED), *tried, largest


def _metadata(model: TrainedModel, sizes: TensorSizes, outputs: tuple[str, ...]) -> str:
    """What a user of the file must know, as JSON: nobody is named in it."""
    facts = model.facts
    values: Mapping[str, Any] = {
        "task": facts.task,
        "classes": list(facts.classes),
        "weights": facts.weights,
        "cohort": facts.cohort,
        "preprocessing": model.loaded.preprocessing,
        "vocabulary": list(model.loaded.vocabulary),
        "columns": list(model.columns),
        "longest": sizes.longest,
        "inputs": list(sizes.names),
        "outputs": list(outputs),
        "version": facts.version,
    }
    return json.dumps(values, sort_keys=True)


def _check_packages() -> None:
    """Refuse ONNX where its packages are not installed."""
    missing = [name for name in ("onnx", "onnxscript") if find_spec(name) is None]
    if missing:
        raise SpecError(
            Fault(f"{' and '.join(missing)} must be installed", where="--to onnx", do=f"{_EXTRA}.")
        )


def _failed(error: Exception) -> CheckpointError:
    first = str(error).strip().partition("\n")[0][:200]
    return CheckpointError(
        Fault("torch cannot export the model", why=f"{type(error).__name__}: {first}")
    )


@contextmanager
def _on_processor(plain: PlainTensors, device: torch.device) -> Iterator[None]:
    """In eval mode and on the processor, for a block."""
    plain.cpu()
    try:
        with evaluating(plain):
            yield
    finally:
        plain.to(device)


@contextmanager
def _silence() -> Iterator[None]:
    """Keep the exporters' warnings and log lines to themselves: they are about their own insides."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
