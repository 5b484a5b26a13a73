"""A model card: what a model is for, what it was made from, what was shown about it, and what was not."""

from __future__ import annotations

from functools import cache
from typing import Any

import jinja2
from huggingface_hub import ModelCardData

from forgetmi.core.printable import printable
from forgetmi.report import channel_words, limits, number_text, terms, verdict_text
from forgetmi.report.card_facts import CardFacts
from forgetmi.report.rendering import TEMPLATES

# What each task predicts, for a reader who is no engineer
TASKS = {
    "grades": "one grade a patient, of classes that have an order",
    "classes": "one of several classes",
    "binary": "yes or no",
    "findings": "several findings, each with a probability of its own",
    "value": "a number, in the units of the training data",
    "pairs": "embeddings by which images and reports find each other; no label",
}
INPUTS = {"image": "a radiograph", "text": "a report", "table": "a table's columns"}
_TAGS = ("machine-unlearning", "medical", "privacy", "forgetmi")


def model_card(facts: CardFacts) -> str:
    """The content of README.md: a YAML header that the Hugging Face Hub reads, and a page in Markdown.

    Args:
        facts: What it says. Classes come from a table of the user's: they are quoted, so that none changes the page.
    """
    verdict = facts.verdict
    header = ModelCardData(
        library_name="forgetmi",
        license=facts.license or None,
        tags=[*_TAGS, *facts.modalities],
        forgetmi={
            "task": facts.task,
            "classes": list(facts.classes),
            "weights": facts.weights,
            "cohort": facts.cohort or None,
            "patients_root": facts.root or None,
            "verdict": verdict.outcome if verdict else "none",
        },
    )
    return _template().render(
        header=header.to_yaml(),
        facts=facts,
        verdict=verdict,
        task=TASKS.get(facts.task, facts.task),
        inputs=" and ".join(INPUTS.get(name, name) for name in facts.modalities),
    )


@cache
def _template() -> jinja2.Template:
    """Of a page that is no HTML: nothing is escaped by itself, and no value may be missing."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=False,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(code=_code, plain=number_text.plain)
    environment.globals.update(
        many=number_text.many,
        not_proven=limits.not_proven,
        answers=verdict_text.ANSWERS,
        channel_name=channel_words.channel_name,
        label=terms.term,
        head_name=terms.head_name,
    )
    return environment.get_template("model_card.md.jinja")


def _code(text: Any) -> str:
    """Text from outside as code, on one line, which can neither end a table's cell nor begin a tag."""
    shown = printable(str(text)).replace("`", "'").replace("|", "/")
    return f"`{shown}`"
