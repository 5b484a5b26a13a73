"""Training of one block of adapters, and the model that a shard serves with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from forgetmi.core.arrays import Ints
from forgetmi.core.batch import Epochs
from forgetmi.core.carrier import Carrier
from forgetmi.core.seeding import derive
from forgetmi.core.task import Task
from forgetmi.model.net_module import NetModule
from forgetmi.model.recipe import Recipe
from forgetmi.model.train import TrainingTrace, fit
from forgetmi.unlearning.adapter_blocks import block_of, merged, with_blocks
from forgetmi.unlearning.block_log import BlockLog, BlocksUnderWay

# Images below which a block is not trained.
FEWEST = 2

# A shard, one of its orders, and a block's position in it
Step = tuple[int, int, int]


def steps_of(log: BlockLog, shards: Iterable[int]) -> list[Step]:
    """The blocks that some shards lack, in the order in which they are trained."""
    steps: list[Step] = []
    for shard in shards:
        for order, left in enumerate(log.left(shard)):
            steps += [(shard, order, position) for position in range(left, log.slices)]
    return steps


def train_block(
    progress: BlocksUnderWay,
    step: Step,
    fresh_model: Callable[[int], NetModule],
    carrier: Carrier,
    layers: Sequence[Sequence[str]],
    *,
    recipe: Recipe,
    task: Task,
    seed: int,
    batches: Callable[[Ints, int], Epochs],
) -> TrainingTrace:
    """Train one block of one order on its slices so far, and store it.

    Args:
        progress: Holds the blocks before it; the new one is added.
        step: Which.
        fresh_model: From a seed to a new model.
        carrier: The adapters' rank and alpha.
        layers: Of all blocks.
        recipe: Of a training; the block gets a part of its epochs.
        task: Of the labels.
        seed: Root seed.
        batches: From rows and a batch size to their batches.
    """
    shard, order, position = step
    own_seed = order_seed(seed, shard, order)
    model = with_blocks(
        fresh_model(own_seed),
        carrier,
        layers[: position + 1],
        progress.of(shard, order),
        seed=own_seed,
    )

    # Of the recipe's epochs as many as make the work of an order that of one training.
    epochs = min(recipe.epochs, max(1, round(2 * recipe.epochs / (len(layers) + 1))))
    recipe = replace(recipe, epochs=epochs)

    # Too few images cannot be trained on.
    trace = TrainingTrace(())
    rows = progress.rows(shard, order, position)
    if len(rows) >= FEWEST:
        trace = fit(model, batches(rows, recipe.batch_size), recipe, task=task, seed=own_seed)

    progress.add(shard, order, block_of(model, carrier, layers[position]))
    progress.epochs.extend(trace.epochs)
    return trace


def member_of(
    log: BlockLog,
    shard: int,
    fresh: NetModule,
    carrier: Carrier,
    layers: Sequence[Sequence[str]],
) -> NetModule:
    """The model that a shard serves with: the order that has most blocks left, merged.

    Args:
        log: Of the training.
        shard: Which.
        fresh: A new model with the public weights.
        carrier: The adapters' rank and alpha.
        layers: Of all blocks.
    """
    return merged(fresh, carrier, layers, log.blocks[shard][log.serving(shard)])


def order_seed(seed: int, shard: int, order: int) -> int:
    """Seed of one order of a shard; the root seed for the first, so that one shard of one slice is Retrain by adapters.

    No two roots, shards or orders share any.
    """
    return seed if shard == order == 0 else derive(seed, "s3t", shard, order)
