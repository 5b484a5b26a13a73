"""What a finished `forgetmi tune` chose, and what each method's options were chosen from; no model is run.

    python studies/tuned.py DIRECTORY [--into docs/tuning.md]

DIRECTORY is the tuning's --out. Two tables are printed, or written between the marks "spaces" and "tuned" of a page.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from forgetmi.search.former_names import current_name
from pages import put, rows

PARTS = {"gap": "gap", "jsf": "JSf", "image": "image", "text": "text"}


@dataclass(frozen=True)
class Tuned:
    """One method's trials.

    Args:
        root: The tuning's directory.
        found: What it wrote about the method.
    """

    root: Path
    found: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.found["method"]

    @property
    def trials(self) -> list[dict[str, Any]]:
        return self.found["trials"]

    @cached_property
    def chosen(self) -> dict[str, Any] | None:
        """The trial that was chosen; None where none was allowed."""
        return None if self.found["chosen"] is None else self.trials[self.found["chosen"]]

    @property
    def failed(self) -> int:
        """Trials that made no model, or one that cannot be judged, on some seed."""
        return sum(
            any(isinstance(one, str) for one in trial["seeds"].values()) for trial in self.trials
        )

    @property
    def excluded(self) -> int:
        """Trials with models that must not be chosen, e.g. because they read more than one retraining does."""
        return sum(bool(trial["refused"]) for trial in self.trials) - self.failed

    @property
    def ties(self) -> int:
        """Other allowed trials with the very score of the chosen one, which comes first."""
        return (
            sum(
                not trial["refused"] and trial["score"] == self.chosen["score"]
                for trial in self.trials
            )
            - 1
            if self.chosen
            else 0
        )

    def options(self) -> str:
        """What the chosen trial has other than the first one."""
        if self.chosen is None:
            return "none is allowed"
        first = self.trials[0]["options"]
        changed = ", ".join(
            f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}"
            for key, value in self.chosen["options"].items()
            if value != first[key]
        )
        return (changed or "the first trial's") + (
            f" (tie of {self.ties + 1})" if self.ties else ""
        )

    def parts(self, name: str) -> str:
        """Mean over the seeds of a part of the chosen score."""
        if self.chosen is None:
            return "-"
        return f"{np.mean([one['parts'][name] for one in self.chosen['seeds'].values()]):.3f}"

    def share(self) -> str:
        """CPU seconds of the chosen trial over those of one retraining, mean over the seeds; a dash without either."""
        if self.chosen is None:
            return "-"
        shares = []
        for seed in self.chosen["seeds"]:
            retrained = [
                _seconds(path) for path in self.root.glob(f"seed-{seed}/traces/retrain-*.json")
            ]
            if not retrained:
                return "-"
            trial = (
                self.root
                / "trials"
                / self.name
                / f"{self.chosen['trial']}-seed-{seed}"
                / "trial.json"
            )
            shares.append(_seconds(trial) / np.mean(retrained))
        return f"{np.mean(shares):.2f}"

    def line(self, parts: Sequence[str]) -> list[str]:
        """One line of the table."""
        first = self.trials[0]["score"]
        return [
            f"`{self.name}`",
            "-" if first is None else f"{first:.3f}",
            self.options(),
            "-" if self.chosen is None else f"{self.chosen['score']:.3f}",
            *map(self.parts, parts),
            str(len(self.trials)),
            str(self.failed),
            str(self.excluded),
            "-" if self.chosen is None else "no" if self.found["did_not_forget"] else "yes",
            self.share(),
        ]


def _seconds(path: Path) -> float:
    return json.loads(path.read_text(encoding="utf-8"))["cost"]["cpu_seconds"]


def read(root: Path) -> tuple[dict[str, Any], list[Tuned]]:
    """The plan of a tuning, and its methods in the plan's order.

    Raises:
        SystemExit: The directory holds no finished tuning.
    """
    path = root / "plan.json"
    plan = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"trials": {}}
    missing = [name for name in plan["trials"] if not (root / f"{name}.json").exists()]
    if missing or not plan["trials"]:
        raise SystemExit(
            f"{root.name} holds no finished tuning; give the command of forgetmi tune again"
            + (f" (not there yet: {', '.join(missing)})" if missing else "")
        )
    return plan, [
        Tuned(root, json.loads((root / f"{name}.json").read_text(encoding="utf-8")))
        for name in plan["trials"]
    ]


def table(plan: Mapping[str, Any], tuned: Sequence[Tuned]) -> str:
    """What was chosen."""
    scored = [one for method in tuned if method.chosen for one in method.chosen["seeds"].values()]
    parts = [name for name in PARTS if scored and name in scored[0]["parts"]]
    seeds = ", ".join(str(spec["seed"]) for spec in plan["specs"])
    trials = max(len(method.trials) for method in tuned)
    said = (
        f"`forgetmi tune --rule {current_name(tuned[0].found['rule'])}` with seeds {seeds}: at most {trials} trials a "
        f"method, {sum(len(method.trials) for method in tuned)} in all. Scores are means over the seeds; "
        "smaller is better."
    )
    head = [
        "method",
        "score of the first trial",
        "chosen options",
        "score",
        *(PARTS[name] for name in parts),
        "trials",
        "failed",
        "not allowed",
        "forgot",
        "time / retrain",
    ]
    return "\n".join([said, "", *rows(head, (method.line(parts) for method in tuned))])


def spaces(plan: Mapping[str, Any]) -> str:
    """What was tried: each method's options that differ between its trials."""
    lines = []
    for name, trials in plan["trials"].items():
        varied = {
            key: list(dict.fromkeys(json.dumps(trial[key]) for trial in trials))
            for key in trials[0]
        }
        several = {
            key: sorted(values, key=_order) for key, values in varied.items() if len(values) > 1
        }
        tried = "; ".join(f"{key} {', '.join(values)}" for key, values in several.items())
        lines.append([f"`{name}`", len(trials), tried.replace('"', "") or "-"])
    return "\n".join(rows(["method", "trials", "values tried"], lines))


def _order(value: str) -> tuple[float, str]:
    found = json.loads(value)
    return (float(found), "") if isinstance(found, int | float) else (np.inf, value)


def main(argv: Sequence[str] | None = None) -> None:
    """Write both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", type=Path, help="of the tuning")
    parser.add_argument(
        "--into", type=Path, help="page to write the tables into, between its marks"
    )
    own = parser.parse_args(sys.argv[1:] if argv is None else argv)
    plan, tuned = read(own.directory)
    put(own.into, {"spaces": spaces(plan), "tuned": table(plan, tuned)})


if __name__ == "__main__":
    main()
