"""How far rounding carries an unlearning: one process that takes each batch whole, against the two halves of it.

    python benchmarks/rounding.py [--into docs/distributed.md]

Of two processes each computes one half (tests/test_processes.py: the same bits). For comparison, the same distances
between two seeds of the unlearning.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from scipy.special import softmax
from torch import Tensor

from forgetmi import api
from forgetmi.bench.grid import read_setting
from forgetmi.cohort.partition import partition
from forgetmi.cohort.synthetic import SyntheticCohort
from forgetmi.model.image_text import ImageText
from forgetmi.model.train import Recipe
from forgetmi.types import Batch, Ints, Outputs, Signals
from pages import command, put, rows

SETTINGS = ("forget_mi:epochs=1", "forget_mi:epochs=5", "forget_mi", "scrub", "calibrated_consensus")
HEAD = ("method", "steps", "embeddings, halves", "p forgotten, halves", "p test, halves", "p forgotten, seeds",
        "p test, seeds")


@contextmanager
def in_halves() -> Iterator[None]:
    """Let one process compute each batch in the shares that two would take."""
    forward = ImageText.forward

    def halves(model: ImageText, batch: Batch, *, text_inputs: Tensor | None = None) -> Outputs:
        first = len(batch) // 2
        if first == 0:
            return forward(model, batch, text_inputs=text_inputs)
        parts = [forward(model, Batch(**{f.name: getattr(batch, f.name)[at] for f in fields(Batch)}),
                         text_inputs=None if text_inputs is None else text_inputs[at])
                 for at in (slice(0, first), slice(first, None))]
        return Outputs(**{f.name: torch.cat([getattr(part, f.name) for part in parts]) for f in fields(Outputs)})

    with patch.object(ImageText, "forward", halves):
        yield


def embeddings_apart(one: Signals, other: Signals) -> float:
    """Largest difference of a coordinate of the image or text embedding (the joint one also has the gate's fit)."""
    return max(float(np.abs(getattr(one, name) - getattr(other, name)).max())
               for name in ("image_embedding", "text_embedding"))


def predictions_apart(one: Signals, other: Signals, on: Ints) -> float:
    """Mean total variation between what two models predict from the image."""
    p, q = (softmax(said.select(on).image_logits, axis=1) for said in (one, other))
    return float(np.abs(p - q).sum(axis=1).mean() / 2)


def main(argv: Sequence[str] | None = None) -> None:
    """Train one original, unlearn in three ways with each method, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=SETTINGS, help="with options as for forgetmi benchmark")
    parser.add_argument("--patients", type=int, default=270, help="size of the generated cohort")
    parser.add_argument("--into", type=Path, help="page with the marks of this table")
    argv = sys.argv[1:] if argv is None else argv
    own = parser.parse_args(argv)
    torch.set_num_threads(1)
    cohort = SyntheticCohort(patients=own.patients).load()
    sets = partition(cohort, forget=10.0)
    prepared = api.prepare(cohort=cohort, partition=sets)
    original, _ = api.train(prepared=prepared, partition=sets, recipe=Recipe(), seed=0)
    body = []
    for setting in own.methods:
        def unlearned(seed: int, method: str = setting) -> tuple[int, Signals]:
            done = api.unlearn(prepared=prepared, partition=sets, model=original, method=read_setting(method).method,
                               recipe=Recipe(), seed=seed)
            return done.trace.steps, api.predict(prepared=prepared, model=done.model)

        steps, whole = unlearned(0)
        with in_halves():
            _, halves = unlearned(0)
        _, seed = unlearned(1)
        body.append((f"`{setting}`", steps, f"{embeddings_apart(whole, halves):.1e}",
                     *(f"{predictions_apart(whole, other, on):.1e}" for other in (halves, seed)
                       for on in (sets.forget, sets.holdout))))
    put(own.into, {"rounding": "\n".join([f"`{command('rounding', argv)}`", "", *rows(HEAD, body)])})


if __name__ == "__main__":
    main()
