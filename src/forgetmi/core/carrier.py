"""Which tensors of a model a training may move: plain values, which need no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.printable import quoted
from forgetmi.core.serialization import from_plain
from forgetmi.core.suggest import did_you_mean

Kind = Literal["full", "lora", "heads", "last"]
KINDS: tuple[Kind, ...] = get_args(Kind)

# Options of each kind; the others take none
OPTIONS: dict[Kind, tuple[str, ...]] = {
    "full": (),
    "heads": (),
    "last": ("stages",),
    "lora": ("rank", "alpha", "targets"),
}
WHERE = "carrier"
_FORM = "full, heads, last, last,stages=2, lora, or lora,rank=8,alpha=16,targets=query+value"

# Names of the facts of a trace that say what a carrier moved, and what that covers
MOVED, WEIGHTS, SHARE = "carrier", "weights that may move", "share of all weights"
COVERS, COMPLETE = "the removal covers", "what did not move has seen no patient"

# Between the values of an option that takes several
_SEVERAL = "+"
MOST = 4096


@dataclass(frozen=True)
class Carrier:
    """Which tensors of a model a training moves; what is not in it stays as it is, bit for bit.

    What joins the embeddings is in none: it is fitted anew after every training.

    Args:
        kind: full = every weight. heads = the heads, and the projections that stand on frozen public towers. last =
            those and the last stages of each tower. lora = low-rank adapters on the towers' linear and convolution
            layers, which are merged at the end; heads and projections move whole.
        stages: Of last: how many stages of each tower, >= 1; stages without weights and projections do not count.
        rank: Of lora: rank of each adapter, >= 1.
        alpha: Of lora: each adapter's output is multiplied by alpha / rank, > 0.
        targets: Of lora: names of layers, or their ends, such as query; none = all that can be adapted.

    Examples:
        >>> read_carrier("lora,rank=4,targets=query+value")
        Carrier(kind='lora', stages=1, rank=4, alpha=16.0, targets=('query', 'value'))
        >>> str(read_carrier("last"))
        'last,stages=1'
    """

    kind: Kind = "full"
    stages: int = 1
    rank: int = 8
    alpha: float = 16.0
    targets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        rules = {
            f"stages must be 1 to {MOST}": 1 <= self.stages <= MOST,
            f"rank must be 1 to {MOST}": 1 <= self.rank <= MOST,
            "alpha must be above 0": 0 < self.alpha < float("inf"),
            "a target must have a name": all(self.targets),
        }
        faults = [Fault(rule, where=WHERE) for rule, holds in rules.items() if not holds]
        if faults:
            raise SpecError(faults)

    def __str__(self) -> str:
        words: list[str] = [self.kind]
        for name in OPTIONS[self.kind]:
            value = getattr(self, name)
            if isinstance(value, tuple):
                value = _SEVERAL.join(value)
            if value != "":
                words.append(f"{name}={value:g}" if name == "alpha" else f"{name}={value}")
        return ",".join(words)


FULL = Carrier()


def read_carrier(text: str) -> Carrier:
    """A carrier as it is named on the command line, in specifications and in sweeps.

    Args:
        text: A kind, then ``,OPTION=VALUE`` for each option of that kind; "" = full.

    Raises:
        SpecError: It has another form, an unknown kind or option, or a value out of range; all faults at once.
    """
    kind, *options = (text or "full").split(",")
    if kind not in KINDS:
        do = did_you_mean(kind, KINDS, then=f"Write {_FORM}.")
        raise SpecError(Fault(f"there is no carrier {quoted(kind)}", where=WHERE, do=do))

    # Each option once, and only those of the kind
    values: dict[str, Any] = {"kind": kind}
    faults: list[Fault] = []
    for option in options:
        name, equals, value = option.partition("=")
        if not equals or name not in OPTIONS[kind] or name in values:
            faults.append(
                Fault(f"{quoted(option)} is no option of {kind}", WHERE, do=f"Write {_FORM}.")
            )
            continue
        values[name] = _plain(name, value)
    if faults:
        raise SpecError(faults)
    return from_plain(Carrier, values, where=WHERE)


def _plain(name: str, value: str) -> Any:
    """A value as its option's type has it; as it is where it does not fit, which is then refused."""
    if name == "targets":
        return value.split(_SEVERAL)
    if name == "alpha":
        try:
            return float(value)
        except ValueError:
            return value
    return int(value) if value.isascii() and value.isdigit() else value
