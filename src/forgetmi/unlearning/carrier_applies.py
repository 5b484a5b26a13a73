"""Whether a method can work within a carrier, in one sentence why not, and what its result then covers."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from forgetmi.core.carrier import Carrier
from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.net import HEAD, JOIN, TOWER
from forgetmi.model.composed import Composed
from forgetmi.model.image_text import ImageText
from forgetmi.model.net_module import NetModule
from forgetmi.unlearning.adapters import adapted_layers, check_peft
from forgetmi.unlearning.carrier import moving
from forgetmi.unlearning.info import Moves


def moves(method: Any) -> Moves:
    """What a method moves; one that does not say trains a copy of the model."""
    return getattr(method, "moves", "weights")


def why_not(method: Any, net: NetModule, carrier: Carrier) -> str:
    """Why a method cannot work within a carrier; empty = it can.

    Args:
        method: The method with its options.
        net: The model, trained or not.
        carrier: Which tensors may move.
    """
    if carrier.kind == "full":
        return ""
    kind = moves(method)
    reason = _REFUSALS[kind](net, carrier)
    if reason or kind == "heads":
        return reason

    # What the carrier itself needs of the model
    if carrier.kind == "heads" and not moving(net, carrier):
        return "the model names no head"
    if carrier.kind == "last":
        for modality in net.modalities:
            # A tower whose stages are all frozen has none that may move
            if not net.stages(modality):
                return f"the model names no stages of its {modality} tower"
    return ""


def check_carrier(method: Any, net: NetModule, carrier: Carrier) -> None:
    """Refuse a carrier that a method cannot work within, or that a model has nothing for.

    Raises:
        MethodError: It cannot; PEFT is not installed; no layer can be adapted, or a target names none.
    """
    reason = why_not(method, net, carrier)
    if reason:
        raise MethodError(
            Fault(
                f"{method.info.title} cannot work with the carrier {carrier.kind}",
                why=reason,
                do="docs/carrier.md lists which can; --carrier full always does.",
            )
        )
    check_layers(net, carrier)


def check_layers(net: NetModule, carrier: Carrier) -> None:
    """Refuse adapters for which there is no library or no layer.

    Raises:
        MethodError: As `forgetmi.unlearning.adapters.adapted_layers` says.
    """
    if carrier.kind == "lora":
        check_peft()
        adapted_layers(net, carrier, but=moving(net, carrier))


def check_training(method: Any, net: NetModule, carrier: Carrier) -> None:
    """Refuse a carrier for the training of an original.

    Args:
        method: The method that will unlearn from it.
        net: A model of that kind.
        carrier: Of the training.

    Raises:
        MethodError: The method needs a log of the whole training, or the model has nothing for the carrier.
    """
    if carrier.kind == "full":
        return
    if method.info.original is not None:
        raise MethodError(
            Fault(
                f"{method.info.title} cannot use an original of the carrier {carrier.kind}",
                where="training.carrier",
                why="it keeps a log of the training of the whole model",
                do="Train with the carrier full, or choose another method.",
            )
        )
    check_trainable(net, carrier)


def check_trainable(net: NetModule, carrier: Carrier) -> None:
    """Refuse a carrier for the training of any new model of a kind.

    Raises:
        MethodError: The model has nothing for the carrier, or a random tower for adapters.
    """
    if carrier.kind == "lora" and (reason := random_tower(net)):
        raise MethodError(
            Fault(
                "an original cannot be trained by adapters alone",
                where="training.carrier",
                why=reason,
                do="Give each tower public weights, or train with another carrier.",
            )
        )
    if carrier.kind == "heads" and not moving(net, carrier):
        raise MethodError(Fault("the model names no head to train", where="training.carrier"))
    check_layers(net, carrier)


def random_tower(net: NetModule) -> str:
    """Why a new model of that kind is no place for adapters: a tower of it starts at random; empty = none does."""
    if isinstance(net, Composed):
        for modality, tower in net.spec.towers:
            if getattr(tower, "random", True):
                return f"a new {modality} tower has random weights, which adapters cannot train"
        return ""
    if isinstance(net, ImageText):
        return "a new image tower has random weights, which adapters cannot train"
    return "nobody says that a new model has public weights, and adapters cannot train random ones"


def _never(sentence: str) -> Callable[[NetModule, Carrier], str]:
    return lambda net, carrier: sentence


def _weights(net: NetModule, carrier: Carrier) -> str:
    return ""


def _embeddings(net: NetModule, carrier: Carrier) -> str:
    # The projection on a frozen public tower makes an embedding
    heads = {
        name
        for part, content in net.parts().items()
        if part.startswith(HEAD)
        for name in content.names
    }
    if carrier.kind == "heads" and moving(net, carrier) <= heads:
        return "it moves embeddings, and the heads make none"
    return ""


def _chosen(net: NetModule, carrier: Carrier) -> str:
    if carrier.kind == "lora":
        return "it chooses single weights of the model, and adapters are other weights"
    return ""


def _afresh(net: NetModule, carrier: Carrier) -> str:
    return random_tower(net) if carrier.kind == "lora" else ""


def _mixture(net: NetModule, carrier: Carrier) -> str:
    if carrier.kind == "lora":
        return "it mixes all weights with new ones, and adapters move none of them"
    return ""


def _heads(net: NetModule, carrier: Carrier) -> str:
    if carrier.kind == "heads":
        return ""
    return "it moves the heads alone, by a formula; the carrier heads says so"


# What a method moves, and the sentence for a carrier that does not go with it
_REFUSALS: dict[Moves, Callable[[NetModule, Carrier], str]] = {
    "weights": _weights,
    "embeddings": _embeddings,
    "chosen weights": _chosen,
    "afresh": _afresh,
    "mixture": _mixture,
    "heads": _heads,
    "own layers": _never("it chooses itself which layers move"),
    "stored weights": _never("it goes back to stored weights of the whole model"),
    "own adapters": _never("it has adapters of its own"),
    "closed form": _never("it trains nothing: it changes the model's weights by a formula"),
}


@dataclass(frozen=True)
class Coverage:
    """What an unlearning within a carrier covers.

    Args:
        complete: Whether what did not move has seen no patient.
        sentence: The same in words.
    """

    complete: bool
    sentence: str


def coverage(net: NetModule, carrier: Carrier, *, untouched: Collection[str] = ()) -> Coverage:
    """What an unlearning covers that moves a carrier alone.

    Args:
        net: The original, without adapters.
        carrier: Not full.
        untouched: Its parts that no training has moved, though the model itself does not know that.
    """
    whole = moving(net, carrier)
    seen: list[str] = []
    for part, content in net.parts().items():
        left = set(content.names) - whole
        if part != JOIN and left and content.saw_patients and part not in untouched:
            seen.append(_called(part))

    what = _WHAT[carrier.kind]
    if not seen:
        return Coverage(True, f"{what}; the towers saw no patient")
    layers = " and ".join(sorted(set(seen)))
    if carrier.kind == "lora":
        return Coverage(False, f"{what}; the weights of {layers} below them saw the patients")
    return Coverage(False, f"{what}; {layers} saw the patients and stayed as they were")


def _called(part: str) -> str:
    """A part of a model in words."""
    if part.startswith(TOWER):
        return f"the {part.removeprefix(TOWER)} tower"
    return "other layers"


_WHAT = {
    "full": "the whole model",
    "heads": "heads only",
    "last": "heads and the last stages of each tower only",
    "lora": "adapters on the towers' layers, and the heads",
}
