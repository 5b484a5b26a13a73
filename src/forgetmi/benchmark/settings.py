"""Rows of a benchmark's tables: methods with options, from their names as typed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.printable import MOST_VALUE, printable, quoted
from forgetmi.core.registry import methods
from forgetmi.core.serialization import from_plain
from forgetmi.core.yaml_text import parse_yaml
from forgetmi.methods.forget_mi import WEIGHTS
from forgetmi.unlearning.info import MethodInfo

# The registered method that is the reference itself
RETRAIN = "retrain"

# The paper's methods, and SCRUB+R, which its tables lack
PAPER = (RETRAIN, "neg_grad_plus", "scrub", "cf_k", "eu_k", "multi_delete", "forget_mi")
REQUIRED = (*PAPER, "scrub:rewind=error")
PRESETS = tuple(f"forget_mi:setting={name}" for name in WEIGHTS)


@dataclass(frozen=True)
class Setting:
    """A method with options: one row of a table.

    Args:
        name: As typed, e.g. ``forget_mi:setting=unimodal``.
        method: The method.
    """

    name: str
    method: Any

    @property
    def label(self) -> str:
        """Name for a table."""
        info: MethodInfo = self.method.info
        options = self.name.partition(":")[2]
        if not options:
            return info.title

        words = options.replace(",", ", ").replace("=", " ")
        return f"{info.title} ({words})"

    @property
    def kind(self) -> str:
        """The method's registered name."""
        return kind_of(self.name)


def kind_of(name: str) -> str:
    """The registered method of a row, e.g. ``forget_mi`` of ``forget_mi:setting=unimodal``."""
    return name.partition(":")[0]


def read_setting(text: str) -> Setting:
    """A method with options from ``NAME`` or ``NAME:option=value,option=value``.

    Raises:
        SpecError: The method or an option is unknown, or a value does not fit.
    """
    # The name, then its options
    where = printable(text, MOST_VALUE)
    kind, _, options = text.partition(":")

    values: dict[str, Any] = {}
    faults = []
    for pair in filter(None, options.split(",")):
        name, equals, value = pair.partition("=")
        name = name.strip()
        if not equals or name in values:
            problem = "is no option" if not equals else "is given twice"
            faults.append(
                Fault(
                    f"{quoted(name)} {problem}",
                    where=where,
                    do="Write NAME:option=value,option=value.",
                )
            )
            continue

        what = f"the value of {name}"
        values[name] = parse_yaml(value, where=where, what=what, do="Write one value.")
    if faults:
        raise SpecError(faults)

    # Types and names of the options are checked here
    method = from_plain(methods.get(kind), values, where=where)
    return Setting(text, method)


def all_methods() -> tuple[str, ...]:
    """Every registered method, those of the paper first, then SCRUB+R."""
    others = [name for name in methods.names() if name not in PAPER]
    return (*REQUIRED, *others)
