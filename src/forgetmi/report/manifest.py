"""What a run was made of: versions, digests, seeds, hardware, cost and command, as plain values."""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from forgetmi.core.cost import Cost
from forgetmi.core.files import write_text
from forgetmi.core.json_text import parse_json, read_json
from forgetmi.core.serialization import from_plain

# For messages
_NAME, _WHAT, _DO = "manifest.json", "the manifest", "Restore the file."

LIBRARIES = (
    "torch",
    "numpy",
    "scipy",
    "scikit-learn",
    "pandas",
    "transformers",
    "safetensors",
    "pillow",
    "pydicom",
)
# A quoted path may hold blanks
_QUOTED_PATH = r"""(?<=['"])(?:[A-Za-z]:|~|\.{1,2})?[\\/][^'"]+(?=['"])"""
_BARE_PATH = r"""(?<![\w.])(?:[A-Za-z]:|~|\.{1,2})?(?:[\\/][^\s\\/:'",;=]+)+[\\/]?"""
_PATH = re.compile(f"{_QUOTED_PATH}|{_BARE_PATH}")


def without_folders(text: str) -> str:
    """Text in which every absolute or dotted path is reduced to its last part (folders name machines and users).

    >>> without_folders("/home/someone/forget.py:3: 'C:\\\\my lists\\\\b.csv' has 2/3 of the rows")
    "forget.py:3: 'b.csv' has 2/3 of the rows"
    """
    return _PATH.sub(lambda match: _last(match.group()), text)


@dataclass(frozen=True)
class Manifest:
    """Everything needed to tell two runs apart and to repeat one; holds no path, user name or host name.

    Args:
        package: Version of forgetmi.
        python: Version of Python.
        libraries: Distribution name to version, of those that are installed.
        platform: Operating system and machine type.
        processor: Processor model.
        accelerator: Accelerator model, "" = none.
        cores: Logical cores of the machine.
        threads: Threads one process computed with.
        seeds: What was seeded ("root", "retrain-0", ...) to its seed.
        cohort: Digest of the cohort.
        models: Model name to the digest of its weights.
        spec: Digest of the run's specification.
        command: How the run was started, without folders.
        stages: Stage name, in the order they ran, to what it cost.
        warnings: What the run warned of, without folders.
    """

    package: str
    python: str
    libraries: Mapping[str, str]
    platform: str
    processor: str
    accelerator: str
    cores: int
    threads: int
    seeds: Mapping[str, int]
    cohort: str
    models: Mapping[str, str]
    spec: str
    command: str = ""
    stages: Mapping[str, Cost] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Stable JSON: sorted keys, except that the stages stay in the order they ran."""
        plain = asdict(self)

        # A list keeps the order that sorted keys would lose
        plain["stages"] = [{"stage": name, **cost} for name, cost in plain["stages"].items()]
        return json.dumps(plain, indent=1, sort_keys=True, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Read what `to_json` wrote.

        Raises:
            SpecError: A field is missing, unknown or of another type.
        """
        return cls._from_plain(parse_json(text, where=_NAME, what=_WHAT, do=_DO))

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Read a file of what `to_json` wrote.

        Raises:
            SpecError: It is missing, or a field is missing, unknown or of another type.
        """
        return cls._from_plain(read_json(path, what=_WHAT, do=_DO))

    @classmethod
    def _from_plain(cls, plain: Any) -> Manifest:
        # Back to a mapping, in the order of the list; a stage that has no name is left as it is, and refused
        stages = plain.get("stages") if isinstance(plain, dict) else None
        if isinstance(stages, list):
            costs = {}
            for stage in stages:
                name = stage.pop("stage", "") if isinstance(stage, dict) else ""
                costs[str(name)] = stage
            plain["stages"] = costs
        return from_plain(cls, plain, where=_NAME, complete=True)


def collect(
    *,
    seeds: Mapping[str, int],
    cohort: str,
    models: Mapping[str, str],
    spec: str,
    stages: Mapping[str, Cost],
    warnings: Sequence[str] = (),
    command: Sequence[str] = (),
) -> Manifest:
    """Describe this process and machine; call it once, in the process that did the work.

    Args:
        seeds: What was seeded to its seed.
        cohort: Digest of the cohort.
        models: Model name to the digest of its weights.
        spec: Digest of the run's specification.
        stages: Stage name to its cost, in the order they ran.
        warnings: What the run warned of; folders are taken out.
        command: The arguments the run was started with (`sys.argv`); folders are taken out.
    """
    # Torch takes seconds to import, and most of this module does without it
    import torch

    accelerator = torch.cuda.get_device_name() if torch.cuda.is_available() else ""

    return Manifest(
        package=_version("forgetmi"),
        python=platform.python_version(),
        libraries=_installed(),
        platform=f"{platform.system()} {platform.machine()}",
        processor=_processor(),
        accelerator=accelerator,
        cores=os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        seeds=dict(seeds),
        cohort=cohort,
        models=dict(models),
        spec=spec,
        command=" ".join(_argument(argument) for argument in command),
        stages=dict(stages),
        warnings=tuple(without_folders(warning) for warning in warnings),
    )


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write the manifest as JSON, atomically."""
    write_text(path, manifest.to_json())


def _last(path: str) -> str:
    """The last part of a path of any system."""
    return re.split(r"[\\/]", path.rstrip("\\/"))[-1]


def _argument(argument: str) -> str:
    """An argument of the command line, its value without folders."""
    # A value by itself may be a path
    if not argument.startswith("-"):
        return _last(argument)
    option, equals, value = argument.partition("=")
    return option + equals + _last(value)


def _installed() -> dict[str, str]:
    """Versions of those libraries that are installed."""
    versions = {}

    # Those that are not installed are left out
    for name in LIBRARIES:
        found = _version(name)
        if found:
            versions[name] = found
    return versions


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""


def _processor() -> str:
    # Linux names the model in a file of its own
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
