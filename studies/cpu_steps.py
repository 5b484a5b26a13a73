"""What could make a step of the compact model cheaper on a processor, each way beside the present one.

    python studies/cpu_steps.py                # channels last, fused batch norm, frozen graphs, bfloat16
    python studies/cpu_steps.py --compiled     # torch.compile (inductor's C++), with what compiling costs

One thread; processor seconds; ways alternate within one process, and the fastest of their calls count. Beside each
ratio stands the largest difference of logits and embeddings from those of the present way.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from forgetmi.cohort.partition import partition
from forgetmi.cohort.synthetic import SyntheticCohort
from forgetmi.core.batch import Batch
from forgetmi.model.image_text import ImageText
from forgetmi.model.initialise import build
from forgetmi.run import workflow
from forgetmi.unlearning.loop import adamw

Call = Callable[[], Any]


def fastest(calls: Mapping[str, Call], repeats: int) -> dict[str, float]:
    """Processor seconds of the fastest call of each, which take turns."""
    found = dict.fromkeys(calls, float("inf"))
    for call in calls.values():
        call()
    for _ in range(repeats):
        for name, call in calls.items():
            started = time.process_time()
            call()
            found[name] = min(found[name], time.process_time() - started)
    return found


def fused(model: ImageText) -> ImageText:
    """A copy whose convolutions hold the scale and shift of the batch norm behind them; for evaluation alone."""
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    made = copy.deepcopy(model).eval()
    for module in list(made.img_model.modules()):
        children = dict(module.named_children())
        pairs = [("conv1", "bn1"), ("conv2", "bn2"), ("0", "1")]
        for convolution, norm in pairs:
            first, second = children.get(convolution), children.get(norm)
            if isinstance(first, nn.Conv2d) and second is not None:
                setattr(module, convolution, fuse_conv_bn_eval(first, second))
                setattr(module, norm, nn.Identity())
    return made


def traced(model: ImageText, batch: Batch) -> Call:
    """The image encoder as a frozen graph with oneDNN's fusion, and the text encoder as it is."""
    encoder = fused(model).img_model
    torch.jit.enable_onednn_fusion(True)
    with torch.no_grad():
        graph = torch.jit.freeze(torch.jit.trace(encoder, batch.image))
        for _ in range(3):
            graph(batch.image)

    def call() -> tuple[Tensor, ...]:
        with torch.inference_mode():
            return (*graph(batch.image), *model.text_model(batch.tokens, batch.mask))

    return call


def looking(model: ImageText, batch: Batch, *, bf16: bool = False) -> Call:
    """A forward pass in evaluation mode."""

    def call() -> tuple[Tensor, ...]:
        model.eval()
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            image = model.img_model(batch.image)
            return (*image, *model.text_model(batch.tokens, batch.mask))

    return call


def learning(model: nn.Module, batch: Batch, *, bf16: bool = False) -> Call:
    """A forward and backward pass in training mode with an optimiser step that moves nothing."""
    optimiser = adamw(model, lr=0.0)

    def call() -> tuple[Tensor, ...]:
        model.train()
        optimiser.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            out = model(batch)
        outputs = tuple(out.named().values())
        torch.stack([value.float().square().mean() for value in outputs]).sum().backward()
        optimiser.step()
        return outputs

    return call


def in_order(model: ImageText) -> ImageText:
    """A copy with channels last."""
    made: Any = copy.deepcopy(model)
    return made.to(memory_format=torch.channels_last)


def table(title: str, calls: Mapping[str, Call], repeats: int) -> None:
    """A row for each way."""
    usual = next(iter(calls))
    expected = calls[usual]()
    apart = {}
    for name, call in calls.items():
        found = call()
        differences = [
            float((a.float() - b.float()).abs().max().detach())
            for a, b in zip(found, expected, strict=True)
        ]
        apart[name] = max(differences)

    spent = fastest(calls, repeats)
    print(f"\n| {title} | ms | times as fast | outputs apart by |\n|---|---|---|---|")
    for name in calls:
        ratio = spent[usual] / spent[name]
        print(f"| {name} | {1e3 * spent[name]:.1f} | {ratio:.2f} | {apart[name]:.0e} |", flush=True)


def compiled(model: ImageText, few: Batch, many: Batch, repeats: int) -> None:
    """torch.compile, and what it costs before the first step."""
    import resource

    def all_seconds() -> float:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.process_time() + children.ru_utime + children.ru_stime

    ways: dict[str, tuple[Call, Call]] = {}
    whole = copy.deepcopy(model)
    image = copy.deepcopy(model)
    whole.forward = torch.compile(whole.forward)  # pyright: ignore[reportAttributeAccessIssue]
    image.img_model.forward = torch.compile(image.img_model.forward)  # pyright: ignore[reportAttributeAccessIssue]
    ways["whole model"] = learning(whole, few), looking(whole, many)
    ways["image encoder"] = learning(image, few), looking(image, many)
    for name, (step, look) in ways.items():
        before = all_seconds()
        step()
        between = all_seconds()
        look()
        print(
            f"{name}: compiling a step takes {between - before:.0f} processor s, a look "
            f"{all_seconds() - between:.0f}",
            flush=True,
        )
    table(
        "training step, 16 samples",
        {"as it is": learning(copy.deepcopy(model), few)}
        | {f"compiled, {name}": way[0] for name, way in ways.items()},
        repeats,
    )
    table(
        "forward pass, 64 samples",
        {
            "as it is": looking(copy.deepcopy(model), many),
            "compiled, image encoder": ways["image encoder"][1],
        },
        repeats,
    )


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(1)

    cohort = SyntheticCohort(patients=120).load()
    sets = partition(cohort, forget=10.0)
    prepared = workflow.prepare(cohort=cohort, partition=sets)
    model = build(prepared.spec, seed=0)
    few, many = prepared.records.batch(sets.retain[:16]), prepared.records.batch(sets.retain[:64])
    if options.compiled:
        compiled(model, few, many, options.repeats)
        return

    table(
        "training step, 16 samples",
        {
            "as it is": learning(copy.deepcopy(model), few),
            "channels last": learning(in_order(model), few),
            "bfloat16": learning(copy.deepcopy(model), few, bf16=True),
            "bfloat16, channels last": learning(in_order(model), few, bf16=True),
        },
        options.repeats,
    )
    table(
        "forward pass in evaluation, 64 samples",
        {
            "as it is": looking(copy.deepcopy(model), many),
            "channels last": looking(in_order(model), many),
            "batch norm fused": looking(fused(model), many),
            "fused, channels last": looking(in_order(fused(model)), many),
            "fused, frozen graph of oneDNN": traced(model, many),
            "bfloat16": looking(copy.deepcopy(model), many, bf16=True),
            "fused, bfloat16, channels last": looking(in_order(fused(model)), many, bf16=True),
        },
        options.repeats,
    )


if __name__ == "__main__":
    main()
