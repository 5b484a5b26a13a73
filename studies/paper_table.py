"""What the paper's published tables say when they are read against Retrain; rewrites the figures of a page.

    python studies/paper_table.py --into docs/paper_table.md
    python studies/paper_table.py --into docs/paper_table.md --out OUT [options of that benchmark]

Nothing is trained: the values are those of `forgetmi.benchmark.published` (Hardan et al. 2025, arXiv 2506.23145).
With the options of a finished `forgetmi benchmark` also what attacks on batches, images and patients say of its models.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from attack_units import attacks
from forgetmi.benchmark.published import TABLE_1, TABLE_2
from pages import command, put

PERCENTS = (3, 6, 10)
COLUMNS = ("MIA", "AUC forget", "F1 forget", "AUC test", "F1 test")
BATCHES = {3: 7, 6: 13, 10: 21}  # batches of 32 images behind an attack value
NAMES = {
    "original": "Original",
    "retrain": "Retrain",
    "neg_grad_plus": "NegGrad+",
    "scrub": "SCRUB",
    "cf_k": "CF-k",
    "eu_k": "EU-k",
    "multi_delete": "MultiDelete",
    "forget_mi": "Forget-MI (best setting of each percentage)",
}


def gap(row: str, percent: int) -> list[float]:
    """Absolute differences to Retrain, in the order of the columns."""
    values = TABLE_1[row] if row in TABLE_1 else TABLE_2[row]
    return [abs(a - b) for a, b in zip(values[percent], TABLE_1["retrain"][percent], strict=True)]


def gaps() -> list[str]:
    """A table of the mean difference to Retrain over the five columns, and of its parts."""
    lines = [
        "| method | "
        + " | ".join(f"{p} %: mean (MIA, AUC f, F1 f, AUC t, F1 t)" for p in PERCENTS)
        + " |",
        "|---|" + "---:|" * len(PERCENTS),
    ]
    for row in [*(name for name in TABLE_1 if name != "retrain"), *TABLE_2]:
        parts = [gap(row, percent) for percent in PERCENTS]
        name = NAMES.get(row, f"Forget-MI, {row.rpartition('=')[2].replace('_', ' ')}")
        cells = [
            f"{sum(part) / 5:.3f} ({', '.join(f'{value:.3f}' for value in part)})" for part in parts
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def fractions(percent: int) -> tuple[list[tuple[str, float]], int]:
    """Attack values that are no multiple of one over the number of batches (to three digits), and how many are."""
    values = [(row, table[row][percent][0]) for table in (TABLE_1, TABLE_2) for row in table]
    batches = BATCHES[percent]
    exact = {round(k / batches, 3) for k in range(batches + 1)}
    return [(row, value) for row, value in values if value not in exact], len(values)


def luck() -> list[str]:
    """What one seed more or less can do, as far as the table shows it."""
    original = TABLE_1["original"][6][3]
    retrain = [TABLE_1["retrain"][percent][3] for percent in PERCENTS]
    return [
        f"- Test AUC of the three retrained models: {', '.join(f'{value:.3f}' for value in retrain)}, a range of "
        f"{max(retrain) - min(retrain):.3f}; the original has {original:.3f}, less than the one retrained without "
        "6 %. Leaving patients out does not make a model better at others: this is the spread of training, and "
        "most differences between methods in this column are smaller."
    ]


def abstract() -> list[str]:
    """The abstract's three differences, from the table."""
    parts = []
    for at, name in enumerate(COLUMNS[:3]):
        mean = (
            sum(TABLE_1["forget_mi"][p][at] - TABLE_1["multi_delete"][p][at] for p in PERCENTS) / 3
        )
        to_retrain = [
            sum(gap(row, p)[at] for p in PERCENTS) / 3 for row in ("forget_mi", "multi_delete")
        ]
        parts.append(f"| {name} | {mean:+.3f} | {to_retrain[0]:.3f} | {to_retrain[1]:.3f} |")
    return [
        "| column | Forget-MI minus MultiDelete | Forget-MI to Retrain | MultiDelete to Retrain |",
        "|---|---:|---:|---:|",
        *parts,
    ]


def figures() -> str:
    """The generated part of the page."""
    lines = [
        "### Distance to Retrain",
        "",
        *gaps(),
        "",
        "### The differences of the abstract, mean over 3, 6, 10 %",
        "",
        *abstract(),
        "",
        "### Attack values",
        "",
    ]
    for percent in PERCENTS:
        odd, count = fractions(percent)
        named = ", ".join(f"{NAMES.get(row, row)} {value:.3f}" for row, value in odd)
        lines.append(
            f"- {percent} %: {count - len(odd)} of {count} are multiples of 1/{BATCHES[percent]}"
            + (f"; the exception is {named}." if odd else ".")
        )
    return "\n".join([*lines, *luck()])


def main(argv: Sequence[str] | None = None) -> None:
    """Print the figures, or put them into the page."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--into", type=Path, help="page to write into, between the marks figures and attacks"
    )
    argv = sys.argv[1:] if argv is None else argv
    own, options = parser.parse_known_args(argv)
    found = {"figures": figures()}
    if options:
        found["attacks"] = (
            f"`{command('paper_table', argv)}`\n\n{attacks(options, prog='paper_table.py')}"
        )
    put(own.into, found)


if __name__ == "__main__":
    main()
