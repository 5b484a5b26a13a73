"""Measures the edema labeler on the Open-i reports: against grades set by hand and against the manual MeSH codes.

    python studies/edema_labels.py reports.tar.gz [--into docs/edema_labels.md]

Candidates are reports with a word of edema or congestion. They are divided by a hash of their text: rules were written
on the development half; the test half was graded by hand after the rules were frozen. Prints Markdown tables, or writes
them between the two marks of a page.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import re
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from forgetmi.cohort.edema_labels import GRADES, UNKNOWN, edema_grade
from forgetmi.cohort.openi_reports import OpeniReport, coded_grade, read_openi_reports
from forgetmi.core.seeding import numpy_generator
from pages import put

HAND = Path(__file__).parents[1] / "tests" / "cohort" / "edema_hand_labels.csv"
FEW = 20  # cases below which a grade is not judged
Ints = npt.NDArray[np.int64]

CANDIDATE = re.compile(
    r"edema|oedema|congest|cephali[sz]|kerley|septal|engorge|plethora|overload|heart failure|\bchf\b|"
    r"vascular(?:ity)? (?:prominence|redistribution)|prominen\w* (?:of the )?(?:\w+ ){0,2}(?:pulmonary )?"
    r"(?:vascul|interstit)|venous hypertension|interstitial|perihilar|bat ?wing|"
    r"(?:alveolar|hilar) (?:infiltrate|opacit|process)",
    re.IGNORECASE,
)
DEVELOPMENT = 96  # of 256


def half(text: str) -> Literal["development", "test"]:
    """The half a report belongs to, by a hash of its words: equal texts are on one side."""
    words = " ".join(text.lower().split())
    byte = hashlib.sha256(b"forgetmi edema labels\n" + words.encode()).digest()[0]
    return "development" if byte < DEVELOPMENT else "test"


def wilson(hits: int, n: int) -> str:
    """A share with its 95 % interval (Wilson 1927)."""
    if n == 0:
        return "none"
    z, p = 1.959964, hits / n
    middle, half_width = p + z * z / (2 * n), z * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    low, high = (middle - half_width) / (1 + z * z / n), (middle + half_width) / (1 + z * z / n)
    return f"{p:.3f} [{low:.3f}, {high:.3f}] ({hits}/{n})"


def f1(truth: Ints, given: Ints, grade: int) -> float:
    """F1 of one grade; 0 where it is neither there nor given."""
    hits = np.sum((truth == grade) & (given == grade))
    total = np.sum(truth == grade) + np.sum(given == grade)
    return float(2 * hits / total) if total else 0.0


def macro_f1(truth: Ints, given: Ints, grades: list[int]) -> float:
    """Mean F1 of the grades."""
    return float(np.mean([f1(truth, given, grade) for grade in grades]))


def interval(truth: Ints, given: Ints, grades: list[int], *, draws: int = 2000) -> str:
    """Percentile interval of the macro-F1 over redrawn reports."""
    redraw = numpy_generator(0, "edema", "bootstrap").integers(len(truth), size=(draws, len(truth)))
    values = [macro_f1(truth[rows], given[rows], grades) for rows in redraw]
    low, high = np.quantile(values, [0.025, 0.975])
    return f"[{low:.3f}, {high:.3f}]"


def shares(truth: npt.NDArray[np.bool_], given: npt.NDArray[np.bool_]) -> str:
    """Precision and recall as two table cells."""
    hits = int(np.sum(truth & given))
    return f"{wilson(hits, int(given.sum()))} | {wilson(hits, int(truth.sum()))}"


def against_hand(truth: Ints, given: Ints, texts: list[str]) -> list[str]:
    """The tables against the grades set by hand."""
    enough = [grade for grade in range(len(GRADES)) if np.sum(truth == grade) >= FEW]
    single = np.unique([" ".join(text.lower().split()) for text in texts], return_index=True)[1]
    lines = [
        f"Test half: {len(truth)} candidate reports, {len(single)} distinct texts.",
        "",
        "| | precision | recall |",
        "|---|---|---|",
        f"| affirmed (grade 1 to 3) | {shares(truth > 0, given > 0)} |",
        f"| the same, each distinct text once | {shares(truth[single] > 0, given[single] > 0)} |",
        "",
        "| grade | n | precision | recall | F1 |",
        "|---|---|---|---|---|",
    ]
    for grade in (*range(len(GRADES)), UNKNOWN):
        name = "left open or not spoken of" if grade == UNKNOWN else GRADES[grade]
        n = int(np.sum(truth == grade))
        score = (
            f"{f1(truth, given, grade):.3f}"
            if n >= FEW
            else f"too few ({f1(truth, given, grade):.3f})"
        )
        lines.append(
            f"| {grade} {name} | {n} | {shares(truth == grade, given == grade)} | {score} |"
        )
    named = ", ".join(map(str, enough))
    lines += [
        "",
        f"Macro-F1 over the grades with {FEW} cases or more ({named}): "
        f"**{macro_f1(truth, given, enough):.3f}** {interval(truth, given, enough)}; "
        "each distinct text once: "
        f"{macro_f1(truth[single], given[single], enough):.3f} "
        f"{interval(truth[single], given[single], enough)}.",
        "",
        "Rows: set by hand; columns: given by the labeler.",
        "",
        "| | -1 | 0 | 1 | 2 | 3 |",
        "|---|---|---|---|---|---|",
    ]
    order = (UNKNOWN, 0, 1, 2, 3)
    lines += [
        "| **"
        + str(row)
        + "** | "
        + " | ".join(str(int(np.sum((truth == row) & (given == column)))) for column in order)
        + " |"
        for row in order
    ]
    return lines


def against_codes(reports: list[OpeniReport], given: Ints) -> list[str]:
    """The table against the manual codes, all reports of the test half."""
    coded = np.array([coded_grade(report.codes) for report in reports])
    settled = given >= 0
    return [
        f"All {len(reports)} reports of the test half with text, against their manual MeSH codes.",
        "",
        "| | precision | recall |",
        "|---|---|---|",
        f"| edema or congestion coded, grade 1 to 3 | {shares(coded > 0, given > 0)} |",
        f"| edema coded, grade 2 or 3 | {shares(coded > 1, given > 1)} |",
        f"| the first, labeler's open cases left out | {shares((coded > 0)[settled], (given > 0)[settled])} |",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reports", type=Path, help="the Open-i reports: tar archive or folder")
    parser.add_argument(
        "--into", type=Path, help="page to write the tables into, between its marks"
    )
    options = parser.parse_args()
    reports = [
        report
        for report in read_openi_reports(options.reports)
        if report.text and half(report.text) == "test"
    ]
    with HAND.open(newline="") as file:
        hand = {row["report"]: int(row["grade"]) for row in csv.DictReader(file)}
    candidates = [report for report in reports if CANDIDATE.search(report.text)]
    if {f"CXR{report.number}" for report in candidates} != set(hand):
        raise SystemExit("the archive's candidates are not those that were graded by hand")
    truth = np.array([hand[f"CXR{report.number}"] for report in candidates])
    texts = [report.text for report in candidates]
    given = np.array([edema_grade(text) for text in texts])
    every = np.array([edema_grade(report.text) for report in reports])
    page = "\n".join([*against_hand(truth, given, texts), "", *against_codes(reports, every)])
    put(options.into, {"figures": page})


if __name__ == "__main__":
    main()
