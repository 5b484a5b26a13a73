"""Reports as token ids: the vocabulary, the tokenizer, and the tokens of all reports, made once."""

from __future__ import annotations

import hashlib
import heapq
import json
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Self, final

import numpy as np
import numpy.typing as npt
from tokenizers.implementations.bert_wordpiece import BertWordPieceTokenizer
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from forgetmi.core.arrays import Ints, Strings, codes
from forgetmi.core.errors import CheckpointError, Fault, SpecError

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
Pair = tuple[str, str]
_BLANKS = re.compile(
    r"[ \t\r\n]+"
)  # BERT's rules look at nothing beyond these, so that a text may be cut there first
_KNOWN_CHUNKS = 2**16


def train_wordpiece(
    reports: Sequence[str] | Strings,
    patients: Sequence[str] | Strings,
    *,
    size: int = 1000,
    min_patients: int = 5,
) -> tuple[str, ...]:
    """Learn a WordPiece vocabulary in which every piece was seen in the reports of several patients.

    Train it on training patients only. Pieces are merged greedily, as in byte-pair encoding, by the number of distinct
    patients of each word that holds the pair, so that neither long patient histories nor repeated reports weigh more;
    ties go to the pair that sorts first. The result depends on the set of (report, patient) pairs alone, not on their
    order, process or hash seed (the trainer of the tokenizers library gives other ids in every process).

    Args:
        reports: n texts.
        patients: n patient digests.
        size: Pieces at most, special tokens included.
        min_patients: A character or piece needs this many distinct patients, >= 1.

    Returns:
        [PAD] [UNK] [CLS] [SEP] [MASK], then single characters in order, then pieces as they were merged; id = position.

    Raises:
        SpecError: `size` or `min_patients` leaves nothing to learn.
    """
    if size <= len(SPECIAL) or min_patients < 1:
        raise SpecError(
            Fault(
                f"no vocabulary can be learned with size {size} and min_patients {min_patients}",
                do=f"Choose a size above {len(SPECIAL)} and 1 or more patients.",
            )
        )
    words = _patients_of_words(reports, patients)
    support: dict[str, set[int]] = defaultdict(set)
    for word, owners in words.items():
        for piece in _characters(word):
            support[piece] |= owners
    alphabet = {piece for piece, owners in support.items() if len(owners) >= min_patients}
    kept = sorted(alphabet, key=lambda piece: (-len(support[piece]), piece))[: size - len(SPECIAL)]
    vocabulary = [*SPECIAL, *sorted(kept)]
    known = set(vocabulary)
    # A word with a character that is not known is one [UNK] for the tokenizer, whatever else is in the vocabulary.
    usable = sorted(word for word in words if known.issuperset(_characters(word)))
    merges = _Merges(
        [_characters(word) for word in usable], [words[word] for word in usable], min_patients
    )
    while len(vocabulary) < size and (pair := merges.best()) is not None:
        merged = merges.merge(pair)
        if merged not in known:
            known.add(merged)
            vocabulary.append(merged)
    return tuple(vocabulary)


def _patients_of_words(
    reports: Sequence[str] | Strings, patients: Sequence[str] | Strings
) -> dict[str, set[int]]:
    normalise, split = (
        BertNormalizer(lowercase=True).normalize_str,
        BertPreTokenizer().pre_tokenize_str,
    )
    patient, _ = codes(np.asarray(patients, object))
    owners: dict[str, set[int]] = defaultdict(set)
    for report, who in zip(reports, patient.tolist(), strict=True):
        for chunk in _BLANKS.split(report):
            owners[chunk].add(who)
    words: dict[str, set[int]] = defaultdict(set)
    for chunk, who in owners.items():
        for word, _ in split(normalise(chunk)):
            words[word] |= who
    return words


def _characters(word: str) -> list[str]:
    return [word[0], *("##" + letter for letter in word[1:])]


