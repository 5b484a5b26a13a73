"""A method's work within a carrier: what it begins with, what it starts afresh with, and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from torch import Tensor, nn

from forgetmi.core.carrier import COMPLETE, COVERS, FULL, MOVED, SHARE, WEIGHTS, Carrier
from forgetmi.core.errors import Fault, MethodError
from forgetmi.core.seeding import derive
from forgetmi.model.net_module import NetModule
from forgetmi.unlearning.adapter_files import Adapters, adapters_of
from forgetmi.unlearning.adapters import factors
from forgetmi.unlearning.carrier import (
    afresh,
    carry,
    moving,
    put_back,
    saw_before,
    strayed,
)
from forgetmi.unlearning.carrier_applies import coverage, moves


class Carried:
    """What `forgetmi.unlearning.method.unlearn` gives a method in place of the original and of new models.

    With the carrier full it gives them as they are, and nothing is added to the trace but where public weights saw
    patients.

    Args:
        method: The method; one that trains from new weights gets them in the carrier alone.
        model: The original; unchanged.
        carrier: What may move.
        fresh_model: From a seed to a new model.
        seed: Root seed.
        untouched: Parts of the original that no training has moved.
    """

    def __init__(
        self,
        method: Any,
        model: nn.Module,
        carrier: Carrier,
        fresh_model: Callable[[int], NetModule],
        *,
        seed: int,
        untouched: Collection[str] = (),
    ) -> None:
        self.carrier = carrier
        self.start: Any = model
        self.facts: dict[str, Any] = {}
        self._model, self._fresh_model = model, fresh_model
        self._method, self._untouched = method, untouched
        self._seed = derive(seed, "unlearn", "adapters")
        self._below: dict[str, Tensor] | None = None
        if carrier != FULL:
            assert isinstance(model, NetModule)
            self.start = carry(model, carrier, seed=self._seed)

    def fresh(self, seed: int) -> NetModule:
        """A new model; for a method that trains it, new in the carrier alone."""
        model = self._fresh_model(seed)
        if self.carrier == FULL or moves(self._method) not in ("afresh", "mixture"):
            return model

        # Adapters stand on new towers, whose weights are public ones
        student = afresh(self.start, model, self.carrier, seed=self._seed)
        if self.carrier.kind == "lora":
            self._below = {name: value.clone() for name, value in student.state_dict().items()}
        return student

    def finish(self, result: Any) -> Adapters | None:
        """Check that nothing else moved, say what did, and merge the adapters, in place.

        Returns:
            The adapters by themselves, where there are some.

        Raises:
            MethodError: Something outside the carrier moved.
        """
        if self.carrier == FULL:
            self.facts = _of_public_weights(self._model)
            return None
        assert isinstance(self._model, NetModule)
        before = self.start.state_dict() if self._below is None else self._below
        if wrong := strayed(before, result, self.carrier):
            raise MethodError(
                Fault(
                    f"{self._method.info.title} moved {len(wrong)} tensors outside the carrier",
                    where=wrong[0],
                    why="it does not keep to the weights that ask for gradients",
                    do="Use the carrier full.",
                )
            )

        # How much could move, and what that covers
        whole = moving(self._model, self.carrier)
        counts = [value.numel() for name, value in result.named_parameters() if name in whole]
        counts += [value.numel() for value in factors(result).values()]
        total = sum(value.numel() for value in self._model.parameters())
        covered = coverage(self._model, self.carrier, untouched=self._untouched)
        public = self.carrier.kind == "lora" and moves(self._method) == "afresh"
        sentence = "adapters on public towers, and new heads" if public else covered.sentence
        self.facts = {
            MOVED: str(self.carrier),
            WEIGHTS: sum(counts),
            SHARE: sum(counts) / total,
            COVERS: sentence,
            COMPLETE: covered.complete or public,
        }

        # New adapters on weights that saw the patients are no new model
        if public:
            self.facts |= _of_public_weights(self._model, what=sentence)

        # Adapters are taken down before they are merged
        kept = adapters_of(result, self.carrier, whole=whole) if factors(result) else None
        put_back(result, like=self._model)
        return kept


def _of_public_weights(model: nn.Module, *, what: str = "the whole model") -> dict[str, Any]:
    """What a method covers of a model that begins with weights which saw the patients; nothing where none did."""
    modalities = saw_before(model)
    if not modalities:
        return {}
    towers = " and ".join(f"the {modality} tower" for modality in modalities)
    return {
        COVERS: f"{what}; the public weights that {towers} begins with saw the patients before",
        COMPLETE: False,
    }
