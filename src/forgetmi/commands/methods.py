"""``forgetmi methods``: the registered methods, and what each reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from forgetmi.commands.command_line import command_line
from forgetmi.core.registry import methods as registry
from forgetmi.run.console import echo
from forgetmi.unlearning.info import MethodInfo

COLUMNS = ("name", "method", "paper", "reads", "removal", "cost per epoch", "suits")
INTRODUCTION = """\
# Methods

These are the unlearning methods that come with forgetmi. Choose one with `--method NAME`. `forgetmi run --method NAME
--help` explains its options. You can also [write your own](write_a_method.md).

How to read the table:

- **reads**: what the method may see. No method sees test patients.
- **removal**: *exact* means that the result never saw the forgotten patients. *Approximate* means that the method
  starts from the original. The report then measures how close it comes to a model that never saw them.
- **cost per epoch**: counted in fine-tune epochs. One is a forward and backward pass over the retained patients.

`forgetmi methods --markdown > docs/methods.md` makes this page.
"""


@dataclass(frozen=True)
class MethodsOptions:
    """Options of ``forgetmi methods``.

    Args:
        markdown: Print the page of the documentation; methods of other packages are left out.
        model: Folder of a checkpoint: print which methods apply to it, and of each other why not.
        model_from: ``package.module:function``, a factory of a model of your own, which is run: the same for what it
            makes.
        task: What the labels are: grades, classes, ...; empty = as the checkpoint says, else grades.
    """

    markdown: bool = False
    model: Path | None = None
    model_from: str = ""
    task: str = ""


def methods(argv: Sequence[str]) -> None:
    """List the registered methods."""
    options = command_line(
        MethodsOptions,
        argv,
        prog="forgetmi methods",
        description="List the unlearning methods: source, what each reads, cost, exact or approximate.",
    )
    if options.markdown:
        echo(page().rstrip("\n"))
        return

    if options.model is not None or options.model_from:
        echo(_applicable(options))
        return

    # Methods of other packages are listed, too.
    for name in registry.names():
        info: MethodInfo = registry.get(name).info
        reads = ", ".join(sorted(info.reads))
        echo(
            f"{name}  -  {info.title} ({info.paper})\n"
            f"    {info.summary}\n"
            f"    reads {reads}; {_removal(info)}; cost an epoch, in fine-tune epochs: {info.cost}\n"
            f"    suits {info.suits}\n"
        )


def _applicable(options: MethodsOptions) -> str:
    """A line a method: that it applies to the model, or why not."""
    # What builds models is imported after the help was printed.
    from forgetmi.run.applicable import applicable, net_in, net_of_factory, task_in

    if options.model is None:
        net, task = net_of_factory(options.model_from), "grades"
    else:
        net, task = net_in(options.model, factory=options.model_from), task_in(options.model)

    lines: list[str] = []
    for name, reason in applicable(net, options.task or task).items():
        lines.append(f"{name}: {f'does not apply: {reason}' if reason else 'applies'}")
    return "\n".join(lines)


def page() -> str:
    """The page of the documentation, on this package's own methods."""
    # The page is of this package: what else is installed here is left out.
    infos: dict[str, MethodInfo] = {}
    for name in registry.names():
        if registry.target(name).startswith("forgetmi."):
            infos[name] = registry.get(name).info

    lines = [INTRODUCTION, *_table(infos), "\n## In plain words\n"]
    for name, info in infos.items():
        lines.append(f"- **{info.title}** (`{name}`): {info.summary}")
    return "\n".join(lines) + "\n"


def _table(infos: Mapping[str, MethodInfo]) -> list[str]:
    """Lines of a Markdown table, one row a method."""
    # The heading, the rule below it, and a row for each method.
    rows = [COLUMNS, ("---",) * len(COLUMNS)]
    for name, info in infos.items():
        rows.append(
            (
                f"`{name}`",
                info.title,
                info.paper,
                ", ".join(sorted(info.reads)),
                _removal(info),
                info.cost,
                info.suits,
            )
        )

    # A bar within a cell would end it
    lines = []
    for row in rows:
        cells = [cell.replace("|", "\\|") for cell in row]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _removal(info: MethodInfo) -> str:
    return "exact" if info.exact else "approximate"
