"""How dense the code is: blank lines, comments, characters a line, nested comprehensions; beside other projects.

python studies/density.py                      # this package, room by room
python studies/density.py PATH ...             # any folders of Python files
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "forgetmi"
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
HEADINGS = (
    "folder",
    "longest file",
    "function body p95 / longest",
    "blank lines in functions %",
    "comments /100 lines",
    "characters a line",
    "comprehensions /100",
    "nested /100",
    "ternaries /100",
)


@dataclass
class Density:
    """Counts over some files; docstrings are left out of everything but the length of a file."""

    longest_file: int = 0
    code: int = 0
    comments: int = 0
    characters: int = 0
    comprehensions: int = 0
    nested: int = 0
    ternaries: int = 0
    blank: int = 0
    bodies: list[int] | None = None

    def row(self, name: str) -> str:
        """One line of a Markdown table."""
        bodies = sorted(self.bodies or [0])
        per_hundred = 100 / max(self.code, 1)

        cells = (
            name,
            str(self.longest_file),
            f"{bodies[int(0.95 * (len(bodies) - 1))]} / {bodies[-1]}",
            f"{100 * self.blank / max(sum(bodies), 1):.1f}",
            f"{per_hundred * self.comments:.1f}",
            f"{self.characters / max(self.code, 1):.1f}",
            f"{per_hundred * self.comprehensions:.1f}",
            f"{per_hundred * self.nested:.2f}",
            f"{per_hundred * self.ternaries:.1f}",
        )
        return f"| {' | '.join(cells)} |"


def measure(paths: list[Path]) -> Density:
    """Count over some files."""
    total = Density(bodies=[])
    for path in paths:
        add_file(total, path.read_text(encoding="utf-8"))
    return total


def add_file(total: Density, text: str) -> None:
    """Add one file's counts."""
    lines = text.splitlines()
    tree = ast.parse(text)
    total.longest_file = max(total.longest_file, len(lines))

    # Lines of code: neither blank nor comment nor docstring.
    documentation = docstring_lines(tree)
    for number, line in enumerate(lines, start=1):
        stripped = line.strip()
        if stripped and not stripped.startswith("#") and number not in documentation:
            total.code += 1
            total.characters += len(stripped)

    # Comments are tokens, not nodes.
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    total.comments += sum(token.type == tokenize.COMMENT for token in tokens)

    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            add_function(total, node, lines)
        elif isinstance(node, COMPREHENSIONS):
            inner = [child for child in ast.walk(node) if child is not node]
            total.comprehensions += 1
            total.nested += any(isinstance(child, COMPREHENSIONS) for child in inner)
        elif isinstance(node, ast.IfExp):
            total.ternaries += 1


def add_function(
    total: Density, node: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str]
) -> None:
    """Add the length and the blank lines of one function's body."""
    documented = ast.get_docstring(node) is not None and len(node.body) > 1
    first = node.body[1] if documented else node.body[0]
    body = lines[first.lineno - 1 : node.end_lineno]

    assert total.bodies is not None
    total.bodies.append(len(body))
    total.blank += sum(not line.strip() for line in body)


def docstring_lines(tree: ast.AST) -> set[int]:
    """Numbers of the lines that belong to docstrings."""
    numbers: set[int] = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if ast.get_docstring(node) is not None:
            text = node.body[0]
            numbers |= set(range(text.lineno, (text.end_lineno or text.lineno) + 1))
    return numbers


def main(arguments: list[str]) -> None:
    """Print the table."""
    print(f"| {' | '.join(HEADINGS)} |")
    print("|---" * len(HEADINGS) + "|")

    if arguments:
        folders = [Path(argument) for argument in arguments]
    else:
        folders = [SOURCE, *sorted(path for path in SOURCE.iterdir() if path.is_dir())]
    for folder in folders:
        files = sorted(folder.rglob("*.py"))
        if files:
            print(measure(files).row(folder.name))


if __name__ == "__main__":
    main(sys.argv[1:])
