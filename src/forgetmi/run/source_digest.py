"""Which version of the package made a result: a digest of the source that can change it, and of nothing else."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from forgetmi.core.errors import Fault, SpecError

PACKAGE = "forgetmi"
ROOT = Path(__file__).parents[1]


@cache
def source_digest(modules: tuple[str, ...], *, alone: tuple[str, ...] = ()) -> str:
    """Digest of the source of some modules and of every module of the package that they import, directly or not.

    A change of a report's template or of another method leaves it as it is, so results are not thrown away for it.

    Args:
        modules: Full names, of the package or of a plug-in.
        alone: Further modules, taken without what they import.

    Returns:
        64 hex digits.

    Raises:
        SpecError: A module has no source file, so nobody could tell two versions of it apart.
    """
    found = {**closure(modules), **{name: _read(name)[0] for name in alone}}
    digest = hashlib.sha256()
    for name in sorted(found):
        digest.update(name.encode() + b"\0" + hashlib.sha256(found[name]).digest())
    return digest.hexdigest()


def closure(modules: Iterable[str]) -> dict[str, bytes]:
    """The source of some modules and of every module of the package that they import, directly or not, by name."""
    found: dict[str, bytes] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name], imported = _read(name)
            waiting += imported
    return found


@cache
def _read(name: str) -> tuple[bytes, tuple[str, ...]]:
    """The source of a module, and the modules of the package that it imports."""
    path = _file(name)
    if path is None:
        raise SpecError(
            Fault(
                f"module {name} has no source file",
                why="results are stored under a digest of the source",
                do="Put the code into a file that Python can import under this name.",
            )
        )
    source = path.read_bytes()
    return source, tuple(sorted(_imports(source)))


def _imports(source: bytes) -> set[str]:
    """Modules of the package that a source names in its imports; what they name may be a module or a part of one."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in found if name.split(".")[0] == PACKAGE and _file(name) is not None}


def _file(name: str) -> Path | None:
    """Where a module's source is; looking for one of this package imports nothing."""
    package, *parts = name.split(".")
    if package == PACKAGE:
        path = ROOT.joinpath(*parts).with_suffix(
            ".py"
        )  # a package's own file names its parts and computes nothing
        return path if path.is_file() else None
    spec = find_spec(name)
    return (
        Path(spec.origin)
        if spec is not None and spec.origin and spec.origin.endswith(".py")
        else None
    )
