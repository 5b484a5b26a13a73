"""A user's own model as one that methods can take apart, and the front door that makes it so."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

from torch import Tensor, nn

from forgetmi.core.batch import Batch, Outputs
from forgetmi.core.errors import Fault, MethodError, SpecError
from forgetmi.core.inputs import Series, Tokens
from forgetmi.core.missing import without_absent
from forgetmi.core.modalities import JOINT
from forgetmi.core.net import HEAD, PUBLIC, REST, TOWER, Part
from forgetmi.model.adapter import Adapter, Named, adapter_faults
from forgetmi.model.execution import Execution
from forgetmi.model.net_module import NetModule
from forgetmi.model.own_spec import OwnSpec

# Name of the user's module within the adapted one, as it stands before the names of its tensors
MODULE = "module."


def adapt(
    module: nn.Module,
    *,
    modalities: Sequence[str] = ("image", "text"),
    forward: Callable[[Any, Batch], Outputs] | None = None,
    embeddings: Callable[[Any, Batch], Named] | None = None,
    logits: Callable[[Any, Named], Named] | None = None,
    joint: Callable[[Any, Named], Tensor] | None = None,
    heads: Mapping[str, str] | None = None,
    stages: Mapping[str, Sequence[str]] | None = None,
    words: str = "",
    public: Sequence[str] = (),
    save: Callable[[Any, Path], Any] | None = None,
    load: Callable[[Any, Path], Any] | None = None,
) -> Adapted:
    """Make any module one that every command and method can work on, as far as it says what they need.

    Use it in a factory that is named on the command line (``--model-from``); docs/bring_your_own_model.md has a whole
    example. A function is given the module as its first argument and must use that one: copies of it are trained. What
    is left out costs the methods that need it, with one sentence each (``forgetmi methods --model-from``).

    Args:
        module: The user's own.
        modalities: What it reads of a batch: "image", "text", "table", ...
        forward: From the module and a batch to its `Outputs`; or give ``embeddings``.
        embeddings: From the module and a batch to Float[b, d] by modality.
        logits: From the module and the embeddings to Float[b, k] by head; None = each of ``heads`` on its embedding.
        joint: From the module and the embeddings of all modalities to the joint one, Float[b, d].
        heads: Names of linear heads in the module, by the embedding that each reads.
        stages: Names of modules in the order in which they run, by modality, without the head.
        words: Name of the table of word embeddings (an ``nn.Embedding``).
        public: Names of modules with public weights that have never seen a patient of the cohort; they must be frozen
            (``requires_grad_(False)``), stay in eval mode and are moved by no method.
        save: Writes the module's weights into an empty folder; None = as safetensors.
        load: Reads them from that folder into the module, or returns a new module.

    Returns:
        The adapted model.

    Raises:
        SpecError: A name is not the module's, or the functions do not go together; all faults at once.

    Examples:
        >>> linear = nn.Linear(4, 2)
        >>> model = adapt(nn.ModuleDict({"head": linear}), modalities=("table",), heads={"table": "head"},
        ...               embeddings=lambda module, batch: {"table": batch.inputs["table"]})
        >>> model.heads["table"] is linear
        True
    """
    adapter = Adapter(
        modalities=tuple(modalities),
        forward=forward,
        embeddings=embeddings,
        logits=logits,
        joint=joint,
        heads=dict(heads or {}),
        stages={name: tuple(names) for name, names in (stages or {}).items()},
        words=words,
        public=tuple(public),
        save=save,
        load=load,
    )
    faults = adapter_faults(module, adapter)
    if faults:
        raise SpecError(faults)
    return Adapted(module, adapter)


@final
class Adapted(NetModule):
    """A user's own module; made by `adapt`.

    Args:
        module: The user's own.
        adapter: How it is run and taken apart.
    """

    def __init__(self, module: nn.Module, adapter: Adapter) -> None:
        super().__init__()
        self.module = module
        self.adapter = adapter
        self.execution = Execution()

        # Known once a factory has made it, and once it has run
        self.own_spec: OwnSpec | None = None
        self.maker: Callable[[int], Adapted] | None = None
        self.seen: tuple[tuple[str, ...], dict[str, int]] | None = None

    @property
    def spec(self) -> OwnSpec:
        """Which factory made it.

        Raises:
            MethodError: None did.
        """
        if self.own_spec is None:
            raise MethodError(
                Fault(
                    "nobody knows which factory made this model",
                    why="it was adapted in a program, without one",
                    do="Name a factory: Architecture(factory=...), or --model-from.",
                )
            )
        return self.own_spec

    @property
    def modalities(self) -> tuple[str, ...]:
        """What it reads."""
        return self.adapter.modalities

    @property
    def heads(self) -> dict[str, nn.Linear]:
        """The linear heads that were named."""
        found: dict[str, nn.Linear] = {}
        for head, name in self.adapter.heads.items():
            layer = self.module.get_submodule(name)
            assert isinstance(layer, nn.Linear)
            found[head] = layer
        return found

    @property
    def logit_names(self) -> tuple[str, ...]:
        """The heads in its last outputs."""
        return self._seen()[0]

    @property
    def embedding_widths(self) -> dict[str, int]:
        """The embeddings in its last outputs."""
        return self._seen()[1]

    @property
    def joining(self) -> tuple[str, ...]:
        """None: all of it is trained together."""
        return ()

    @property
    def joins(self) -> bool:
        """Whether ``joint`` was given."""
        return self.adapter.joint is not None

    @property
    def words(self) -> str:
        """The table that was named."""
        return f"{MODULE}{self.adapter.words}" if self.adapter.words else ""

    def parts(self) -> dict[str, Part]:
        """A part for each tower and head that was named, the rest, and public modules that are in none of them.

        A part has seen no patients where all of its tensors are public.
        """
        roots: dict[str, str] = {}
        for head, name in self.adapter.heads.items():
            roots[f"{MODULE}{name}."] = f"{HEAD}{head}"
        for modality, stages in self.adapter.stages.items():
            roots.update({f"{MODULE}{name}.": f"{TOWER}{modality}" for name in stages})

        # What is in no part that was named, by whether it is public
        public = tuple(f"{MODULE}{name}." for name in self.adapter.public)
        roots = {**dict.fromkeys(public, PUBLIC), **roots}
        names: dict[str, list[str]] = {}
        for tensor in self.state_dict():
            part = next((part for root, part in roots.items() if tensor.startswith(root)), REST)
            names.setdefault(part, []).append(tensor)

        fresh = self._fresh if self.maker is not None else None
        parts: dict[str, Part] = {}
        for part, found in names.items():
            untouched = all(tensor.startswith(public) for tensor in found)
            parts[part] = Part(tuple(found), saw_patients=not untouched, fresh=fresh)
        return parts

    def train(self, mode: bool = True) -> Adapted:
        """Set the mode; public modules stay in eval mode, so that no statistics of theirs move."""
        super().train(mode)
        for name in self.adapter.public:
            self.module.get_submodule(name).eval()
        return self

    def stages(self, modality: str) -> tuple[str, ...]:
        """The stages that were named and may move, then the heads that read them."""
        stages = self.adapter.stages.get(modality, ())
        if not stages:
            return ()
        public = tuple(f"{name}." for name in self.adapter.public)
        stages = tuple(name for name in stages if not f"{name}.".startswith(public))

        # A head of several modalities ends each of them
        heads = self.adapter.heads
        own = [heads[modality]] if modality in heads else list(heads.values())
        return tuple(f"{MODULE}{name}" for name in (*stages, *own))

    def embed(self, batch: Batch, modality: str) -> Tensor:
        """The values themselves, or word embeddings of tokens."""
        values = batch.inputs[modality]
        if isinstance(values, Tokens):
            return self.get_submodule(self.words)(values.ids)
        return values.values if isinstance(values, Series) else values

    def joined(self, embeddings: Named) -> Tensor:
        """What ``joint`` makes of them."""
        if self.adapter.joint is None:
            raise MethodError(Fault("the model does not say how it joins embeddings"))
        return self.adapter.joint(self.module, embeddings)

    def start_afresh(self, *, seed: int, names: Iterable[str]) -> None:
        """Copied from a new model, which the factory makes under that seed."""
        below = tuple(f"{name}." for name in names)
        fresh = self._fresh(seed)
        for name, value in self.state_dict(keep_vars=True).items():
            if name.startswith(below):
                value.data.copy_(fresh[name])

    def forward(self, batch: Batch, *, text_inputs: Tensor | None = None) -> Outputs:
        """Run the user's functions.

        Args:
            batch: Samples, on the model's device.
            text_inputs: Float[b, l, hidden] word embeddings in place of the tokens' own, see `words`.
        """
        with self._words_replaced(text_inputs):
            outputs = without_absent(self._run(batch), batch)

        widths = {name: values.shape[-1] for name, values in outputs.embedding.items()}
        self.seen = (tuple(outputs.logits), widths)
        return outputs

    def _run(self, batch: Batch) -> Outputs:
        adapter = self.adapter
        if adapter.forward is not None:
            return adapter.forward(self.module, batch)

        # Embeddings, the joint one of them, and the predictions
        assert adapter.embeddings is not None
        embeddings = dict(adapter.embeddings(self.module, batch))
        if adapter.joint is not None:
            embeddings[JOINT] = adapter.joint(self.module, embeddings)
        if adapter.logits is not None:
            return Outputs(adapter.logits(self.module, embeddings), embeddings)
        logits = {name: head(embeddings[name]) for name, head in self.heads.items()}
        return Outputs(logits, embeddings)

    @contextmanager
    def _words_replaced(self, inputs: Tensor | None) -> Iterator[None]:
        """Let the table of word embeddings give other values for a pass."""
        if inputs is None:
            yield
            return
        table = self.get_submodule(self.words)
        handle = table.register_forward_hook(lambda *_: inputs)
        try:
            yield
        finally:
            handle.remove()

    def _seen(self) -> tuple[tuple[str, ...], dict[str, int]]:
        if self.seen is None:
            raise MethodError(
                Fault(
                    "nobody knows what this model puts out",
                    why="it has not run yet",
                    do="Run it on one batch, or let a factory make it.",
                )
            )
        return self.seen

    def _fresh(self, seed: int) -> dict[str, Tensor]:
        if self.maker is None:
            raise MethodError(Fault("nobody knows how to make a new model of this kind"))
        return self.maker(seed).state_dict()
