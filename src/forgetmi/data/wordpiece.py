"""Learning a WordPiece vocabulary from reports, such that no piece betrays a single patient."""

from __future__ import annotations

import heapq
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from forgetmi.core.arrays import Strings, codes
from forgetmi.core.errors import Fault, SpecError

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

# BERT's rules look at nothing beyond these, so that a text may be cut there first.
BLANKS = re.compile(r"[ \t\r\n]+")

Pair = tuple[str, str]


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
    characters = _common_characters(words, size=size - len(SPECIAL), min_patients=min_patients)
    vocabulary = [*SPECIAL, *characters]
    known = set(vocabulary)

    # A word with a character that is not known is one [UNK] for the tokenizer, whatever else is in the vocabulary.
    usable = sorted(word for word in words if known.issuperset(_characters(word)))
    merges = _Merges(
        [_characters(word) for word in usable], [words[word] for word in usable], min_patients
    )

    # The most frequent pair becomes a piece, again and again.
    while len(vocabulary) < size:
        pair = merges.best()
        if pair is None:
            break

        piece = merges.merge(pair)
        if piece not in known:
            known.add(piece)
            vocabulary.append(piece)

    return tuple(vocabulary)


def _patients_of_words(
    reports: Sequence[str] | Strings, patients: Sequence[str] | Strings
) -> dict[str, set[int]]:
    """The patients in whose reports each word stands."""
    normalise = BertNormalizer(lowercase=True).normalize_str
    split = BertPreTokenizer().pre_tokenize_str
    patient, _ = codes(np.asarray(patients, object))

    # What stands between blanks is normalised once, however often it occurs.
    patients_of_chunk: dict[str, set[int]] = defaultdict(set)
    for report, number in zip(reports, patient.tolist(), strict=True):
        for chunk in BLANKS.split(report):
            patients_of_chunk[chunk].add(number)

    patients_of_word: dict[str, set[int]] = defaultdict(set)
    for chunk, numbers in patients_of_chunk.items():
        for word, _ in split(normalise(chunk)):
            patients_of_word[word] |= numbers
    return patients_of_word


def _common_characters(words: dict[str, set[int]], *, size: int, min_patients: int) -> list[str]:
    """The characters that enough patients' reports have, sorted; of too many those of the most patients."""
    support: dict[str, set[int]] = defaultdict(set)
    for word, patients in words.items():
        for character in _characters(word):
            support[character] |= patients

    common = [character for character, patients in support.items() if len(patients) >= min_patients]
    common.sort(key=lambda character: (-len(support[character]), character))
    return sorted(common[:size])


def _characters(word: str) -> list[str]:
    """A word as pieces of one character: all but the first go on from what is before."""
    return [word[0], *("##" + letter for letter in word[1:])]


class _Merges:
    """The pairs of neighbouring pieces in all words, kept up to date from merge to merge.

    Args:
        words: Pieces of each word.
        patients: The patients of each word.
        min_patients: A pair needs this many distinct patients.
    """

    def __init__(self, words: list[list[str]], patients: list[set[int]], min_patients: int) -> None:
        self._words = words
        self._min_patients = min_patients
        self._weight = [len(numbers) for numbers in patients]

        # As many patients of a word as can matter: a union of these reaches min_patients exactly if the full one does.
        self._some_patients = [frozenset(sorted(numbers)[:min_patients]) for numbers in patients]

        # How often each pair occurs, by patients, and in which words.
        self._count: dict[Pair, int] = defaultdict(int)
        self._where: dict[Pair, set[int]] = defaultdict(set)
        for number, pieces in enumerate(words):
            self._add(number, pieces)

        # The largest count first; counts that changed are pushed again, and old entries are skipped.
        self._heap = [(-count, pair) for pair, count in self._count.items()]
        heapq.heapify(self._heap)

    def best(self) -> Pair | None:
        """The most frequent pair that enough patients share; None when there is none left."""
        while self._heap:
            negative, pair = heapq.heappop(self._heap)
            count = -negative

            # Out of date: the pair's present count is elsewhere in the heap.
            if count != self._count.get(pair, 0):
                continue

            if count >= self._min_patients and self._shared(pair):
                return pair
        return None

    def merge(self, pair: Pair) -> str:
        """Join the pair wherever it stands; returns the new piece."""
        piece = pair[0] + pair[1].removeprefix("##")

        changed: set[Pair] = set()
        for number in self._where.pop(pair):
            before = self._words[number]
            after = _join(before, pair, piece)
            self._remove(number, before)
            self._add(number, after)
            self._words[number] = after
            changed.update(pairwise(before))
            changed.update(pairwise(after))

        for neighbours in changed:
            if self._count[neighbours] > 0:
                heapq.heappush(self._heap, (-self._count[neighbours], neighbours))
        return piece

    def _add(self, number: int, pieces: Iterable[str]) -> None:
        for neighbours in pairwise(pieces):
            self._count[neighbours] += self._weight[number]
            self._where[neighbours].add(number)

    def _remove(self, number: int, pieces: Iterable[str]) -> None:
        for neighbours in pairwise(pieces):
            self._count[neighbours] -= self._weight[number]
            self._where[neighbours].discard(number)

    def _shared(self, pair: Pair) -> bool:
        """Whether enough patients have a word with the pair."""
        patients: set[int] = set()
        for number in self._where[pair]:
            patients |= self._some_patients[number]
            if len(patients) >= self._min_patients:
                return True
        return False


def _join(pieces: list[str], pair: Pair, piece: str) -> list[str]:
    """The pieces of a word with a pair replaced by one piece, from left to right."""
    joined: list[str] = []
    position = 0
    while position < len(pieces):
        if tuple(pieces[position : position + 2]) == pair:
            joined.append(piece)
            position += 2
        else:
            joined.append(pieces[position])
            position += 1
    return joined
