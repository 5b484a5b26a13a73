"""Where people are left: every artefact below some folders that depends on them, by keyed digest."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from forgetmi.cohort.listed_people import ListedPeople
from forgetmi.cohort.model_patients import ModelPatients
from forgetmi.core.cache_folder import FILMS, FORMER_FILMS, files_in_cache
from forgetmi.core.errors import EvidenceError, ForgetMIError
from forgetmi.core.signals import Signals
from forgetmi.evidence.record import RECORD
from forgetmi.evidence.record_files import LOG, read_record
from forgetmi.model.checkpoint_facts import read_facts
from forgetmi.requests.ledger_reader import LedgerReader
from forgetmi.run.artefact import REMEMBERS, Artefact
from forgetmi.run.given_patients import FACTS, patients_in
from forgetmi.run.pool_plan import AUDIT, FOLDS, PLAN, TARGET, read_folds, read_plan

_FILMS = "decoded films, by content and without a name"
_SQLITE = b"SQLite format 3\x00"
_PROGRESS = (".pt", ".pth")

# Forms in which a model lies without a word of whom it has seen
_WEIGHTS = (".safetensors", ".onnx", ".pt2", ".ckpt")

# Files in whose bytes nothing stands as written
_PACKED = (".zip", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar")

_OTHER_KEY = "another identifier key (--key-file): nobody could be found"


def where(root: Path, people: ListedPeople) -> list[Artefact]:
    """Find everything below a folder that depends on people.

    Checkpoints say whom they were trained on; training logs beside them depend on the same people. Signals, pools,
    records, ledgers and whatever else holds a keyed digest are found by it; other files by the identifier as written.
    A cache of decoded films is named as a whole: whose they are is known with the cohort alone (``forgetmi cache``).
    What cannot be looked into is named as unknown: packed files, links that lead out of the folder, and models and
    records whose digests were made with another key than the list's.

    Args:
        root: The folder.
        people: Whom to look for.

    Returns:
        In the order of the paths.

    Raises:
        OSError: The folder cannot be read.
    """
    found: list[Artefact] = []

    def unreadable(error: OSError) -> None:
        name = _shown(Path(str(error.filename)), root, people)
        found.append(Artefact(name, "unknown", "a folder that cannot be read", ()))

    for folder, folders, files in os.walk(root, onerror=unreadable):
        folders.sort()
        here = Path(folder)

        # A checkpoint is one artefact; what lies in it is not looked at file by file
        if FACTS in files:
            found += _of_model(here, root, people)
            folders[:] = []
            continue

        # So are the decoded films of a cache, which are kept by their content
        if here.name in (FILMS, FORMER_FILMS) and files_in_cache(here.parent, here.name):
            found.append(Artefact(_shown(here, root, people), "films", _FILMS, ()))
            folders[:] = []
            continue
        for name in [*sorted(files), *folders]:
            found += _of_link(here / name, root, people)
        for name in sorted(files):
            found += _of_file(here / name, root, people)
        for name in list(folders):
            if name.endswith(LOG):
                found += _of_log(here / name, root, people)
                folders.remove(name)
    return sorted(found, key=lambda one: one.path)


def left_to_account_for(
    root: Path, people: ListedPeople, *, run: Path | None = None
) -> list[Artefact]:
    """What below a folder still remembers people and is no part of the run that carried their withdrawal out.

    Args:
        root: The folder.
        people: Who withdrew.
        run: The run, whose record names its own models; what lies in it is accounted for there.
    """
    own = None if run is None else run.resolve()
    left = []
    for artefact in where(root, people):
        path = (root / artefact.path).resolve()
        in_run = own is not None and (path == own or own in path.parents)
        if artefact.kind in REMEMBERS and not in_run:
            left.append(artefact)
    return left


def _of_link(path: Path, root: Path, people: ListedPeople) -> Iterator[Artefact]:
    """A link that leads out of the folder: what is there is not searched."""
    if not path.is_symlink() or not path.exists():
        return
    base = root.resolve()
    target = path.resolve()
    if target != base and base not in target.parents:
        what = "a link that leads out of the folder, where nothing was searched"
        yield Artefact(_shown(path, root, people), "unknown", what, ())


def _other_key(key_id: str, people: ListedPeople) -> bool:
    """Whether digests were made with another key than those of a list, as far as that says its own."""
    return bool(people.key_id) and key_id != people.key_id


def _of_model(folder: Path, root: Path, people: ListedPeople) -> Iterator[Artefact]:
    """What a checkpoint has to do with people."""
    name = _shown(folder, root, people)
    try:
        weights = str(read_facts(folder / FACTS)["weights"])
        known = patients_in(folder)
    except ForgetMIError as error:
        yield Artefact(
            name, "unknown", f"a checkpoint that cannot be read: {error.faults[0].what}", ()
        )
        return

    if known is None:
        yield Artefact(name, "unknown", "a model that does not name whom it has seen", (), weights)
        return
    if _other_key(known.key_id, people):
        yield Artefact(name, "unknown", f"a model of people under {_OTHER_KEY}", (), weights)
        return
    trained = _among(people, known.trained.patients, known.trained.studies)
    if trained:
        yield Artefact(name, "model", "trained on them", trained, weights)
    for relation, of_set in _others(known).items():
        if concerned := _among(people, *of_set):
            yield Artefact(name, "digest", relation, concerned, weights)


def _others(known: ModelPatients) -> dict[str, tuple[Sequence[str], Sequence[str]]]:
    """Sets of a model's patients that it was not trained on, in words."""
    return {
        "a model that was made without them, or has forgotten them": (
            known.forgotten.patients,
            known.forgotten.studies,
        ),
        "a model that was chosen with them (validation)": (
            known.validation.patients,
            known.validation.studies,
        ),
        "a model that was measured with them": (
            (*known.holdout.patients, *known.reference.patients),
            (*known.holdout.studies, *known.reference.studies),
        ),
    }


