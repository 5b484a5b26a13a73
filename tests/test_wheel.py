"""The built wheel, away from the checkout: everything is in it, and it runs the demo."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.slow


def run(command: list[str], folder: Path, **environment: str) -> str:
    """What a command printed; it must end well."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=folder, env={**clean, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of what git knows, so that nothing of the checkout leaks into it."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    for name in listed.stdout.decode().split("\0"):
        if name and (ROOT / name).exists():
            copy = source / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes((ROOT / name).read_bytes())

    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--disable-pip-version-check", "--no-deps"]
    run([*pip, "-w", str(out), "."], source)
    return next(out.glob("forgetmi-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of a fresh environment with the wheel; its dependencies are those of this environment."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"

    pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps"]
    run([*pip, str(wheel)], folder)
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(run([str(python), "-c", where], folder).strip())
    (packages / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return python


def test_the_wheel_holds_every_module_and_template(wheel: Path) -> None:
    source = ROOT / "src"
    wanted = [*source.rglob("*.py"), *source.rglob("*.jinja"), source / "forgetmi" / "py.typed"]
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    assert {str(path.relative_to(source)) for path in wanted} <= held
    assert not [name for name in held if name.startswith(("tests", "studies"))]

    # The pages that `forgetmi help` prints
    pages = {path.name for path in (ROOT / "docs").glob("*.md")}
    assert pages <= {Path(name).name for name in held if "share/doc/forgetmi/" in name}


def test_the_installed_wheel_runs_the_demo_elsewhere(installed: Path, tmp_path: Path) -> None:
    where = run([str(installed), "-c", "import forgetmi; print(forgetmi.__file__)"], tmp_path)
    assert str(installed.parents[1]) in where

    command = installed.parent / "forgetmi"
    assert run([str(command), "help", "glossary"], tmp_path).startswith("# Glossary")
    assert "forget_mi" in run([str(command), "methods"], tmp_path)
    key = tmp_path / "key"
    key.write_bytes(bytes(range(32)))
    settings = {"FORGETMI_CACHE": str(tmp_path / "cache"), "FORGETMI_KEY_FILE": str(key)}
    printed = run([str(command), "demo", "--out", str(tmp_path / "demo")], tmp_path, **settings)
    assert "report.html" in printed
    assert list((tmp_path / "demo").rglob("report.html"))
