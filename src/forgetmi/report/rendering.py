"""From a template and its values to a page: the filters and words that all templates share."""

from __future__ import annotations

import base64
import io
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from PIL import Image

from forgetmi.core.scores import Failed, Score
from forgetmi.report import (
    attack_table,
    channel_words,
    figures,
    limits,
    near_duplicates,
    number_text,
    readings,
    terms,
    verdict_text,
)
from forgetmi.report.content import Example
from forgetmi.report.page_terms import PAGE_TERMS

TEMPLATES = Path(__file__).with_name("templates")
EXAMPLES_SHOWN = 6
EXAMPLE_SIZE = 224  # pixels of the longer side

# Sets of a partition, and what each is for
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


def render(template: str, **values: Any) -> str:
    """A page; everything that is not marked as safe is escaped, and no value may be missing.

    Args:
        template: File in ``templates``.
        values: What the template names.
    """
    return _environment().get_template(template).render(values)


@cache
def _environment() -> jinja2.Environment:
    """What all pages have in common; made once, with the templates compiled and the signs drawn."""
    # A template that names an unknown value is an error, not an empty place
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        finalize=_harmless,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    # Numbers and texts
    environment.filters.update(
        plain=number_text.plain,
        signed=number_text.signed,
        duration=number_text.duration,
        memory=number_text.memory,
        brief=number_text.brief,
        option=_option,
        short=verdict_text.short,
        estimate=verdict_text.estimate,
        place=verdict_text.place,
        numbers=attack_table.numbers,
        remarks=attack_table.remarks,
        advice=near_duplicates.advice,
        picture=_picture,
        channel_name=channel_words.channel_name,
        short_channel=channel_words.short_channel,
    )

    # Words and signs
    environment.globals.update(
        many=number_text.many,
        not_proven=limits.not_proven,
        difference=readings.difference,
        label=readings.label,
        signs={kind: Markup(figures.sign(kind)) for kind in figures.SIGNS},
        set_names=SET_NAMES,
        set_uses=SET_USES,
        set_words=terms.SETS,
        columns_of=channel_words.columns_of,
        directions=attack_table.DIRECTIONS,
        answers=verdict_text.ANSWERS,
        examples_shown=EXAMPLES_SHOWN,
        page_terms=PAGE_TERMS,
    )
    environment.tests.update(score=_is_score, failed=_is_failed)

    return environment


def _harmless(value: Any) -> Any:
    """Text made harmless to its surroundings; it is escaped, or was marked as safe, apart from this."""
    if not isinstance(value, str):
        return value
    return type(value)(number_text.clean(value))


def _is_score(value: Any) -> bool:
    return isinstance(value, Score)


def _is_failed(value: Any) -> bool:
    return isinstance(value, Failed)


def _option(value: Any) -> str:
    """A hyper-parameter; a float without trailing zeros."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _picture(example: Example) -> str:
    """A small JPEG as a data address."""
    # Float[h, w] in [0, 1] to 256 grey levels; what is not a number is black
    pixels = np.nan_to_num(np.asarray(example.pixels, np.float64))
    levels = np.round(np.clip(pixels, 0, 1) * 255).astype(np.uint8)

    # Small enough for a page without files next to it
    image = Image.fromarray(levels)
    image.thumbnail((EXAMPLE_SIZE, EXAMPLE_SIZE))

    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    encoded = base64.b64encode(buffer.getvalue()).decode()
    return f"data:image/jpeg;base64,{encoded}"
