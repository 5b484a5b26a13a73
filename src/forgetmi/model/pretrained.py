"""Pretrained text encoders: where they are, the sizes they have, and their weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from huggingface_hub import snapshot_download
from torch import Tensor

from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.printable import printable
from forgetmi.model.encoder_config import read_encoder_config
from forgetmi.model.encoder_names import encoder_shapes, match_names
from forgetmi.model.spec import TextEncoderSpec
from forgetmi.model.weight_files import DAMAGE, StoredTensor, stored_tensors

SIZES = ("hidden", "layers", "heads", "intermediate", "vocabulary", "positions")

# Types that become float32, and faults that are spelled out.
_FLOATS = frozenset({torch.float32, torch.float16, torch.bfloat16, torch.float64})
_MOST = 5


def pretrained_directory(pretrained: str, *, download: bool = False) -> Path:
    """The local folder of a pretrained encoder: the directory itself, or a hub model's copy in the hub's cache.

    Args:
        pretrained: Local Hugging Face directory (or hub id).
        download: Whether a hub id may be fetched over the network.

    Raises:
        SpecError: There is no such directory, and no local copy of such a model.
    """
    # A folder of that name goes before a model of that name.
    if Path(pretrained).is_dir():
        return Path(pretrained)

    # Without leave to download, only the hub's cache is read.
    try:
        return Path(snapshot_download(pretrained, local_files_only=not download))
    # Whatever the network, the hub or the cache raises.
    except Exception as error:
        raise _unreadable(
            "the pretrained text encoder cannot be found", type(error).__name__, download=download
        ) from error


def pretrained_text(pretrained: str, *, download: bool = False) -> TextEncoderSpec:
    """The specification that fits a pretrained BERT encoder; nothing but its configuration is read.

    Args:
        pretrained: Local Hugging Face directory (or hub id).
        download: Whether a hub id may be fetched over the network.

    Raises:
        SpecError: It cannot be read, or is not a BERT encoder of the usual kind.
    """
    folder = _folder(pretrained, download=download)
    return replace(read_encoder_config(folder), pretrained=pretrained, download=download)


@dataclass(frozen=True, eq=False)
class PretrainedEncoder:
    """What a fresh model takes from a pretrained encoder.

    Args:
        weights: By name, float32, on the processor; all of the encoder's, but perhaps its pooler's.
        notices: What was converted or is missing, in words.
    """

    weights: Mapping[str, Tensor]
    notices: tuple[str, ...] = ()


def pretrained_encoder(spec: TextEncoderSpec) -> PretrainedEncoder:
    """Read and check the weights of a pretrained BERT encoder.

    They may be stored under any common prefix (bert., module., text_encoder.), whole or in shards, as safetensors or as
    a PyTorch file, of which tensors alone are unpickled. Numbers become float32. No code of the folder is run.

    Args:
        spec: The text encoder; its sizes must be the folder's.

    Raises:
        SpecError: It cannot be read, sizes differ, weights are missing, unknown, of another shape, no floating-point
            numbers, not finite or blank; all faults at once.
    """
    folder = _folder(spec.pretrained, download=spec.download)
    _check_sizes(spec, folder)

    # Names and shapes first: nothing large is read before they fit.
    stored = stored_tensors(folder)
    shapes = encoder_shapes(spec)
    matched = match_names(stored, shapes, folder.name)
    faults = list(matched.faults)
    for name, original in matched.names.items():
        faults += _misfit(stored[original], original, shapes[name], folder.name)
    if faults:
        raise SpecError(capped(faults))

    # Then the numbers.
    weights: dict[str, Tensor] = {}
    converted: Counter[str] = Counter()
    for name, original in matched.names.items():
        value, fault = _read(stored[original], original, name, folder.name)
        if fault is not None:
            faults.append(fault)
            continue
        if stored[original].dtype != torch.float32:
            converted[str(stored[original].dtype).removeprefix("torch.")] += 1
        weights[name] = value
    if faults:
        raise SpecError(capped(faults))

    # In the library's order, whatever the files' is.
    notices = [
        f"{count} weights of the pretrained text encoder were {kind} and became float32"
        for kind, count in sorted(converted.items())
    ]
    if len(weights) < len(shapes):
        notices.append(
            "the pretrained text encoder has no pooler: the pooler's weights were drawn at random"
        )
    in_order = {name: weights[name] for name in shapes if name in weights}
    return PretrainedEncoder(in_order, tuple(notices))


def pretrained_weights(spec: TextEncoderSpec) -> dict[str, Tensor]:
    """Weights of the pretrained BERT encoder, by name; see `pretrained_encoder`.

    Raises:
        SpecError: It cannot be read, or does not fit the specification.
    """
    return dict(pretrained_encoder(spec).weights)


def _folder(pretrained: str, *, download: bool) -> Path:
    try:
        return pretrained_directory(pretrained, download=download)
    except SpecError as error:
        raise _unreadable(
            "the pretrained text encoder cannot be read", "there is none", download=download
        ) from error


def _misfit(stored: StoredTensor, original: str, shape: tuple[int, ...], where: str) -> list[Fault]:
    """Faults of a stored weight whose shape or type is not the encoder's."""
    faults = []
    name = printable(original, 120)
    if stored.shape != shape:
        faults.append(
            Fault(
                f"weight {name} has shape {stored.shape}",
                where=f"{where}/{stored.file}",
                why=f"the configuration says {shape}",
                do="Use the config.json that belongs to the weights.",
            )
        )
    if stored.dtype not in _FLOATS:
        kind = "quantised, sparse or of an unknown type"
        if stored.dtype is not None:
            kind = str(stored.dtype).removeprefix("torch.")
        faults.append(
            Fault(
                f"weight {name} is {kind}",
                where=f"{where}/{stored.file}",
                why="floating-point numbers are expected",
                do="Save the model in float32.",
            )
        )
    return faults


