"""Adapters, last stages and heads against the whole model: what moves, what it costs, how near the retrained models.

    python studies/carrier_study.py --shares [--into docs/carrier.md]
    python studies/carrier_study.py --out OUT [--into docs/carrier.md] [--towers real] [--patients 120] [--epochs 16]

The embedded cohort; the package's own model, or (``--towers real``) EfficientNet-Lite0 and MiniLM from the packages of
``forgetmi[weights]``. One original and three retrained models, all of whose weights moved (of the real towers those of
the stages that are not frozen); then each method within each carrier, at its default options or at ten times the
default learning rate. Models that OUT holds already are not made again. ``--shares`` only counts what may move.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from forgetmi.cohort.partition import partition
from forgetmi.cohort.synthetic import SyntheticCohort
from forgetmi.core.carrier import SHARE, WEIGHTS, Carrier, read_carrier
from forgetmi.core.cost import Meter
from forgetmi.core.files import write_json
from forgetmi.core.json_text import read_json
from forgetmi.core.partition import Partition
from forgetmi.core.registry import methods
from forgetmi.core.scores import Evaluation, Failed
from forgetmi.core.seeding import derive
from forgetmi.core.signals import Signals
from forgetmi.data.preprocessing import ImagePreprocessing
from forgetmi.model.architecture import Architecture
from forgetmi.model.architectures import blank
from forgetmi.model.recipe import Recipe
from forgetmi.model.spec import compact
from forgetmi.model.tower_specs.protocol import TrainingData
from forgetmi.run import workflow
from forgetmi.run.prepared import Prepared
from forgetmi.unlearning.adapters import adapted_layers
from forgetmi.unlearning.carrier import moving
from pages import command, hardware, put, rows
from real_towers import towers

PERCENT, RETRAINS, RESAMPLES = 10.0, 3, 200
LORA = "lora,rank=8"

# Frozen stages of the real towers, of 18 and 7: the last 4 and the last 3 move
FROZEN = {"image": 14, "text": 4}


@dataclass(frozen=True)
class Case:
    """A method within a carrier.

    Args:
        method: Registered name.
        carrier: What it may move.
        faster: Factor on its learning rate.
    """

    method: str
    carrier: str
    faster: float = 1.0

    @property
    def name(self) -> str:
        """As its files are called."""
        return f"{self.method}-{self.carrier}-{self.faster:g}".replace(",", "-")


CASES = {
    "own": (
        *(Case("forget_mi", carrier) for carrier in ("full", "last", LORA)),
        Case("forget_mi", LORA, 10),
        *(Case("calibrated_consensus", carrier) for carrier in ("full", "last", LORA)),
        Case("calibrated_consensus", LORA, 10),
        *(Case("undo", carrier) for carrier in ("full", "last", "heads")),
    ),
    "real": (
        *(Case("forget_mi", carrier) for carrier in ("full", "last", LORA)),
        Case("forget_mi", LORA, 10),
        *(Case("undo", carrier) for carrier in ("full", LORA, "last", "heads")),
    ),
}

# Carriers whose weights are counted
COUNTED = (
    "full",
    "last",
    "last,stages=2",
    "lora,rank=16",
    LORA,
    "lora,rank=4",
    "lora,rank=8,targets=query+value",
    "heads",
)

# Name of a score, head, set, and how the page calls it
SCORES = (
    ("gap", "image", "", "gap"),
    ("gap_joint", "both", "", "gap, both heads"),
    ("jsf", "image", "forget", "JSf, films"),
    ("jsf", "text", "forget", "JSf, reports"),
    ("auc", "image", "test", "AUC, films"),
    ("auc", "text", "test", "AUC, reports"),
)


@dataclass(frozen=True, eq=False)
class Study:
    """The data, and how models are trained.

    Args:
        out: Folder of the signals.
        data: The cohort, ready for the models.
        sets: Who is in which set.
        recipe: How every model is trained.
        seed: Root seed.
    """

    out: Path
    data: Prepared
    sets: Partition
    recipe: Recipe
    seed: int


def main(argv: Sequence[str]) -> None:
    options = _options(argv)
    if options.shares:
        put(options.into, {"carrier-shares": shares(argv)})
        return
    study = prepare(options)
    cases = CASES[options.towers]
    signals, facts = measure(study, cases)
    evaluation = workflow.evaluate(
        original=signals["original"],
        unlearned={case.name: signals[case.name] for case in cases},
        retrained=[signals[f"retrain-{number}"] for number in range(RETRAINS)],
        partition=study.sets,
        task=study.data.cohort.task,
        seed=options.seed,
        resamples=options.resamples,
    )
    text = page(study, cases, evaluation, facts, argv)
    put(options.into, {f"carrier-{options.towers}": text})


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("carrier-study"))
    parser.add_argument("--shares", action="store_true")
    parser.add_argument("--into", type=Path)
    parser.add_argument("--towers", choices=tuple(CASES), default="own")
    parser.add_argument("--patients", type=int, default=120)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--resamples", type=int, default=RESAMPLES)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(argv)


def prepare(options: argparse.Namespace) -> Study:
    """The cohort, ready for the models."""
    options.out.mkdir(parents=True, exist_ok=True)
    cohort = SyntheticCohort(patients=options.patients, size=options.size, seed=options.seed).load()
    sets = partition(cohort, forget=PERCENT, seed=options.seed)

    architecture = Architecture()
    if options.towers == "real":
        architecture = Architecture(towers=real(FROZEN, size=options.size))
    data = workflow.prepare(
        cohort=cohort,
        partition=sets,
        images=ImagePreprocessing(size=options.size),
        architecture=architecture,
    )
    return Study(options.out, data, sets, Recipe(epochs=options.epochs), options.seed)


def real(frozen: Mapping[str, int], *, size: int) -> tuple[str, ...]:
    """Both real towers with so many frozen stages, on films of a size."""
    named = []
    for tower in towers():
        start = tower.rpartition(",")[0]
        modality = tower.partition("=")[0]
        pixels = f",size={size}" if modality == "image" else ""
        named.append(f"{start},frozen={frozen[modality]}{pixels}")
    return tuple(named)


def shares(argv: Sequence[str]) -> str:
    """How many weights each carrier moves of both kinds of model; nothing is trained."""
    names = real({"image": 0, "text": 0}, size=64)
    spec = Architecture(towers=names).compose(classes=4, training=TrainingData())
    with torch.device("meta"):
        nets = {"own": blank(compact(classes=4, vocabulary=1000)), "real towers": blank(spec)}

    body = []
    for carrier in COUNTED:
        cells = [f"`{carrier}`"]
        for net in nets.values():
            total = sum(weight.numel() for weight in net.parameters())
            moved, layers = _counted(net, read_carrier(carrier))
            beside = f", {layers} adapters" if layers else ""
            cells.append(f"{moved:,} ({100 * moved / total:.3g} %{beside})")
        body.append(cells)
    head = ["carrier", "compact model", "EfficientNet-Lite0 + MiniLM, nothing frozen"]
    return "\n".join([*rows(head, body), "", f"`{command('carrier_study', argv)}`"])


def _counted(net: Any, carrier: Carrier) -> tuple[int, int]:
    """Weights that may move, and adapters among them."""
    whole = moving(net, carrier)
    parameters = dict(net.named_parameters())
    moved = sum(weight.numel() for name, weight in parameters.items() if name in whole)
    if carrier.kind != "lora":
        return moved, 0

    # A factor reads what the layer reads, the other makes what the layer makes
    layers = adapted_layers(net, carrier, but=whole)
    for name in layers:
        weight = net.get_submodule(name).weight
        moved += carrier.rank * (weight[0].numel() + weight.shape[0])
    return moved, len(layers)


def measure(
    study: Study, cases: Sequence[Case]
) -> tuple[dict[str, Signals], dict[str, dict[str, Any]]]:
    """Signals, cost and facts of every model, each stored as soon as it is there."""
    signals: dict[str, Signals] = {}
    facts: dict[str, dict[str, Any]] = {}
    original = None
    names = ("original", *(f"retrain-{number}" for number in range(RETRAINS)))
    for name in (*names, *cases):
        stem = name if isinstance(name, str) else name.name
        stored, told = study.out / f"{stem}.npz", study.out / f"{stem}.json"
        if not told.exists():
            if isinstance(name, str):
                model, fact = _trained(study, name)
                original = model if name == "original" else original
            else:
                original = original or _trained(study, "original")[0]
                model, fact = _unlearned(study, name, original)
            workflow.predict(prepared=study.data, model=model).save(stored)
            write_json(told, fact)
            print(f"{stem}: {fact['cpu seconds']:.0f} CPU s", file=sys.stderr, flush=True)

        signals[stem] = Signals.load(stored)
        facts[stem] = read_json(told, what="the facts of a model", do="Delete it.")
    return signals, facts


def _trained(study: Study, name: str) -> tuple[Any, dict[str, Any]]:
    """The original, or a model trained without the forgotten."""
    left_out = name != "original"
    with Meter() as meter:
        model, _ = workflow.train(
            prepared=study.data,
            partition=study.sets,
            recipe=study.recipe,
            seed=derive(study.seed, name) if left_out else study.seed,
            without_forgotten=left_out,
        )
    return model, {"cpu seconds": meter.cost.cpu_seconds}


def _unlearned(study: Study, case: Case, original: Any) -> tuple[Any, dict[str, Any]]:
    """What a method makes of the original within a carrier."""
    method = methods.get(case.method)()
    if case.faster != 1:
        method = replace(method, lr=case.faster * method.lr)
    done = workflow.unlearn(
        prepared=study.data,
        partition=study.sets,
        model=original,
        method=method,
        recipe=study.recipe,
        seed=study.seed,
        carrier=case.carrier,
    )

    # Whatever is not frozen moves where no carrier says less
    weights = [weight.numel() for weight in original.parameters()]
    free = [weight.numel() for weight in original.parameters() if weight.requires_grad]
    facts = done.trace.facts
    return done.model, {
        "cpu seconds": done.trace.cost.cpu_seconds,
        "weights": facts.get(WEIGHTS, sum(free)),
        "share": facts.get(SHARE, sum(free) / sum(weights)),
    }


def page(
    study: Study,
    cases: Sequence[Case],
    evaluation: Evaluation,
    facts: Mapping[str, Mapping[str, Any]],
    argv: Sequence[str],
) -> str:
    """The table, and the command that made it."""
    head = ["method", "carrier", "weights that may move", "share", "CPU s"]
    head += [title for *_, title in SCORES]
    names = ["original", *(f"retrain-{number}" for number in range(RETRAINS))]
    body = []
    for name in names:
        cells = [_cell(evaluation, name, *score[:3]) for score in SCORES]
        body.append([f"`{name}`", "", "", "", f"{facts[name]['cpu seconds']:.0f}", *cells])
    for case in cases:
        fact = facts[case.name]
        rate = "" if case.faster == 1 else f", rate x {case.faster:g}"
        moved = [f"{fact['weights']:,}", f"{100 * fact['share']:.3g} %"]
        cells = [_cell(evaluation, case.name, *score[:3]) for score in SCORES]
        cost = f"{fact['cpu seconds']:.0f}"
        body.append([f"`{case.method}`", f"`{case.carrier}`{rate}", *moved, cost, *cells])

    forgotten = len(np.unique(study.data.cohort.patient[study.sets.forget].astype(str)))
    lines = [
        *rows(head, body),
        "",
        f"{len(study.data.cohort)} films with reports, {len(study.sets.forget)} of {forgotten} patients forgotten, "
        f"one seed; {hardware()}, one thread, beside other work.",
        "",
        f"`{command('carrier_study', argv)}`",
    ]
    return "\n".join(lines)


def _cell(evaluation: Evaluation, model: str, name: str, head: str, on: str) -> str:
    """A score; empty where it is not defined."""
    try:
        score = evaluation.get(model, name, head=head, on=on)
    except KeyError:
        return ""
    return "" if isinstance(score, Failed) else f"{score.value:.3f}"


if __name__ == "__main__":
    main(sys.argv[1:])
