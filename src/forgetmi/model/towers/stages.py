"""Runs a part of a module: from a stage on, or up to one, whatever the module does between its stages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn


class _Reached(Exception):
    """Carries the output of the stage at which a run stops."""

    def __init__(self, output: Tensor) -> None:
        super().__init__()
        self.output = output


def run_stages(
    function: Callable[[], Tensor],
    stages: Sequence[nn.Module],
    *,
    start: int = 0,
    value: Tensor | None = None,
    stop: int | None = None,
) -> Tensor:
    """What a function returns when the first stages of the module that it calls are not run.

    The module's own forward pass runs, so it may be anybody's: the stage before ``start`` hands on ``value``, and those
    before it do nothing. What lies between two stages must not read the output of an earlier one.

    Args:
        function: Runs the module, each stage once, in their order.
        stages: Modules that take one tensor on to the next.
        start: First stage that is run.
        value: Output of the stage before ``start``; not read where ``start`` is 0.
        stop: The stage to stop before; None = run all, and what follows them.

    Returns:
        The function's result, or the output of the stage before ``stop``.
    """
    with _handing_on(stages[:start], value):
        if stop is None:
            return function()
        return _until(function, stages[stop - 1])


@contextmanager
def _handing_on(stages: Sequence[nn.Module], value: Tensor | None) -> Iterator[None]:
    """For a block, let modules return a value without computing anything."""

    def hand_on(*arguments: Any, **options: Any) -> Any:
        return value

    # An attribute of the object goes before the method of its class
    for stage in stages:
        stage.forward = hand_on
    try:
        yield
    finally:
        for stage in stages:
            del stage.forward


def _until(function: Callable[[], Tensor], last: nn.Module) -> Tensor:
    """The output of a module during a run, which ends there."""

    def reach(module: nn.Module, arguments: Any, output: Tensor) -> None:
        raise _Reached(output)

    handle = last.register_forward_hook(reach)
    try:
        function()
    except _Reached as reached:
        return reached.output
    finally:
        handle.remove()
    raise RuntimeError("the module did not run its own stage")


def sequence_of(module: nn.Module, prefix: str) -> tuple[str, ...]:
    """Names of a module's parts with weights, from input to output, where they are one after the other.

    Lists and sequences of modules, and parts that hold nothing but one, count by their elements.

    Args:
        module: Registers its parts in the order in which it runs them.
        prefix: Its name in the model.

    Returns:
        Empty where a weight belongs to none of them, so that nothing can be said.
    """
    names = _parts(module, prefix)

    # Each weight must lie in one of them
    below = tuple(f"{name}." for name in names)
    for name, _ in module.named_parameters(prefix=prefix):
        if not name.startswith(below):
            return ()
    return names


def _parts(module: nn.Module, prefix: str) -> tuple[str, ...]:
    names: list[str] = []
    for name, child in module.named_children():
        path = f"{prefix}.{name}"
        if next(child.parameters(), None) is None:
            continue

        # A list runs element by element; an encoder around it alone is taken apart, too
        children = [part for part in child.children() if next(part.parameters(), None) is not None]
        around_list = len(children) == 1 and isinstance(children[0], nn.ModuleList)
        if around_list or isinstance(child, nn.ModuleList | nn.Sequential):
            names.extend(_parts(child, path))
        else:
            names.append(path)
    return tuple(names)
