"""Which tables a benchmark has, and which settings of Forget-MI are rows of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from forgetmi.benchmark.layouts import details, paper_layout, times
from forgetmi.benchmark.published import TABLE_1, TABLE_2
from forgetmi.benchmark.results import Results
from forgetmi.benchmark.settings import PRESETS, Setting, read_setting
from forgetmi.methods.forget_mi import ForgetMI
from forgetmi.report.table import PaperTable, to_csv, to_html, to_latex, to_markdown

FORMATS = {"md": to_markdown, "tex": to_latex, "csv": to_csv, "html": to_html}
NOISE = "forget_mi:noise=given"  # how settings with a given noise begin

Group = Literal["methods", "table2", "noise"]


@dataclass(frozen=True)
class Titled:
    """A table of the benchmark.

    Args:
        name: Of its files.
        title: For the reader.
        table: The table.
    """

    name: str
    title: str
    table: PaperTable


def all_tables(
    results: Results, settings: Sequence[Setting], *, seeds: int, published: bool
) -> list[Titled]:
    """Every table of a benchmark.

    Args:
        results: What was measured.
        settings: Rows: methods, presets of Forget-MI and strengths of its noise.
        seeds: Number of training seeds.
        published: Whether to show the paper's values, too.
    """
    # Methods with and without options, as in the paper.
    methods = [setting for setting in settings if _group(setting) == "methods"]
    values = TABLE_1 if published else {}
    table = paper_layout(results, methods, seeds=seeds, published=values)
    tables = [Titled("table1", "Methods (the paper's Table 1)", table)]

    # Settings of Forget-MI, where some were measured.
    presets = [setting for setting in settings if _group(setting) == "table2"]
    if presets:
        values = TABLE_2 if published else {}
        table = paper_layout(results, presets, seeds=seeds, published=values)
        tables.append(Titled("table2", "Weights of Forget-MI (the paper's Table 2)", table))
    noises = [setting for setting in settings if _group(setting) == "noise"]
    if noises:
        table = paper_layout(results, noises, seeds=seeds, published={})
        tables.append(Titled("noise", "Noise of Forget-MI", table))

    # Everything else, one percentage at a time.
    for percent in results.forgotten:
        title = f"What the paper's columns do not show, {percent:g} %"
        table = details(results, settings, percent)
        tables.append(Titled(f"details-{percent:g}", title, table))

    tables.append(Titled("time", "Unlearning time", times(results, settings)))
    return tables


def _group(setting: Setting) -> Group:
    """The table that a setting is a row of."""
    if setting.name in PRESETS:
        return "table2"
    return "noise" if setting.name.startswith(NOISE) else "methods"


def preset_settings() -> list[Setting]:
    """The five settings of the paper's Table 2."""
    return [read_setting(name) for name in PRESETS]


def noise_settings(means: Sequence[float], stds: Sequence[float]) -> list[Setting]:
    """Forget-MI with given noise, one thing varied at a time: rows with each mean, then rows with each deviation.

    Args:
        means: Means of the image noise, each at the first standard deviation; without one, at Forget-MI's own.
        stds: Standard deviations of the image noise, each with mean 0.
    """
    usual = stds[0] if stds else ForgetMI().noise_std

    # Each pair once, in this order.
    pairs = [(mean, usual) for mean in means]
    pairs += [(0.0, std) for std in stds]
    names = [f"{NOISE},noise_mean={mean:g},noise_std={std:g}" for mean, std in dict.fromkeys(pairs)]
    return [read_setting(name) for name in names]