def _of_log(path: Path, root: Path, people: ListedPeople) -> Iterator[Artefact]:
    """A training log depends on whom its model was trained on."""
    model = path.with_name(path.name.removesuffix(LOG))
    name = _shown(path, root, people)
    known = None
    if (model / FACTS).exists():
        try:
            known = patients_in(model)
        except ForgetMIError:
            known = None
    if known is None or _other_key(known.key_id, people):
        yield Artefact(
            name, "unknown", "a training log of a model that is gone or says nothing", ()
        )
        return

    # An unlearned model's log is without the forgotten
    if trained := _among(people, known.trained.patients, known.trained.studies):
        yield Artefact(name, "training log", "of a model that was trained on them", trained)


def _of_file(path: Path, root: Path, people: ListedPeople) -> Iterator[Artefact]:
    """What a single file has to do with people."""
    name = _shown(path, root, people)
    if path.is_symlink() or not path.is_file():
        return
    if path.name.endswith(LOG):
        yield from _of_log(path, root, people)
        return
    if path.suffix in _PROGRESS:
        yield Artefact(name, "progress", "weights of work that is not finished", ())
        return

    if path.suffix in _WEIGHTS:
        what = "weights that do not say whom they were trained on"
        yield Artefact(name, "unknown", what, ())
        return

    if path.suffix.lower() in _PACKED:
        yield Artefact(name, "unknown", "a packed file, which was not looked into", ())
        return

    try:
        for reads in (_of_signals, _of_pool, _of_record, _of_ledger):
            artefact = reads(path, name, people)
            if artefact is not None:
                yield artefact
                return
        yield from _of_text(path, name, people)
    except OSError:
        yield Artefact(name, "unknown", "a file that cannot be read", ())


def _of_signals(path: Path, name: str, people: ListedPeople) -> Artefact | None:
    if path.suffix != ".npz":
        return None
    try:
        signals = Signals.load(path)
    except ForgetMIError:
        # Packed, so that no digest stands in its bytes
        return Artefact(name, "unknown", "arrays that are no signals, or damaged ones", ())
    concerned = _among(people, map(str, signals.patient), map(str, signals.study))
    return Artefact(name, "signals", "a model's outputs for them", concerned) if concerned else None


def _of_pool(path: Path, name: str, people: ListedPeople) -> Artefact | None:
    if path.name != FOLDS or not (path.parent / PLAN).exists():
        return None
    plan = read_plan(path.parent)
    concerned = _among(people, read_folds(path.parent, plan).patients, ())
    if not concerned:
        return None
    # Without weights only who was in which fold is left
    if not any((path.parent / use / "models").is_dir() for use in (AUDIT, TARGET)):
        return Artefact(name, "digest", "folds of a pool whose models are gone", concerned)
    trained = plan.folds - 1
    words = (
        f"a pool: of each repetition {trained} of {plan.folds} members were trained on each of them"
    )
    return Artefact(name, "pool", words, concerned)


def _of_record(path: Path, name: str, people: ListedPeople) -> Artefact | None:
    if path.name != RECORD:
        return None
    record = read_record(path)
    subjects = record.subjects
    if _other_key(subjects.key_id, people):
        return Artefact(name, "unknown", f"a record of people under {_OTHER_KEY}", ())
    earlier = subjects.earlier or ()
    concerned = _among(people, (*subjects.patients, *earlier), (*subjects.studies, *earlier))
    return (
        Artefact(name, "record", "a record of their withdrawal", concerned) if concerned else None
    )


def _of_ledger(path: Path, name: str, people: ListedPeople) -> Artefact | None:
    with path.open("rb") as file:
        if file.read(len(_SQLITE)) != _SQLITE:
            return None
    try:
        ledger = LedgerReader(path, reading=True)
    except EvidenceError:
        return None
    other_key = _other_key(ledger.key_id, people)
    named = [digest for entry in ledger.entries() for digest in (*entry.patients, *entry.studies)]
    ledger.close()
    if other_key:
        return Artefact(name, "unknown", f"a ledger of people under {_OTHER_KEY}", ())
    concerned = _among(people, named, named)
    return Artefact(name, "ledger", "a request that names them", concerned) if concerned else None


def _of_text(path: Path, name: str, people: ListedPeople) -> Iterator[Artefact]:
    """An identifier as written, or a keyed digest, anywhere in a file or its name."""
    if people.named_in(path.name) or people.named_in_file(path):
        yield Artefact(name, "identifier", "it names them as written", ())
        return
    content = _holds(path, people.digests)
    if content:
        yield Artefact(name, "digest", "it names them by keyed digest", content)


def _holds(path: Path, digests: frozenset[str]) -> tuple[str, ...]:
    """Which digests stand in a file's bytes."""
    found: set[str] = set()
    with path.open("rb") as file:
        before = b""
        while piece := file.read(2**22):
            text = before + piece
            found.update(digest for digest in digests if digest.encode() in text)
            before = piece[-16:]
    return tuple(sorted(found))


def _among(
    people: ListedPeople, patients: Iterable[str], studies: Iterable[str]
) -> tuple[str, ...]:
    """Those of the people who are in some sets of digests, sorted."""
    wanted = people.patients or people.studies
    known = set(patients if people.patients else studies)
    return tuple(sorted(digest for digest in wanted if digest in known))


def _shown(path: Path, root: Path, people: ListedPeople) -> str:
    """A path below the root, without parts that hold an identifier."""
    parts = []
    for part in path.relative_to(root).parts:
        parts.append("(a name that holds an identifier)" if people.named_in(part) else part)
    return "/".join(parts) or "."
