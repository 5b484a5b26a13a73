"""Encoders of the transformers library: built from a configuration, filled from a folder; no code of a folder runs."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import MODEL_MAPPING, AutoConfig, AutoModel
from transformers.utils import logging as library_logging

from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.printable import printable
from forgetmi.model.hf_config import settings_in
from forgetmi.model.towers.never_trained import untrained_faults
from forgetmi.model.weight_files import (
    PYTORCH,
    WEIGHT_FILES,
    WeightFileError,
    check_beginning,
    check_not_deflated,
    stored_tensors,
)

# Missing weights that are spelled out
_MOST = 5

# Parts that are not used, and so may be missing
_UNUSED = ("pooler.",)


def hf_model(config: str) -> Any:
    """An encoder of that configuration, with random weights, in float32.

    Args:
        config: What `forgetmi.model.hf_config` made of a config.json.

    Raises:
        SpecError: The library cannot build it.
    """
    settings = _settings(config)
    options = _without_pooler(settings)

    try:
        return AutoModel.from_config(settings, dtype=torch.float32, **options)
    # Whatever the library raises for sizes that do not fit together
    except Exception as error:
        raise _unbuildable(error) from error


def hf_weights(config: str, folder: Path) -> dict[str, Tensor]:
    """Pretrained weights by the names of `hf_model`, float32, on the processor.

    Args:
        config: The configuration.
        folder: Holds the weights as safetensors or as a PyTorch file, of which tensors alone are unpickled.

    Raises:
        SpecError: The files cannot be read, weights of the encoder are missing or of another shape, are no finite
            numbers, or were never trained.
    """
    # Files that are cut, empty, packed or stand for others
    stored_tensors(folder)
    if (folder / PYTORCH).is_file() and not (folder / WEIGHT_FILES[0]).is_file():
        _check_pytorch(folder)

    settings = _settings(config)

    with _quietly():
        try:
            model, report = AutoModel.from_pretrained(
                str(folder),
                config=settings,
                local_files_only=True,
                trust_remote_code=False,
                weights_only=True,
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                **_without_pooler(settings),
            )
        # Whatever the library raises for files that it cannot read
        except Exception as error:
            raise SpecError(
                Fault(
                    "the pretrained weights cannot be read",
                    where=folder.name,
                    why=type(error).__name__,
                    do="Download them again and compare size and checksum.",
                )
            ) from error

    state = dict(model.state_dict())
    faults = [*_missing(report, folder), *_not_finite(state, folder)]
    if faults or (faults := untrained_faults(state, where=folder.name)):
        raise SpecError(faults)

    return state


def _check_pytorch(folder: Path) -> None:
    try:
        check_beginning(folder / PYTORCH)
        check_not_deflated(folder / PYTORCH)
    except WeightFileError as error:
        where = f"{folder.name}/{PYTORCH}"
        raise SpecError(
            Fault("the pretrained weights cannot be read", where=where, why=error.why, do=error.do)
        ) from None


def _settings(config: str) -> Any:
    """The library's configuration."""
    values = settings_in(config)

    try:
        return AutoConfig.for_model(values.pop("model_type"), **values)
    except Exception as error:
        raise _unbuildable(error) from error


def _without_pooler(settings: Any) -> dict[str, Any]:
    """The option that leaves the library's pooling layer out, where a model has one."""
    known = inspect.signature(MODEL_MAPPING[type(settings)].__init__).parameters
    return {"add_pooling_layer": False} if "add_pooling_layer" in known else {}


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the library's own report of what it loaded; its findings become errors here."""
    before = library_logging.get_verbosity()
    bars = library_logging.is_progress_bar_enabled()
    library_logging.set_verbosity_error()
    library_logging.disable_progress_bar()

    try:
        yield
    finally:
        library_logging.set_verbosity(before)
        if bars:
            library_logging.enable_progress_bar()


def _missing(report: Any, folder: Path) -> list[Fault]:
    """Faults of weights that the folder lacks or holds in another shape."""
    lacking = [name for name in report["missing_keys"] if not name.startswith(_UNUSED)]
    other = [mismatch[0] for mismatch in report["mismatched_keys"]]

    faults = []

    for problem, names in (
        ("lacks weights of the encoder", sorted(lacking)),
        ("holds weights of other shapes than its configuration says", sorted(other)),
    ):
        if names:
            listed = ", ".join(printable(name, 120) for name in names[:_MOST])
            rest = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
            faults.append(
                Fault(
                    f"the folder {problem}",
                    where=folder.name,
                    why=f"{listed}{rest}",
                    do="Name a folder with all weights of the encoder and its own config.json.",
                )
            )

    return faults


def _not_finite(state: dict[str, Tensor], folder: Path) -> list[Fault]:
    for name, value in state.items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            return [
                Fault(
                    f"weight {printable(name, 120)} holds NaN or infinite numbers",
                    where=folder.name,
                    why="training diverged, or the file is damaged",
                    do="Download it again and compare size and checksum.",
                )
            ]

    return []


def _unbuildable(error: Exception) -> SpecError:
    return SpecError(
        Fault(
            "an encoder of this configuration cannot be made",
            where="config.json",
            why=type(error).__name__,
            do="Use the config.json that belongs to the weights.",
        )
    )
