"""Runs of seconds, for the tests of the pipeline, the command line and the records."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
from pathlib import Path

from forgetmi.audit.rule import AuditSpec, Rule
from forgetmi.cohort.synthetic import SyntheticCohort
from forgetmi.data.preprocessing import ImagePreprocessing
from forgetmi.evidence.request import RequestSpec
from forgetmi.methods.forget_mi import ForgetMI
from forgetmi.model.architecture import Architecture
from forgetmi.model.checkpoint_facts import facts_digest
from forgetmi.model.recipe import Recipe
from forgetmi.run.spec import GivenModels, PartitionSpec, RunSpec, TextSpec

SMALL = RunSpec(
    cohort=SyntheticCohort(patients=26, seed=3, size=32),
    partition=PartitionSpec(percent=12.0),
    images=ImagePreprocessing(size=32),
    text=TextSpec(min_patients=2),
    model=Architecture(
        stem_width=8, widths=(8, 16), blocks=1, hidden=16, heads=2, layers=1, intermediate=32
    ),
    training=Recipe(epochs=2),
    method=ForgetMI(epochs=2),
    retrains=2,
    seed=3,
    resamples=50,
    workers=1,
    audit=AuditSpec(rule=Rule(resamples=200), relearn_epochs=2),
)

# The shortest run that leaves everything a record names: models, audit, duplicates, report. Of the attacks one that
# needs nothing, one that needs retrained models and one that needs relearning; `SMALL` declares all.
TINY = dataclasses.replace(
    SMALL,
    training=Recipe(epochs=1),
    method=ForgetMI(epochs=1),
    retrains=2,
    resamples=20,
    audit=AuditSpec(
        rule=Rule(resamples=200), attacks=("population", "relearn", "rmia"), relearn_epochs=2
    ),
    request=RequestSpec(id="R0001", ground="consent withdrawn", sign_off="privacy officer"),
)


def of_service(run: Path) -> RunSpec:
    """A request to the original of a finished run of `TINY`, as the next one; nothing is retrained."""
    return dataclasses.replace(TINY, given=GivenModels(run / "models" / "original"), retrains=0)


def new_key(path: Path) -> Path:
    """A private key made by openssl; its public half lies next to it as .pub."""
    make = ["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(path)]
    subprocess.run(make, check=True, capture_output=True)

    public = ["openssl", "pkey", "-in", str(path), "-pubout", "-out", f"{path}.pub"]
    subprocess.run(public, check=True, capture_output=True)
    return path


def unnamed(checkpoint: Path, copy: Path) -> Path:
    """A copy of a checkpoint that does not name the patients it has seen, as older ones do not."""
    shutil.copytree(checkpoint, copy)
    facts = json.loads((copy / "model.json").read_text())
    del facts["digest"], facts["extra"]["patients"]
    (copy / "model.json").write_text(json.dumps({**facts, "digest": facts_digest(facts)}))
    return copy
