"""The audit in words for somebody who decides: the answer, who stands out, and what it cost others.

The answer comes from the declared rule and from nothing else; without an audit there is none. The letter's own
sentences are in ``templates/letter.html.jinja``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from forgetmi.audit.delta import DeltaEstimate
from forgetmi.audit.result import Audit
from forgetmi.audit.rows import HarmRow, PatientRow, RetainedRisk
from forgetmi.audit.verdict import ChannelVerdict, Outcome
from forgetmi.report.channel_words import channel_name, head_word
from forgetmi.report.number_text import many, plain, signed

NAMED = 10  # patients named by digest in a sentence

# Measures of a row of harm
_METRICS = {"auc": "AUC", "r2": "explained variance"}


@dataclass(frozen=True)
class Answer:
    """An outcome for readers: `style` names its looks, the others are sentences.

    Args:
        plain: What was found, in the words of every day.
        write: What may be written to the person, and what not.
        means: The outcome in full.
        do: What to do.
    """

    style: str
    plain: str
    write: str
    means: str
    do: str


# What an outcome means for the request, and what to do
ANSWERS: Mapping[Outcome, Answer] = {
    "FORGOTTEN": Answer(
        style="forgotten",
        plain="The new model treats these patients like people it never saw, within the limit set beforehand.",
        write="Write what was checked. Do not write that nothing is left.",
        means="On every channel the new model tells the withdrawn patients from strangers no better and no worse than "
        "models that never saw them, within the margin declared beforehand; the original did tell them apart.",
        do="The rule’s condition is met. Whether the request is met is yours to decide: read what is not proven, and "
        "what is still kept elsewhere.",
    ),
    "NOT FORGOTTEN": Answer(
        style="remembered",
        plain="The new model still recognises these patients.",
        write="Do not write that the person was removed.",
        means="On at least one channel the new model still tells the withdrawn patients from strangers better than "
        "models that never saw them do. Traces of them can be found.",
        do="Do not give this model out as the answer to the request. Retrain without these patients, or unlearn with "
        "other settings, and audit again.",
    ),
    "OVER-FORGOTTEN": Answer(
        style="over",
        plain="The new model treats these patients so oddly that it can be noticed.",
        write="Do not write that the person was removed.",
        means="On at least one channel the new model treats the withdrawn patients as less familiar than strangers, or "
        "predicts them worse than retraining would. Being treated so oddly gives a patient away, too.",
        do="Do not give this model out as the answer to the request. Unlearn more gently (fewer epochs, lower rate) or "
        "retrain without these patients, and audit again.",
    ),
    "NOT RESOLVABLE": Answer(
        style="open",
        plain="We cannot tell yet.",
        write="Do not write that the person was removed.",
        means="These data cannot tell. The withdrawn patients may be treated like strangers or not: this is neither a "
        "pass nor a failure.",
        do="Audit several withdrawals together, add patients whom no model has seen, or retrain without these "
        "patients. Until then, tell nobody that they were removed from the model.",
    ),
}
# What an outcome means for one channel
_IN_WORDS: Mapping[Outcome, str] = {
    "FORGOTTEN": "told from strangers as by models that never saw them",
    "NOT FORGOTTEN": "told from strangers better than by models that never saw them",
    "OVER-FORGOTTEN": "treated more oddly than by models that never saw them",
    "NOT RESOLVABLE": "cannot be told with these data",
}


@dataclass(frozen=True)
class ChannelLine:
    """One channel: its name, outcome, what that means, and the difference to retraining with its interval."""

    name: str
    outcome: Outcome
    style: str
    words: str
    difference: str


def channel_lines(audit: Audit) -> list[ChannelLine]:
    """The outcome of each channel."""
    lines = []
    for channel in audit.verdict.channels:
        lines.append(
            ChannelLine(
                name=channel_name(channel.channel),
                outcome=channel.outcome,
                style=ANSWERS[channel.outcome].style,
                words=_words(channel),
                difference=_difference(channel),
            )
        )
    return lines


def estimate(number: DeltaEstimate) -> str:
    """A difference with its interval."""
    return f"{signed(number.value)} ({signed(number.low)} to {signed(number.high)})"


def short(digest: str) -> str:
    """The first half of a keyed digest: enough to find it in a list."""
    return digest[:8]


def named(patients: Sequence[PatientRow]) -> str:
    """Some patients by short digest."""
    return _listed([row.patient for row in patients])


def nobody(audit: Audit) -> list[str]:
    """What it means that no single patient stands out; those who do are named in the audit's own statements."""
    scored = [row for row in audit.patients if "any" in row.channels]

    # Nobody scored, somebody out, nobody out
    if not scored:
        return ["No patient was scored singly."]

    if any(row.remembered or row.over_forgotten for row in scored):
        return []
    return [
        f"None of {many(len(scored), 'withdrawn patient')} stands out from never-seen patients after correction "
        "for their number. That is no proof for any single one of them."
    ]


