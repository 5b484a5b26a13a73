"""Settings that people write: specifications, sweep files, settings of benchmarks, values of an agent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from forgetmi.benchmark.settings import read_setting
from forgetmi.commands.agent_values import read_value
from forgetmi.core.json_text import parse_json
from forgetmi.core.registry import methods
from forgetmi.core.yaml_text import parse_yaml
from forgetmi.run.spec import RunSpec, applied, read_yaml, to_plain, write_yaml
from forgetmi.search.sweep_file import combinations, read_sweep
from forgetmi.search.sweep_values import read_choice
from tests.fuzz.hostile import VALUES, WORDS, answers, changed, damaged, names_of
from tests.fuzzing import fuzz

pytestmark = pytest.mark.slow

SPEC = to_plain(RunSpec())
SWEEP: dict[str, Any] = {
    "method": "grid",
    "run_cap": 3,
    "metric": {"name": "validation", "goal": "minimize"},
    "early_terminate": {"type": "hyperband", "min_iter": 2, "eta": 3, "s": 2, "max_iter": 27},
    "parameters": {
        "seed": {"min": 0, "max": 3},
        "method.lr": {"distribution": "q_log_uniform_values", "min": 0.1, "max": 1.0, "q": 0.1},
        "training": {"parameters": {"epochs": {"values": [1, 2], "probabilities": [0.5, 0.5]}}},
        "batch_size": {"distribution": "q_normal", "mu": 3, "sigma": 1, "q": 2},
        "resamples": {"distribution": "beta", "a": 1, "b": 2},
    },
}


def test_specifications(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    sound = write_yaml(RunSpec()).encode()
    texts = changed(SPEC).map(lambda value: yaml.safe_dump(value).encode()) | damaged(sound)

    @given(texts | st.binary(max_size=200))
    def check(text: bytes) -> None:
        path.write_bytes(text)
        spec = answers(lambda: read_yaml(path))
        if spec is not None:
            assert read_again(spec) == spec

    def read_again(spec: RunSpec) -> RunSpec:
        path.write_text(write_yaml(spec))
        return read_yaml(path)

    fuzz(check)


def test_sweep_files(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    sound = yaml.safe_dump(SWEEP).encode()
    texts = changed(SWEEP).map(lambda value: yaml.safe_dump(value).encode()) | damaged(sound)

    @given(texts, st.sampled_from([0, 1, 3]), st.floats(0, 1))
    def check(text: bytes, draws: int, share: float) -> None:
        path.write_bytes(text)
        sweep = answers(lambda: read_sweep(path))
        answers(lambda: combinations(path, tuple(SWEEP["parameters"]), draws=draws, seed=0))
        if sweep is not None:
            for choice in sweep.parameters.values():
                if not isinstance(choice, tuple):
                    choice.at(share)

    fuzz(check)


def test_choices_of_a_sweep() -> None:
    entries = changed(SWEEP["parameters"]["method.lr"]) | changed({"values": [1], "min": 1})

    @given(entries, st.floats(0, 1))
    def check(entry: Any, share: float) -> None:
        try:
            choice = read_choice(entry)
        except (ValueError, TypeError):
            return
        if not isinstance(choice, tuple):
            choice.at(share)

    fuzz(check)


def test_settings_of_benchmarks() -> None:
    option = st.sampled_from(["epochs", "lr", "clip", "setting", "bn", "shards", "decay_epochs"])
    pair = st.tuples(option | st.text(max_size=5), WORDS | st.text(max_size=20)).map("=".join)
    text = st.tuples(names_of(methods) | WORDS, st.lists(pair, max_size=3).map(",".join))

    @given(text.map(":".join))
    def check(setting: str) -> None:
        answers(lambda: read_setting(setting))

    fuzz(check)


def test_values_of_an_agent() -> None:
    kinds = st.sampled_from([int, float, bool, str, Any, tuple[int, ...], int | None, Path])
    texts = VALUES.map(repr) | WORDS | st.text(max_size=50) | VALUES.map(json.dumps)
    names = st.sampled_from(
        ["seed", "method.lr", "training.bf16", "model.widths", "given.original"]
    )

    @given(texts, kinds, names)
    def check(text: str, kind: Any, name: str) -> None:
        value = answers(lambda: read_value(text, kind))
        answers(lambda: applied(RunSpec(), {name: value}, where="command line"))

    fuzz(check)


def test_yaml_and_json() -> None:
    pieces = st.sampled_from(
        [*"[]{}:,-?|>#&*!%@`'\"\n \t~=<", "a", "1", "- ", "a: ", "<<: ", "---\n"]
    )
    texts = st.lists(pieces, max_size=40).map("".join) | VALUES.map(json.dumps)

    @given(texts)
    def check(text: str) -> None:
        answers(lambda: parse_yaml(text, where="f", what="it", do="Correct it."))
        answers(lambda: parse_json(text, where="f", what="it", do="Correct it."))

    fuzz(check)
