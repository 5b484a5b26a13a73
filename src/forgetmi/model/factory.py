"""A user's factory of models: found by the name that was given, and called under a seed."""

from __future__ import annotations

import hashlib
import os
import sys
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.printable import quoted
from forgetmi.core.seeding import scope
from forgetmi.model.adapted import Adapted
from forgetmi.model.check_net import first_outputs
from forgetmi.model.own_spec import OwnSpec, Sizes

WHERE = "--model-from"


def own_spec(name: str, sizes: Sizes) -> OwnSpec:
    """The specification of a user's own model.

    Args:
        name: ``package.module:function``; its module is imported, which runs the user's code.
        sizes: Of the data.

    Raises:
        SpecError: There is no such function.
    """
    function = _factory(name)
    file = Path(sys.modules[function.__module__].__file__ or "")
    source = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""
    return OwnSpec(name, source, sizes)


def build_own(spec: OwnSpec, *, seed: int) -> Adapted:
    """A fresh model, which the user's factory makes while the global generators are set to the seed.

    Args:
        spec: Which factory, and what it is told.
        seed: Root seed.

    Raises:
        SpecError: The factory fails, returns something else, or its model cannot be run.
    """
    function = _factory(spec.factory)
    with scope(seed, "own model"):
        try:
            model = function(spec.sizes)
        except Exception as error:
            raise _failed(spec, f"{type(error).__name__}: {str(error)[:200]}") from error
    if not isinstance(model, Adapted):
        raise _failed(spec, f"it returns {type(model).__name__}, not what forgetmi.adapt made")

    # What it puts out is known from its first outputs
    model.own_spec = spec
    model.maker = partial(_make, spec)
    first_outputs(model)
    return model.eval()


def _make(spec: OwnSpec, seed: int) -> Adapted:
    return build_own(spec, seed=seed)


def _factory(name: str) -> Any:
    """The function of that name; modules of the working folder are found, too."""
    module, colon, function = name.partition(":")
    if not (module and colon and function):
        raise SpecError(
            Fault(
                f"{quoted(name)} names no factory",
                where=WHERE,
                do="Write it as package.module:function.",
            )
        )

    # A command's own folder is not searched otherwise; installed packages come first
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        found = getattr(import_module(module), function, None)
    except Exception as error:
        # The message of an import names folders, which identify
        do = "Install its package, or run the command in the folder of its file."
        what = error.name if isinstance(error, ImportError) else str(error)[:200]
        why = f"{type(error).__name__}: {what}"
        raise SpecError(
            Fault(f"{quoted(module)} cannot be imported", where=WHERE, why=why, do=do)
        ) from error

    if not callable(found):
        raise SpecError(Fault(f"{quoted(module)} has no function {quoted(function)}", where=WHERE))
    return found


def _failed(spec: OwnSpec, why: str) -> SpecError:
    return SpecError(
        Fault(
            f"the factory {spec.factory} made no model",
            where=WHERE,
            why=why,
            do="It takes forgetmi.Sizes and returns forgetmi.adapt(...).",
        )
    )
