"""The evidence pack as self-contained pages: for who decides, for who checks, and a letter for who withdrew."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from PIL import Image

from forgetmi.audit.result import Audit
from forgetmi.core.files import write_text
from forgetmi.core.model_names import is_retrained
from forgetmi.core.scores import Failed, Score
from forgetmi.evaluation.gaps import FLOOR
from forgetmi.report import (
    audit_sections,
    figures,
    near_duplicates,
    score_text,
    sections,
    table,
    verdict_text,
)
from forgetmi.report.content import Example, ReportFacts, Work
from forgetmi.report.score_text import Reading

ENGINEER, LETTER = "engineer.html", "letter.html"
DIGESTS_SHOWN = 3
EXAMPLES_SHOWN = 6
EXAMPLE_SIZE = 224
SET_NAMES = {
    "forget": "Withdrawn",
    "retain": "Remaining",
    "validation": "Validation",
    "holdout": "Test, never seen",
    "reference": "Reference, never seen",
}
SET_USES = {
    "forget": "to be removed",
    "retain": "trained on, kept",
    "validation": "used to adjust, not reported on",
    "holdout": "reported on",
    "reference": "reported on",
}


def write_report(path: Path, facts: ReportFacts) -> tuple[Path, ...]:
    """Write the pages, each as one HTML file, atomically.

    Args:
        path: The page for who decides; its folder exists. The engineer's page and the letter get the names
            ``engineer.html`` and ``letter.html`` beside it.
        facts: What to say.

    Returns:
        The three files.
    """
    files = path, path.with_name(ENGINEER), path.with_name(LETTER)
    names = {"officer": path.name, "engineer": ENGINEER, "letter": LETTER}
    for file, render in zip(files, (render_report, render_engineer, render_letter), strict=True):
        write_text(file, render(facts, names=names))
    return files


NAMES: Mapping[str, str] = {"officer": "report.html", "engineer": ENGINEER, "letter": LETTER}


def render_report(facts: ReportFacts, *, names: Mapping[str, str] = NAMES) -> str:
    """The page for who decides: what was asked and done, the verdict, what it does not show, what others paid.

    The same facts give the same bytes. Everything in a page comes from the facts. No script, no network: the page
    forbids itself to load anything; it only points to its neighbours.

    Args:
        facts: What to say.
        names: File names of the pages "officer", "engineer" and "letter".
    """
    return _render("report.html.jinja", facts, names, {**_common(facts), **_officer(facts)})


def render_engineer(facts: ReportFacts, *, names: Mapping[str, str] = NAMES) -> str:
    """The page for who checks: every attack, patient, subgroup and measurement; see `render_report`."""
    return _render(
        "engineer.html.jinja",
        facts,
        names,
        {**_common(facts), **_measured(facts), **_audited(facts)},
    )


def render_letter(facts: ReportFacts, *, names: Mapping[str, str] = NAMES) -> str:
    """A letter to fill in, for one person who withdrew; see `render_report`."""
    return _render("letter.html.jinja", facts, names, _common(facts))


def _render(
    template: str, facts: ReportFacts, names: Mapping[str, str], context: Mapping[str, Any]
) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        finalize=_outside,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        plain=score_text.plain,
        signed=score_text.signed,
        duration=score_text.duration,
        memory=_memory,
        picture=_picture,
        option=_option,
        advice=near_duplicates.advice,
        short=verdict_text.short,
        estimate=verdict_text.estimate,
        place=verdict_text.place,
        numbers=audit_sections.numbers,
        remarks=audit_sections.remarks,
        brief=score_text.brief,
    )
    environment.globals.update(
        many=score_text.many,
        difference=score_text.difference,
        signs={kind: Markup(figures.sign(kind)) for kind in figures.SIGNS},
        set_names=SET_NAMES,
        set_uses=SET_USES,
        set_words=score_text.SETS,
        examples_shown=EXAMPLES_SHOWN,
        label=score_text.label,
        channels=verdict_text.CHANNELS,
        short_channels=verdict_text.SHORT,
        directions=audit_sections.DIRECTIONS,
        answers=verdict_text.ANSWERS,
    )
    environment.tests.update(
        score=lambda value: isinstance(value, Score), failed=lambda value: isinstance(value, Failed)
    )
    return environment.get_template(template).render(facts=facts, names=names, **context)


def _outside(value: Any) -> Any:
    """Text made harmless to its surroundings; it is escaped, or was marked as safe, apart from this."""
    return type(value)(score_text.clean(value)) if isinstance(value, str) else value


def _common(facts: ReportFacts) -> dict[str, Any]:
    """What more than one page says."""
    counts = {name: count for name, count in facts.partition.counts().items() if count["images"]}
    trained_on = counts["forget"]["images"] + counts["retain"]["images"]
    audit = facts.audit
    return {
        "counts": counts,
        "share_of_training": counts["forget"]["images"] / trained_on,
        "share_of_retraining": _share(facts.work),
        "retrains": sum(is_retrained(model) for model in facts.evaluation.scores),
        "answer": verdict_text.ANSWERS[audit.verdict.outcome] if audit else None,
        "untested": verdict_text.UNTESTED,
        "channel_lines": verdict_text.channel_lines(audit) if audit else [],
        "statements": _statements(audit) if audit else [],
        "remembered": [one for one in audit.patients if one.remembered] if audit else [],
        "retained_sentences": verdict_text.retained_sentences(audit) if audit else [],
        "digests": [*facts.request.patients, *facts.request.studies][:DIGESTS_SHOWN],
    }


def _statements(audit: Audit) -> list[str]:
    """What belongs to the verdict, each sentence once."""
    return list(
        dict.fromkeys(
            [
                *audit.verdict.statements,
                *audit.statements,
                *verdict_text.nobody(audit),
                *verdict_text.controls(audit),
            ]
        )
    )


def _read(
    facts: ReportFacts,
    *names: str,
    on: str | None = None,
    heads: Sequence[str] | None = ("image", "text"),
) -> list[Reading]:
    sets = None if on is None else (on,)
    return [
        one
        for name in names
        for one in score_text.read(facts.evaluation, (name,), on=sets, heads=heads)
    ]


def _officer(facts: ReportFacts) -> dict[str, Any]:
    test, retain = (_read(facts, "auc", "f1", on=on) for on in ("test", "retain"))
    harm = facts.audit.harm if facts.audit else ()
    return {
        "tiles": sections.tiles(facts.evaluation),
        "sentences": [
            *(
                score_text.sentence(one)
                for on in ("forget", "test")
                for one in _read(facts, "auc", on=on, heads=("image",))
            ),
            *(score_text.sentence(one, digits=3) for one in _read(facts, "gap")),
        ],
        "seen_others": score_text.largest_change([*test, *retain]),
        "utility": [one for one in harm if not one.column],
        "harmed": [one for one in harm if one.column and one.outcome == "harmed"],
        "subgroup_harm": verdict_text.harm_sentence([one for one in harm if one.column]),
    }


def _measured(facts: ReportFacts) -> dict[str, Any]:
    evaluation = facts.evaluation
    withdrawn, flagged = _read(facts, "auc", "f1", on="forget"), _read(facts, "sample_mia")
    never_seen = _read(facts, "never_seen_flag_rate")
    test, retain = (_read(facts, "auc", "f1", on=on) for on in ("test", "retain"))
    others = [*test, *retain]
    return {
        "withdrawn": withdrawn,
        "membership": [*flagged, *never_seen, *_read(facts, "loss_auc", on="forget")],
        "test": test,
        "retain": retain,
        "floor": evaluation.scores.get(FLOOR, ()),
        "to_retrains": [
            *_read(facts, "gap", "gap_joint", heads=None),
            *_read(facts, "jsf", "loss_spearman"),
        ],
        "to_original": [
            one for on in ("forget", "test") for one in _read(facts, "original_symmetric_kl", on=on)
        ],
        "seen_withdrawn": score_text.nearer([*withdrawn, *flagged]),
        "seen_others": score_text.largest_change(others),
        "dots_withdrawn": sections.dots(
            "dots-withdrawn", "Withdrawn patients", [*withdrawn, *flagged], never_seen=never_seen
        ),
        "dots_others": sections.dots(
            "dots-others",
            "Everyone else",
            [one for one in others if one.on == "test" or one.name == "auc"],
        ),
        "trade_off": sections.trade_off(evaluation),
        "losses": sections.loss_figures(facts.signals, facts.partition),
        "paper_table": table.paper_table(evaluation),
        "to_html": table.to_html,
        "every": score_text.read(evaluation),
    }


def _audited(facts: ReportFacts) -> dict[str, Any]:
    audit = facts.audit
    if audit is None:
        return {}
    return {
        "deltas": audit_sections.deltas(audit),
        "groups": audit_sections.attack_groups(audit),
        "rocs": audit_sections.roc_figures(audit),
        "strips": audit_sections.strips(audit),
        "subgroups": audit_sections.subgroup_forest(audit),
        "harm": audit_sections.harm_forest(audit),
        "relearning": audit_sections.relearn_figures(audit),
        "missing": audit_sections.missing_lines(audit.missing),
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
    levels = np.round(
        np.clip(np.nan_to_num(np.asarray(example.pixels, np.float64)), 0, 1) * 255
    ).astype(np.uint8)
    image = Image.fromarray(levels)
    image.thumbnail((EXAMPLE_SIZE, EXAMPLE_SIZE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
