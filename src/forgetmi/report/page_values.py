"""The values that the templates name, from the facts of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from forgetmi.audit.result import Audit
from forgetmi.core.cost import Cost
from forgetmi.core.modalities import JOINT
from forgetmi.core.model_names import is_retrained
from forgetmi.evaluation.finding_measures import finding_number
from forgetmi.evaluation.gaps import FLOOR, headline_measures, main_head, single_heads
from forgetmi.report import (
    attack_table,
    audit_sections,
    channel_words,
    finding_sections,
    first_screen,
    memory_text,
    patient_sections,
    readings,
    request_text,
    score_text,
    sections,
    table,
    verdict_text,
)
from forgetmi.report.content import ReportFacts
from forgetmi.report.readings import Reading
from forgetmi.report.terms import head_name, meaning, term

DIGESTS_SHOWN = 3


def common_values(facts: ReportFacts) -> dict[str, Any]:
    """What more than one page says."""
    # Sets that have images, and the share of the training images that is withdrawn
    counts = {name: count for name, count in facts.partition.counts().items() if count["images"]}
    withdrawn = counts["forget"]["images"]
    trained_on = withdrawn + counts["retain"]["images"]

    retrained = [model for model in facts.evaluation.scores if is_retrained(model)]
    digests = [*facts.request.patients, *facts.request.studies]
    named = request_text.requests(facts)
    values: dict[str, Any] = {
        "counts": counts,
        "share_of_training": withdrawn / trained_on,
        "share_of_retraining": _share(facts.work.cost, facts.work.retrain),
        "share_of_cheapest": _share(facts.work.cost, facts.work.cheapest),
        "retrains": len(retrained),
        "digests": digests[:DIGESTS_SHOWN],
        # Whose requests, and which model takes the place of which
        "requests": named,
        "request_line": request_text.request_line(facts),
        "replacement": request_text.replacement(facts),
        "letters": request_text.letter_names(named),
        # How quality is measured, and what the model was trained with
        "quality_term": term(_quality(facts)[0]),
        "quality_meaning": meaning(_quality(facts)[0]),
        "materials": channel_words.materials(_modalities(facts)),
        "written_about": channel_words.written_about(_modalities(facts)),
    }

    # Without an audit there is no answer
    if facts.audit is None:
        return {
            **values,
            "answer": None,
            "agreement": "",
            "came_out": "",
            "expected": "",
            "channel_lines": [],
            "memory": [],
            "memory_basis": "",
            "statements": [],
            "remembered": [],
            "retained_sentences": [],
        }
    return {
        **values,
        "answer": verdict_text.ANSWERS[facts.audit.verdict.outcome],
        "agreement": first_screen.agreement(facts.audit),
        "came_out": first_screen.came_out(facts.audit),
        "expected": first_screen.expected(facts),
        "channel_lines": verdict_text.channel_lines(facts.audit),
        "memory": memory_text.memory_lines(facts.audit.memory),
        "memory_basis": memory_text.memory_basis(facts.audit.memory),
        "statements": _statements(facts.audit),
        "remembered": [row for row in facts.audit.patients if row.remembered],
        "retained_sentences": verdict_text.retained_sentences(facts.audit),
    }


def officer_values(facts: ReportFacts) -> dict[str, Any]:
    """What the page for who decides says of the numbers, and of the cost to others."""
    # Quality before and after, then distance to retraining
    quality = _quality(facts)
    sentences = []
    for on in ("forget", "test"):
        for reading in _read(facts, quality[0], on=on, heads=(main_head(facts.evaluation),)):
            sentences.append(score_text.sentence(reading))
    for reading in _read(facts, "gap"):
        sentences.append(score_text.sentence(reading, digits=3))

    # Everyone else
    others = [*_read(facts, *quality, on="test"), *_read(facts, *quality, on="retain")]
    harm = facts.audit.harm if facts.audit else ()
    subgroups = [row for row in harm if row.column]

    return {
        "tiles": sections.tiles(facts.evaluation),
        "sentences": sentences,
        "seen_others": score_text.largest_change(others),
        "utility": [row for row in harm if not row.column],
        "harmed": [row for row in subgroups if row.outcome == "harmed"],
        "subgroup_harm": verdict_text.harm_sentence(subgroups),
    }


def measured_values(facts: ReportFacts) -> dict[str, Any]:
    """What the page for who checks shows of the evaluation."""
    # Readings by section
    quality = _quality(facts)
    withdrawn = _read(facts, *quality, on="forget")
    flagged = _read(facts, "sample_mia")
    never_seen = _read(facts, "never_seen_flag_rate")
    test = _read(facts, *quality, on="test")
    retain = _read(facts, *quality, on="retain")
    others = [*test, *retain]

    # Distances from the original and to the retrained models
    to_original = [
        *_read(facts, "original_symmetric_kl", on="forget"),
        *_read(facts, "original_symmetric_kl", on="test"),
    ]
    to_retrains = [
        *_read(facts, "gap", "gap_forget", "gap_test", heads=None),
        *_read(facts, "gap_joint", "gap_joint_forget", "gap_joint_test", heads=None),
        *_read(facts, "jsf", "loss_spearman"),
    ]

    # Of the retained patients the figure shows AUC only
    drawn = [reading for reading in others if reading.on == "test" or reading.name == quality[0]]

    return {
        "withdrawn": withdrawn,
        "membership": [*flagged, *never_seen, *_read(facts, "loss_auc", on="forget")],
        "test": test,
        "retain": retain,
        "floor": facts.evaluation.scores.get(FLOOR, ()),
        "to_retrains": to_retrains,
        "to_original": to_original,
        "seen_withdrawn": score_text.nearer([*withdrawn, *flagged]),
        "seen_others": score_text.largest_change(others),
        "dots_withdrawn": sections.dots(
            "dots-withdrawn", "Withdrawn patients", [*withdrawn, *flagged], never_seen=never_seen
        ),
        "dots_others": sections.dots("dots-others", "Everyone else", drawn),
        "trade_off": sections.trade_off(facts.evaluation),
        "losses": sections.loss_figures(facts.signals, facts.partition, facts.cohort.task),
        "paper_table": _paper_table(facts),
        "to_html": table.to_html,
        "every": [
            reading
            for reading in readings.read(facts.evaluation)
            if finding_number(reading.name) is None
        ],
        "findings": finding_sections.findings(facts.evaluation, facts.cohort.classes),
        "main_head": head_name(main_head(facts.evaluation)),
    }


def audit_values(audit: Audit) -> dict[str, Any]:
    """What the page for who checks shows of the audit."""
    return {
        "deltas": audit_sections.deltas(audit),
        "groups": attack_table.attack_groups(audit),
        "rocs": audit_sections.roc_figures(audit),
        "strips": patient_sections.strips(audit),
        "subgroups": patient_sections.subgroup_forest(audit),
        "harm": patient_sections.harm_forest(audit),
        "relearning": audit_sections.relearn_figures(audit),
        "missing": attack_table.missing_lines(audit.missing),
    }


def _statements(audit: Audit) -> list[str]:
    """What belongs to the verdict, each sentence once."""
    # Those of the signed record first
    sentences = [
        *audit.verdict.statements,
        *audit.statements,
        *verdict_text.nobody(audit),
        *verdict_text.controls(audit),
    ]
    return list(dict.fromkeys(sentences))


def _read(
    facts: ReportFacts,
    *names: str,
    on: str | None = None,
    heads: Sequence[str] | None = (),
) -> list[Reading]:
    """Readings measure by measure, in the order of the names; () = of each single head, None = of every one."""
    if heads == ():
        heads = single_heads(facts.evaluation)
    sets = None if on is None else (on,)

    # One measure after another, whatever the order of the evaluation
    found = []
    for name in names:
        found += readings.read(facts.evaluation, (name,), on=sets, heads=heads)
    return found


def _paper_table(facts: ReportFacts) -> table.PaperTable | None:
    """The paper's table of the first head; None where the labels have no AUC and F1, which are its columns."""
    if _quality(facts) != ("auc", "f1"):
        return None
    return table.paper_table(facts.evaluation, head=main_head(facts.evaluation))


def _modalities(facts: ReportFacts) -> tuple[str, ...]:
    """What the model reads: the modalities of its embeddings and heads."""
    for signals in facts.signals.values():
        named = dict.fromkeys((*signals.logits, *signals.embedding))
        return tuple(name for name in named if name != JOINT)
    return single_heads(facts.evaluation)


def _quality(facts: ReportFacts) -> tuple[str, str]:
    """Names of the two measures of quality of the labels' task."""
    first, second = headline_measures(facts.evaluation)[:2]
    return first[0], second[0]


def _share(cost: Cost, whole: Cost | None) -> float | None:
    """Time of the device or of processors as a share of another's; None where that was not measured alike."""
    if whole is None or whole.busy <= 0 or whole.kind != cost.kind:
        return None
    return cost.busy / whole.busy
