"""Options of ``forgetmi benchmark``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from forgetmi.core.ranges import Draws, Percent, Seed, Weight
from forgetmi.run.track import Kind

USED = (
    "cohort",
    "partition",
    "images",
    "text",
    "model",
    "training",
    "carrier",
    "retrains",
    "batch_size",
    "seed",
    "split_seed",
    "resamples",
    "workers",
    "threads",
    "runner",
    "address",
    "gpus_per_job",
    "device",
    "store_on",
    "film_bits",
    "compile",
)


@dataclass(frozen=True)
class BenchmarkOptions:
    """Options of ``forgetmi benchmark``.

    Args:
        out: Directory of all models' results; given again, only what is missing is made.
        methods: Methods, with options as NAME:option=value,option=value; empty = every registered one, with --quick
            those of the paper and SCRUB+R.
        percents: Forget percentages.
        draws: Disjoint forget sets of each percentage: one number for all, or one each.
        training_seeds: Root seeds of originals and retrained models; default: 0 1 2, with --quick 0.
        unlearning_seeds: Seeds of unlearning; 0 = the training seed itself.
        presets: Also Forget-MI's five settings (the paper's Table 2).
        noise_means: Also Forget-MI with image noise of these means (at the first standard deviation of --noise-stds, or
            its own).
        noise_stds: Also Forget-MI with image noise of these standard deviations.
        quick: The paper's methods, SCRUB+R, and one training seed.
        dry_run: Only print the models that would be made, and an estimate; nothing is downloaded.
        tables_only: Make no model: only tables of what is there.
        track: Also hand losses to a tracker as they come: wandb, mlflow or tensorboard; see docs/sweeps.md.
    """

    out: Path
    methods: tuple[str, ...] = ()
    percents: tuple[Percent, ...] = (3.0, 6.0, 10.0)
    draws: tuple[Draws, ...] = (1,)
    training_seeds: tuple[Seed, ...] | None = None
    unlearning_seeds: tuple[Seed, ...] = (0,)
    presets: bool = True
    noise_means: tuple[float, ...] = ()
    noise_stds: tuple[Weight, ...] = ()
    quick: bool = False
    dry_run: bool = False
    tables_only: bool = False
    track: Kind = ""
