"""From one resolved configuration of the authors to a run of ours, in paper or in release mode."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

from forgetmi.authors_code.config import AuthorsRun
from forgetmi.authors_code.forget_mi import ForgetMIRelease
from forgetmi.authors_code.image import SIZE
from forgetmi.authors_code.recipes import JOINT_CHESTXRAY
from forgetmi.cohort.mimic_cxr import MimicCxrCohort
from forgetmi.core.cache_folder import CHECKPOINTS
from forgetmi.core.checked_folder import made_once
from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.files import default_cache
from forgetmi.data.preprocessing import ImagePreprocessing
from forgetmi.data.window import RELEASED
from forgetmi.methods.forget_mi import WEIGHTS, ForgetMI
from forgetmi.model.architecture import Architecture
from forgetmi.run.spec import GivenModels, PartitionSpec, RunSpec, TextSpec

Mode = Literal["paper", "release"]
REPORTS, VOCABULARY = "all_data.tsv", "vocab.txt"
VALIDATION, VALIDATION_OF_TEST = 0.1, 0.5  # shares of the training side, and of the TEST patients
_SETTINGS = ("equal", "multimodal", "unimodal", "retention")
NO_EFFECT_IN_PAPER_MODE = {
    "synonyms_dir": "the paper's report noise replaces no word by a synonym",
    "num_cpu_workers": "the noise of a sample does not depend on loader processes",
}


def specification(
    run: AuthorsRun, *, mode: Mode, root: Path, model_config: Path | None = None
) -> RunSpec:
    """The run that a configuration of the authors asks for.

    With checkpoints, these are the models compared, half of the TEST patients serve as validation patients and the
    others are reported on, because the checkpoints were trained on everybody else. Without, an original and three
    retrained models are trained at the paper's size, and a tenth of the training patients are kept for validation.

    Args:
        run: The configuration.
        mode: paper (what the text says, made to work) or release (what the published code does).
        root: Folder that relative paths of the configuration start from.
        model_config: A config.json for checkpoints that have none next to them.

    Raises:
        SpecError: Files are not there, or the configuration has no counterpart in paper mode; all faults at once.
        CheckpointError: A checkpoint cannot be used.
    """
    setting = _setting(run.method)
    faults = _missing_files(run, mode, root)
    if run.retrained is not None and run.original is None:
        faults.append(
            Fault(
                "retrained_model_path is given without base_model_path", do="Give both, or neither."
            )
        )
    if mode == "paper" and setting is None:
        faults.append(_no_setting())
    if faults:
        raise SpecError(faults)

    # The method as released, or as the paper has it.
    method = _paper(run.method, setting or "equal")
    if mode == "release":
        synonyms = str(root / run.method.synonyms)
        method = ForgetMIRelease(**{**vars(run.method), "synonyms": synonyms})

    # With checkpoints nothing is trained, and validation patients come from those they never saw.
    has_original = run.original is not None
    given = _given_models(run, root, model_config)
    partition = PartitionSpec(
        forget_list=root / run.forget_list,
        validation=VALIDATION_OF_TEST if has_original else VALIDATION,
        validation_from="holdout" if has_original else "training",
    )
    pretrained = "" if has_original else str(root / run.text_encoder)

    # Films by their own maximum, and not inverted where their checkpoints are used, which were trained on such.
    invert = mode == "paper" and not has_original
    cohort = MimicCxrCohort(
        split=root / run.split_list,
        root=root / run.images,
        reports=_inside(root / run.reports, REPORTS),
    )
    return RunSpec(
        cohort=cohort,
        partition=partition,
        images=ImagePreprocessing(size=SIZE, fit="center_crop", invert=invert, window=RELEASED),
        text=TextSpec(max_length=run.max_seq_length),
        model=Architecture(preset="paper", pretrained=pretrained),
        training=JOINT_CHESTXRAY,
        method=method,
        given=given,
        retrains=0 if has_original else 3,
        batch_size=run.batch_size,
        seed=run.seed,
    )


def _missing_files(run: AuthorsRun, mode: Mode, root: Path) -> list[Fault]:
    """Every file or folder that the configuration names and that is not there."""
    named = {
        "data_split_path": run.split_list,
        "forget_set_path": run.forget_list,
        "img_data_dir": run.images,
        "text_data_dir": run.reports,
        "bert_pretrained_dir": run.text_encoder,
        "base_model_path": run.original,
        "retrained_model_path": run.retrained,
    }
    if mode == "release" and run.method.synonyms:
        named["synonyms_dir"] = Path(run.method.synonyms)

    faults = []
    for key, path in named.items():
        if path is not None and not (root / path).exists():
            faults.append(Fault(f"{key} is not there", where=str(root / path), do=_advice(key)))
    return faults


def _no_setting() -> Fault:
    """The fault of weights that the paper does not have."""
    ratios = []
    for name in _SETTINGS:
        weights = ":".join(map(str, WEIGHTS[name]))
        ratios.append(f"{name} {weights}")

    return Fault(
        "the four weights are those of none of the paper's settings",
        why="beta : theta : alpha : gamma (UU : MU : UR : MR) must be " + ", ".join(ratios),
        do="Change them, or use --mode release.",
    )


def _given_models(run: AuthorsRun, root: Path, model_config: Path | None) -> GivenModels:
    """The checkpoints of a configuration in our form; none where no original is named."""
    if run.original is None:
        return GivenModels()

    models = []
    for path in (run.original, run.retrained):
        if path is not None:
            model = converted(
                root / path,
                vocabulary=_inside(root / run.text_encoder, VOCABULARY),
                max_seq_length=run.max_seq_length,
                config=model_config,
            )
            models.append(model)
    # The release's models were trained on the rows that its split list calls so
    return GivenModels(models[0], tuple(models[1:]), trained_as_split=True)


def converted(
    source: Path, *, vocabulary: Path, max_seq_length: int, config: Path | None = None
) -> Path:
    """A checkpoint of the authors as one of ours, in the cache; a known, undamaged one is not converted again.

    Args:
        source: See `forgetmi.authors_code.checkpoint.read_checkpoint`.
        vocabulary: The vocab.txt of the text encoder they started from.
        max_seq_length: Tokens of a report at most.
        config: A config.json where none lies next to the weights.
    """
    # What reads weights is imported where a checkpoint is given.
    from forgetmi.authors_code.checkpoint_files import CONFIG, weights_file
    from forgetmi.authors_code.convert import from_authors

    weights = weights_file(source)

    # The name follows from everything that the converted checkpoint depends on. The 2 counts the forms that
    # `from_authors` has written.
    digest = hashlib.sha256(f"2 {max_seq_length}".encode())
    for path in (weights, config or weights.parent / CONFIG, vocabulary):
        if path.is_file():
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        digest.update(b"|")
    target = default_cache() / CHECKPOINTS / digest.hexdigest()[:16]

    def convert(folder: Path) -> None:
        from_authors(
            source, folder, vocabulary=vocabulary, max_seq_length=max_seq_length, config=config
        )

    made_once(target, convert)
    return target


def _advice(key: str) -> str:
    if key.endswith("model_path"):
        return "Correct the path, or leave the key out to train the model here."
    return "Correct the path, or name the folder it starts from with --root."


def _inside(folder: Path, name: str) -> Path:
    """The file of that name in the folder, or what was given where there is none."""
    return folder / name if (folder / name).is_file() else folder


def _setting(
    method: ForgetMIRelease,
) -> Literal["equal", "multimodal", "unimodal", "retention"] | None:
    """The paper's setting of four weights, which only their ratios decide."""
    weights = (method.beta, method.theta, method.alpha, method.gamma)

    for name in _SETTINGS:
        of_paper = WEIGHTS[name]

        # Equal ratios, without a division: w / sum(w) = p / sum(p).
        equal = True
        for weight, expected in zip(weights, of_paper, strict=True):
            if weight * sum(of_paper) != expected * sum(weights):
                equal = False
        if equal:
            return name
    return None


def _paper(
    method: ForgetMIRelease, setting: Literal["equal", "multimodal", "unimodal", "retention"]
) -> ForgetMI:
    return ForgetMI(
        setting=setting,
        direction="toward_noise" if method.use_noise else "away",
        noise="given",
        noise_mean=method.noise_mean,
        noise_std=method.noise_std,
        text_level=method.text_noise_level,
        epochs=method.epochs,
        lr=method.lr,
        weight_decay=method.weight_decay,
    )
