"""How far rounding carries an unlearning: one process that takes each batch whole, against the two halves of it.

    python studies/rounding.py [--into docs/distributed.md]

Of two processes each computes one half (tests/core/test_distributed.py: the same bits), as one does with
``micro_batches=2``. For comparison, the same distances between two seeds of the unlearning.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from scipy.special import softmax

from forgetmi.benchmark.settings import read_setting
from forgetmi.cohort.partition import partition
from forgetmi.cohort.synthetic import SyntheticCohort
from forgetmi.core.arrays import Ints
from forgetmi.core.signals import Signals
from forgetmi.model.recipe import Recipe
from forgetmi.run import workflow
from pages import command, put, rows

SETTINGS = (
    "forget_mi:epochs=1",
    "forget_mi:epochs=5",
    "forget_mi",
    "scrub",
    "calibrated_consensus",
)
HEAD = (
    "method",
    "steps",
    "embeddings, halves",
    "p forgotten, halves",
    "p test, halves",
    "p forgotten, seeds",
    "p test, seeds",
)


def embeddings_apart(one: Signals, other: Signals) -> float:
    """Largest difference of a coordinate of the image or text embedding (the joint one also has the gate's fit)."""
    return max(
        float(np.abs(getattr(one, name) - getattr(other, name)).max())
        for name in ("image_embedding", "text_embedding")
    )


def predictions_apart(one: Signals, other: Signals, on: Ints) -> float:
    """Mean total variation between what two models predict from the image."""
    p, q = (softmax(said.select(on).image_logits, axis=1) for said in (one, other))
    return float(np.abs(p - q).sum(axis=1).mean() / 2)


def main(argv: Sequence[str] | None = None) -> None:
    """Train one original, unlearn in three ways with each method, compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--methods", nargs="+", default=SETTINGS, help="with options as for forgetmi benchmark"
    )
    parser.add_argument("--patients", type=int, default=270, help="size of the generated cohort")
    parser.add_argument("--into", type=Path, help="page with the marks of this table")
    argv = sys.argv[1:] if argv is None else argv
    own = parser.parse_args(argv)
    torch.set_num_threads(1)
    cohort = SyntheticCohort(patients=own.patients).load()
    sets = partition(cohort, forget=10.0)
    prepared = workflow.prepare(cohort=cohort, partition=sets)
    original, _ = workflow.train(prepared=prepared, partition=sets, recipe=Recipe(), seed=0)
    body = []
    for setting in own.methods:

        def unlearned(
            seed: int, micro_batches: int = 1, method: str = setting
        ) -> tuple[int, Signals]:
            done = workflow.unlearn(
                prepared=prepared,
                partition=sets,
                model=original,
                method=read_setting(method).method,
                recipe=Recipe(),
                seed=seed,
                micro_batches=micro_batches,
            )
            return done.trace.steps, workflow.predict(prepared=prepared, model=done.model)

        steps, whole = unlearned(0)
        _, halves = unlearned(0, micro_batches=2)
        _, seed = unlearned(1)
        body.append(
            (
                f"`{setting}`",
                steps,
                f"{embeddings_apart(whole, halves):.1e}",
                *(
                    f"{predictions_apart(whole, other, on):.1e}"
                    for other in (halves, seed)
                    for on in (sets.forget, sets.holdout)
                ),
            )
        )
    put(
        own.into, {"rounding": "\n".join([f"`{command('rounding', argv)}`", "", *rows(HEAD, body)])}
    )


if __name__ == "__main__":
    main()
