"""``forgetmi methods``: what there is, and what each reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from forgetmi.commands.command_line import command_line
from forgetmi.core.registry import methods as registry
from forgetmi.run.console import echo
from forgetmi.unlearning.info import MethodInfo

COLUMNS = ("name", "method", "paper", "reads", "removal", "cost per epoch", "suits")
INTRODUCTION = """\
# Methods

Made by `forgetmi methods --markdown > docs/methods.md`. Choose one with `--method NAME`; `forgetmi run --method NAME
--help` explains its options. A package of your own [adds to the list](write_a_method.md).

Exact: the result never saw the forgotten patients. Approximate: it starts from the original, and the report measures
how near it came to a model that never saw them. Cost is counted in fine-tune epochs, one being a forward and backward
pass over the retained patients. No method is given test patients; those that read validation patients say so.
"""


@dataclass(frozen=True)
class MethodsOptions:
    """Options of ``forgetmi methods``.

    Args:
        markdown: Print the page of the documentation; methods of other packages are left out.
    """

    markdown: bool = False


def methods(argv: Sequence[str]) -> None:
    """List the registered methods."""
    own = command_line(
        MethodsOptions,
        argv,
        prog="forgetmi methods",
        description="List the unlearning methods: source, what each reads, cost, exact or approximate.",
    )
    if own.markdown:
        echo(page().rstrip("\n"))
        return
    for name in registry.names():
        info: MethodInfo = registry.get(name).info
        echo(
            f"{name}  -  {info.title} ({info.paper})\n    {info.summary}\n"
            f"    reads {', '.join(sorted(info.reads))}; {_removal(info)}; "
            f"cost an epoch, in fine-tune epochs: {info.cost}\n    suits {info.suits}\n"
        )


def page() -> str:
    """The page of the documentation, on this package's own methods."""
    names = [name for name in registry.names() if registry.target(name).startswith("forgetmi.")]
    infos: dict[str, MethodInfo] = {name: registry.get(name).info for name in names}
    rows = [
        (
            f"`{name}`",
            info.title,
            info.paper,
            ", ".join(sorted(info.reads)),
            _removal(info),
            info.cost,
            info.suits,
        )
        for name, info in infos.items()
    ]
    table = [COLUMNS, ("---",) * len(COLUMNS), *rows]
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in table]
    words = [f"- **{info.title}** (`{name}`): {info.summary}" for name, info in infos.items()]
    return "\n".join([INTRODUCTION, *lines, "\n## In plain words\n", *words]) + "\n"


def _removal(info: MethodInfo) -> str:
    return "exact" if info.exact else "approximate"