class _Merges:
    """The pairs of neighbouring pieces in all words, kept up to date from merge to merge."""

    def __init__(self, words: list[list[str]], patients: list[set[int]], min_patients: int) -> None:
        self._words = words
        self._weight = [len(who) for who in patients]
        # As many patients of a word as can matter: a union of these reaches min_patients exactly if the full one does.
        self._some = [frozenset(sorted(who)[:min_patients]) for who in patients]
        self._min = min_patients
        self._count: dict[Pair, int] = defaultdict(int)
        self._where: dict[Pair, set[int]] = defaultdict(set)
        for at, word in enumerate(words):
            for pair in pairwise(word):
                self._count[pair] += self._weight[at]
                self._where[pair].add(at)
        self._heap = [(-count, pair) for pair, count in self._count.items()]
        heapq.heapify(self._heap)

    def best(self) -> Pair | None:
        """The most frequent pair that enough patients share; None when there is none left."""
        while self._heap:
            count, pair = heapq.heappop(self._heap)
            if -count != self._count.get(pair, 0):
                continue  # out of date; its present count is elsewhere in the heap
            if -count >= self._min and self._shared(pair):
                return pair
        return None

    def _shared(self, pair: Pair) -> bool:
        found: set[int] = set()
        for at in self._where[pair]:
            found |= self._some[at]
            if len(found) >= self._min:
                return True
        return False

    def merge(self, pair: Pair) -> str:
        """Join the pair wherever it stands; returns the new piece."""
        merged = pair[0] + pair[1].removeprefix("##")
        changed: set[Pair] = set()
        for at in self._where.pop(pair):
            old, weight = self._words[at], self._weight[at]
            new = _join(old, pair, merged)
            for neighbours in pairwise(old):
                self._count[neighbours] -= weight
                self._where[neighbours].discard(at)
                changed.add(neighbours)
            for neighbours in pairwise(new):
                self._count[neighbours] += weight
                self._where[neighbours].add(at)
                changed.add(neighbours)
            self._words[at] = new
        for neighbours in changed:
            if self._count[neighbours] > 0:
                heapq.heappush(self._heap, (-self._count[neighbours], neighbours))
        return merged


def _join(word: list[str], pair: Pair, merged: str) -> list[str]:
    out: list[str] = []
    at = 0
    while at < len(word):
        if at + 1 < len(word) and (word[at], word[at + 1]) == pair:
            out.append(merged)
            at += 2
        else:
            out.append(word[at])
            at += 1
    return out


@final
@dataclass(frozen=True, repr=False)
class Tokenizer:
    """A BERT tokenizer that is fully described by its fields; the vocabulary is saved with the model.

    Args:
        vocabulary: Tokens, id = position; it holds [PAD], [UNK], [CLS], [SEP] and [MASK] somewhere.
        max_length: Tokens of a text at most, [CLS] and [SEP] included, >= 2; the default is the authors' release's.
        lowercase: Whether texts are lower-cased first.
        strip_accents: Whether accents are removed; None = when lower-casing.

    Raises:
        SpecError: The vocabulary lacks a special token or holds a token twice, or `max_length` is too small.
    """

    vocabulary: tuple[str, ...] = field(repr=False)
    max_length: int = 320
    lowercase: bool = True
    strip_accents: bool | None = None

    def __post_init__(self) -> None:
        faults = []
        present = set(self.vocabulary)
        if missing := [token for token in SPECIAL if token not in present]:
            faults.append(
                Fault(
                    f"the vocabulary lacks {', '.join(missing)}", do="Use a BERT-style vocabulary."
                )
            )
        if len(present) != len(self.vocabulary):
            faults.append(
                Fault("the vocabulary holds a token twice", do="Give every token one id.")
            )
        if self.max_length < 2:
            faults.append(Fault(f"max_length is {self.max_length}", do="Choose 2 or more."))
        if faults:
            raise SpecError(faults)

    def __repr__(self) -> str:
        return f"Tokenizer({len(self.vocabulary)} tokens, max_length {self.max_length}, digest {self.digest[:12]})"

    @cached_property
    def digest(self) -> str:
        """Digest of all fields: equal digests give equal tokens."""
        text = json.dumps([self.vocabulary, self.max_length, self.lowercase, self.strip_accents])
        return hashlib.sha256(text.encode()).hexdigest()

    @cached_property
    def pad(self) -> int:
        """Id of [PAD]."""
        return self.vocabulary.index("[PAD]")

    @cached_property
    def _fast(self) -> BertWordPieceTokenizer:
        return BertWordPieceTokenizer(
            {token: number for number, token in enumerate(self.vocabulary)},
            lowercase=self.lowercase,
            strip_accents=self.strip_accents,
        )

    @cached_property
    def _known(self) -> dict[str, list[int]]:
        """Ids of what stood between blanks lately: reports repeat the same words."""
        return {}

    def _ids(self, chunk: str) -> list[int]:
        ids = self._known.get(chunk)
        if ids is None:
            if len(self._known) >= _KNOWN_CHUNKS:
                self._known.clear()
            self._known[chunk] = ids = self._fast.encode(chunk, add_special_tokens=False).ids
        return ids

    def encode(self, texts: Sequence[str]) -> list[npt.NDArray[np.int64]]:
        """Token ids of each text: [CLS], the pieces cut to `max_length` - 2, [SEP]."""
        first, last = self.vocabulary.index("[CLS]"), self.vocabulary.index("[SEP]")
        pieces = (
            [number for chunk in _BLANKS.split(text) for number in self._ids(chunk)]
            for text in texts
        )
        return [np.array([first, *ids[: self.max_length - 2], last], np.int64) for ids in pieces]

    @classmethod
    def from_pretrained_directory(cls, directory: Path, *, max_length: int = 320) -> Self:
        """Read the tokenizer of a local Hugging Face model: tokenizer.json, else vocab.txt.

        Args:
            directory: The model's folder.
            max_length: Tokens of a text at most.

        Raises:
            CheckpointError: There is no WordPiece vocabulary in the folder.
        """
        try:
            return cls(max_length=max_length, **_read_pretrained(directory))
        except (OSError, ValueError, KeyError, TypeError, SpecError) as error:
            raise CheckpointError(
                Fault(
                    "the folder holds no WordPiece tokenizer",
                    where=directory.name,
                    why=str(error)
                    if isinstance(error, SpecError)
                    else f"{type(error).__name__} while reading it",
                    do="Name a BERT-style model with tokenizer.json or vocab.txt.",
                )
            ) from error


