"""Files are read in one place a format: the strict readers of `forgetmi.core`, and a few places with a reason."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.parsed import parsed

SOURCE = Path(__file__).parents[1] / "src" / "forgetmi"

# Calls that read a format without the checks of the strict readers
LOOSE = {
    ("json", "load"),
    ("json", "loads"),
    ("yaml", "load"),
    ("yaml", "safe_load"),
    ("yaml", "load_all"),
    ("yaml", "safe_load_all"),
    ("np", "load"),
    ("numpy", "load"),
    ("pickle", "load"),
    ("pickle", "loads"),
}

OWN_TEXT = "text that the program itself wrote a moment ago"
IMAGES = "arrays of pixels, whose header and size are checked there"
ALLOWED = {
    "core/json_text.py": "the reader of JSON",
    "benchmark/work.py": OWN_TEXT,
    "model/checkpoint_contents.py": OWN_TEXT,
    "run/record_findings.py": OWN_TEXT,
    "run/recompute_verdict.py": OWN_TEXT,
    "data/shards.py": "the index of a shard, under a tag that only this program can make",
    "data/shard_journal.py": "entries of a journal, each under a tag that only this program can make",
    "data/image_file.py": IMAGES,
    "data/array_image.py": IMAGES,
    "authors_code/image.py": IMAGES,
    "jobs/slurm_files.py": "what this user's own command and jobs wrote into a folder of theirs alone",
    "jobs/pool.py": "what a worker process of this program sends",
}


def loose_calls(path: Path) -> Iterator[str]:
    """The loose calls in a file, with their lines."""
    for node in ast.walk(parsed(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            if isinstance(owner, ast.Name) and (owner.id, node.func.attr) in LOOSE:
                yield f"line {node.lineno}: {owner.id}.{node.func.attr}"


def test_files_are_read_by_the_strict_readers() -> None:
    loose = {}
    for path in sorted(SOURCE.rglob("*.py")):
        name = path.relative_to(SOURCE).as_posix()
        if name not in ALLOWED and (calls := list(loose_calls(path))):
            loose[name] = calls
    assert not loose


def test_nothing_loose_hides_behind_another_name() -> None:
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(parsed(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module in ("json", "yaml", "pickle"):
                names = {alias.name for alias in node.names}
                assert not names & {"load", "loads", "safe_load"}, path


def test_every_exception_is_needed() -> None:
    for name in ALLOWED:
        assert list(loose_calls(SOURCE / name)), name
