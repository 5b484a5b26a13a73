"""Machine unlearning for multimodal clinical models: forget whole patients, and measure it against retraining."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from forgetmi.audit.front_door import audit, verdict
    from forgetmi.cohort.partition import partition
    from forgetmi.core.batch import Batch, Outputs
    from forgetmi.core.cohort import Cohort, ForgetRequest
    from forgetmi.core.partition import Partition
    from forgetmi.core.scores import Evaluation
    from forgetmi.core.signals import Signals
    from forgetmi.model.adapted import adapt
    from forgetmi.model.own_spec import Sizes
    from forgetmi.report.front_door import report
    from forgetmi.report.pages import write_report
    from forgetmi.run.progress_bar import progress_bar
    from forgetmi.run.workflow import evaluate, predict, prepare, train, unlearn
    from forgetmi.service.hub import from_pretrained, push_to_hub, save_pretrained
    from forgetmi.service.saving import save
    from forgetmi.service.trained_model import Predictions, TrainedModel, load
    from forgetmi.unlearning.adapter_files import with_adapters

# Silent until a program that uses the package adds a handler of its own
logging.getLogger(__name__).addHandler(logging.NullHandler())

# Imported on first use, so that `import forgetmi` costs nothing. `audit` and `report` are packages that can be called.
_WHERE = {
    "adapt": "forgetmi.model.adapted",
    "Batch": "forgetmi.core.batch",
    "Outputs": "forgetmi.core.batch",
    "Sizes": "forgetmi.model.own_spec",
    "partition": "forgetmi.cohort.partition",
    "prepare": "forgetmi.run.workflow",
    "train": "forgetmi.run.workflow",
    "unlearn": "forgetmi.run.workflow",
    "predict": "forgetmi.run.workflow",
    "evaluate": "forgetmi.run.workflow",
    "verdict": "forgetmi.audit.front_door",
    "progress_bar": "forgetmi.run.progress_bar",
    "write_report": "forgetmi.report.pages",
    "Cohort": "forgetmi.core.cohort",
    "Evaluation": "forgetmi.core.scores",
    "ForgetRequest": "forgetmi.core.cohort",
    "Partition": "forgetmi.core.partition",
    "Signals": "forgetmi.core.signals",
    "load": "forgetmi.service.trained_model",
    "save": "forgetmi.service.saving",
    "from_pretrained": "forgetmi.service.hub",
    "push_to_hub": "forgetmi.service.hub",
    "save_pretrained": "forgetmi.service.hub",
    "Predictions": "forgetmi.service.trained_model",
    "TrainedModel": "forgetmi.service.trained_model",
    "with_adapters": "forgetmi.unlearning.adapter_files",
}

__all__ = [
    "Batch",
    "Cohort",
    "Evaluation",
    "ForgetRequest",
    "Outputs",
    "Partition",
    "Predictions",
    "Signals",
    "Sizes",
    "TrainedModel",
    "adapt",
    "audit",
    "evaluate",
    "from_pretrained",
    "load",
    "load_cohort",
    "partition",
    "predict",
    "prepare",
    "progress_bar",
    "push_to_hub",
    "report",
    "save",
    "save_pretrained",
    "train",
    "unlearn",
    "verdict",
    "with_adapters",
    "write_report",
]


def load_cohort(kind: str = "synthetic", **options: Any) -> Cohort:
    """Read a cohort.

    Args:
        kind: A registered reader: "synthetic", "table", ...
        options: The reader's fields, e.g. ``path="cohort.csv"``.

    Raises:
        SpecError: There is no such reader.
        CohortError: The files cannot be used; all faults at once.

    Examples:
        >>> cohort = load_cohort("synthetic", patients=40, seed=3, size=32)
        >>> len(set(cohort.patient))
        40
    """
    from forgetmi.core.registry import cohorts

    return cohorts.get(kind)(**options).load()


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in ("audit", "report"):
        return import_module(f"forgetmi.{name}")
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'forgetmi' has no attribute {name!r}")