def _read_pretrained(directory: Path) -> dict[str, Any]:
    whole = directory / "tokenizer.json"
    if whole.exists():
        stored = json.loads(whole.read_text(encoding="utf-8"))
        if (
            stored["model"]["type"] != "WordPiece"
            or stored["normalizer"]["type"] != "BertNormalizer"
        ):
            raise SpecError(Fault(f"the tokenizer is of type {stored['model']['type']}"))
        ids = dict(stored["model"]["vocab"])
        if sorted(ids.values()) != list(range(len(ids))):
            raise SpecError(Fault("the token ids are not 0, 1, 2, ..."))
        return {
            "vocabulary": tuple(sorted(ids, key=ids.__getitem__)),
            "lowercase": bool(stored["normalizer"]["lowercase"]),
            "strip_accents": stored["normalizer"]["strip_accents"],
        }
    config = directory / "tokenizer_config.json"
    options = json.loads(config.read_text(encoding="utf-8")) if config.exists() else {}
    lines = (directory / "vocab.txt").read_text(encoding="utf-8").split("\n")
    return {
        "vocabulary": tuple(
            line.rstrip("\r") for line in (lines[:-1] if lines[-1] == "" else lines)
        ),
        "lowercase": bool(options.get("do_lower_case", True)),
        "strip_accents": options.get("strip_accents"),
    }


@final
@dataclass(frozen=True, eq=False, repr=False)
class TokenStore:
    """Tokens of all reports of a cohort; equal reports are tokenized and kept once.

    Args:
        flat: All tokens, one text after another, int32.
        offsets: Where each of the m distinct texts begins, and the end, int64[m + 1].
        text: Which of the distinct texts each of the n rows has.
    """

    flat: npt.NDArray[np.int32]
    offsets: Ints
    text: Ints

    @classmethod
    def build(cls, reports: Strings, tokenizer: Tokenizer) -> Self:
        """Tokenize n reports."""
        code, distinct = codes(reports)
        ids = [tokenizer.encode([str(text)])[0].astype(np.int32) for text in distinct]
        offsets = np.cumsum([0, *map(len, ids)], dtype=np.int64)
        return cls(np.concatenate([np.empty(0, np.int32), *ids]), offsets, code)

    def __len__(self) -> int:
        return len(self.text)

    def __repr__(self) -> str:
        return (
            f"TokenStore({len(self)} rows, {len(self.offsets) - 1} texts, {len(self.flat)} tokens)"
        )

    def tokens(self, row: int) -> npt.NDArray[np.int32]:
        """Token ids of one row's report."""
        text = self.text[row]
        return self.flat[self.offsets[text] : self.offsets[text + 1]]