def controls(audit: Audit) -> list[str]:
    """The rule's verdicts on models whose outcome is known beforehand."""
    sentences = []

    # The original remembers the patients
    for control in audit.controls:
        if control.model == "original":
            sentences.append(_control_original(control.outcome))

    # Retrained models never saw them
    retrained = [control.outcome for control in audit.controls if control.model != "original"]
    if retrained:
        counts = [f"{number} {outcome}" for outcome, number in Counter(retrained).items()]
        sentences.append(
            f"Check of the rule: of {many(len(retrained), 'retrained model')}, left out in turn, it calls "
            f"{', '.join(counts)}. None may be NOT FORGOTTEN."
        )

    return sentences


def harm_sentence(rows: Sequence[HarmRow]) -> str:
    """What subgroups lose, counted by outcome."""
    # In the order of importance
    counts = Counter(row.outcome for row in rows)

    parts = []
    for outcome in ("harmed", "within margin", "not resolvable", "too few to say"):
        if counts[outcome]:
            parts.append(f"{counts[outcome]} {outcome}")
    return ", ".join(parts)


def place(row: HarmRow) -> str:
    """What a row of harm is about."""
    group = f"{row.column}: {row.value or 'unknown'}" if row.column else "everyone"
    metric = _METRICS.get(row.metric, row.metric)
    head = head_word(row.head)
    return f"{group}, {metric}, {head}"


def retained_sentences(audit: Audit) -> list[str]:
    """Remaining patients whose membership became easier to tell."""
    return [_retained(risk) for risk in audit.retained]


def _words(channel: ChannelVerdict) -> str:
    if channel.deltas is None:
        return f"not measured: {channel.reason}"

    # AUC of forgotten against never-seen patients
    unlearned, retrained = channel.deltas.separation
    meaning = _IN_WORDS[channel.outcome]
    return f"{meaning}: {plain(unlearned)} against {plain(retrained)} with retrained models"


def _difference(channel: ChannelVerdict) -> str:
    if channel.deltas is None:
        return "–"
    return estimate(channel.deltas.unlearned)


def _control_original(outcome: Outcome) -> str:
    expected = "so it does not see what the original learnt, and says little about the new model"
    if outcome == "NOT FORGOTTEN":
        expected = "as it must"
    return f"Check of the rule: it calls the original model {outcome}, {expected}."


def _retained(risk: RetainedRisk) -> str:
    # Few retrained models cannot give a small p-value
    patients = many(risk.patients, "remaining patient")
    few = f" The smallest p-value this many retrained models allow is {risk.smallest_p:.2g}."

    # Nobody, or the most risen by digest
    if not risk.risen:
        return (
            f"Of {patients}, none became easier to recognise as training "
            f"data than retraining would make them.{few}"
        )
    digests = _listed([row.patient for row in risk.risen])
    return (
        f"Of {patients}, {len(risk.risen)} became easier to recognise as "
        f"training data than retraining would make them: {digests}.{few}"
    )


def _listed(digests: Sequence[str]) -> str:
    """The first of some digests, and how many more there are."""
    shown = ", ".join(short(digest) for digest in digests[:NAMED])
    if len(digests) > NAMED:
        shown += f" and {len(digests) - NAMED} more"
    return shown
