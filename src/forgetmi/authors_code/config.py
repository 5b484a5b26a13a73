"""The authors' config.yaml, a Weights & Biases sweep file, as our own configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from forgetmi.authors_code.forget_mi import ForgetMIRelease
from forgetmi.core.errors import Fault, SpecError
from forgetmi.search.sweep_file import combinations
from forgetmi.search.sweep_values import number

# Keys that change nothing in the release, and why.
_IGNORED = {
    "project": "a tracker's name; the release's script passes its own",
    "entity": "a tracker's name; the release's script passes its own",
    "do_train": "chooses between two crops that are equal",
    "do_eval": "chooses between two crops that are equal",
    "overwrite_output_dir": "never read by the unlearning script",
    "random_point_ratio": "never read: the noisy set is the forget set",
    "validation_ratio": "the validation rows stay in the retain set and are never read",
    "eval_batch_size": "its loaders are never read",
    "scheduler": "a ReduceLROnPlateau schedule is made and never stepped",
    "warmup_proportion": "never read by the unlearning script",
    "bert_pool_last_hidden": "accepted by the text model and without effect",
    "bert_pool_use_img": "accepted by the text model and without effect",
    "bert_pool_img_lowerlevel": "accepted by the text model and without effect",
    "reprocess_input_data": "about a cache of features; noise is derived from the seed here",
    "id": "a name handed to the data set and never read",
    "use_text_data_dir": "never read by the unlearning script",
    "use_data_split_path": "never read by the unlearning script",
    "training_mode": "never read by the unlearning script",
    "semisupervised_training_data": "never read by the unlearning script",
    "use_masked_txt": "never read by the unlearning script",
    "use_all_data": "never read by the unlearning script",
    "use_pretrained_checkpoint": "never read by the unlearning script",
    "print_predictions": "never read by the unlearning script",
    "print_embeddings": "never read by the unlearning script",
    "logging_steps": "never read by the unlearning script",
    "save_epochs": "the release saves every epoch; progress is resumable here",
}


@dataclass(frozen=True)
class AuthorsRun:
    """One resolved configuration; defaults are those of the published config.yaml.

    Args:
        method: The method with its hyper-parameters and the synonyms' path.
        batch_size: Samples of each set a step.
        seed: Root seed.
        max_seq_length: Tokens of a report at most.
        original: Checkpoint directory of the model to unlearn from; None = not named (the release then fails).
        retrained: Checkpoint directory of a retrained model (the release only logs a similarity to it), or None.
        text_encoder: Directory with the text encoder's vocab.txt.
        reports: Directory with all_data.tsv.
        images: Directory with the DICOM tree.
        split_list: CSV of all images and their folds.
        forget_list: CSV of the patients to forget.
        output: Directory for results.
    """

    method: ForgetMIRelease = field(
        default_factory=lambda: ForgetMIRelease(synonyms="data_splits/Synonyms.csv")
    )
    batch_size: int = 16
    seed: int = 42
    max_seq_length: int = 320
    original: Path | None = None
    retrained: Path | None = None
    text_encoder: Path = Path("allenai")
    reports: Path = Path("metadata")
    images: Path = Path("physionet.org/files/mimic-cxr/2.1.0/files")
    split_list: Path = Path("data_splits/mimic-cxr-sub-img-edema-split-manualtest.csv")
    forget_list: Path = Path("data_splits/forget_set_10per.csv")
    output: Path = Path("unlearning_output")


@dataclass(frozen=True)
class AuthorsConfig:
    """The content of a config.yaml.

    Args:
        runs: One resolved configuration, or the whole grid, the last key of the file varying fastest.
        without_effect: Keys of the file that change nothing, and why.
    """

    runs: tuple[AuthorsRun, ...]
    without_effect: Mapping[str, str]


def _whole(value: Any) -> int:
    result = number(value)
    if result != int(result):
        raise ValueError
    return int(result)


def _switch(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False}[str(value).lower()]


def _path(value: Any) -> Path:
    if not isinstance(value, str) or not value:
        raise ValueError
    return Path(value)


def _text(value: Any) -> str:
    return str(_path(value))


# Key of the file to our name, how its value is converted, and what is expected in words.
_METHOD: dict[str, tuple[str, Callable[[Any], Any], str]] = {
    "use_noise": ("use_noise", _switch, "true or false"),
    "noise_mean": ("noise_mean", number, "a number"),
    "noise_std": ("noise_std", number, "a number"),
    "text_noise_level": ("text_noise_level", number, "a number"),
    "synonyms_dir": ("synonyms", _text, "a path"),
    "alpha": ("alpha", number, "a number"),
    "beta": ("beta", number, "a number"),
    "theta": ("theta", number, "a number"),
    "gamma": ("gamma", number, "a number"),
    "unlearn_epochs": ("epochs", _whole, "a whole number"),
    "learning_rate": ("lr", number, "a number"),
    "weight_decay": ("weight_decay", number, "a number"),
}
_RUN: dict[str, tuple[str, Callable[[Any], Any], str]] = {
    "unlearn_batch_size": ("batch_size", _whole, "a whole number"),
    "random_seed": ("seed", _whole, "a whole number"),
    "max_seq_length": ("max_seq_length", _whole, "a whole number"),
    "base_model_path": ("original", _path, "a path"),
    "retrained_model_path": ("retrained", _path, "a path"),
    "bert_pretrained_dir": ("text_encoder", _path, "a path"),
    "text_data_dir": ("reports", _path, "a path"),
    "img_data_dir": ("images", _path, "a path"),
    "data_split_path": ("split_list", _path, "a path"),
    "forget_set_path": ("forget_list", _path, "a path"),
    "output_dir": ("output", _path, "a path"),
}
_WORKERS: dict[str, tuple[str, Callable[[Any], Any], str]] = {
    "num_cpu_workers": ("workers", _whole, "a whole number"),
}
_OTHER = ("output_channel_encoding", "num_cpu_workers")
KEYS = (*_METHOD, *_RUN, *_OTHER, *_IGNORED)


def read_authors_config(path: Path, *, draws: int = 0, seed: int = 0) -> AuthorsConfig:
    """Read a config.yaml of the release.

    Args:
        path: The file: ``parameters: KEY: value: V``, ``values: [...]``, or a distribution with min and max.
        draws: Number of runs to draw where a key has a distribution (each run draws every key anew, as a random sweep
            does); 0 = the grid of all values.
        seed: Root seed of the draws.

    Raises:
        SpecError: The file cannot be read, a key is unknown (the nearest one is named), or a value does not fit; all
            faults at once.

    Source: config.yaml of the Forget-MI release, whose own script reads it through a tracker and no other way.
    """
    faults: list[Fault] = []
    runs: list[AuthorsRun] = []

    # Faults are gathered over all combinations, which share most of them.
    chosen = combinations(path, KEYS, draws=draws, seed=seed)
    for values in chosen:
        run = _resolve(values, path.name, faults)
        if run is not None:
            runs.append(run)
    if faults:
        raise SpecError(dict.fromkeys(faults))

    without_effect = {key: _IGNORED[key] for key in chosen[0] if key in _IGNORED}
    return AuthorsConfig(tuple(runs), without_effect)


def _resolve(values: Mapping[str, Any], where: str, faults: list[Fault]) -> AuthorsRun | None:
    """One configuration; None where a value does not fit, which is added to the faults."""
    before = len(faults)

    if values.get("output_channel_encoding", "multiclass") != "multiclass":
        faults.append(
            Fault(
                f"parameter 'output_channel_encoding' is {values['output_channel_encoding']!r}",
                where=where,
                why="only 'multiclass' is supported",
            )
        )

    # Names and types of the file become ours.
    method_options = _converted(values, _METHOD, where, faults)
    run_options = _converted(values, _RUN, where, faults)
    workers = _converted(values, _WORKERS, where, faults).get("workers", 8)
    faults += _too_small(run_options, where)

    # Without loader processes, the release's image noise runs on from epoch to epoch.
    try:
        method = replace(AuthorsRun().method, **method_options)
        deviations = replace(method.deviations, repeated_image_noise=workers > 0)
        method = replace(method, deviations=deviations)
    except SpecError as error:
        faults += error.faults
        return None

    if len(faults) > before:
        return None
    return replace(AuthorsRun(method=method), **run_options)


def _converted(
    values: Mapping[str, Any],
    table: Mapping[str, tuple[str, Callable[[Any], Any], str]],
    where: str,
    faults: list[Fault],
) -> dict[str, Any]:
    """The keys of a table that are given, under our names and in our types."""
    options = {}
    for key, (ours, convert, kind) in table.items():
        if key not in values:
            continue

        try:
            options[ours] = convert(values[key])
        except (KeyError, TypeError, ValueError):
            faults.append(
                Fault(
                    f"parameter {key!r} is {values[key]!r}",
                    where=where,
                    why=f"{kind} is expected",
                )
            )
    return options


def _too_small(options: Mapping[str, Any], where: str) -> list[Fault]:
    """Sizes below the smallest that makes sense; a text has a first and a last token at least."""
    smallest = (("unlearn_batch_size", "batch_size", 1), ("max_seq_length", "max_seq_length", 2))

    faults = []
    for key, ours, least in smallest:
        if ours in options and options[ours] < least:
            faults.append(
                Fault(
                    f"parameter {key!r} is {options[ours]}",
                    where=where,
                    do=f"Choose {least} or more.",
                )
            )
    return faults
