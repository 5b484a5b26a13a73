"""The architecture of a model that is composed of towers; plain values, which need no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.modalities import IMAGE, JOINT, TABLE, TEXT
from forgetmi.core.printable import quoted
from forgetmi.core.registry import towers as registry
from forgetmi.core.serialization import from_plain
from forgetmi.core.suggest import did_you_mean
from forgetmi.model.tower_specs.protocol import SERIES, TrainingData, number_faults

# What a tower can read of a batch
MODALITIES = (IMAGE, TEXT, TABLE, SERIES)

# Tells a stored specification from others
KIND = "composed"

_WHERE = "model"
_FIELDS = ("towers", "width", "classes")


@dataclass(frozen=True)
class ComposedSpec:
    """A tower a modality, a projection of each to one width, a head on each, and what joins them.

    Args:
        towers: Modality and specification of each tower, in the order in which they are joined.
        width: Width of all embeddings.
        classes: Width of the logits of each head; 0 = there are no heads.
    """

    towers: tuple[tuple[str, Any], ...]
    width: int = 256
    classes: int = 4

    def __post_init__(self) -> None:
        faults = number_faults(_WHERE, {"width": self.width, "classes": max(self.classes, 1)})
        if self.classes < 0:
            faults.append(Fault(f"classes is {self.classes}", where=_WHERE, why="0 is the least"))
        names = [modality for modality, _ in self.towers]
        if not names:
            faults.append(Fault("a model needs a tower", where=_WHERE))

        for modality, tower in self.towers:
            if modality not in MODALITIES or modality == JOINT:
                advice = did_you_mean(modality, MODALITIES)
                faults.append(
                    Fault(f"there is no modality {quoted(modality)}", where=_WHERE, do=advice)
                )
            elif tower.modality != modality:
                faults.append(
                    Fault(
                        f"the tower of {modality} reads {tower.modality}",
                        where=_WHERE,
                        do=f"Give it as {tower.modality}=...",
                    )
                )
            if names.count(modality) > 1:
                faults.append(Fault(f"{modality} has several towers", where=_WHERE))
        if faults:
            raise SpecError(list(dict.fromkeys(faults)))

    @property
    def modalities(self) -> tuple[str, ...]:
        """What it reads, in order."""
        return tuple(modality for modality, _ in self.towers)

    @property
    def gated(self) -> bool:
        """Whether the gate joins the embeddings, as it does two; else they are averaged."""
        return len(self.towers) == 2

    @property
    def size(self) -> int:
        """Side of its images, pixels; 0 = it reads none."""
        return max(tower.size for _, tower in self.towers)

    @property
    def layers(self) -> int:
        """How many layers it has at least: a projection and a head a tower."""
        return 2 * len(self.towers)

    def tower(self, modality: str) -> Any:
        """The specification of one tower; None = it has none for this modality."""
        return dict(self.towers).get(modality)

    def resolve(self, training: TrainingData) -> Self:
        """With what the towers' files and the training patients say; all faults at once."""
        resolved, faults = [], []

        for modality, tower in self.towers:
            try:
                resolved.append((modality, tower.resolve(training)))
            except SpecError as error:
                faults.extend(error.faults)
        if faults:
            raise SpecError(faults)

        return replace(self, towers=tuple(resolved))

    def without_download(self) -> Self:
        """Without the word whether towers may be fetched: that is no part of a model."""
        towers = []

        for modality, tower in self.towers:
            if getattr(tower, "download", False):
                tower = replace(tower, download=False)
            towers.append((modality, tower))

        return replace(self, towers=tuple(towers))

    def to_plain(self) -> dict[str, Any]:
        """Nested dictionaries and lists of plain values."""
        towers = []
        for modality, tower in self.towers:
            towers.append({"modality": modality, "kind": tower_kind(tower), **asdict(tower)})
        return {"kind": KIND, "towers": towers, "width": self.width, "classes": self.classes}

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> ComposedSpec:
        """Read what `to_plain` wrote, strictly.

        Raises:
            SpecError: All faults at once.
        """
        values = {name: value for name, value in values.items() if name != "kind"}
        faults = [
            Fault(f"key {name!r} is missing", where=_WHERE)
            for name in _FIELDS
            if name not in values
        ]
        if set(values) - set(_FIELDS):
            faults.append(Fault("unknown keys (not quoted)", where=_WHERE))
        whole = all(type(values.get(name)) is int for name in ("width", "classes"))
        stored = values.get("towers")
        if not whole or not isinstance(stored, list):
            faults.append(Fault("towers, width or classes are of another kind", where=_WHERE))
        if faults:
            raise SpecError(faults)

        towers = []

        for one in stored if isinstance(stored, list) else ():
            try:
                towers.append(_stored_tower(one))
            except SpecError as error:
                faults.extend(error.faults)
        if faults:
            raise SpecError(faults)

        return cls(tuple(towers), width=values["width"], classes=values["classes"])


def is_composed(values: Mapping[str, Any]) -> bool:
    """Whether a stored specification is of a composed model."""
    return values.get("kind") == KIND


def tower_kind(tower: Any) -> str:
    """The name under which the specification of a tower is registered.

    Raises:
        SpecError: Under none.
    """
    for name in registry.names():
        qualified = registry.target(name).partition(":")[2]
        if qualified == type(tower).__qualname__ and registry.get(name) is type(tower):
            return name
    raise SpecError(
        Fault(
            f"{type(tower).__name__} is not registered as a tower",
            where=_WHERE,
            do="Register it: forgetmi.core.registry.towers.add(NAME, CLASS).",
        )
    )


def _stored_tower(values: Any) -> tuple[str, Any]:
    """A tower of a stored specification, and its modality."""
    if not isinstance(values, dict):
        raise SpecError(Fault("a tower is no mapping of keys", where=_WHERE))
    options = dict(values)
    modality, kind = options.pop("modality", ""), options.pop("kind", "")
    if not isinstance(modality, str) or not isinstance(kind, str):
        raise SpecError(Fault("a tower has no modality or kind", where=_WHERE))

    return modality, from_plain(registry.get(kind), options, where=_WHERE, complete=True)
