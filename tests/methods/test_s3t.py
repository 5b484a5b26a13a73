"""S3T: exactness bit for bit, what is switched off and what serves then, and which models are refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from forgetmi.core.carrier import read_carrier
from forgetmi.core.errors import MethodError, SpecError
from forgetmi.core.partition import Partition
from forgetmi.methods.retrain import Retrain
from forgetmi.methods.s3t import S3T
from forgetmi.model.ensemble import Ensemble
from forgetmi.model.image_text import parameter_digest
from forgetmi.model.initialise import build
from forgetmi.model.recipe import Recipe
from forgetmi.model.tasks.classes import GRADES
from forgetmi.report.run_text import within_carrier
from forgetmi.run import workflow
from forgetmi.run.original_training import train_original
from forgetmi.run.prepared import open_checkpoint
from forgetmi.unlearning.adapter_blocks import layers_of_blocks
from forgetmi.unlearning.adapters import adapted_layers
from forgetmi.unlearning.applies import applies
from forgetmi.unlearning.block_log import BlockLog, order_of
from forgetmi.unlearning.block_training import member_of, order_seed
from forgetmi.unlearning.carrier import moving
from forgetmi.unlearning.carrier_applies import why_not
from forgetmi.unlearning.context import Context
from forgetmi.unlearning.method import Unlearned, unlearn
from tests.conftest import Small, prepare_small
from tests.public_towers import on_tower, published

RECIPE = Recipe(epochs=1)
# With it all forgotten patients are in the first of two slices
SEED = 1
METHOD = S3T(shards=1, slices=2, orders=2, rank=2)
WIDE = dataclasses.replace(METHOD, shards=2)
CARRIER = METHOD.carrier


@pytest.fixture(scope="module")
def tower(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("public")
    with published(folder):
        yield folder


@pytest.fixture(scope="module")
def small(_own_cache: None, tower: Path) -> Small:
    own = prepare_small(patients=16, forget=20.0)
    return dataclasses.replace(own, prepared=on_tower(own.prepared, tower))


def train(small: Any, method: S3T = METHOD, **more: Any) -> tuple[Any, Any]:
    settings = {"recipe": RECIPE, "seed": SEED, **more}
    made = train_original(
        prepared=small.prepared, partition=small.partition, method=method, **settings
    )
    return made.model, made.log


def forget(
    small: Any, model: Any, log: Any, method: Any = METHOD, partition: Any = None, **more: Any
) -> Unlearned[Any]:
    return unlearn(
        method,
        model,
        records=small.prepared.records,
        partition=partition or small.partition,
        seed=SEED,
        recipe=RECIPE,
        fresh_model=lambda own: workflow.build(small.prepared.spec, seed=own),
        training_log=log,
        **more,
    )


def withdrawn(sets: Partition, rows: np.ndarray) -> Partition:
    """The same training side, of which other rows are forgotten."""
    trained = np.union1d(sets.forget, sets.retain)
    return dataclasses.replace(sets, forget=rows, retain=np.setdiff1d(trained, rows))


def in_place(log: BlockLog, shard: int, slices: tuple[int, ...]) -> np.ndarray:
    return np.flatnonzero((log.shard == shard) & np.isin(log.slice, slices))


def same_blocks(one: Any, two: Any) -> bool:
    return set(one) == set(two) and all(torch.equal(one[name], two[name]) for name in one)


def equal(one: BlockLog, two: BlockLog) -> bool:
    if len(one.blocks) != len(two.blocks):
        return False
    if any(one.left(shard) != two.left(shard) for shard in range(len(one.blocks))):
        return False
    pairs = [
        (mine, theirs)
        for left, right in zip(one.blocks, two.blocks, strict=True)
        for first, second in zip(left, right, strict=True)
        for mine, theirs in zip(first, second, strict=True)
    ]
    same = np.array_equal(one.shard, two.shard) and np.array_equal(one.slice, two.slice)
    return same and one.base == two.base and all(same_blocks(*pair) for pair in pairs)


@pytest.fixture(scope="module")
def original(small: Any) -> tuple[Ensemble, BlockLog]:
    return train(small)


@pytest.fixture(scope="module")
def without(small: Any) -> tuple[Ensemble, BlockLog]:
    """Trained without the forgotten from the start."""
    return train(small, without_forgotten=True)


def test_one_shard_of_one_slice_is_an_adapter_trained_on_all_retained(small: Any) -> None:
    single = S3T(shards=1, slices=1, orders=1, rank=2)
    model, log = train(small, single)
    alone = forget(small, model, log, single)
    plain = build(small.prepared.spec, seed=3).eval()
    anew = forget(small, plain, None, Retrain(), carrier=read_carrier("lora,rank=2"))
    assert parameter_digest(alone.model.member(0)) == parameter_digest(anew.model)
    assert alone.trace.steps == anew.trace.steps > 0


def test_where_no_block_may_stay_off_it_is_training_without_the_forgotten(
    small: Any, original: tuple[Ensemble, BlockLog], without: tuple[Ensemble, BlockLog]
) -> None:
    done = forget(small, *original, dataclasses.replace(METHOD, least=4))
    assert parameter_digest(done.model) == parameter_digest(without[0])
    assert equal(done.training_log, without[1])
    assert done.trace.samples["forget"] == 0 < done.trace.samples["retain"]
    info, sentences = within_carrier(S3T.info, done.trace.facts)
    assert info.exact
    assert sentences == ["What was unlearned: adapters on public towers, and new heads."]


def test_without_the_last_slice_the_sequence_before_it_serves(
    small: Any, original: tuple[Ensemble, BlockLog]
) -> None:
    model, log = original
    rows = in_place(log, 0, (1,))
    done = forget(small, model, log, partition=withdrawn(small.partition, rows))
    kept = done.training_log
    assert kept.left(0) == [1, 0]
    assert log.left(0) == [2, 2]
    assert same_blocks(kept.blocks[0][0][0], log.blocks[0][0][0])

    # The public weights with the first block alone, at no cost
    fresh = build(small.prepared.spec, seed=SEED)
    layers = layers_of_blocks(fresh, CARRIER, 2)
    first = dataclasses.replace(log, blocks=((log.blocks[0][0][:1],),))
    before = member_of(first, 0, fresh, CARRIER, layers).state_dict()
    after = done.model.member(0).state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert done.trace.steps == done.trace.samples["retain"] == 0
    assert done.trace.facts["blocks in service, of each shard"] == [1]

    # The layers of the block that is off have their public weights
    public = fresh.state_dict()
    for name in layers[1]:
        assert torch.equal(after[f"{name}.weight"], public[f"{name}.weight"])
    assert any(not torch.equal(after[f"{n}.weight"], public[f"{n}.weight"]) for n in layers[0])


def test_without_the_first_slice_the_other_order_serves(
    small: Any, original: tuple[Ensemble, BlockLog]
) -> None:
    model, log = original
    rows = in_place(log, 0, (0,))
    done = forget(small, model, log, partition=withdrawn(small.partition, rows))
    assert done.training_log.left(0) == [0, 1]
    assert done.training_log.serving(0) == 1
    assert done.trace.facts["shards trained again"] == 0


@pytest.mark.slow
def test_the_log_handed_back_serves_the_next_request(
    small: Any, original: tuple[Ensemble, BlockLog]
) -> None:
    """It finds nothing left of a shard, which is trained again as if both had never been there."""
    model, log = original
    rows = in_place(log, 0, (0,))
    done = forget(small, model, log, partition=withdrawn(small.partition, rows))
    later = in_place(log, 0, (1,))
    patient = small.partition.patient
    later = later[patient[later] == patient[later[0]]]
    both = withdrawn(small.partition, np.concatenate([rows, later]))
    second = dataclasses.replace(both, forget=later)
    last = forget(small, done.model, done.training_log, partition=second)
    at_once = forget(small, model, log, partition=both)
    assert last.trace.facts["blocks trained again"] == 4
    assert parameter_digest(last.model) == parameter_digest(at_once.model)
    assert equal(last.training_log, at_once.training_log)


def test_where_nobody_is_forgotten_nothing_changes(
    small: Any, original: tuple[Ensemble, BlockLog]
) -> None:
    """No partition lets one forget nobody, so that the method is asked by itself."""
    model, log = original
    sets = small.partition
    everybody = SimpleNamespace(rows=np.union1d(sets.forget, sets.retain))
    loaders: Any = SimpleNamespace(forget=SimpleNamespace(rows=sets.forget[:0]), retain=everybody)
    context = Context(
        seed=SEED,
        reads=S3T.info.reads,
        task=GRADES,
        _recipe=RECIPE,
        _fresh_model=lambda own: workflow.build(small.prepared.spec, seed=own),
        _training_log=log,
    )
    done = METHOD.apply(model, loaders, context)
    assert parameter_digest(done) == parameter_digest(model)
    assert equal(context.training_log, log)


def test_what_is_left_never_depended_on_the_forgotten(
    small: Any, original: tuple[Ensemble, BlockLog], without: tuple[Ensemble, BlockLog]
) -> None:
    """Block for block: what a training without them makes."""
    kept = original[1].without(small.partition.forget)
    found = 0
    for order in range(2):
        for position, block in enumerate(kept.blocks[0][order]):
            assert same_blocks(block, without[1].blocks[0][order][position])
            found += 1
    assert found == 1
    assert kept.untouched(0, 0, small.partition.forget) == kept.left(0)[0]


def test_a_block_trains_its_own_layers_above_frozen_ones(
    small: Any, original: tuple[Ensemble, BlockLog]
) -> None:
    fresh = build(small.prepared.spec, seed=SEED)
    layers = layers_of_blocks(fresh, CARRIER, 2)
    every = adapted_layers(fresh, CARRIER, but=moving(fresh, CARRIER))
    assert sorted((*layers[0], *layers[1])) == sorted(every)
    assert every.index(layers[0][0]) > every.index(layers[1][0])

    # Its file holds its own adapters, and the heads and projections with which it serves
    first, second = original[1].blocks[0][0]
    adapted = [
        {name.partition(".lora_")[0] for name in b if ".lora_" in name} for b in (first, second)
    ]
    assert adapted == [set(layers[0]), set(layers[1])]
    assert {name for name in second if ".lora_" not in name} == moving(fresh, CARRIER)
    assert all(second[name].any() for name in second if ".lora_B." in name)


def test_orders_begin_evenly_apart_and_hold_every_slice() -> None:
    for slices in range(1, 7):
        for orders in range(1, slices + 1):
            found = [order_of(number, orders=orders, slices=slices) for number in range(orders)]
            assert len({int(order[0]) for order in found}) == orders
            assert all(sorted(order.tolist()) == list(range(slices)) for order in found)


def test_the_log_and_the_checkpoint_survive_their_files(
    tmp_path: Path, small: Any, original: tuple[Ensemble, BlockLog]
) -> None:
    model, log = original
    log.save(tmp_path / "log.pt")
    assert equal(BlockLog.load(tmp_path / "log.pt"), log)
    small.prepared.save(tmp_path / "model", model, patients=None, role="original")
    loaded = open_checkpoint(tmp_path / "model", cohort=small.cohort)[1]
    assert parameter_digest(loaded.model) == parameter_digest(model)


@pytest.mark.slow
def test_shards_are_apart_and_an_interrupted_training_resumes(tmp_path: Path, small: Any) -> None:
    model, log = train(small, WIDE)
    assert set(log.shard[log.shard >= 0]) == {0, 1}

    def stop(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(small, WIDE, resume=tmp_path / "state.pt", progress=stop)
    again, kept = train(small, WIDE, resume=tmp_path / "state.pt")
    assert parameter_digest(again) == parameter_digest(model)
    assert equal(kept, log)

    # Who left one shard changes nothing in the other
    done = forget(small, model, log, WIDE, withdrawn(small.partition, in_place(log, 0, (1,))))
    assert parameter_digest(done.model.member(1)) == parameter_digest(model.member(1))
    assert parameter_digest(done.model.member(0)) != parameter_digest(model.member(0))
    assert done.trace.facts["blocks in service, of each shard"] == [1, 2]


def test_models_that_carry_no_adapters_are_refused(small: Any, tower: Path) -> None:
    paper: Any = prepare_small(patients=16, forget=20.0)
    assert "random weights" in applies(S3T, build(paper.prepared.spec, seed=0), GRADES)
    with pytest.raises(MethodError, match="random weights"):
        train(paper)

    # Weights that saw the patients forget nobody, whatever stands on them
    seen = on_tower(small.prepared, tower, "saw_patients=true")
    assert "saw patients" in applies(S3T, build(seen.spec, seed=0), GRADES)
    with pytest.raises(MethodError, match="saw patients"):
        train(dataclasses.replace(small, prepared=seen))

    # Nothing may move, or there are fewer layers than blocks
    still = dataclasses.replace(small, prepared=on_tower(small.prepared, tower, "frozen=4"))
    with pytest.raises(MethodError, match="nothing that adapters can be added to"):
        train(still)
    with pytest.raises(MethodError, match="and 400 were asked for"):
        train(small, S3T(slices=400))
    net = build(small.prepared.spec, seed=0)
    assert applies(S3T, net, GRADES) == ""
    for kind in ("heads", "last", "lora"):
        assert "adapters of its own" in why_not(S3T(), net, read_carrier(kind))


def test_other_models_logs_towers_and_options_are_refused(
    small: Any, original: tuple[Ensemble, BlockLog]
) -> None:
    model, log = original
    plain = build(small.prepared.spec, seed=3)
    for given, kept in ((plain, log), (model, None)):
        with pytest.raises(MethodError, match="its own original"):
            forget(small, given, kept)
    for changes in ({"slices": 3}, {"rank": 4}, {"alpha": 8.0}, {"orders": 1}):
        with pytest.raises(MethodError, match="1 shards of 2 slices in 2 orders"):
            forget(small, model, log, dataclasses.replace(METHOD, **changes))
    with pytest.raises(MethodError, match="other rows"):
        forget(small, model, log.without(small.partition.forget))
    with pytest.raises(MethodError, match="public weights"):
        forget(small, model, dataclasses.replace(log, base="another"))
    for changes in ({"shards": 0}, {"orders": 3}, {"least": 0}):
        with pytest.raises(MethodError, match="must be"):
            dataclasses.replace(METHOD, **changes)
    with pytest.raises(SpecError, match="rank"):
        S3T(rank=0)


def test_no_two_orders_share_a_seed() -> None:
    found = [order_seed(*key) for key in np.ndindex(3, 3, 3)]
    assert len(set(found)) == 27
    assert order_seed(7, 0, 0) == 7
