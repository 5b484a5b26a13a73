"""What is asked of the package timm, which is imported when a tower needs it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from forgetmi.core.errors import Fault, SpecError


def data_rules(name: str) -> dict[str, Any]:
    """Size, mean and standard deviation of a model's own configuration in timm.

    Raises:
        SpecError: timm is not installed or does not know the model, or its images are no squares.
    """
    config = _package().data.resolve_model_data_config(timm_model(name, pretrained=False))
    channels, height, width = config["input_size"]
    if height != width or len(config["mean"]) != channels:
        raise SpecError(Fault("the model's images are no squares", where="image tower"))
    return {"size": height, "mean": tuple(config["mean"]), "std": tuple(config["std"])}


def timm_model(name: str, *, pretrained: bool) -> Any:
    """A model without its classifier.

    Args:
        name: As timm calls it.
        pretrained: Whether timm may read its weights from its cache, or fetch them.

    Raises:
        SpecError: timm is not installed, or cannot make it.
    """
    try:
        return _package().create_model(name, pretrained=pretrained, num_classes=0)
    except SpecError:
        raise
    # Whatever timm raises for a name or the network
    except Exception as error:
        raise SpecError(
            Fault(
                "timm cannot make the model",
                where="image tower",
                why=type(error).__name__,
                do="timm.list_models() lists the names.",
            )
        ) from error


def _package() -> Any:
    try:
        return import_module("timm")
    except ImportError as error:
        raise SpecError(
            Fault(
                "the package timm is not installed",
                where="image tower",
                do="Install it: pip install forgetmi[towers]",
            )
        ) from error
