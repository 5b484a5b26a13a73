"""A small finished run for all tests of the records; each test that changes it works on a copy."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import subprocess
from pathlib import Path

import pytest

from forgetmi.audit.rule import AuditSpec, Rule
from forgetmi.evidence.request import RequestSpec
from forgetmi.methods.forget_mi import ForgetMI
from forgetmi.model.recipe import Recipe
from forgetmi.run.finish import finish
from forgetmi.run.record import Recording
from tests.runs import SMALL

TINY = dataclasses.replace(
    SMALL,
    training=Recipe(epochs=1),
    method=ForgetMI(epochs=1),
    retrains=2,
    resamples=20,
    audit=AuditSpec(rule=Rule(resamples=200), relearn_epochs=2),
    request=RequestSpec(id="R0001", ground="consent withdrawn", sign_off="privacy officer"),
)


def new_key(path: Path) -> Path:
    """A private key made by openssl; its public half lies beside it as .pub."""
    subprocess.run(
        ["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(path)],
        check=True,
        capture_output=True,
    )
    subprocess.run(
        ["openssl", "pkey", "-in", str(path), "-pubout", "-out", f"{path}.pub"],
        check=True,
        capture_output=True,
    )
    return path


@pytest.fixture(scope="session")
def sign_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_key(tmp_path_factory.mktemp("keys") / "sign.key")


@pytest.fixture(scope="session")
def finished(sign_key: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A signed run; what it printed lies beside it."""
    root = tmp_path_factory.mktemp("recorded") / "run"
    with contextlib.redirect_stdout(io.StringIO()) as said:
        finish(TINY, root, command=["forgetmi", "run"], how=Recording(sign_key=sign_key))
    (root.parent / "said").write_text(said.getvalue())
    return root
