"""Weights in a Hugging Face folder, as tensors alone: safetensors or PyTorch files, whole or in shards."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.json_text import read_json
from forgetmi.core.regular_file import open_regular

# The files of weights that are read, the first that is there; an index names the shards of the others.
SAFETENSORS = "model.safetensors"
PYTORCH = "pytorch_model.bin"
INDEX = ".index.json"
WEIGHT_FILES = (SAFETENSORS, SAFETENSORS + INDEX, PYTORCH, PYTORCH + INDEX)

# Weights of other libraries, which are not read.
_OTHERS = ("tf_model.h5", "flax_model.msgpack", "model.ckpt.index", "model.onnx")

# Most shards.
_SHARDS = 1_000

# What a damaged file raises while it is read.
DAMAGE = (
    SafetensorError,
    OSError,
    ValueError,
    TypeError,
    RuntimeError,
    MemoryError,
    OverflowError,
    NotImplementedError,
)

# How files begin: a git-lfs pointer, a page of a web server, what torch.save writes now and wrote before 1.6.
_POINTER = b"version https://git-lfs"
_PAGE = (b"<!DOCTYPE", b"<!doctype", b"<html", b"<?xml")
_ZIP = b"PK"
_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"

# Keys under which training programs store a model's weights beside other things.
_NESTED = ("state_dict", "model_state_dict")


@dataclass(frozen=True)
class StoredTensor:
    """A tensor that a file holds, not read yet.

    Args:
        file: The file's name.
        dtype: Its type; None = one that is no number of ours (quantised, sparse).
        shape: Its shape.
        read: Reads it, on the processor.
    """

    file: str
    dtype: torch.dtype | None
    shape: tuple[int, ...]
    read: Callable[[], Tensor]


class WeightFileError(Exception):
    """Why a file of weights cannot be read, and what to do, in words."""

    def __init__(self, why: str, do: str = "") -> None:
        super().__init__(why)
        self.why = why
        self.do = do or "Download the file again and compare its size and checksum."


def stored_tensors(folder: Path) -> dict[str, StoredTensor]:
    """Every tensor in a folder's files of weights, by the name it has there; nothing but tensors is unpickled.

    Args:
        folder: A Hugging Face folder. Of several forms the first of `WEIGHT_FILES` counts.

    Raises:
        SpecError: There are none, a file is cut, damaged, empty or a git-lfs pointer, or an index names files that are
            not there or outside the folder; all files at once.
    """
    present = [name for name in WEIGHT_FILES if os.path.lexists(folder / name)]
    if not present:
        raise SpecError(_nothing(folder))

    # One file, or the shards that an index names.
    first = present[0]
    names = {first: None}
    faults: list[Fault] = []
    if first.endswith(INDEX):
        try:
            names = _shards(folder / first)
        except WeightFileError as error:
            raise SpecError(_fault(folder, first, error)) from None

    # Every file is opened before anything is said.
    tensors: dict[str, StoredTensor] = {}
    for name in names:
        try:
            found = open_weights(folder / name)
        except WeightFileError as error:
            faults.append(_fault(folder, name, error))
            continue

        twice = sorted(tensors.keys() & found.keys())
        if twice:
            error = WeightFileError(
                f"{twice[0]} is in another shard, too", "Use the original files."
            )
            faults.append(_fault(folder, name, error))
        tensors |= found

    if faults:
        raise SpecError(faults)
    return tensors


def _nothing(folder: Path) -> Fault:
    """The fault of a folder without weights."""
    others = [name for name in _OTHERS if (folder / name).exists()]
    why = f"it holds {', '.join(others)}" if others else ""
    return Fault(
        f"the folder holds neither {SAFETENSORS} nor {PYTORCH}",
        where=folder.name,
        why=why,
        do=f"Save the model as {SAFETENSORS} (save_pretrained).",
    )


def _fault(folder: Path, name: str, error: WeightFileError) -> Fault:
    return Fault(
        "the pretrained weights cannot be read",
        where=f"{folder.name}/{name}",
        why=error.why,
        do=error.do,
    )


def _shards(index: Path) -> dict[str, None]:
    """The files that an index names, each once.

    Raises:
        SpecError: It is no JSON.
        WeightFileError: It does not name shards.
    """
    do = "Use the index that belongs to the files."
    where = f"{index.parent.name}/{index.name}"
    content = read_json(index, what="the index of the weights", do=do, where=where)

    weight_map = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise WeightFileError("it names no shards (weight_map)", do)

    # Names alone: a path could lead out of the folder.
    ending = index.name.removesuffix(INDEX).rsplit(".", 1)[-1]
    for name in weight_map.values():
        plain = isinstance(name, str) and name == Path(name).name and "\\" not in name
        if not plain or not name.endswith(f".{ending}"):
            raise WeightFileError(f"a shard is not named as a .{ending} file in this folder", do)
    names = dict.fromkeys(weight_map.values())
    if len(names) > _SHARDS:
        raise WeightFileError(f"it names {len(names)} shards, at most {_SHARDS} are read", do)
    return names


def open_weights(path: Path) -> dict[str, StoredTensor]:
    """The tensors of one file, whatever it is called; nothing but tensors is unpickled.

    Raises:
        WeightFileError: It cannot be read.
    """
    check_beginning(path)
    if path.suffix == ".safetensors":
        return _open_safetensors(path)
    return _open_pytorch(path)


def check_beginning(path: Path) -> None:
    """Refuse what is no file of weights, whatever its name: empty, a git-lfs pointer, a web page, no regular file.

    Args:
        path: The file.

    Raises:
        WeightFileError: It is one of these.
    """
    beginning = _beginning(path)
    if not beginning:
        raise WeightFileError("the file is empty")
    if beginning.startswith(_POINTER):
        raise WeightFileError(
            "it is a git-lfs pointer, not the weights", "Fetch them: git lfs pull in that folder."
        )
    if beginning.lstrip().startswith(_PAGE):
        raise WeightFileError("it is a web page, not the weights")


# Names of types in safetensors files; others are no numbers of ours.
_SAFE_TYPES = {
    **{"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16},
    **{"I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8},
    **{"U8": torch.uint8, "BOOL": torch.bool},
}


def _open_safetensors(path: Path) -> dict[str, StoredTensor]:
    """The tensors of a safetensors file, which stays mapped until they are dropped."""
    tensors = {}
    try:
        file = safe_open(path, framework="pt")
        for name in file.keys():  # noqa: SIM118 (no mapping)
            part = file.get_slice(name)
            tensors[name] = StoredTensor(
                path.name,
                _SAFE_TYPES.get(str(part.get_dtype())),
                tuple(part.get_shape()),
                partial(file.get_tensor, name),
            )
    # The library's own error, or what its bounds raise.
    except DAMAGE:
        raise WeightFileError("the file is cut off or damaged") from None
    return tensors


def _open_pytorch(path: Path) -> dict[str, StoredTensor]:
    """The tensors of a file that torch.save wrote."""
    content = _unpickled(path)
    for key in _NESTED:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping):
        raise WeightFileError("it is no mapping of names to tensors", "Save the state_dict().")

    tensors = {}
    for name, value in content.items():
        if isinstance(name, str) and isinstance(value, Tensor):
            usual = value.layout == torch.strided and not value.is_quantized and not value.is_meta
            tensors[name] = StoredTensor(
                path.name,
                value.dtype if usual else None,
                tuple(value.shape),
                partial(_same, value),
            )
    return tensors


def _same(value: Tensor) -> Tensor:
    return value


def _unpickled(path: Path) -> Any:
    """What a PyTorch file holds, tensors and plain values alone."""
    beginning = _beginning(path)
    if not beginning.startswith((_ZIP, _LEGACY)):
        raise WeightFileError("it is no PyTorch file", "Save the state_dict() with torch.save.")
    is_packed = beginning.startswith(_ZIP)
    if is_packed:
        check_not_deflated(path)

    # A damaged file makes the unpickler fail in any way.
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=is_packed)
    except Exception as error:
        why = "the file is cut off or damaged, or holds more than tensors"
        raise WeightFileError(why, "Save the model's state_dict() alone.") from error


def _beginning(path: Path) -> bytes:
    """The first bytes of a regular file."""
    try:
        with open_regular(path) as file:
            return file.read(32)
    except FileNotFoundError:
        raise WeightFileError("there is no such file") from None
    except OSError as error:
        raise WeightFileError(error.strerror or type(error).__name__) from None


def check_not_deflated(path: Path) -> None:
    """Refuse an archive that unpacks to more than it has: torch.save packs nothing.

    Args:
        path: A file that begins like a zip archive.

    Raises:
        WeightFileError: It is packed, or damaged.
    """
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            packed = any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        raise WeightFileError("the file is cut off or damaged") from None
    if packed:
        raise WeightFileError("it is compressed", "Save the state_dict() with torch.save.")
