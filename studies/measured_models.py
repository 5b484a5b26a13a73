"""What the studies of several models share: each model is made once, and its signals, cost or refusal are stored."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from forgetmi.benchmark.settings import read_setting
from forgetmi.core.errors import ForgetMIError
from forgetmi.core.files import write_json
from forgetmi.core.json_text import read_json
from forgetmi.core.model_names import ORIGINAL, is_retrained
from forgetmi.core.partition import Partition
from forgetmi.core.scores import Evaluation
from forgetmi.core.seeding import derive
from forgetmi.core.signals import Signals
from forgetmi.methods.retrain import Retrain
from forgetmi.model.recipe import Recipe
from forgetmi.model.tasks.by_name import training_task
from forgetmi.run import workflow
from forgetmi.run.original_training import train_original
from forgetmi.run.prepared import Prepared
from forgetmi.unlearning.applies import applies

# What stands in place of an original that a method trains by itself
OWN = "original for "


def after(method: str) -> str:
    """The name of a method's model among the scores: a method may be called as a reference is."""
    return f"after {method}"


@dataclass(frozen=True, eq=False)
class Study:
    """One cohort and one kind of model.

    Args:
        out: Folder of signals and costs.
        data: The cohort, ready for the model.
        sets: Who is in which set.
        recipe: How every model is trained.
        seed: Root seed.
        retrains: How many models are trained without the forgotten.
        originals: Those that were made in this process.
    """

    out: Path
    data: Prepared
    sets: Partition
    recipe: Recipe
    seed: int
    retrains: int
    originals: dict[str, Any] = field(default_factory=dict)

    def reference(self) -> None:
        """Make the original and the retrained models, those that are not stored."""
        self._stored(ORIGINAL, lambda: self._original("").model)
        for number in range(self.retrains):
            name = f"retrain-{number}"
            self._stored(name, lambda name=name: self._trained(Retrain(), name).model)

    def method(self, name: str) -> str:
        """Make what a method, with options as for `forgetmi benchmark`, makes of the original, unless it is stored.

        Returns:
            "" where its signals are stored, else why it has none, in one sentence.
        """
        method = read_setting(name).method
        model = workflow.build(self.data.spec, seed=0)
        reason = applies(type(method), model, training_task(self.data.cohort.task))
        if reason:
            return reason

        # Some methods work on an original that they train by themselves
        own = "training log" in method.info.reads or method.info.original is not None
        before = f"{OWN}{name}" if own else ORIGINAL

        def make() -> Any:
            made = self._original(name if own else "")
            if own:
                self._stored(before, lambda: made.model)
            done = workflow.unlearn(
                prepared=self.data,
                partition=self.sets,
                model=made.model,
                method=method,
                recipe=self.recipe,
                seed=self.seed,
                training_log=made.log,
            )
            return done.model

        return self._stored(name, make)

    def evaluate(self, names: Mapping[str, str], *, resamples: int) -> dict[str, Evaluation]:
        """Scores of each method, with the original that it began at; under "original" those of the references.

        Args:
            names: Methods to "", or to why they have no signals.
            resamples: Of the intervals.
        """
        there = {name for name, reason in names.items() if not reason}
        groups: dict[str, list[str]] = {ORIGINAL: []}
        for name in sorted(there):
            before = f"{OWN}{name}"
            groups.setdefault(before if self._path(before).exists() else ORIGINAL, []).append(name)

        retrained = [self._signals(f"retrain-{number}") for number in range(self.retrains)]
        found: dict[str, Evaluation] = {}
        for before, members in groups.items():
            evaluation = workflow.evaluate(
                original=self._signals(before),
                unlearned={after(name): self._signals(name) for name in members},
                retrained=retrained,
                partition=self.sets,
                task=self.data.cohort.task,
                classes=self.data.cohort.classes,
                seed=self.seed,
                resamples=resamples,
            )
            found |= dict.fromkeys(
                [*members, *([ORIGINAL] if before == ORIGINAL else [])], evaluation
            )
        return found

    def cost(self, name: str) -> float:
        """Processor seconds of a stored model."""
        return float(self._cost(name).get("cpu_seconds", float("nan")))

    def _original(self, name: str) -> Any:
        """The original, or the one that a method trains by itself."""
        if name not in self.originals:
            self.originals[name] = self._trained(
                read_setting(name).method if name else Retrain(), ORIGINAL
            )
        return self.originals[name]

    def _trained(self, method: Any, name: str) -> Any:
        without = is_retrained(name)
        return train_original(
            prepared=self.data,
            partition=self.sets,
            method=method,
            recipe=self.recipe,
            seed=derive(self.seed, name) if without else self.seed,
            without_forgotten=without,
        )

    def _stored(self, name: str, make: Callable[[], Any]) -> str:
        """Make a model and store its signals and cost, unless they are there; "" or why it could not be made."""
        cost = self._cost(name)
        if not cost:
            began = time.process_time()
            reason, model = "", None
            try:
                model = make()
            except ForgetMIError as error:
                reason = "; ".join(fault.what for fault in error.faults)
            seconds = time.process_time() - began
            if model is not None:
                workflow.predict(prepared=self.data, model=model).save(self._path(name))
            cost = {"cpu_seconds": seconds, "reason": reason}
            write_json(self.out / f"{_file(name)}.json", cost)
            print(f"{self.out.name} {name}: {seconds:.0f} s {reason}", file=sys.stderr, flush=True)
        return str(cost["reason"])

    def _cost(self, name: str) -> dict[str, Any]:
        path = self.out / f"{_file(name)}.json"
        return read_json(path, what="the cost", do="Delete it.") if path.exists() else {}

    def _path(self, name: str) -> Path:
        return self.out / f"{_file(name)}.npz"

    def _signals(self, name: str) -> Signals:
        return Signals.load(self._path(name))


def _file(name: str) -> str:
    return re.sub("[^a-z0-9.-]+", "_", name)
