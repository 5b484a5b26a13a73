"""Containers and environments: no root, no network, nothing that can write to the cohort or the key."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
# Distribution to its package of conda-forge, where they differ
CONDA = {"torch": "pytorch-cpu", "matplotlib": "matplotlib-base"}


def test_the_image_runs_without_rights_and_offline() -> None:
    final = DOCKERFILE.split("FROM ")[-1]
    assert re.findall(r"^USER (\S+)", final, re.MULTILINE) == ["forgetmi"]
    for setting in ("HF_HUB_OFFLINE=1", "TRANSFORMERS_OFFLINE=1", "WANDB_MODE=offline"):
        assert setting in final
    assert "TORCH_INDEX=https://download.pytorch.org/whl/cpu" in DOCKERFILE


def test_what_the_image_copies_is_there_and_not_ignored() -> None:
    kept = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"
    }
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    names = {name for line in copied for name in line.split()}
    assert names == kept
    assert all((ROOT / name).exists() for name in names)


def test_every_service_is_closed() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
    assert set(services) == {"forgetmi", "forgetmi-cuda"}
    for service in services.values():
        assert service["network_mode"] == "none"
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]

        writable = {one["target"] for one in service["volumes"] if not one.get("read_only")}
        assert writable == {"/runs"}
        assert {one["target"] for one in service["volumes"]} == {"/cohort", "/key", "/runs"}


def test_conda_asks_for_what_the_package_asks_for() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {}
    for requirement in project["dependencies"]:
        name = re.split(r"[<>=]", requirement)[0]
        wanted[CONDA.get(name, name).lower()] = requirement[len(name) :]

    listed = [one for one in environment["dependencies"] if isinstance(one, str)]
    for requirement in listed:
        name = re.split(r"[<>=]", requirement)[0]
        if name not in ("python", "pip"):
            assert requirement[len(name) :] == wanted[name], name


@pytest.mark.slow
def test_the_image_is_built_and_answers_without_a_network() -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "info"], capture_output=True).returncode:
        pytest.skip("no Docker daemon runs here")

    subprocess.run([docker, "build", "-q", "-t", "forgetmi-test", "."], cwd=ROOT, check=True)
    base = [docker, "run", "--rm", "--network", "none", "forgetmi-test"]
    printed = subprocess.run([*base, "methods"], capture_output=True, text=True, check=True).stdout
    assert "forget_mi" in printed
    whose = subprocess.run(
        [*base[:-1], "--entrypoint", "id", base[-1], "-u"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert whose.strip() == "10001"
