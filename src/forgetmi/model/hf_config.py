"""The configuration files of a Hugging Face folder: what a tower takes from them; no code of the folder is ever run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.json_text import mapping, parse_json, read_json
from forgetmi.core.plain_text import Source
from forgetmi.core.printable import quoted

CONFIG = "config.json"
PREPROCESSOR = "preprocessor_config.json"
_POOLING = Path("1_Pooling") / CONFIG

# Types of encoders that were tried; RoBERTa's kind counts positions from behind the padding's id.
OFFSET_TYPES = ("camembert", "roberta", "xlm-roberta")
TEXT_TYPES = ("bert", "distilbert", "electra", "modernbert", *OFFSET_TYPES)
VISION_TYPES = ("deit", "dinov2", "dinov2_with_registers", "vit")

# Settings that are none of the encoder's own, or that would change how numbers are stored
_DROPPED = (
    "_name_or_path",
    "architectures",
    "auto_map",
    "dtype",
    "id2label",
    "label2id",
    "torch_dtype",
    "transformers_version",
)

# Far above every published encoder: what is larger is a mistake
_MOST = 1_000_000
_MOST_LAYERS = 1000
_MOST_PIXELS = 10_000  # of a side


def read_config(folder: Path, types: Sequence[str]) -> str:
    """The settings of a folder's config.json that make up the encoder, as JSON with sorted keys.

    Args:
        folder: A Hugging Face folder.
        types: Values of ``model_type`` that are read.

    Raises:
        SpecError: It cannot be read, is of another type or needs code of its own, or has sizes that no encoder has.
    """
    values = _values(folder, CONFIG)
    where = f"{folder.name}/{CONFIG}"

    kind = values.get("model_type")
    if kind not in types:
        raise SpecError(_unknown(kind, values, types, where))
    if values.get("quantization_config") is not None:
        raise SpecError(
            Fault("the encoder is quantised", where=where, do="Use it in 16 or 32 bits.")
        )
    if values.get("is_decoder") or values.get("is_encoder_decoder"):
        raise SpecError(Fault("it is a decoder", where=where, do="Name an encoder."))

    kept = {name: value for name, value in values.items() if name not in _DROPPED}
    text = json.dumps(kept, sort_keys=True, allow_nan=False)
    check_config(text, types, where=where)
    return text


def settings_in(config: str, *, where: str = "encoder") -> Any:
    """The values of a configuration as `read_config` gives it.

    Args:
        config: JSON.
        where: Where it stands, for messages.

    Raises:
        SpecError: It is no strict JSON.
    """
    do = "Use the original file."
    return parse_json(config, where=where, what="the configuration of the encoder", do=do)


def check_config(config: str, types: Sequence[str], *, where: str) -> dict[str, Any]:
    """The settings in a configuration as `read_config` gives it, if it is one of an encoder that can be built.

    Args:
        config: JSON.
        types: Values of ``model_type`` that are read.
        where: Where it stands, for messages.

    Raises:
        SpecError: It is not.
    """
    values = settings_in(config, where=where)
    if not isinstance(values, dict) or values.get("model_type") not in types:
        raise SpecError(
            Fault(
                "the configuration is of no encoder that is read",
                where=where,
                do=f"Known: {', '.join(types)}.",
            )
        )

    faults = []
    for name, value in values.items():
        most = _MOST_LAYERS if "layers" in name or "heads" in name else _MOST
        whole = isinstance(value, int) and not isinstance(value, bool)
        if whole and not -1000 <= value <= most:
            faults.append(Fault(f"{name} is {quoted(value)}", where=where, why=f"most is {most}"))
    if faults:
        raise SpecError(faults)
    return values


def _unknown(kind: Any, values: Mapping[str, Any], types: Sequence[str], where: str) -> Fault:
    """The fault of an encoder of another type."""
    known = f"Known: {', '.join(types)}."
    if not isinstance(kind, str) or "auto_map" not in values:
        return Fault(
            f"encoders of type {quoted(kind)} are not read",
            where=where,
            do=known,
        )

    return Fault(
        f"encoders of type {quoted(kind)} need Python code of their folder",
        where=where,
        why="code that comes with weights is never run",
        do=(
            "If its weights are those of a known encoder, as CXR-BERT's are a BERT's, copy the folder, and set "
            f'"model_type" (to "bert") and remove "auto_map" in {CONFIG}. {known}'
        ),
    )


def text_pooling(folder: Path) -> str:
    """How an encoder's own files make one embedding of a text: "mean" or "cls"; "cls" where they do not say."""
    if not (folder / _POOLING).is_file():
        return "cls"

    values = _values(folder / _POOLING.parent, CONFIG)
    return "mean" if values.get("pooling_mode_mean_tokens") is True else "cls"


def image_rules(folder: Path) -> dict[str, Any]:
    """Size, mean and standard deviation of a folder's preprocessor_config.json; empty where there is none.

    Args:
        folder: A Hugging Face folder.

    Returns:
        ``size`` (pixels), ``mean`` and ``std`` (of each channel, of values in [0, 1]).

    Raises:
        SpecError: It cannot be read, or images are to be prepared in a way that is not offered.
    """
    if not (folder / PREPROCESSOR).is_file():
        return {}

    values = _values(folder, PREPROCESSOR)
    where = f"{folder.name}/{PREPROCESSOR}"
    faults = []

    # The crop's size where the centre is cut out, as DINOv2 does
    size = values.get("size")
    if values.get("do_center_crop", "crop_size" in values) and values.get("crop_size"):
        size = values["crop_size"]
    side = _side(size)
    if side is None:
        faults.append(Fault("the images' size is no square", where=where, why=quoted(size)))

    # Values in [0, 255] become values in [0, 1] first
    factor = values.get("rescale_factor", 1 / 255)
    to_one = _number(factor) and abs(factor * 255 - 1) <= 0.01
    if not values.get("do_rescale", True) or not to_one:
        faults.append(Fault("grey values are not scaled to [0, 1]", where=where))

    mean, std = values.get("image_mean"), values.get("image_std")
    if not values.get("do_normalize", True):
        mean, std = [0.0] * 3, [1.0] * 3
    if not _numbers(mean) or not _numbers(std) or min(std or [0]) <= 0:
        faults.append(Fault("it states no mean and standard deviation", where=where))

    if faults:
        raise SpecError(faults)
    return {
        "size": side,
        "mean": tuple(map(float, mean or ())),
        "std": tuple(map(float, std or ())),
    }


def _side(size: Any) -> int | None:
    """The side of a square; None = it is none that an image has."""
    if isinstance(size, dict):
        sides = list(size.values())
        size = sides[0] if sides and all(side == sides[0] for side in sides) else None
    whole = isinstance(size, int) and not isinstance(size, bool)
    return size if whole and 0 < size <= _MOST_PIXELS else None


def _number(value: Any) -> bool:
    """Whether a value of JSON is a number of a size that settings have."""
    return type(value) in (int, float) and abs(value) <= 1e6


def _numbers(values: Any) -> bool:
    return isinstance(values, list) and len(values) in (1, 3) and all(map(_number, values))


def _values(folder: Path, name: str) -> dict[str, Any]:
    """The content of a JSON file of the folder."""
    source = Source(
        f"{folder.name}/{name}", "the pretrained encoder", "Name a complete Hugging Face folder."
    )
    content = read_json(folder / name, what=source.what, do=source.do, where=source.where)
    return mapping(content, source)
