"""The figures of docs/certified.md are those of its script, and the script counts what the model does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

import certified_cost as script  # type: ignore[import-not-found]
from forgetmi.model.initialise import build
from forgetmi.model.spec import compact

PAGE = Path(__file__).parents[2] / "docs" / "certified.md"


def test_the_page_holds_the_figures() -> None:
    assert script.table() in PAGE.read_text(encoding="utf-8")


def test_activations_are_those_of_a_forward_pass() -> None:
    spec, total = compact(4, 200), 0
    model = build(spec, seed=0).eval()

    def count(module: nn.Module, given: Any, output: torch.Tensor) -> None:
        nonlocal total
        total += output.numel()

    for module in (*model.img_model.modules(), *model.text_model.modules()):
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    tokens = torch.ones(1, 37, dtype=torch.long)
    with torch.no_grad():
        model.img_model(torch.zeros(1, 1, 64, 64))
        model.text_model(tokens, tokens)
    assert total == script.activations(script.empty(spec), 37)


def test_sizes_are_readable() -> None:
    assert script.readable(999) == "999 B"
    assert script.readable(6.18e12) == "6.18 TB"
    assert script.readable(5.24e16) == "52.4 PB"
