"""The authors' config.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from forgetmi.authors_code.config import KEYS, AuthorsRun, read_authors_config
from forgetmi.core.errors import SpecError

PUBLISHED = """
program: forgetmi_partial.py
method: random
parameters:
  project: {value: "forget_exp"}
  use_noise: {value: false}
  base_model_path: {value: "./original/"}
  learning_rate:
    values: [1e-4, 1e-5]
  unlearn_epochs: {value: 30}
  scheduler: {value: "ReduceLROnPlateau"}
  theta: {value: 2}
  num_cpu_workers: {value: 8}
command:
  - ${env:PYTHON}
"""


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_the_published_form_gives_the_grid(tmp_path: Path) -> None:
    found = read_authors_config(written(tmp_path / "config.yaml", PUBLISHED))
    assert [run.method.lr for run in found.runs] == [1e-4, 1e-5]
    run = found.runs[0]
    assert (run.method.use_noise, run.method.epochs, run.method.theta) == (False, 30, 2.0)
    assert (run.batch_size, run.seed) == (16, 42)
    assert run.original == Path("original")
    assert set(found.without_effect) == {"project", "scheduler"}
    assert "never stepped" in found.without_effect["scheduler"]


def test_the_last_key_varies_fastest_and_all_combinations_come(tmp_path: Path) -> None:
    text = "parameters: {alpha: {values: [1, 2]}, random_seed: {value: 3}, noise_std: {values: [0.1, '2e-1', 3]}}\n"
    runs = read_authors_config(written(tmp_path / "c.yaml", text)).runs
    assert [(run.method.alpha, run.method.noise_std) for run in runs] == [
        (a, s) for a in (1.0, 2.0) for s in (0.1, 0.2, 3.0)
    ]
    assert {run.seed for run in runs} == {3}


def test_an_empty_file_of_parameters_is_the_published_configuration(tmp_path: Path) -> None:
    found = read_authors_config(written(tmp_path / "c.yaml", "parameters: {}\n"))
    assert found.runs == (AuthorsRun(),)
    method = found.runs[0].method
    assert (
        method.alpha,
        method.beta,
        method.theta,
        method.gamma,
        method.noise_std,
        method.text_noise_level,
    ) == (1, 1, 2, 2, 0.1, 0.5)


@pytest.mark.parametrize("key", KEYS)
def test_every_key_has_an_effect_or_a_reason(tmp_path: Path, key: str) -> None:
    values = {
        "use_noise": True,
        "output_channel_encoding": "multiclass",
        "num_cpu_workers": 0,
        "random_seed": 7,
        "unlearn_batch_size": 3,
        "max_seq_length": 16,
        "unlearn_epochs": 5,
    }
    value = values.get(
        key,
        0.25
        if key
        in {
            "noise_mean",
            "noise_std",
            "text_noise_level",
            "alpha",
            "beta",
            "theta",
            "gamma",
            "learning_rate",
            "weight_decay",
        }
        else "elsewhere",
    )
    text = yaml.safe_dump({"parameters": {key: {"value": value}}})
    found = read_authors_config(written(tmp_path / "c.yaml", text))
    changed = found.runs != (AuthorsRun(),)
    assert changed != (key in found.without_effect) or key == "output_channel_encoding"


def test_without_loader_processes_the_image_noise_runs_on(tmp_path: Path) -> None:
    text = "parameters: {num_cpu_workers: {value: 0}}\n"
    assert (
        not read_authors_config(written(tmp_path / "c.yaml", text))
        .runs[0]
        .method.deviations.repeated_image_noise
    )


def test_all_faults_at_once_with_the_nearest_name(tmp_path: Path) -> None:
    text = """
parameters:
  learning_rates: {value: 1e-4}
  unlearn_epochs: {valeu: 3}
  noise_mean: 0.5
  alpha: {values: 3}
  beta: {distribution: normal, min: 0, max: 1}
  gamma: {min: 2, max: 1}
"""
    with pytest.raises(SpecError) as caught:
        read_authors_config(written(tmp_path / "c.yaml", text))
    assert len(caught.value.faults) == 6
    assert "Did you mean 'learning_rate'?" in str(caught.value)
    assert "normal knows mu, sigma" in str(caught.value)


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        ("learning_rate: {value: fast}", "a number is expected"),
        ("unlearn_epochs: {value: 2.5}", "a whole number"),
        ("use_noise: {value: maybe}", "true or false"),
        ("weight_decay: {value: true}", "a number"),
        ("output_channel_encoding: {value: multilabel}", "multiclass"),
        ("noise_std: {value: -1}", "noise_std is -1"),
        ("unlearn_batch_size: {value: 0}", "Choose 1 or more"),
        ("base_model_path: {value: 3}", "a path"),
        ("learning_rate: {value: .nan}", "a number"),
    ],
)
def test_values_that_do_not_fit(tmp_path: Path, parameter: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        read_authors_config(written(tmp_path / "c.yaml", f"parameters:\n  {parameter}\n"))


@pytest.mark.parametrize("text", ["", "a: [", "parameters: 3\n", "parameters: {}\nparameter: {}\n"])
def test_files_of_another_form(tmp_path: Path, text: str) -> None:
    with pytest.raises(SpecError):
        read_authors_config(written(tmp_path / "c.yaml", text))


def test_ranges_are_drawn_reproducibly(tmp_path: Path) -> None:
    path = written(
        tmp_path / "c.yaml",
        """
parameters:
  learning_rate: {distribution: log_uniform_values, min: 1e-5, max: 1e-3}
  unlearn_epochs: {min: 3, max: 5}
  alpha: {distribution: uniform, min: 0, max: 1}
  beta: {values: [1, 2]}
""",
    )
    with pytest.raises(SpecError, match="number of draws"):
        read_authors_config(path)
    runs = read_authors_config(path, draws=60, seed=1).runs
    assert runs == read_authors_config(path, draws=60, seed=1).runs
    assert runs != read_authors_config(path, draws=60, seed=2).runs
    assert {run.method.epochs for run in runs} == {3, 4, 5}
    assert {run.method.beta for run in runs} == {1.0, 2.0}
    assert all(1e-5 <= run.method.lr <= 1e-3 and 0 <= run.method.alpha <= 1 for run in runs)
    assert sum(run.method.lr < 1e-4 for run in runs) > 15