def _read(
    stored: StoredTensor, original: str, name: str, where: str
) -> tuple[Tensor, Fault | None]:
    """A stored weight in float32, and what is wrong with its numbers."""
    value = torch.empty(0)
    problem = why = ""
    try:
        # A copy: the file is mapped, and may be replaced while the weights are in use.
        value = stored.read().to(torch.float32, copy=True).contiguous()
    # The library's own error, or what its bounds raise.
    except DAMAGE:
        problem = "cannot be read"

    if not problem and not bool(value.isfinite().all()):
        problem, why = "holds NaN or infinite numbers", "training diverged, or the file is damaged"

    # The tail of a download that was cut is zeros. Segments may be: many models had none.
    blank = value.ndim == 2 and "token_type" not in name and not bool(value.any())
    if not problem and blank:
        problem, why = "is zero throughout", "as where a download was cut"

    if not problem:
        return value, None
    return value, Fault(
        f"weight {printable(original, 120)} {problem}",
        where=f"{where}/{stored.file}",
        why=why,
        do="Download the file again and compare its size and checksum.",
    )


def _check_sizes(spec: TextEncoderSpec, folder: Path) -> None:
    """Refuse a pretrained encoder whose sizes are not the specification's."""
    stored = read_encoder_config(folder)

    faults = []
    for name in SIZES:
        if getattr(stored, name) != getattr(spec, name):
            faults.append(
                Fault(
                    f"the pretrained text encoder has {name} = {getattr(stored, name)}",
                    where="text encoder",
                    why=f"the specification has {getattr(spec, name)}",
                )
            )

    if faults:
        raise SpecError(faults)


def capped(faults: Sequence[Fault]) -> list[Fault]:
    """The first faults, and how many others there are."""
    rest = len(faults) - _MOST
    if rest <= 0:
        return list(faults)
    return [*faults[:_MOST], Fault(f"... and {rest} more faults of the weights")]


def _unreadable(problem: str, why: str, *, download: bool) -> SpecError:
    # Downloading can be no advice where it was allowed already.
    advice = "Name a local directory, or allow the download."
    if download:
        advice = "Check the directory or hub id."
    return SpecError(Fault(problem, where="text encoder", why=why, do=advice))
