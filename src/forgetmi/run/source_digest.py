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
    # Modules with what they import, and further ones without
    sources = closure(modules)
    for name in alone:
        sources[name], _ = _read(name)

    # In the order of the names, so that the order of imports does not count
    digest = hashlib.sha256()
    for name in sorted(sources):
        digest.update(name.encode() + b"\0" + hashlib.sha256(sources[name]).digest())

    return digest.hexdigest()


def closure(modules: Iterable[str]) -> dict[str, bytes]:
    """The source of some modules and of every module of the package that they import, directly or not, by name."""
    sources: dict[str, bytes] = {}
    waiting = list(modules)

    # Follow the imports until they lead to nothing new
    while waiting:
        name = waiting.pop()
        if name not in sources:
            sources[name], imported = _read(name)
            waiting += imported

    return sources


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
    imported: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            # A name after `import` is a module or a part of one
            imported.add(node.module)
            imported |= {f"{node.module}.{alias.name}" for alias in node.names}

    # Other packages are not ours to watch; a name without a file is a part of a module
    ours = {name for name in imported if name.split(".")[0] == PACKAGE}
    return {name for name in ours if _file(name) is not None}


def _file(name: str) -> Path | None:
    """Where a module's source is; looking for one of this package imports nothing."""
    package, *parts = name.split(".")
    if package == PACKAGE:
        # A room's own __init__.py computes nothing, so that it has no path here
        path = ROOT.joinpath(*parts).with_suffix(".py")
        return path if path.is_file() else None

    # A plug-in's module, wherever Python finds it
    spec = find_spec(name)
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin)
