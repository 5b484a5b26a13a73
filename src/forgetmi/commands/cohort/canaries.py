"""``forgetmi cohort canaries``: draw canaries before training and seal who they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from forgetmi.commands.options import parse
from forgetmi.core.cohort import Cohort
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.files import write_text
from forgetmi.core.ranges import Draws, Seed
from forgetmi.run.console import echo


@dataclass(frozen=True)
class CanaryOptions:
    """Options of ``forgetmi cohort canaries``.

    Args:
        out: Directory; gets the sealed list, the commitment to publish, and a specification that uses them.
        pairs: Pairs of patients, equal in study count and label; half of the canaries are trained on, on average.
        seed: Seed of the draw; the coins also depend on your secret identifier key.
    """

    out: Path
    pairs: Draws = 50
    seed: Seed = 0


def canaries(argv: Sequence[str]) -> None:
    """Draw canaries before training and seal who they are."""
    spec, options = parse(
        CanaryOptions,
        argv,
        prog="forgetmi cohort canaries",
        only=("cohort",),
        description="Before training: draw matched pairs of patients and toss a coin for each, who is "
        "trained on and later forgotten, or never seen. The audit of such a run bounds "
        "epsilon from below.",
    )

    # The draw is imported after the help was printed.
    import yaml

    from forgetmi.cohort.canaries import COMMITMENT, SEALED, draw_canaries, write_canaries
    from forgetmi.cohort.identifiers import load_key
    from forgetmi.run.spec import to_plain

    cohort: Cohort = spec.cohort.load()
    sealed = options.out / SEALED
    if sealed.exists():
        raise SpecError(
            Fault(
                "canaries are sealed there already",
                where=options.out.name,
                do="Choose another --out.",
            )
        )

    # The coins depend on the identifier key, so that nobody without it can repeat them.
    key = load_key(getattr(spec.cohort, "key_file", None))
    drawn = draw_canaries(cohort, pairs=options.pairs, seed=options.seed, key=key)
    write_canaries(options.out, drawn)

    # A specification that trains on them.
    plain = {"cohort": to_plain(spec.cohort), "partition": {"canaries": str(sealed)}}
    spec_file = options.out / "spec.yaml"
    write_text(spec_file, yaml.safe_dump(plain))

    echo(
        f"{len(drawn.patients)} canaries sealed in {sealed}: keep it closed until the audit.\n"
        f"Publish {options.out / COMMITMENT}: {drawn.commitment}\n"
        f"Train with them:  forgetmi run --spec {spec_file} --out runs/mine"
    )
