"""A run of seconds, for the tests of the pipeline and the command line."""

from __future__ import annotations

from forgetmi.audit.rule import AuditSpec, Rule
from forgetmi.cohort.synthetic import SyntheticCohort
from forgetmi.data.preprocessing import ImagePreprocessing
from forgetmi.methods.forget_mi import ForgetMI
from forgetmi.model.architecture import Architecture
from forgetmi.model.recipe import Recipe
from forgetmi.run.spec import PartitionSpec, RunSpec, TextSpec

SMALL = RunSpec(
    cohort=SyntheticCohort(patients=40, seed=3, size=32),
    partition=PartitionSpec(percent=12.0),
    images=ImagePreprocessing(size=32),
    text=TextSpec(min_patients=2),
    model=Architecture(
        stem_width=8, widths=(8, 16, 16), hidden=16, heads=2, layers=1, intermediate=32
    ),
    training=Recipe(epochs=3),
    method=ForgetMI(epochs=3),
    retrains=2,
    seed=3,
    resamples=50,
    workers=1,
    audit=AuditSpec(rule=Rule(resamples=200), relearn_epochs=2),
)
