"""Every method on five kinds of models: whether it applies, and how near it comes to models without the forgotten.

    python studies/methods_by_model.py --out OUT [--into docs/methods_by_model.md] [--patients 90] [--epochs 40]

Each model's signals and cost are stored as soon as it is there; models that OUT holds already are not made again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from forgetmi.cohort.partition import partition
from forgetmi.cohort.synthetic import SyntheticCohort, Task
from forgetmi.core.files import write_json
from forgetmi.core.model_names import ORIGINAL
from forgetmi.core.registry import methods
from forgetmi.core.scores import Evaluation, Failed
from forgetmi.data.preprocessing import ImagePreprocessing
from forgetmi.evaluation.gaps import FLOOR, main_head
from forgetmi.model.architecture import Architecture
from forgetmi.model.recipe import Recipe
from forgetmi.run import workflow
from measured_models import Study, after
from pages import command, hardware, put, rows

PERCENT = 15.0

# Row of the models that never saw the forgotten; a method is called as they are
REFERENCES = "references"

# Written for the authors' own configuration, and measured on its page
LEFT_OUT = ("forget_mi_release",)


@dataclass(frozen=True)
class Kind:
    """A kind of model, and the labels that it predicts.

    Args:
        title: On the page.
        architecture: Options of the model.
        task: Of the generated cohort.
        measured: Whether the cohort has measured values.
        recipe: How every model is trained; its epochs are given.
        longer: Times as many epochs as were given.
    """

    title: str
    architecture: Architecture
    task: Task = "grades"
    measured: bool = False
    recipe: Recipe = field(default_factory=lambda: Recipe(lr=2e-3))
    longer: int = 1


# A compact model of the package's own, small enough for 32 pixels
OWN = Architecture(
    stem_width=8, widths=(8, 16, 32), blocks=1, hidden=64, layers=2, heads=2, intermediate=128
)
KINDS = {
    "own": Kind("own model", OWN),
    "vit": Kind("ViT + DistilBERT", Architecture(factory="examples.own_model:factory")),
    "films": Kind("image only", Architecture(factory="small_models:films")),
    "ward": Kind("table + text", Architecture(factory="small_models:ward"), measured=True),
    # Labels that are mostly 0 take smaller steps and more of them to be learnt, let alone remembered
    "findings": Kind(
        "findings, film + report",
        Architecture(factory="small_models:clinic"),
        task="findings",
        recipe=Recipe(lr=5e-3, batch_size=8),
        longer=2,
    ),
}


def main(argv: Sequence[str]) -> None:
    options = _options(argv)
    sys.path.append(str(Path(__file__).parents[1]))
    names = [name for name in methods.names() if name not in LEFT_OUT]

    # Kind by kind, so that what is there can be read before all of it is
    columns: dict[str, dict[str, str]] = {}
    facts: list[str] = []
    for kind in options.kinds:
        study = prepare(kind, options)
        study.reference()
        reasons = {name: study.method(name) for name in names}
        found = study.evaluate(reasons, resamples=0)
        columns[KINDS[kind].title] = {
            ORIGINAL: _cell(found[ORIGINAL], ORIGINAL),
            REFERENCES: _floor(found[ORIGINAL]),
            **{
                name: _cell(found[name], after(name)) if not reasons[name] else "" for name in names
            },
        }
        write_json(study.out / "reasons.json", reasons)
        columns[KINDS[kind].title] |= {name: why for name, why in reasons.items() if why}
        facts.append(_fact(kind, study, options))

    lines = [
        *_table(columns, names),
        "",
        *facts,
        "",
        f"`{command('methods_by_model', argv)}` on {hardware()}",
    ]
    put(options.into, {"methods-by-model": "\n".join(lines)})


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--into", type=Path)
    parser.add_argument("--patients", type=int, default=90)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--retrains", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=[*KINDS], default=[*KINDS])
    return parser.parse_args(argv)


def prepare(kind: str, options: argparse.Namespace) -> Study:
    """The cohort as a kind of model reads it."""
    out = options.out / kind
    out.mkdir(parents=True, exist_ok=True)
    chosen = KINDS[kind]
    cohort = SyntheticCohort(
        patients=options.patients,
        size=options.size,
        seed=options.seed,
        task=chosen.task,
        measured=chosen.measured,
    ).load()
    sets = partition(cohort, forget=PERCENT, seed=options.seed)
    data = workflow.prepare(
        cohort=cohort,
        partition=sets,
        images=ImagePreprocessing(size=options.size),
        architecture=chosen.architecture,
        max_length=128,
    )
    recipe = replace(chosen.recipe, epochs=options.epochs * chosen.longer)
    return Study(out, data, sets, recipe, options.seed, options.retrains)


def _cell(evaluation: Evaluation, model: str) -> str:
    """Gap and JSf of the first head."""
    head = main_head(evaluation)
    numbers = []
    for name, on in (("gap", ""), ("jsf", "forget")):
        score = evaluation.get(model, name, head=head, on=on)
        numbers.append("not defined" if isinstance(score, Failed) else f"{score.value:.2f}")
    return " / ".join(numbers)


def _floor(evaluation: Evaluation) -> str:
    """The retrained models' own gap, and their mean JSf."""
    head = main_head(evaluation)
    floor = evaluation.get(FLOOR, "gap_floor", head=head)
    jsf = evaluation.get("retrain-0", "jsf", head=head, on="forget")
    shown = [score for score in (floor, jsf) if not isinstance(score, Failed)]
    return " / ".join(f"{score.value:.2f}" for score in shown)


def _table(columns: Mapping[str, Mapping[str, str]], names: Sequence[str]) -> list[str]:
    """A row a method, with its number or its sentence in each column."""
    titles = {ORIGINAL: "original", REFERENCES: "retrained models"}
    body = []
    for name in (ORIGINAL, REFERENCES, *names):
        label = titles.get(name, f"`{name}`")
        body.append([label, *(column.get(name, "") for column in columns.values())])
    return rows(["", *columns], body)


def _fact(kind: str, study: Study, options: argparse.Namespace) -> str:
    """Sizes, in one line."""
    count = study.sets.counts()
    forget, retain, test = count["forget"], count["retain"], count["holdout"]
    return (
        f"{KINDS[kind].title}: {forget['patients']} patients ({forget['images']} films) forgotten, "
        f"{retain['images']} films retained, {test['patients']} never-seen test patients; training of "
        f"the original {study.cost(ORIGINAL):.0f} processor seconds."
    )


if __name__ == "__main__":
    main(sys.argv[1:])
