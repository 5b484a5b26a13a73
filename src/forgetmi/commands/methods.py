"""``forgetmi methods``: what there is, and what each reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from forgetmi.commands.show import say
from forgetmi.options import command_line
from forgetmi.registry import methods as registry


@dataclass(frozen=True)
class MethodsOptions:
    """Options of ``forgetmi methods``.

    Args:
        markdown: Print a Markdown table, as the documentation shows it.
    """

    markdown: bool = False


def methods(argv: Sequence[str]) -> None:
    """List the registered methods."""
    own = command_line(MethodsOptions, argv, prog="forgetmi methods",
                       description="List the unlearning methods: source, what each reads, cost, exact or approximate.")
    found = [(name, registry.get(name).info) for name in registry.names()]
    if own.markdown:
        say(markdown(found))
        return
    for name, info in found:
        say(f"{name}  -  {info.title} ({info.paper})\n    {info.summary}\n"
            f"    reads {', '.join(sorted(info.reads))}; {'exact' if info.exact else 'approximate'}; "
            f"cost an epoch, in fine-tune epochs: {info.cost}\n    suits {info.suits}\n")


def markdown(found: Sequence[tuple[str, object]]) -> str:
    """The same as a Markdown table."""
    rows = ["| name | method | reads | exact | cost per epoch | suits |", "|---|---|---|---|---|---|"]
    for name, info in found:
        cells = (f"`{name}`", f"{info.title}, {info.paper}", ", ".join(sorted(info.reads)),  # type: ignore[attr-defined]
                 "exact" if info.exact else "approximate", info.cost, info.suits)  # type: ignore[attr-defined]
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)
