"""The layout of the Hugging Face Hub: written to a folder, read from one, fetched or uploaded only where asked for.

A published folder is a checkpoint with a model card beside it, and is read as every checkpoint is: weights as
safetensors, facts as JSON, nothing unpickled and no code of the folder run. `config.json` is for the Hub's own pages
and is never read here. Who the model has seen is left out, down to counts and a Merkle root, unless it is asked for.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import HfApi, snapshot_download

from forgetmi.cohort.model_patients import NAME
from forgetmi.core.errors import CheckpointError, Fault, SpecError
from forgetmi.core.json_text import parse_json
from forgetmi.core.partial_files import recover, replace_folder
from forgetmi.core.printable import quoted
from forgetmi.model.checkpoint_contents import FACTS, VOCABULARY, WEIGHTS, contents_of
from forgetmi.model.checkpoint_facts import facts_digest
from forgetmi.model.net_module import net_modules
from forgetmi.model.own_files import FOLDER
from forgetmi.model.own_files import WEIGHTS as OWN_WEIGHTS
from forgetmi.report.card_facts import CardFacts, CardVerdict
from forgetmi.report.model_card import model_card
from forgetmi.service.trained_model import COUNTS, TrainedModel, load
from forgetmi.service.verdict import verdict_on

CARD, CONFIG = "README.md", "config.json"

# What is fetched of a repository: no program, whatever else lies there
FETCHED = (FACTS, WEIGHTS, VOCABULARY, CARD, f"{FOLDER}/*")

# What of a checkpoint's extra values is published
_EXTRA = ("cohort", "role", "seed", "recipe", "gate")

T = TypeVar("T")


def save_pretrained(
    model: TrainedModel,
    directory: str | Path,
    *,
    patients: bool = False,
    record: str | Path | None = None,
    license: str = "",
) -> Path:
    """Write a model in the layout of the Hugging Face Hub, with a model card; nothing is uploaded.

    Use it to hand a model on. The folder appears at once and replaces an earlier one of this kind.

    Args:
        model: What `forgetmi.load` returned.
        directory: The folder.
        patients: Whether the patients it has seen are named in it, by keyed digests. Whoever holds the identifier key
            can tell who they are.
        record: Of the run that made the model, for the card's verdict; None = the one that lies in its run.
        license: Short name of a license, for the card.

    Returns:
        The folder.

    Raises:
        CheckpointError: The folder holds other files, or a function of the user's own writes the model's files.
        EvidenceError: The record cannot be read, or is not of this model.

    Examples:
        >>> from forgetmi.service.trained_model import load
        >>> published = save_pretrained(load(service), f"{folder}/published")
        >>> (published / "README.md").exists()
        True
    """
    directory = Path(directory)
    _check_folder(directory)
    contents = published_files(model, patients=patients)

    # The verdict on this model, if there is one
    where = Path(record) if record is not None else model.record
    verdict = None if where is None else verdict_on(model.loaded.digest, where)
    card = model_card(_card_facts(model, verdict, patients=patients, license=license))
    contents[CARD] = card.encode()

    directory.parent.mkdir(parents=True, exist_ok=True)
    replace_folder(directory, contents)
    return directory


def published_files(model: TrainedModel, *, patients: bool) -> dict[str, bytes]:
    """The files of a model that may leave the house, by name; see `save_pretrained`."""
    loaded, facts = model.loaded, model.facts

    # Counts and a root in place of the patients
    extra = {name: loaded.extra[name] for name in _EXTRA if name in loaded.extra}
    if patients and NAME in loaded.extra:
        extra[NAME] = loaded.extra[NAME]
    elif facts.trained is not None:
        counts = {"trained": facts.trained, "forgotten": facts.forgotten, "root": facts.root}
        extra[COUNTS] = counts

    contents, _ = contents_of(
        loaded.model,
        vocabulary=loaded.vocabulary,
        preprocessing=loaded.preprocessing,
        classes=loaded.classes,
        extra=extra,
    )
    _check_own(contents)
    contents[FACTS] = without_folders(contents[FACTS])

    # What the Hub's own pages show
    labels = {str(number): name for number, name in enumerate(facts.classes)}
    config = {
        "model_type": "forgetmi",
        "architectures": [type(net_modules(loaded.model)[0]).__name__],
        "id2label": labels,
        "label2id": {name: int(number) for number, name in labels.items()},
    }
    contents[CONFIG] = (json.dumps(config, indent=2) + "\n").encode()
    return contents


def without_folders(content: bytes) -> bytes:
    """The facts of a checkpoint, in which folders that its towers came from are named by their last part alone.

    Args:
        content: Of model.json. Nothing is read from these folders any more: all weights are in the checkpoint.
    """
    facts = parse_json(
        content, where=FACTS, what="the facts of the checkpoint", do="Use the original file."
    )
    del facts["digest"]
    facts["spec"] = _by_name(facts["spec"])
    facts["digest"] = facts_digest(facts)
    return (json.dumps(facts, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def _by_name(value: Any) -> Any:
    """Values with every absolute path cut to its name."""
    if isinstance(value, dict):
        return {name: _by_name(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_by_name(one) for one in value]
    if isinstance(value, str) and (value.startswith("~") or Path(value).is_absolute()):
        return Path(value).name
    return value


def from_pretrained(
    name: str | Path, *, download: bool = False, revision: str | None = None, factory: str = ""
) -> TrainedModel:
    """Read a model from a folder, or from the Hugging Face Hub's cache on this machine; no code of it is run.

    Args:
        name: Folder, or a repository of the Hub ("owner/name").
        download: Whether a repository may be fetched over the network; HF_HUB_OFFLINE forbids it all the same.
        revision: Branch, tag or commit of the repository; None = its newest.
        factory: See `forgetmi.load`.

    Raises:
        CheckpointError: It cannot be found or fetched, or was altered.

    Examples:
        >>> from_pretrained(service).facts.task
        'grades'
    """
    if Path(name).is_dir():
        return load(name, factory=factory)

    do = "Name a folder, or fetch it: download=True."
    if download:
        do = "Check name, revision, network and access; HF_HUB_OFFLINE forbids to fetch."
    folder = _asked(
        lambda: snapshot_download(
            str(name),
            revision=revision,
            local_files_only=not download,
            allow_patterns=list(FETCHED),
        ),
        "there is no such model",
        do,
    )
    return load(folder, factory=factory)


def push_to_hub(
    model: TrainedModel,
    name: str,
    *,
    private: bool = True,
    patients: bool = False,
    record: str | Path | None = None,
    license: str = "",
    token: str | None = None,
    message: str = "Upload a forgetmi model",
) -> str:
    """Upload a model to the Hugging Face Hub; the only function of this package that sends a model anywhere.

    Args:
        model: What `forgetmi.load` returned.
        name: Repository, "owner/name"; it is made where there is none.
        private: Whether it must be private; a public one that is there already is refused then.
        patients, record, license: See `save_pretrained`.
        token: Of the Hub; None = the one that ``hf auth login`` stored.
        message: Of the commit.

    Returns:
        Address of the commit.

    Raises:
        SpecError: The repository is public, and `private` was not set to False.
        CheckpointError: The Hub cannot be reached (HF_HUB_OFFLINE is set, there is no network), or refuses.
    """
    api = HfApi(token=token)
    do = "Check name, network and token (hf auth login); HF_HUB_OFFLINE forbids to upload."
    with tempfile.TemporaryDirectory() as above:
        # Written whole before anything is sent
        folder = Path(above, "model")
        save_pretrained(model, folder, patients=patients, record=record, license=license)

        what = "the model cannot be uploaded"
        _asked(lambda: api.create_repo(name, private=private, exist_ok=True), what, do)
        found = _asked(lambda: api.repo_info(name), what, do)
        if private and not found.private:
            raise SpecError(
                Fault(
                    f"the repository {quoted(name)} is public",
                    do="Make it private first, or say private=False.",
                )
            )
        commit = _asked(
            lambda: api.upload_folder(repo_id=name, folder_path=folder, commit_message=message),
            what,
            do,
        )
    return str(commit.commit_url)


def _asked(request: Callable[[], T], what: str, do: str) -> T:
    """What the Hub or its cache answers, or a fault for whatever they raise."""
    try:
        return request()
    except Exception as error:
        raise CheckpointError(Fault(what, why=type(error).__name__, do=do)) from error


def _check_folder(directory: Path) -> None:
    """Refuse a folder that holds anything but a published model."""
    recover(directory)
    if not directory.exists():
        return

    known = {FACTS, WEIGHTS, VOCABULARY, FOLDER, CARD, CONFIG}
    names = {path.name for path in directory.iterdir()} if directory.is_dir() else {""}
    # A checkpoint that was not written for publication has no card: it is not replaced by less than it holds
    published = not names or CARD in names
    if not names <= known or not published:
        raise CheckpointError(
            Fault(
                "it holds other files than a published model",
                where=directory.name,
                do="Choose another name.",
            )
        )


def _check_own(contents: dict[str, bytes]) -> None:
    """Refuse files of a user's own function: what is in them, nobody here knows."""
    own = [name for name in contents if name.startswith(f"{FOLDER}/")]
    if any(not name.endswith(f"/{OWN_WEIGHTS}") for name in own):
        raise CheckpointError(
            Fault(
                "a function of the user's own writes this model's files",
                why="whether they name patients cannot be known",
                do="Adapt it without save and load: then its weights are stored as safetensors.",
            )
        )


def _card_facts(
    model: TrainedModel, verdict: CardVerdict | None, *, patients: bool, license: str
) -> CardFacts:
    facts: Any = model.facts
    return CardFacts(
        task=facts.task,
        classes=facts.classes,
        modalities=facts.modalities,
        parameters=facts.parameters,
        members=facts.members,
        image_size=facts.image_size,
        longest_report=facts.longest_report,
        trained=facts.trained,
        forgotten=facts.forgotten,
        weights=facts.weights,
        cohort=facts.cohort,
        root=facts.root,
        version=facts.version,
        names_patients=patients and model.patients is not None,
        license=license,
        verdict=verdict,
    )
