"""Files of the authors' checkpoints: which one holds the weights, read as tensors alone."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from forgetmi.core.errors import CheckpointError, Fault
from forgetmi.core.json_text import read_json
from forgetmi.core.regular_file import open_regular
from forgetmi.model.weight_files import WeightFileError, check_beginning, check_not_deflated

CONFIG = "config.json"
WEIGHTS = "pytorch_model.bin"
EPOCH_WEIGHTS = "model_state_dict.pth"

# A counter 0, 1, 2, ... that transformers before 4.31 kept among the weights.
_POSITION_IDS = "text_model.bert.embeddings.position_ids"

# A weight that every model of theirs has.
_ANCHOR = "text_model.bert.embeddings.word_embeddings.weight"

# How files of torch.save begin: a zip archive now, a pickled number before PyTorch 1.6.
_ZIP = b"PK"
_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"


def weights_file(path: Path) -> Path:
    """The file of weights that a path of `forgetmi.authors_code.checkpoint.read_checkpoint` means.

    Raises:
        CheckpointError: There is none.
    """
    # A file is taken as it is.
    if not path.is_dir():
        if path.is_file():
            return path
        raise CheckpointError(Fault("there is no such checkpoint", where=path.name))

    # In a directory, the whole checkpoint comes before the weights of an epoch.
    for name in (WEIGHTS, EPOCH_WEIGHTS):
        if (path / name).is_file():
            return path / name

    raise CheckpointError(
        Fault(
            f"it holds neither {WEIGHTS} nor {EPOCH_WEIGHTS}",
            where=path.name,
            do="Name a checkpoint directory of the authors' code.",
        )
    )


def read_weights(path: Path) -> dict[str, Tensor]:
    """The state dict of a file, on the CPU and under today's names; nothing but tensors is unpickled.

    Args:
        path: A file that torch.save wrote.

    Raises:
        CheckpointError: The file cannot be read, or is no state dict.
    """
    content = _unpickle(path)
    if not _is_state_dict(content):
        raise CheckpointError(
            Fault(
                "it is not a state dict",
                where=path.name,
                why="names and tensors are expected",
                do="Save the model's state_dict().",
            )
        )

    return _with_current_names(_without_prefix(content), path.name)


def read_config(path: Path) -> dict[str, Any]:
    """The values of a config.json.

    Raises:
        CheckpointError: It cannot be read, or is no mapping.
    """
    do = "Give the config.json that the model was saved with."
    values = read_json(path, what="the configuration", do=do, error=CheckpointError)

    if not isinstance(values, dict):
        raise CheckpointError(Fault("it is not a mapping", where=path.name))
    return values


def _unpickle(path: Path) -> Any:
    """What a PyTorch file holds; None where it does not begin like one."""
    try:
        check_beginning(path)
        with open_regular(path) as file:
            beginning = file.read(len(_LEGACY))
        if beginning.startswith(_ZIP):
            check_not_deflated(path)
        if not beginning.startswith((_ZIP, _LEGACY)):
            return None
        return torch.load(path, map_location="cpu", weights_only=True)

    except WeightFileError as error:
        raise CheckpointError(
            Fault(
                "it cannot be read as a PyTorch file",
                where=path.name,
                why=error.why,
                do=error.do,
            )
        ) from None

    except pickle.UnpicklingError as error:
        raise CheckpointError(
            Fault(
                "it holds more than tensors, or is damaged",
                where=path.name,
                why="nothing but tensors is unpickled",
                do="Save the model's state_dict() alone.",
            )
        ) from error

    # A damaged file makes the unpickler fail in any way.
    except Exception as error:
        raise CheckpointError(
            Fault("it cannot be read as a PyTorch file", where=path.name, why=type(error).__name__)
        ) from error


def _without_prefix(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names without what stands before all of them (module., where the model was trained on several devices)."""
    prefixes = [name.removesuffix(_ANCHOR) for name in state if name.endswith(_ANCHOR)]
    if len(prefixes) != 1 or not prefixes[0].endswith("."):
        return dict(state)
    return {name.removeprefix(prefixes[0]): value for name, value in state.items()}


def _is_state_dict(content: Any) -> bool:
    """Whether a content is a mapping of names to tensors, and not empty."""
    if not isinstance(content, Mapping) or not content:
        return False

    names_are_text = all(isinstance(name, str) for name in content)
    values_are_tensors = all(isinstance(value, Tensor) for value in content.values())
    return names_are_text and values_are_tensors


def _with_current_names(state: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """New names for old ones (LayerNorm.gamma, .beta), without the position numbers old versions stored."""
    renamed: dict[str, Tensor] = {}
    faults = []

    for name, value in state.items():
        if name == _POSITION_IDS:
            continue

        new = re.sub(r"\.beta$", ".bias", name)
        new = re.sub(r"\.gamma$", ".weight", new)

        # Two spellings of one weight: which one counts is unknown.
        if new in renamed or (new != name and new in state):
            faults.append(
                Fault(f"weight {new} is there twice, in its old and its new spelling", where=where)
            )
        renamed[new] = value

    if faults:
        raise CheckpointError(faults)
    return renamed
