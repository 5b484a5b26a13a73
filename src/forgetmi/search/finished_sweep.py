"""Whether a sweep is finished: its list of trials, which is written last, has all that were asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from forgetmi.core.json_text import read_json
from forgetmi.core.serialization import from_plain
from forgetmi.search.study import INTERRUPTED, Study, Tried

TRIALS = "trials.json"


@dataclass(frozen=True)
class _Trials:
    """The content of trials.json, which is a list."""

    trials: tuple[Tried, ...]


def finished_trials(study: Study) -> list[Tried] | None:
    """All trials of a finished sweep, in order; None = some are to be made.

    Args:
        study: The sweep; its directory is taken for it.

    Raises:
        SpecError: The list cannot be read.
    """
    path = study.root / TRIALS
    if not path.exists():
        return None

    do = "Remove it, and it is written again."
    values = read_json(path, what="the list of trials", do=do)
    stored = from_plain(_Trials, {"trials": values}, where=TRIALS, complete=True)
    return list(stored.trials) if count_made(study, stored.trials) >= study.trials else None


def count_made(study: Study, trials: Sequence[Tried]) -> int:
    """Trials that need not be made again; of a grid each point counts once.

    Args:
        study: The sweep.
        trials: Those that came to an end.
    """
    made = [trial for trial in trials if trial.refused != INTERRUPTED]
    if study.sweep.method != "grid":
        return len(made)
    return len({repr(sorted(trial.options.items())) for trial in made})
