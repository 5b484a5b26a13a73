"""One thing that depends on people: its kind, and what can be done about it."""

from __future__ import annotations

from dataclasses import dataclass

# What must be done about each kind
TO_DO = {
    "model": "make it forget them or retrain it, or delete it",
    "training log": "replace it by the one that unlearning leaves, or delete it",
    "progress": "finish the command it belongs to, or delete it",
    "pool": "delete the members that were trained on them, or account for them",
    "films": "take theirs out with forgetmi cache forget, or delete all: they are decoded again",
    "signals": "numbers of a model about them by digest: keep as evidence, or delete",
    "record": "evidence of their withdrawal: keep",
    "ledger": "the entry of their request: keep",
    "identifier": "it names them: delete, or keep where the law asks for it",
    "digest": "it names them by keyed digest: keep as evidence, or delete",
    "unknown": "nobody can say whom it depends on: delete it, or account for it",
}
# What remembers people, or may: a request is closed when none of these is left, or each is accounted for
REMEMBERS = ("model", "training log", "progress", "pool", "films", "unknown")


@dataclass(frozen=True)
class Artefact:
    """One thing that depends on people of a list, or of which nobody can say whether it does.

    Args:
        path: Where, below the folder that was searched; a name that holds an identifier is not shown.
        kind: One of `TO_DO`.
        what: In words, how it depends on them.
        people: Keyed digests of those concerned; empty = unknown.
        digest: Of the weights of a model, else empty.
    """

    path: str
    kind: str
    what: str
    people: tuple[str, ...]
    digest: str = ""

    @property
    def to_do(self) -> str:
        """What can be done about it."""
        return TO_DO[self.kind]
