"""The audit in words for somebody who decides: the answer, who stands out, and what it cost others.

The answer comes from the declared rule and from nothing else; without an audit there is none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from forgetmi.audit.delta import DeltaEstimate
from forgetmi.audit.result import Audit
from forgetmi.audit.rows import HarmRow, PatientRow
from forgetmi.audit.verdict import ChannelVerdict, Outcome
from forgetmi.report.score_text import many, plain, signed

NAMED = 10  # patients named by digest in a sentence
CHANNELS: Mapping[str, str] = {
    "image": "Radiograph",
    "text": "Report",
    "both": "Radiograph and report together",
    "link": "Link between radiograph and report",
    "any": "Whichever gives most away",
}


SHORT: Mapping[str, str] = {
    "image": "Radiograph",
    "text": "Report",
    "both": "Both together",
    "link": "Link",
    "any": "Most telling",
}


@dataclass(frozen=True)
class Answer:
    """An outcome for readers: `style` names its looks, `means` and `do` are sentences, `letter` is for the patient."""

    style: str
    means: str
    do: str
    letter: str


ANSWERS: Mapping[Outcome, Answer] = {
    "FORGOTTEN": Answer(
        "forgotten",
        "On every channel the new model tells the withdrawn patients from strangers no better and no worse than models "
        "that never saw them, within the margin declared beforehand; the original did tell them apart.",
        "The rule’s condition is met. Whether the request is met is yours to decide: read what is not proven, and what "
        "is still kept elsewhere.",
        "In these checks the changed program treated the people who withdrew like programs that never saw their data, "
        "within a limit that was set beforehand.",
    ),
    "NOT FORGOTTEN": Answer(
        "remembered",
        "On at least one channel the new model still tells the withdrawn patients from strangers better than models "
        "that never saw them do. Traces of them can be found.",
        "Do not give this model out as the answer to the request. Retrain without these patients, or unlearn with "
        "other settings, and audit again.",
        "These checks showed that the changed program still treats the people who withdrew differently from people it "
        "has never seen. We therefore do not take this version as the answer to your request.",
    ),
    "OVER-FORGOTTEN": Answer(
        "over",
        "On at least one channel the new model treats the withdrawn patients as less familiar than strangers, or "
        "predicts them worse than retraining would. Being treated so oddly gives a patient away, too.",
        "Do not give this model out as the answer to the request. Unlearn more gently (fewer epochs, lower rate) or "
        "retrain without these patients, and audit again.",
        "These checks showed that the changed program treats the people who withdrew more oddly than people it has "
        "never seen, which can also be noticed. We therefore do not take this version as the answer to your request.",
    ),
    "NOT RESOLVABLE": Answer(
        "open",
        "These data cannot tell. The withdrawn patients may be treated like strangers or not: this is neither a pass "
        "nor a failure.",
        "Audit several withdrawals together, add patients whom no model has seen, or retrain without these patients. "
        "Until then, tell nobody that they were removed from the model.",
        "These checks could not settle the question: too little can be seen with as few people. We can therefore not "
        "confirm that nothing of your data is left in the program.",
    ),
}
UNTESTED = "We have not yet tested whether anything of your data is left in the program."
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
    return [
        ChannelLine(
            CHANNELS[one.channel],
            one.outcome,
            ANSWERS[one.outcome].style,
            _words(one),
            _difference(one),
        )
        for one in audit.verdict.channels
    ]


def _words(one: ChannelVerdict) -> str:
    if one.deltas is None:
        return f"not measured: {one.reason}"
    unlearned, retrained = one.deltas.separation
    return f"{_IN_WORDS[one.outcome]}: {plain(unlearned)} against {plain(retrained)} with retrained models"


def _difference(one: ChannelVerdict) -> str:
    return "–" if one.deltas is None else estimate(one.deltas.unlearned)


def estimate(one: DeltaEstimate) -> str:
    """A difference with its interval."""
    return f"{signed(one.value)} ({signed(one.low)} to {signed(one.high)})"


def short(digest: str) -> str:
    """The first half of a keyed digest: enough to find it in a list."""
    return digest[:8]


def named(patients: Sequence[PatientRow]) -> str:
    """Some patients by short digest."""
    shown = ", ".join(short(one.patient) for one in patients[:NAMED])
    return f"{shown} and {len(patients) - NAMED} more" if len(patients) > NAMED else shown


def nobody(audit: Audit) -> list[str]:
    """What it means that no single patient stands out; those who do are named in the audit's own statements."""
    scored = [one for one in audit.patients if "any" in one.channels]
    if not scored:
        return ["No patient was scored singly."]
    if any(one.remembered or one.over_forgotten for one in scored):
        return []
    return [
        f"None of {many(len(scored), 'withdrawn patient')} stands out from never-seen patients after correction "
        "for their number. That is no proof for any single one of them."
    ]


def controls(audit: Audit) -> list[str]:
    """What the rule said of models whose answer is known."""
    said = []
    for one in audit.controls:
        if one.model == "original":
            expected = (
                "as it must"
                if one.outcome == "NOT FORGOTTEN"
                else "so it does not see what the original learnt, and says little about the new model"
            )
            said.append(
                f"Check of the rule: it calls the original model {one.outcome}, {expected}."
            )
    left_out = Counter(one.outcome for one in audit.controls if one.model != "original")
    if left_out:
        told = ", ".join(f"{number} {outcome}" for outcome, number in left_out.items())
        said.append(
            f"Check of the rule: of {many(left_out.total(), 'retrained model')}, left out in turn, it calls "
            f"{told}. None may be NOT FORGOTTEN."
        )
    return said


def harm_sentence(rows: Sequence[HarmRow]) -> str:
    """What subgroups lose, counted by outcome."""
    counts = Counter(one.outcome for one in rows)
    order = ("harmed", "within margin", "not resolvable", "too few to say")
    return ", ".join(f"{counts[outcome]} {outcome}" for outcome in order if counts[outcome])


def place(one: HarmRow) -> str:
    """What a row of harm is about."""
    head = {"image": "radiograph", "text": "report", "both": "both together"}.get(
        one.head, one.head
    )
    metric = {"auc": "AUC"}.get(one.metric, one.metric)
    return f"{one.column or 'everyone'}{': ' + (one.value or 'unknown') if one.column else ''}, {metric}, {head}"


def retained_sentences(audit: Audit) -> list[str]:
    """Remaining patients whose membership became easier to tell."""
    said = []
    for one in audit.retained:
        few = f" The smallest p-value this many retrained models allow is {one.smallest_p:.2g}."
        if not one.risen:
            said.append(
                f"Of {many(one.patients, 'remaining patient')}, none became easier to recognise as training "
                f"data than retraining would make them.{few}"
            )
        else:
            shown = ", ".join(short(row.patient) for row in one.risen[:NAMED])
            more = f" and {len(one.risen) - NAMED} more" if len(one.risen) > NAMED else ""
            said.append(
                f"Of {many(one.patients, 'remaining patient')}, {len(one.risen)} became easier to recognise as "
                f"training data than retraining would make them: {shown}{more}.{few}"
            )
    return said
