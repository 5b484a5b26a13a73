"""The models that ours.py measures: one original a cohort, retrained and unlearned models a set of forgotten patients.

A set is a cohort seed, a percentage and a forget draw. Each model is made once, and kept with what it says and what it
cost.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from forgetmi.audit.rule import AuditSpec
from forgetmi.benchmark.settings import read_setting
from forgetmi.cohort.partition import partition as make_partition
from forgetmi.cohort.synthetic import SyntheticCohort
from forgetmi.core.cohort import Cohort
from forgetmi.core.files import write_json
from forgetmi.core.partition import Partition
from forgetmi.core.seeding import derive
from forgetmi.jobs.pool import Job, ProgressCallback
from forgetmi.methods.retrain import Retrain
from forgetmi.methods.rewind import Rewind
from forgetmi.model.recipe import Recipe
from forgetmi.run import workflow
from forgetmi.run.directory import RunDirectory
from forgetmi.run.original_training import log_path, open_log, train_original
from forgetmi.run.prepared import open_checkpoint, trained_rows
from forgetmi.run.relearn import relearn, relearnt
from forgetmi.service.saving import save

ORIGINAL, RETRAIN = "original", "retrain"
RETRAINS, AUDIT, RECIPE = 3, AuditSpec(), Recipe()


@dataclass(frozen=True)
class Model:
    """One model of a set.

    Args:
        kind: "original", "retrain", or a method with options as for `forgetmi benchmark`.
        number: Which retrained model, or the method's seed.
    """

    kind: str
    number: int = 0

    @property
    def name(self) -> str:
        return ORIGINAL if self.kind == ORIGINAL else f"{self.kind}-{self.number}"

    @property
    def unlearns(self) -> bool:
        return self.kind not in (ORIGINAL, RETRAIN)

    def seed(self, root: int) -> int:
        """Its seed, from the cohort's."""
        return (
            root
            if self.kind == ORIGINAL
            else derive(root, self.name)
            if self.kind == RETRAIN
            else self.number
        )


@dataclass(frozen=True)
class Setting:
    """One set of forgotten patients, and where its models lie; `reference`: further patients nobody was trained on."""

    out: Path
    patients: int
    cohort: int
    percent: float
    draw: int
    reference: int = 0

    @property
    def title(self) -> str:
        return f"cohort {self.cohort}, {self.percent:g} %, draw {self.draw}"

    @property
    def options(self) -> SyntheticCohort:
        """The cohort's own options."""
        return SyntheticCohort(
            patients=self.patients, seed=self.cohort, reference_patients=self.reference
        )

    @property
    def directory(self) -> RunDirectory:
        return RunDirectory(
            self.out / f"cohort-{self.cohort}" / f"{self.percent:g}-percent-{self.draw}"
        )

    def place(self, model: Model) -> RunDirectory:
        """Where a model lies: the original is the cohort's, all others are the set's."""
        return (
            RunDirectory(self.out / f"cohort-{self.cohort}")
            if model.kind == ORIGINAL
            else self.directory
        )

    def signals(self, model: Model) -> Path:
        return self.place(model).signals(model.name)

    def load(self) -> tuple[Cohort, Partition]:
        cohort = self.options.load()
        return cohort, make_partition(cohort, forget=self.percent, seed=self.cohort, draw=self.draw)


def make(setting: Setting, model: Model, tell: ProgressCallback) -> None:
    """Train or unlearn one model, and keep it, what it says and what it cost."""
    place, name, seed = setting.place(model), model.name, model.seed(setting.cohort)
    cohort, sets = setting.load()
    prepared = workflow.prepare(cohort=cohort, partition=sets)
    place.state(name).parent.mkdir(parents=True, exist_ok=True)
    trained = trained_rows(sets).tolist()
    if model.unlearns:
        home = setting.place(Model(ORIGINAL))
        if json.loads(home.trace(ORIGINAL).read_text(encoding="utf-8"))["rows"] != trained:
            raise SystemExit(
                f"{setting.title}: the cohort's original was trained on other patients"
            )
        _, original = open_checkpoint(home.model(ORIGINAL), cohort=cohort)
        method = read_setting(model.kind).method
        done = workflow.unlearn(
            prepared=prepared,
            partition=sets,
            model=original.model,
            method=method,
            recipe=RECIPE,
            seed=seed,
            training_log=open_log(home.model(ORIGINAL), method),
            state=place.state(name),
            progress=tell,
        )
        result, trace, seconds = done.model, done.trace.plain(), done.trace.cost.cpu_seconds
    else:
        place.model(name).parent.mkdir(exist_ok=True)

        # The original keeps the early checkpoints that rewind goes back to; its weights are the same without
        trained_by = train_original(
            prepared=prepared,
            partition=sets,
            method=Rewind() if model.kind == ORIGINAL else Retrain(),
            recipe=RECIPE,
            seed=seed,
            progress=tell,
            resume=place.state(name),
            without_forgotten=model.kind == RETRAIN,
            log=log_path(place.model(name)),
        )
        result, happened = trained_by.model, trained_by.trace
        trace, seconds = {"epochs": happened.epochs, "rows": trained}, happened.total("cpu_seconds")
    save(
        place.model(name),
        result,
        prepared=prepared,
        partition=sets,
        without_forgotten=model.kind != ORIGINAL,
    )
    write_json(place.trace(name), {**trace, "measured cpu seconds": seconds})
    place.signals(name).parent.mkdir(exist_ok=True)
    workflow.predict(prepared=prepared, model=result).save(place.signals(name))
    place.state(name).unlink(missing_ok=True)


def teach(setting: Setting, model: Model, tell: ProgressCallback) -> None:
    """Teach one finished model half of the forgotten patients again, and keep what it says after every pass."""
    cohort, sets = setting.load()
    prepared, loaded = open_checkpoint(setting.place(model).model(model.name), cohort=cohort)
    state = setting.directory.state(f"relearn-{model.name}")
    relearn(
        prepared=prepared,
        partition=sets,
        model=loaded.model,
        recipe=RECIPE,
        epochs=AUDIT.relearn_epochs,
        lr=AUDIT.relearn_lr,
        seed=setting.cohort,
        folder=setting.directory.relearning(model.name),
        resume=state,
        progress=tell,
    )
    state.unlink(missing_ok=True)


def groups(settings: Sequence[str], seeds: Sequence[int]) -> dict[str, list[Model]]:
    """Every model of a set, by row of the table."""
    return {
        ORIGINAL: [Model(ORIGINAL)],
        "retrain (floor)": [Model(RETRAIN, number) for number in range(RETRAINS)],
        **{kind: [Model(kind, seed) for seed in seeds] for kind in settings},
    }


def jobs(setting: Setting, models: Iterable[Model], *, again: bool) -> Iterator[Job]:
    """What is not done yet; unlearning waits for the cohort's original, and relearning for its model."""

    def job(
        work: Callable[..., None], model: Model, place: RunDirectory, *, after: Model | None
    ) -> Job:
        before = None if after is None else str(setting.place(after).root / after.name)
        return Job(
            str(place.root / f"{'relearn-' * (work is teach)}{model.name}"),
            work,
            (setting, model),
            before,
        )

    models = list(models)
    for model in models:
        if not setting.signals(model).exists():
            yield job(
                make, model, setting.place(model), after=Model(ORIGINAL) if model.unlearns else None
            )
    for model in models if again else ():
        if not relearnt(setting.directory.relearning(model.name), epochs=AUDIT.relearn_epochs):
            yield job(teach, model, setting.directory, after=model)
