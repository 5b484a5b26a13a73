"""The files of a user's own model, which the user's own functions write and read."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load as read_tensors
from safetensors.torch import save as to_bytes
from torch import nn

from forgetmi.core.errors import CheckpointError, Fault
from forgetmi.core.printable import printable
from forgetmi.core.regular_file import read_regular
from forgetmi.model.adapted import Adapted

# The folder of these files in a checkpoint, and the one that is written without functions of the user's
FOLDER = "own"
WEIGHTS = "weights.safetensors"

# Most bytes of one file, and most files
_BYTES = 64 * 2**30
_FILES = 10_000


def save_files(model: Adapted, folder: Path) -> None:
    """Let the user's function write the weights into an empty folder.

    Raises:
        CheckpointError: It fails, or writes nothing.
    """
    save = model.adapter.save or _save
    try:
        save(model.module, folder)
    except Exception as error:
        raise _failed("save", error) from error
    if not any(path.is_file() for path in folder.rglob("*")):
        raise CheckpointError(Fault("the model's save function wrote no file", where="own model"))


def load_files(model: Adapted, folder: Path) -> None:
    """Let the user's function read the weights back, into the module or as a new one.

    Raises:
        CheckpointError: It fails.
    """
    load = model.adapter.load or _load
    try:
        loaded = load(model.module, folder)
    except Exception as error:
        raise _failed("load", error) from error
    if isinstance(loaded, nn.Module):
        model.module = loaded


def own_contents(models: list[Adapted]) -> dict[str, bytes]:
    """The files of one model, or of an ensemble's members, by their names in the checkpoint."""
    contents: dict[str, bytes] = {}
    for number, model in enumerate(models):
        with tempfile.TemporaryDirectory() as folder:
            save_files(model, Path(folder))
            for path in sorted(Path(folder).rglob("*")):
                if path.is_file():
                    name = path.relative_to(folder).as_posix()
                    contents[f"{FOLDER}/{number}/{name}"] = path.read_bytes()
    return contents


def digests(contents: Mapping[str, bytes]) -> dict[str, str]:
    """SHA-256 of each file, in hex."""
    return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}


def file_faults(directory: Path, stored: Mapping[str, Any]) -> list[Fault]:
    """What is wrong with the files of a checkpoint, before a function of the user's reads them.

    Args:
        directory: The checkpoint.
        stored: Digest of each file, by its name.
    """
    found: dict[str, Path] = {}
    for path in (directory / FOLDER).rglob("*"):
        if not path.is_dir():
            found[path.relative_to(directory).as_posix()] = path
        if len(found) > _FILES:
            return [Fault(f"it has more than {_FILES} files", where=f"{directory.name}/{FOLDER}")]

    faults: list[Fault] = []
    for name in sorted(stored.keys() - found.keys()):
        faults.append(Fault(f"{printable(name, 120)} is missing", where=directory.name))
    for name in sorted(found.keys() - stored.keys()):
        faults.append(Fault(f"unknown file {printable(name, 120)}", where=directory.name))
    for name in sorted(found.keys() & stored.keys()):
        where = f"{directory.name}/{printable(name, 120)}"
        try:
            content = read_regular(found[name], limit=_BYTES)
        except OSError as error:
            why = error.strerror or type(error).__name__
            faults.append(Fault("it cannot be read", where=where, why=why))
            continue
        if hashlib.sha256(content).hexdigest() != stored[name]:
            why = "its digest differs"
            faults.append(Fault("it was altered after it was written", where=where, why=why))
    return faults


def _save(module: nn.Module, folder: Path) -> None:
    tensors = {}
    for name, value in module.state_dict().items():
        tensors[name] = value.detach().cpu().clone().contiguous()
    (folder / WEIGHTS).write_bytes(to_bytes(tensors))


def _load(module: nn.Module, folder: Path) -> None:
    module.load_state_dict(read_tensors((folder / WEIGHTS).read_bytes()))


def _failed(function: str, error: Exception) -> CheckpointError:
    return CheckpointError(
        Fault(
            f"the model's {function} function failed",
            where="own model",
            why=type(error).__name__,
        )
    )
