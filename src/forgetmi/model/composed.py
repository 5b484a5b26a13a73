"""A model composed of towers: an embedding and a head a modality, and what joins them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from forgetmi.core import distributed
from forgetmi.core.batch import Batch, Outputs
from forgetmi.core.errors import Fault, MethodError, SpecError
from forgetmi.core.inputs import Inputs, Series, Tokens
from forgetmi.core.missing import zero_where_absent
from forgetmi.core.modalities import JOINT, TEXT
from forgetmi.core.net import HEAD, JOIN, REST, TOWER, Part
from forgetmi.core.seeding import scope
from forgetmi.core.suggest import did_you_mean
from forgetmi.model.batch_norm_rows import of_those_there
from forgetmi.model.compiling import compiled
from forgetmi.model.composed_spec import ComposedSpec
from forgetmi.model.executing import micro_batches
from forgetmi.model.execution import Execution
from forgetmi.model.gate import MultimodalAdaptationGate
from forgetmi.model.memory_layout import channels_last
from forgetmi.model.net_module import NetModule

_TOWERS, PROJECTIONS, _HEADS, _GATE = "towers", "projections", "classifiers", "gate"


class Composed(NetModule):
    """Maps a batch to an embedding and logits a modality, and to a joint embedding.

    Each tower's embedding is projected to one width, on which its head stands. Two are joined by the gate; one, or more
    than two, by their mean. A modality that a sample lacks has the embedding 0, and is in no mean. Several processes
    compute all of it each.

    Its weights mean nothing until `forgetmi.model.initialise.build` or a checkpoint fills them. The first stages that
    the specification freezes ask for no gradients; stages that are frozen draw no dropout, whatever the mode.

    Args:
        spec: Resolved.
    """

    def __init__(self, spec: ComposedSpec) -> None:
        super().__init__()
        self._spec = spec
        self.execution = Execution()

        # Layers draw random weights when they are made
        with scope(0, "construct"):
            self.towers = nn.ModuleDict()
            self.projections = nn.ModuleDict()
            self.classifiers = nn.ModuleDict()
            for modality, tower in spec.towers:
                self.towers[modality] = tower.build()
                self.projections[modality] = nn.Linear(self.tower(modality).width, spec.width)
                if spec.classes:
                    self.classifiers[modality] = nn.Linear(spec.width, spec.classes)
            if spec.gated:
                self.gate = MultimodalAdaptationGate(spec.width)

        for modality, tower in spec.towers:
            self._check_frozen(modality, tower.frozen)
        self._freeze()

    @property
    def spec(self) -> ComposedSpec:
        """Its architecture."""
        return self._spec

    @property
    def modalities(self) -> tuple[str, ...]:
        """What its towers read."""
        return self.spec.modalities

    @property
    def heads(self) -> dict[str, nn.Linear]:
        """The classifier of each modality; none where nothing is predicted."""
        return {name: cast(nn.Linear, self.classifiers[name]) for name in self.logit_names}

    @property
    def logit_names(self) -> tuple[str, ...]:
        """One a modality; none where nothing is predicted."""
        return self.modalities if self.spec.classes else ()

    @property
    def embedding_widths(self) -> dict[str, int]:
        """One a modality, and the joint one, all of one width."""
        return dict.fromkeys((*self.modalities, JOINT), self.spec.width)

    @property
    def joining(self) -> tuple[str, ...]:
        """The gate, where two embeddings are joined."""
        return (_GATE,) if self.spec.gated else ()

    @property
    def joins(self) -> bool:
        """By the gate, or their mean."""
        return True

    @property
    def words(self) -> str:
        """The text tower's table of word embeddings."""
        if TEXT not in self.modalities:
            return ""
        name = self.tower(TEXT).words
        return f"{_TOWERS}.{TEXT}.{name}" if name else ""

    def tower(self, modality: str) -> Any:
        """The tower of one modality; see `forgetmi.model.towers.protocol.Tower`."""
        return self.towers[modality]

    def parts(self) -> dict[str, Part]:
        """Towers with their projections, heads and the gate.

        A tower that is frozen throughout has seen no patients unless its specification says so; its projection, which
        is trained, is then among the rest.
        """
        names: dict[str, list[str]] = {}
        public = [modality for modality, tower in self.spec.towers if self._is_public(modality)]
        for tensor in self.state_dict():
            names.setdefault(_part_of(tensor, public), []).append(tensor)

        parts: dict[str, Part] = {}
        for part, found in names.items():
            untouched = part.removeprefix(TOWER) in public and part.startswith(TOWER)
            parts[part] = Part(tuple(found), saw_patients=not untouched, fresh=self._fresh)
        return parts

    def stages(self, modality: str) -> tuple[str, ...]:
        """The tower's stages that may move, its projection and its head; none where the tower names none."""
        inner = self.tower(modality).stages()
        if not inner:
            return ()
        free = inner[self.spec.tower(modality).frozen :]
        tower = tuple(f"{_TOWERS}.{modality}.{name}" for name in free)
        head = (f"{_HEADS}.{modality}",) if self.spec.classes else ()
        return (*tower, f"{PROJECTIONS}.{modality}", *head)

    def steps(self, modality: str) -> tuple[tuple[nn.Module, ...], ...]:
        """The modules of each of a tower's stages, which `encode` can stop between; none of a series."""
        inputs_differ = self.spec.tower(modality).modality == "series"
        stages = () if inputs_differ else self.tower(modality).stages()
        return tuple((self.tower(modality).get_submodule(name),) for name in stages)

    def embed(self, batch: Batch, modality: str) -> Tensor:
        """Pixels, values or word embeddings."""
        soft = self.tower(modality).soft(batch.inputs[modality])
        if isinstance(soft, Tokens):
            return soft.ids
        return soft.values if isinstance(soft, Series) else soft

    def encode(self, batch: Batch, modality: str, *, stop: int) -> Tensor:
        """The input of one of a tower's stages: what the stages before it make of a batch."""
        return self.tower(modality)(_there(batch, modality), stop=stop)

    def joined(self, embeddings: Mapping[str, Tensor]) -> Tensor:
        """The joint embedding of given embeddings, all of them there."""
        values = [embeddings[modality] for modality in self.modalities]
        if self.spec.gated:
            return self.gate(*values)
        return torch.stack(values).mean(0)

    def start_afresh(self, *, seed: int, names: Iterable[str]) -> None:
        """Give modules, by their names, what a new model of that seed has, in place."""
        roots = tuple(names)
        modules = dict(self.named_modules())
        unknown = [name for name in roots if name not in modules]
        if unknown:
            faults = []
            for name in unknown:
                what = f"the model has no module {name!r}"
                faults.append(Fault(what, do=did_you_mean(name, modules)))
            raise SpecError(faults)

        fresh = fresh_state(self.spec, seed=seed, roots=roots)
        own = self.state_dict(keep_vars=True)
        below = tuple(f"{root}." for root in roots)
        with torch.no_grad():
            for name, value in fresh.items():
                if name.startswith(below) or "" in roots:
                    own[name].copy_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Composed:
        """Let all weights ask for gradients or none; those that the specification freezes never do."""
        super().requires_grad_(requires_grad)
        self._freeze()
        return self

    def train(self, mode: bool = True) -> Composed:
        """Set the mode; stages that are frozen stay in eval mode, so that they give the same for the same sample."""
        super().train(mode)
        for modality in self.modalities:
            for (stage,) in self.steps(modality):
                if not any(weight.requires_grad for weight in stage.parameters()):
                    stage.eval()
        return self

    def forward(self, batch: Batch, *, text_inputs: Tensor | None = None) -> Outputs:
        """Run towers, projections, heads and what joins them.

        Args:
            batch: Samples, on the model's device; it may hold further modalities.
            text_inputs: Float[b, l, hidden] word embeddings in place of the tokens' own.
        """
        parts = 1 if distributed.world_size() > 1 else micro_batches(self)
        if not 1 < parts <= len(batch) or self.training:
            return self._outputs(batch, text_inputs)

        # In eval mode a sample's outputs depend on no other
        outputs: list[Outputs] = []
        for number in range(parts):
            rows = distributed.micro_batch(len(batch), number, of=parts)
            inputs = None if text_inputs is None else text_inputs[rows]
            outputs.append(self._outputs(batch.select(rows), inputs))
        joined: dict[str, Tensor] = {}
        for name in outputs[0].named():
            joined[name] = torch.cat([part.named()[name] for part in outputs])
        return Outputs.from_named(joined)

    def _outputs(self, batch: Batch, text_inputs: Tensor | None) -> Outputs:
        logits: dict[str, Tensor] = {}
        embedding: dict[str, Tensor] = {}
        for modality in self.modalities:
            inputs = text_inputs if modality == TEXT else None
            embedding[modality] = self._embedding(batch, modality, inputs)
            if self.spec.classes:
                head = self.classifiers[modality](embedding[modality])
                logits[modality] = zero_where_absent(head, batch, modality)
        embedding[JOINT] = self._joint(embedding, batch)
        return Outputs(logits, embedding)

    def _embedding(self, batch: Batch, modality: str, soft: Tensor | None) -> Tensor:
        """Float[b, width] of one modality; 0 where a sample lacks it."""
        x, start = _there(batch, modality), 0
        prefixes = self.execution.prefixes
        if modality in prefixes:
            values, start = prefixes[modality].of(batch)
            x = Tokens(values, x.mask) if isinstance(x, Tokens) else values
        elif soft is not None and isinstance(x, Tokens):
            x = Tokens(soft, x.mask)

        # Activations computed again in the backward pass, which saves memory
        if start == 0 and isinstance(x, Tensor):
            x = channels_last(x)
        how = self.execution.compile if distributed.world_size() == 1 else "off"
        tower = partial(compiled(self.tower(modality), how), start=start)
        if self.execution.recompute and torch.is_grad_enabled():
            tower = partial(checkpoint, tower, use_reentrant=False)
        inner = cast(Tensor, of_those_there(tower, x, batch, modality, module=self.tower(modality)))

        return zero_where_absent(self.projections[modality](inner), batch, modality)

    def _joint(self, embedding: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """What joins a batch's embeddings; those that are not there are in no mean."""
        if self.spec.gated or not batch.present:
            return self.joined(embedding)

        total = torch.stack([embedding[modality] for modality in self.modalities]).sum(0)
        counts = []
        for modality in self.modalities:
            counts.append(batch.there(modality).to(total.dtype))
        return total / torch.stack(counts).sum(0).clamp(min=1)[:, None]

    def _freeze(self) -> None:
        """The first stages of each tower, which the specification freezes, ask for no gradients."""
        for modality, spec in self.spec.towers:
            tower = self.tower(modality)
            for name in tower.stages()[: spec.frozen]:
                tower.get_submodule(name).requires_grad_(False)

    def _check_frozen(self, modality: str, frozen: int) -> None:
        """Refuse to freeze more stages than a tower has, or names."""
        stages = len(self.tower(modality).stages())
        if not 0 <= frozen <= stages:
            raise SpecError(
                Fault(
                    f"{frozen} stages of the {modality} tower are to be frozen",
                    where="model.towers",
                    why=f"it has {stages}",
                )
            )

    def _is_public(self, modality: str) -> bool:
        """Whether a tower's weights are public ones that never move."""
        spec = self.spec.tower(modality)
        moves = spec.frozen < len(self.tower(modality).stages()) or not spec.frozen
        return not moves and not spec.saw_patients and not getattr(spec, "random", True)

    def _fresh(self, seed: int) -> dict[str, Tensor]:
        return fresh_state(self.spec, seed=seed)


def fresh_state(
    spec: ComposedSpec, *, seed: int, roots: Iterable[str] = ("",)
) -> dict[str, Tensor]:
    """The tensors of a new model of a seed: public weights of the towers that have some, else random ones.

    Args:
        spec: Resolved.
        seed: Root seed; each module draws from a stream of its own.
        roots: Modules, by name, that are needed; the others are left out where that saves work. "" = all.

    Raises:
        SpecError: Public weights cannot be read.
    """
    state: dict[str, Tensor] = {}

    def add(root: str, make: Any) -> None:
        """Add a module's tensors, if it or a part of it is needed."""
        parents = (root.partition(".")[0], root)
        if not any(name == "" or name in parents or name.startswith(f"{root}.") for name in wanted):
            return
        with scope(seed, "init", root):
            for name, value in make().items():
                state[f"{root}.{name}"] = value

    wanted = tuple(roots)
    for modality, tower in spec.towers:
        add(f"{_TOWERS}.{modality}", partial(_tower_state, tower))

    # Each is made for the width of the tower's embedding, which a tower without numbers tells
    for modality, tower in spec.towers:
        with torch.device("meta"):
            width = tower.build().width
        add(
            f"{PROJECTIONS}.{modality}",
            lambda width=width: nn.Linear(width, spec.width).state_dict(),
        )
        if spec.classes:
            add(f"{_HEADS}.{modality}", lambda: nn.Linear(spec.width, spec.classes).state_dict())
    if spec.gated:
        add(_GATE, lambda: MultimodalAdaptationGate(spec.width).state_dict())
    return state


def _tower_state(spec: Any) -> Mapping[str, Tensor]:
    public = spec.pretrained()
    return spec.build().state_dict() if public is None else public


def _there(batch: Batch, modality: str) -> Inputs:
    """A batch's inputs of one modality.

    Raises:
        MethodError: It has none.
    """
    if modality not in batch.inputs:
        raise MethodError(
            Fault(
                f"the samples have no {modality}",
                why=f"the model has a tower for {modality}",
                do="Use a cohort with it, or a model without that tower.",
            )
        )
    return batch.inputs[modality]


def _part_of(tensor: str, public: Iterable[str]) -> str:
    """The part that a tensor belongs to."""
    root, _, rest = tensor.partition(".")
    modality = rest.partition(".")[0]
    if root == _GATE:
        return JOIN
    if root == _HEADS:
        return f"{HEAD}{modality}"
    if root == PROJECTIONS and modality in public:
        return REST
    return f"{TOWER}{modality}"
