"""The audit report: one self-contained page for a privacy officer that measures and does not judge."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from PIL import Image

from forgetmi.evaluation.gaps import FLOOR
from forgetmi.evaluation.suite import RETRAIN
from forgetmi.files import write_text
from forgetmi.report import figures, reading, sections, table
from forgetmi.report.content import Example, ReportFacts, Work
from forgetmi.report.reading import Reading
from forgetmi.types import Failed, Score

DIGESTS_SHOWN = 3
EXAMPLES_SHOWN = 6
EXAMPLE_SIZE = 224
SET_NAMES = {"forget": "Withdrawn", "retain": "Remaining", "validation": "Validation", "holdout": "Test, never seen",
             "reference": "Reference, never seen"}
SET_USES = {"forget": "to be removed", "retain": "trained on, kept", "validation": "used to adjust, not reported on",
            "holdout": "reported on", "reference": "reported on"}


def write_report(path: Path, facts: ReportFacts) -> None:
    """Write the report as one HTML file, atomically.

    Args:
        path: The file; its folder exists.
        facts: What to say.
    """
    write_text(path, render(facts))


def render(facts: ReportFacts) -> str:
    """The report as one self-contained HTML page; the same facts give the same bytes.

    Everything in the page comes from the facts. No script, no network: the page forbids itself to load anything.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")), autoescape=True,
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )
    environment.filters.update(
        plain=reading.plain, duration=reading.duration, memory=_memory, picture=_picture, option=_option)
    environment.globals.update(
        many=reading.many, difference=reading.difference,
        signs={kind: Markup(figures.sign(kind)) for kind in figures.SIGNS}, set_names=SET_NAMES,
        set_uses=SET_USES, set_words=reading.SETS, examples_shown=EXAMPLES_SHOWN, label=reading.label)
    environment.tests.update(
        score=lambda value: isinstance(value, Score), failed=lambda value: isinstance(value, Failed))
    return environment.get_template("report.html.jinja").render(_context(facts))


def _context(facts: ReportFacts) -> dict[str, Any]:
    evaluation = facts.evaluation

    def read(*names: str, on: str | None = None, heads: Sequence[str] | None = ("image", "text")) -> list[Reading]:
        sets = None if on is None else (on,)
        return [one for name in names for one in reading.read(evaluation, (name,), on=sets, heads=heads)]

    withdrawn, flagged = read("auc", "f1", on="forget"), read("sample_mia")
    never_seen = read("never_seen_flag_rate")
    test, retain = read("auc", "f1", on="test"), read("auc", "f1", on="retain")
    others = [*test, *retain]
    counts = {name: count for name, count in facts.partition.counts().items() if count["images"]}
    trained_on = counts["forget"]["images"] + counts["retain"]["images"]
    return {
        "facts": facts, "counts": counts,
        "share_of_training": counts["forget"]["images"] / trained_on,
        "share_of_retraining": _share(facts.work),
        "retrains": sum(RETRAIN.fullmatch(model) is not None for model in evaluation.scores),
        "tiles": sections.tiles(evaluation),
        "sentences": [
            *(reading.sentence(one) for on in ("forget", "test") for one in read("auc", on=on, heads=("image",))),
            *(reading.sentence(one, digits=3) for one in read("gap"))],
        "withdrawn": withdrawn, "membership": [*flagged, *never_seen, *read("loss_auc", on="forget")],
        "test": test, "retain": retain, "floor": evaluation.scores.get(FLOOR, ()),
        "to_retrains": [*read("gap", "gap_joint", heads=None), *read("jsf", "loss_spearman")],
        "to_original": [one for on in ("forget", "test") for one in read("original_symmetric_kl", on=on)],
        "seen_withdrawn": reading.nearer([*withdrawn, *flagged]), "seen_others": reading.largest_change(others),
        "dots_withdrawn": sections.dots(
            "dots-withdrawn", "Withdrawn patients", [*withdrawn, *flagged], never_seen=never_seen),
        "dots_others": sections.dots(
            "dots-others", "Everyone else", [one for one in others if one.on == "test" or one.name == "auc"]),
        "trade_off": sections.trade_off(evaluation), "losses": sections.loss_figures(facts.signals, facts.partition),
        "paper_table": table.paper_table(evaluation), "to_html": table.to_html,
        "every": reading.read(evaluation), "digests": [*facts.request.patients, *facts.request.studies][:DIGESTS_SHOWN],
    }


def _share(work: Work) -> float | None:
    if work.retrain is None or work.retrain.cpu_seconds <= 0:
        return None
    return work.cost.cpu_seconds / work.retrain.cpu_seconds


def _memory(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB" if size < 2**30 else f"{size / 2**30:.1f} GiB"


def _option(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _picture(example: Example) -> str:
    """A small JPEG as a data address."""
    levels = np.round(np.clip(np.nan_to_num(np.asarray(example.pixels, np.float64)), 0, 1) * 255).astype(np.uint8)
    image = Image.fromarray(levels)
    image.thumbnail((EXAMPLE_SIZE, EXAMPLE_SIZE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
