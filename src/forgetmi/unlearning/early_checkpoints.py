"""Early checkpoints: the states that a training keeps on its way, to be gone back to later."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self, final

from torch import Tensor

from forgetmi.core.batch import Batch
from forgetmi.core.errors import Fault, MethodError
from forgetmi.model.net_module import NetModule
from forgetmi.model.recipe import Recipe
from forgetmi.unlearning.training_log import load_log, save_log

# A model's tensors under "weights", and under "moments" the state of its optimiser
State = dict[str, Any]


@final
class EarlyCheckpoints:
    """Recorder of weights, buffers and optimiser moments after chosen epochs of a training.

    Storage is three times the weights for each epoch, once more for the untrained model (epoch 0), which is always
    kept. All but that one has seen every patient of the training: store them as safely as the model in service, and
    replace them by what unlearning returns.

    Args:
        epochs: After which epochs, counted from 1.
    """

    def __init__(self, epochs: Iterable[int] = ()) -> None:
        self.epochs = frozenset(epochs) | {0}
        self.states: dict[int, State] = {}

    def before_step(self, model: Any, batch: Batch) -> None:
        """Nothing is kept of a step."""

    def after_step(self, model: Any, batch: Batch) -> None:
        """Nothing is kept of a step."""

    def after_epoch(self, model: Any, optimiser: Any, done: int) -> None:
        """Keep a copy of an epoch's state, where it was asked for."""
        if done in self.epochs:
            self.states[done] = state_of(model, optimiser)

    def state(self, epoch: int) -> State:
        """What was kept after an epoch.

        Raises:
            MethodError: Nothing was.
        """
        if epoch not in self.states:
            kept = ", ".join(str(number) for number in sorted(self.states))
            raise MethodError(
                Fault(
                    f"no early checkpoint was kept after epoch {epoch}",
                    why=f"kept: {kept or 'none'}",
                    do="Train the original again with the epochs wanted.",
                )
            )
        return self.states[epoch]

    def replaced(self, states: dict[int, State]) -> EarlyCheckpoints:
        """Other states in place of all that saw patients; the untrained model stays, and this object as it is."""
        others = EarlyCheckpoints(states)
        others.states = {0: self.state(0), **states}
        return others

    def state_dict(self) -> dict[str, Any]:
        """The states."""
        return {"states": self.states}

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        """Restore them."""
        self.states = dict(state_dict["states"])

    def save(self, path: Path) -> None:
        """Write a file."""
        save_log(path, "early checkpoints", self.state_dict())

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            MethodError: The file is damaged, or another method's.
        """
        values = load_log(path, "early checkpoints")
        log = cls(values["states"])
        log.load_state_dict(values)
        return log


def state_of(model: NetModule, optimiser: Any) -> State:
    """A copy of a model's tensors and its optimiser's state."""
    weights = {name: value.detach().clone().cpu() for name, value in model.state_dict().items()}
    return {"weights": weights, "moments": copy.deepcopy(optimiser.state_dict())}


def restored(model: NetModule, state: State) -> NetModule:
    """A copy of a model with the tensors of an early checkpoint.

    Raises:
        MethodError: They are another architecture's.
    """
    weights: dict[str, Tensor] = state["weights"]
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    if {name: value.shape for name, value in weights.items()} != shapes:
        raise MethodError(Fault("the early checkpoint is of another architecture"))

    early = copy.deepcopy(model)
    early.load_state_dict(weights)
    return early


def allowed(epochs: Iterable[int], recipe: Recipe) -> tuple[int, ...]:
    """The epochs asked for, none once the learning rate has begun to fall: a later one becomes the last before.

    Args:
        epochs: Numbers of epochs, counted from 1.
        recipe: Of the training.

    Examples:
        >>> allowed((1, 2), Recipe(epochs=16)), allowed((2,), Recipe(epochs=3, decay=0.35))
        ((1, 2), (1,))
    """
    last = int(recipe.epochs * (1 - recipe.decay))
    return tuple(sorted({min(epoch, last) for epoch in epochs}))
