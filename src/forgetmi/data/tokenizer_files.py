"""The tokenizer of a Hugging Face folder: its vocabulary, and rules that must be BERT's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from forgetmi.core.errors import Fault, SpecError
from forgetmi.core.json_text import MOST_BYTES, mapping, parse_json
from forgetmi.core.plain_text import Source, read_text
from forgetmi.core.printable import quoted

TOKENIZER = "tokenizer.json"
VOCABULARY = "vocab.txt"
_CONFIG = "tokenizer_config.json"
_ADDED = "added_tokens.json"

# Rules without a field of ours, and the only value of each that we have.
_MODEL = {
    "type": "WordPiece",
    "unk_token": "[UNK]",
    "continuing_subword_prefix": "##",
    "max_input_chars_per_word": 100,
}
_NORMALIZER = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True}
_PRE_TOKENIZER = {"type": "BertPreTokenizer"}
_OPTIONS = {"tokenize_chinese_chars": True, "do_basic_tokenize": True, "unk_token": "[UNK]"}

# Classes of tokenizers that cut words as BERT's does.
_CLASSES = frozenset(
    {
        "BertTokenizer",
        "BertTokenizerFast",
        "DistilBertTokenizer",
        "DistilBertTokenizerFast",
        "ElectraTokenizer",
        "ElectraTokenizerFast",
        "PreTrainedTokenizerFast",
        "TokenizersBackend",
    }
)

_POINTER = "version https://git-lfs"


def read_pretrained_tokenizer(directory: Path) -> dict[str, Any]:
    """Vocabulary and rules of a folder's tokenizer, as the fields of `forgetmi.data.tokenizer.Tokenizer`.

    Args:
        directory: A Hugging Face folder with tokenizer.json, else vocab.txt.

    Raises:
        SpecError: There is neither, one cannot be read, its rules are not BERT's, both hold different vocabularies, or
            tokens were added that a vocabulary of pieces does not hold.
    """
    if (directory / TOKENIZER).exists():
        fields = _from_tokenizer_json(directory / TOKENIZER)
    else:
        fields = _from_vocab_txt(directory)
    vocabulary = fields["vocabulary"]

    # Two files of which either could be meant.
    if (directory / TOKENIZER).exists() and (directory / VOCABULARY).exists():
        other = _pieces(directory / VOCABULARY)
        if other != vocabulary:
            raise _refused(
                f"{TOKENIZER} and {VOCABULARY} hold different vocabularies",
                f"{len(vocabulary)} and {len(other)} pieces",
                "Remove the one that does not belong to the weights.",
            )

    # Whole words that the model learned as one token, beside the pieces.
    if (directory / _ADDED).exists():
        _check_added(list(_mapping(directory / _ADDED)), vocabulary)
    return fields


def _from_tokenizer_json(path: Path) -> dict[str, Any]:
    stored = _mapping(path)
    model = _checked_rules(stored.get("model"), _MODEL, "model")
    normalizer = _checked_rules(stored.get("normalizer"), _NORMALIZER, "normalizer")
    _checked_rules(stored.get("pre_tokenizer"), _PRE_TOKENIZER, "pre_tokenizer")

    # A token's id is its position, so the ids must be gapless.
    ids = model.get("vocab")
    if not isinstance(ids, dict) or not ids:
        raise _refused("the vocabulary is no mapping of pieces to numbers")
    numbers = list(ids.values())
    if any(type(number) is not int for number in numbers):
        raise _refused("the vocabulary is no mapping of pieces to numbers")
    if sorted(numbers) != list(range(len(numbers))):
        raise _refused("the token ids are not 0, 1, 2, ...")
    vocabulary = tuple(sorted(ids, key=ids.__getitem__))

    added = stored.get("added_tokens") or []
    if not isinstance(added, list) or not all(isinstance(token, dict) for token in added):
        raise _refused("added_tokens is no list of tokens")
    _check_added([token.get("content") for token in added], vocabulary)
    return {"vocabulary": vocabulary, **_case(normalizer, "lowercase")}


def _from_vocab_txt(directory: Path) -> dict[str, Any]:
    """The older form: one piece a line, and the rules in a file next to it."""
    options: dict[str, Any] = {}
    if (directory / _CONFIG).exists():
        options = _mapping(directory / _CONFIG)
        given = {name: options[name] for name in _OPTIONS if options.get(name) is not None}
        _checked_rules({**_OPTIONS, **given}, _OPTIONS, _CONFIG)

    name = options.get("tokenizer_class")
    if name is not None and name not in _CLASSES:
        raise _refused(f"the tokenizer is of class {quoted(name)}")
    return {"vocabulary": _pieces(directory / VOCABULARY), **_case(options, "do_lower_case")}


def _pieces(path: Path) -> tuple[str, ...]:
    """The pieces of a vocab.txt, one a line; empty lines at its end are none."""
    lines = _text(path).split("\n")
    while lines and not lines[-1].rstrip("\r"):
        lines.pop()
    return tuple(line.rstrip("\r") for line in lines)


def _case(rules: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Whether texts are lower-cased and accents removed."""
    lowercase, strip_accents = rules.get(name, True), rules.get("strip_accents")
    if type(lowercase) is not bool:
        raise _refused(f"{name} is {quoted(lowercase)}", "true or false is expected")
    if strip_accents is not None and type(strip_accents) is not bool:
        raise _refused(f"strip_accents is {quoted(strip_accents)}", "true or false is expected")
    return {"lowercase": lowercase, "strip_accents": strip_accents}


def _checked_rules(found: Any, usual: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The same rules, unless there are some that we do not have; what is not stated is BERT's."""
    if not isinstance(found, dict):
        raise _refused(f"it has no {where} of BERT's kind")

    # The type must be stated, and is said first: the other rules follow from it.
    for name, value in usual.items():
        stated = found.get(name) if name == "type" else found.get(name, value)
        if stated != value:
            raise _refused(f"{where}: {name} is {quoted(stated)}", f"only {value!r} is supported")
    return found


def _check_added(added: Sequence[Any], vocabulary: Sequence[str]) -> None:
    """Refuse tokens that were added beside the vocabulary: texts would be cut in another way than in training."""
    known = set(vocabulary)
    beside = [token for token in added if not isinstance(token, str) or token not in known]
    if beside:
        raise _refused(
            f"{len(beside)} tokens were added to the tokenizer",
            "the vocabulary of pieces does not hold them",
        )


def _mapping(path: Path) -> dict[str, Any]:
    """The content of a JSON file, which must be a mapping."""
    source = Source(path.name, "the tokenizer", "Use the original file.")
    values = parse_json(_text(path), where=source.where, what=source.what, do=source.do)
    return mapping(values, source)


def _text(path: Path) -> str:
    """The text of a file, unless it stands for one that was not fetched."""
    source = Source(path.name, "the vocabulary", "")
    text = read_text(path, source, limit=MOST_BYTES)
    if text.startswith(_POINTER):
        raise _refused(
            f"{path.name} is a git-lfs pointer, not the file",
            do="Fetch it: git lfs pull in that folder.",
        )
    return text


def _refused(what: str, why: str = "", do: str = "") -> SpecError:
    return SpecError(Fault(what, why=why, do=do))
