"""The vocabulary: every piece from several patients, the same whatever the order; the tokenizer; the token store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import forgetmi.data.tokenizer as tokenizer_module
from forgetmi.core.errors import CheckpointError, SpecError
from forgetmi.data.token_store import TokenStore
from forgetmi.data.tokenizer import Tokenizer
from forgetmi.data.wordpiece import SPECIAL, train_wordpiece

WORDS = (
    "edema",
    "edematous",
    "effusion",
    "effusions",
    "pleural",
    "lungs",
    "lung",
    "clear",
    "cardiac",
    "cardiomegaly",
    "mild",
    "mildly",
    "vascular",
    "congestion",
    "no",
    "pneumothorax",
    "Ödem",
    "x",
    "1.5",
    "q-wave",
)


def corpus(n: int, seed: int = 0) -> tuple[list[str], list[str]]:
    rng = np.random.default_rng(seed)
    reports = [" ".join(rng.choice(WORDS, 8, p=np.arange(20, 0, -1) / 210)) + "." for _ in range(n)]
    return reports, [f"patient {number}" for number in rng.integers(0, max(1, n // 3), n)]


def slow_wordpiece(
    reports: list[str], patients: list[str], size: int, least: int
) -> tuple[str, ...]:
    """The same rule with everything counted anew for each merge."""
    tokenizer = Tokenizer(
        SPECIAL
    )._library_tokenizer  # only its normalisation and word splitting are used
    owners: dict[str, set[str]] = {}
    for report, patient in zip(reports, patients, strict=True):
        for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(
            tokenizer.normalizer.normalize_str(report)
        ):
            owners.setdefault(word, set()).add(patient)
    split = {
        word: [letter if at == 0 else "##" + letter for at, letter in enumerate(word)]
        for word in owners
    }
    support: dict[str, set[str]] = {}
    for word, pieces in split.items():
        for piece in pieces:
            support.setdefault(piece, set()).update(owners[word])
    frequent = sorted(
        (piece for piece in support if len(support[piece]) >= least),
        key=lambda piece: (-len(support[piece]), piece),
    )
    vocabulary = [*SPECIAL, *sorted(frequent[: size - 5])]
    split = {word: pieces for word, pieces in split.items() if set(pieces) <= set(vocabulary)}
    while len(vocabulary) < size:
        count: Counter[tuple[str, str]] = Counter()
        holders: dict[tuple[str, str], set[str]] = {}
        for word, pieces in split.items():
            for pair in pairwise(pieces):
                count[pair] += len(owners[word])
                holders.setdefault(pair, set()).update(owners[word])
        pairs = [pair for pair in count if len(holders[pair]) >= least]
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-count[pair], pair))
        merged = best[0] + best[1][2:]
        for pieces in split.values():
            at = 0
            while at < len(pieces) - 1:
                if (pieces[at], pieces[at + 1]) == best:
                    pieces[at : at + 2] = [merged]
                at += 1
        if merged not in vocabulary:
            vocabulary.append(merged)
    return tuple(vocabulary)


def test_a_vocabulary_by_hand() -> None:
    vocabulary = train_wordpiece(
        ["Ab ab", "ab abc", "abc", "z"], ["p", "q", "q", "q"], size=100, min_patients=2
    )
    # "ab" has 2 patients, "abc" and "z" one: "c" and "z" are known from one patient only.
    assert vocabulary == (*SPECIAL, "##b", "a", "ab")


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 60), st.integers(6, 120), st.integers(1, 6), st.integers(0, 1000))
def test_it_is_the_slow_one(n: int, size: int, least: int, seed: int) -> None:
    reports, patients = corpus(n, seed)
    assert train_wordpiece(reports, patients, size=size, min_patients=least) == slow_wordpiece(
        reports, patients, size, least
    )


@settings(deadline=None, max_examples=20)
@given(st.permutations(range(60)), st.booleans())
def test_the_order_of_rows_does_not_matter(order: list[int], twice: bool) -> None:
    reports, patients = corpus(60)
    rows = order + order[:20] if twice else order  # several images of one study repeat its report
    assert train_wordpiece(
        [reports[row] for row in rows], [patients[row] for row in rows], size=80
    ) == train_wordpiece(reports, patients, size=80)


def test_no_piece_comes_from_few_patients() -> None:
    reports, patients = corpus(300)
    reports += ["the zebrafish syndrome"] * 40
    patients += [f"rare {number % 4}" for number in range(40)]
    vocabulary = train_wordpiece(reports, patients, size=200)
    owners: dict[str, set[str]] = {}
    for report, patient in zip(reports, patients, strict=True):
        for word in (
            report.lower().replace("ö", "o").replace(".", " . ").replace("-", " - ").split()
        ):
            owners.setdefault(word, set()).add(patient)
    for piece in vocabulary[5:]:
        letters = piece.removeprefix("##")
        holding = [
            who
            for word, who in owners.items()
            if (letters in word[1:] if piece.startswith("##") else word.startswith(letters))
        ]
        assert len(set().union(*holding)) >= 5, piece
    assert "z" not in vocabulary
    assert "zebrafish" not in vocabulary
    assert "edema" in vocabulary


@pytest.mark.parametrize("hash_seed", [pytest.param("0", marks=pytest.mark.slow), "4711"])
def test_another_process_learns_the_same(hash_seed: str) -> None:
    reports, patients = corpus(200)
    code = (
        "import json, sys; from forgetmi.data.wordpiece import train_wordpiece; "
        "print(json.dumps(train_wordpiece(*json.load(sys.stdin), size=150)))"
    )
    other = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps([reports, patients]),
        text=True,
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
    )
    assert tuple(json.loads(other.stdout)) == train_wordpiece(reports, patients, size=150)


def test_1200_reports_take_less_than_a_second() -> None:
    reports, patients = corpus(1200)
    train_wordpiece(reports[:10], patients[:10])
    began = time.process_time()
    train_wordpiece(reports, patients)
    assert time.process_time() - began < 1.0


@pytest.mark.parametrize(("size", "least"), [(5, 5), (100, 0)])
def test_impossible_sizes_are_refused(size: int, least: int) -> None:
    with pytest.raises(SpecError):
        train_wordpiece(["a"], ["p"], size=size, min_patients=least)


def test_encode_cuts_and_frames() -> None:
    tokenizer = Tokenizer((*SPECIAL, "mild", "ed", "##ema", "."), max_length=5)
    ids = tokenizer.encode(["Mild edema.", "", "mild mild mild mild", "what"])
    assert [one.tolist() for one in ids] == [[2, 5, 6, 7, 3], [2, 3], [2, 5, 5, 5, 3], [2, 1, 3]]
    assert all(one.dtype == np.int64 for one in ids)


ODD = (" ", "\n\t", "[MASK]", "\x1c", "\u0301", "肺", "a" * 101)


@given(
    st.lists(st.one_of(st.text(), st.sampled_from([*WORDS, *ODD]))).map("".join),
    st.booleans(),
    st.sampled_from([None, True, False]),
)
def test_encode_is_the_librarys(text: str, lowercase: bool, strip_accents: bool | None) -> None:
    tokenizer = Tokenizer(
        (*SPECIAL, *"abcdefghijklmnopqrstuvwxyz", *(f"##{letter}" for letter in "abcdemnoö"), "肺"),
        lowercase=lowercase,
        strip_accents=strip_accents,
        max_length=10**6,
    )
    assert tokenizer.encode([text])[0].tolist() == tokenizer._library_tokenizer.encode(text).ids


def test_encode_forgets_old_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizer_module, "_KNOWN_CHUNKS", 3)
    tokenizer = Tokenizer((*SPECIAL, *"abcdef"))
    assert tokenizer.encode(["a b c d e f a"])[0].tolist() == [2, 5, 6, 7, 8, 9, 10, 5, 3]
    assert len(tokenizer._known) <= 3


def test_special_tokens_may_stand_anywhere() -> None:
    tokenizer = Tokenizer(("a", *reversed(SPECIAL)))
    assert tokenizer.pad == 5
    assert tokenizer.encode(["a"])[0].tolist() == [3, 0, 2]


def test_a_bad_vocabulary_reports_every_fault() -> None:
    with pytest.raises(SpecError) as caught:
        Tokenizer(("[PAD]", "a", "a"), max_length=1)
    assert len(caught.value.faults) == 3


def test_the_digest_follows_every_field_and_the_repr_shows_no_token() -> None:
    plain = Tokenizer((*SPECIAL, "secret"))
    others = [
        Tokenizer((*SPECIAL, "other")),
        Tokenizer(plain.vocabulary, 8),
        Tokenizer(plain.vocabulary, lowercase=False),
        Tokenizer(plain.vocabulary, strip_accents=True),
    ]
    assert len({one.digest for one in (plain, *others)}) == 5
    assert plain.digest == Tokenizer((*SPECIAL, "secret")).digest
    assert "secret" not in repr(plain)


@pytest.mark.parametrize("kind", ["tokenizer.json", "vocab.txt"])
@pytest.mark.parametrize("lowercase", [True, False])
def test_a_hugging_face_folder_gives_the_same_tokens(
    tmp_path: Path, kind: str, lowercase: bool
) -> None:
    from transformers import BertTokenizer

    vocabulary = [*SPECIAL, "mild", "Mild", "ed", "##ema", "odem", "."]
    theirs = BertTokenizer(
        vocab={token: at for at, token in enumerate(vocabulary)}, do_lower_case=lowercase
    )
    if kind == "tokenizer.json":
        theirs.save_pretrained(tmp_path)
    else:
        (tmp_path / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": lowercase}))
    ours = Tokenizer.from_pretrained_directory(tmp_path, max_length=6)
    assert ours.vocabulary == tuple(vocabulary)
    texts = ["Mild edema.", "Ödem", "mild mild mild mild mild mild", ""]
    expected = [theirs(text, truncation=True, max_length=6)["input_ids"] for text in texts]
    assert [one.tolist() for one in ours.encode(texts)] == expected


@pytest.mark.parametrize("content", [None, "[PAD]\na\n", "roberta", "{"])
def test_a_folder_without_a_wordpiece_vocabulary_is_refused(
    tmp_path: Path, content: str | None
) -> None:
    if content == "roberta":
        (tmp_path / "tokenizer.json").write_text(
            json.dumps({"model": {"type": "BPE"}, "normalizer": {"type": "NFC"}})
        )
    elif content == "{":
        (tmp_path / "tokenizer.json").write_text(content)
    elif content is not None:
        (tmp_path / "vocab.txt").write_text(content)
    with pytest.raises(CheckpointError, match="no WordPiece tokenizer"):
        Tokenizer.from_pretrained_directory(tmp_path)


def test_the_store_tokenizes_equal_reports_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = Tokenizer((*SPECIAL, "a", "b"))
    asked: list[str] = []
    encode = Tokenizer.encode
    monkeypatch.setattr(
        Tokenizer, "encode", lambda self, texts: asked.extend(texts) or encode(self, texts)
    )
    store = TokenStore.build(np.array(["a b", "b", "a b", ""], object), tokenizer)
    assert asked == ["a b", "b", ""]
    assert [store.tokens(row).tolist() for row in range(4)] == [
        [2, 5, 6, 3],
        [2, 6, 3],
        [2, 5, 6, 3],
        [2, 3],
    ]
    assert len(store) == 4
    assert store.flat.dtype == np.int32
