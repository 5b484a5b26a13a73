"""What is stored of a user's own model: which factory made it, from what source, for inputs of which sizes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from forgetmi.core.serialization import from_plain

# Tells a stored specification from that of the package's own architecture
KIND = "own"


@dataclass(frozen=True)
class Sizes:
    """What a factory is told of the data, so that its model fits them.

    Args:
        classes: Width of the predictions.
        image: Side of the square films, pixels.
        vocabulary: Number of word pieces; id 0 is padding.
        longest: Longest report in tokens.
        columns: Names of a table's columns, in order; none = there is no table.
    """

    classes: int
    image: int
    vocabulary: int
    longest: int
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class OwnSpec:
    """A user's own model.

    Args:
        factory: ``package.module:function``, a function of `Sizes` that returns what `forgetmi.adapt` made.
        source: SHA-256 of the factory's file, in hex.
        sizes: What the factory was told.
    """

    factory: str
    source: str
    sizes: Sizes

    @property
    def classes(self) -> int:
        """Width of the predictions."""
        return self.sizes.classes

    @property
    def notice(self) -> str:
        """What report and record say of it."""
        return f"the model is the user's own, made by {self.factory} (source {self.source[:12]})"

    def to_plain(self) -> dict[str, Any]:
        """As plain JSON types."""
        return {"kind": KIND, **asdict(self)}

    @classmethod
    def from_plain(cls, values: Mapping[str, Any], *, where: str) -> OwnSpec:
        """Read what `to_plain` gave.

        Raises:
            SpecError: A field is missing, unknown or of another type.
        """
        fields = {name: value for name, value in values.items() if name != "kind"}
        return from_plain(cls, fields, where=where, complete=True)


def is_own(values: Mapping[str, Any]) -> bool:
    """Whether a stored specification is of a user's own model."""
    return values.get("kind") == KIND


def missing_notices(lacking: Iterable[str]) -> tuple[str, ...]:
    """What a model of one's own does with rows that lack something; nothing where none does.

    Args:
        lacking: Modalities that some rows lack.
    """
    names = sorted(lacking)
    if not names:
        return ()
    return (
        f"rows without {' or '.join(names)} are given to the model as a black film, an empty report or no values; what "
        "it says of them is not used, but a batch norm in it learns from them",
    )
