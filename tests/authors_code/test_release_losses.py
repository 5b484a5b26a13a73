"""Gate and losses against the release's own numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from forgetmi.authors_code.gate import ReleaseGate
from forgetmi.authors_code.losses import (
    Embeddings,
    Losses,
    Margins,
    Weights,
    capped,
    four_losses,
    margins_after,
    normalised_weights,
    signed,
    total_loss,
)
from forgetmi.model.gate import MultimodalAdaptationGate

BRANCHES = ("ul_forget", "og_noisy_forget", "ul_retain", "og_retain")
SETTINGS = [
    (kind, weights, noise)
    for kind in ("separate_gates", "one_shared_gate")
    for weights in ((1, 1, 1, 1), (1, 1, 2, 2), (1, 2, 1, 2))
    for noise in (True, False)
]


@pytest.fixture(scope="module")
def numbers(oracles: Path) -> dict[str, Any]:
    return json.loads((oracles / "unlearning_losses.json").read_text())


@pytest.fixture(scope="module")
def arrays(oracles: Path) -> dict[str, torch.Tensor]:
    with np.load(oracles / "unlearning_losses.npz") as stored:
        return {name: torch.from_numpy(stored[name]) for name in stored.files}


def gate(arrays: dict[str, torch.Tensor], name: str) -> ReleaseGate:
    prefix = f"gate:{name}:"
    weights = {
        key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)
    }
    made = ReleaseGate(weights["norm.weight"].shape[0])
    made.load_state_dict(weights)
    return made.eval()


def losses(arrays: dict[str, torch.Tensor], kind: str) -> tuple[Losses, dict[str, torch.Tensor]]:
    inputs = {
        f"{branch}_{part}": arrays[f"{branch}_{part}"]
        .clone()
        .requires_grad_(branch.startswith("ul"))
        for branch in BRANCHES
        for part in ("img", "txt")
    }
    found = []
    for branch in BRANCHES:
        image, text = inputs[f"{branch}_img"], inputs[f"{branch}_txt"]
        joint = gate(arrays, branch if kind == "separate_gates" else "shared")(image, text)
        torch.testing.assert_close(joint, arrays[f"{kind}:joint:{branch}"], rtol=1e-5, atol=2e-6)
        found.append(Embeddings(image, text, joint))
    return four_losses(
        unlearned_forget=found[0],
        original_noisy=found[1],
        unlearned_retain=found[2],
        original_retain=found[3],
    ), inputs


def in_their_order(weights: Weights) -> list[float]:
    return [weights.UR, weights.UU, weights.MU, weights.MR]


@pytest.mark.parametrize("kind", ["separate_gates", "one_shared_gate"])
def test_four_losses_equal_the_release(arrays: Any, numbers: Any, kind: str) -> None:
    for name, value in losses(arrays, kind)[0]._asdict().items():
        assert value.item() == pytest.approx(numbers[kind][name], rel=1e-5)


@pytest.mark.parametrize(("kind", "weights", "noise"), SETTINGS)
def test_totals_and_gradients_equal_the_release(
    arrays: Any,
    numbers: Any,
    kind: str,
    weights: Any,
    noise: bool,
) -> None:
    alpha, beta, theta, gamma = weights
    key = f"{kind}:alpha{alpha}_beta{beta}_theta{theta}_gamma{gamma}:use_noise_{noise}"
    found = normalised_weights(alpha=alpha, beta=beta, theta=theta, gamma=gamma)
    assert in_their_order(found) == numbers[key]["weights_after_normalisation"]
    terms, inputs = losses(arrays, kind)
    total = total_loss(signed(terms, use_noise=noise), found)
    assert total.item() == pytest.approx(numbers[key]["total"], rel=1e-5)
    total.backward()
    for name, value in inputs.items():
        if value.requires_grad:
            expected = arrays[f"{key}:grad:{name}"]
            assert float((value.grad - expected).norm()) < 1e-3 * float(expected.norm())


def test_rounded_weights_equal_the_release(numbers: Any) -> None:
    for case in numbers["weights"]:
        alpha, beta, theta, gamma = case["in"]
        found = normalised_weights(alpha=alpha, beta=beta, theta=theta, gamma=gamma)
        assert in_their_order(found) == case["out"]


def test_unrounded_weights_sum_to_one() -> None:
    found = normalised_weights(alpha=1, beta=1, theta=1, gamma=4, rounded=False)
    assert in_their_order(found) == pytest.approx([1 / 7, 1 / 7, 1 / 7, 4 / 7])


@pytest.mark.parametrize("case", ["above", "below"])
def test_the_cap_equals_the_release(arrays: Any, numbers: Any, case: str) -> None:
    expected = numbers[f"cap:margins_{case}_the_losses"]
    terms, inputs = losses(arrays, "separate_gates")
    cut = capped(
        terms, Margins(torch.tensor(expected["margin_UR"]), torch.tensor(expected["margin_MR"]))
    )
    assert (cut.UR.item(), cut.MR.item()) == pytest.approx(
        (expected["UR"], expected["MR"]), rel=1e-5
    )
    (cut.UR + cut.MR).backward()
    gradient = inputs["ul_retain_img"].grad
    assert gradient is not None
    assert float(gradient.norm()) == pytest.approx(expected["retain_img_gradient_norm"], rel=1e-3)


def test_identical_embeddings_have_zero_loss_and_zero_gradient(arrays: Any, numbers: Any) -> None:
    """The release's gradient is not a number here."""
    expected = numbers["identical_retain_embeddings"]
    image, text = (arrays[f"og_retain_{part}"] for part in ("img", "txt"))
    moved = [value.clone().requires_grad_() for value in (image, text)]
    shared = gate(arrays, "shared")
    student, target = (
        Embeddings(*moved, shared(*moved)),
        Embeddings(image, text, shared(image, text)),
    )
    same = four_losses(
        unlearned_forget=student,
        original_noisy=target,
        unlearned_retain=student,
        original_retain=target,
    )
    assert (same.UR.item(), same.MR.item()) == (expected["UR"], expected["MR_shared_gate"])
    torch.stack(list(same)).sum().backward()
    for value in moved:
        assert value.grad is not None
        assert torch.equal(value.grad, torch.zeros_like(value))
    separate = four_losses(
        unlearned_forget=Embeddings(image, text, image),
        original_noisy=Embeddings(image, text, image),
        unlearned_retain=Embeddings(image, text, gate(arrays, "ul_retain")(image, text)),
        original_retain=Embeddings(image, text, gate(arrays, "og_retain")(image, text)),
    )
    assert separate.MR.item() == pytest.approx(expected["MR_separate_gates"], rel=1e-5)


def test_margins_are_one_above_and_carry_no_gradient() -> None:
    value = torch.tensor(2.0, requires_grad=True)
    margins = margins_after(Losses(value, value, value, value * 2))
    assert (margins.UR.item(), margins.MR.item()) == (3.0, 5.0)
    assert not margins.UR.requires_grad


def test_a_row_of_a_batch_and_alone_equal_the_release(arrays: Any) -> None:
    image, text, found = arrays["ul_forget_img"], arrays["ul_forget_txt"], gate(arrays, "ul_forget")
    torch.testing.assert_close(
        found(image, text)[0], arrays["gate_row0_in_batch_of_5"], rtol=1e-5, atol=1e-6
    )
    torch.testing.assert_close(
        found(image[:1], text[:1])[0], arrays["gate_row0_alone"], rtol=1e-5, atol=1e-6
    )


def test_a_sample_depends_on_its_batch_mates_only_with_whole_batch_norms(arrays: Any) -> None:
    image, text, found = (
        arrays["og_retain_img"],
        arrays["og_retain_txt"],
        gate(arrays, "og_noisy_forget"),
    )
    assert not torch.allclose(found(image, text)[:1], found(image[:1], text[:1]), atol=1e-4)
    found.whole_batch = False
    torch.testing.assert_close(found(image, text)[:1], found(image[:1], text[:1]))


def test_the_scale_is_that_of_the_release(arrays: Any, numbers: Any) -> None:
    for branch in BRANCHES:
        image, text, found = arrays[f"{branch}_img"], arrays[f"{branch}_txt"], gate(arrays, branch)
        weight = torch.sigmoid(found.fc1(torch.cat([image, text], 1)))
        shift = found.fc2(torch.cat([image, weight * text], 1))
        by_hand = found.norm(image + numbers["gate_scale_alpha"][branch] * shift)
        torch.testing.assert_close(found(image, text), by_hand, rtol=1e-5, atol=1e-5)


def test_the_release_formula_with_a_fitted_gates_weights_is_the_fitted_gate() -> None:
    own = MultimodalAdaptationGate(6)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in own.parameters():
            parameter.normal_(generator=draw)
    image, text = torch.randn(4, 6, generator=draw), torch.randn(4, 6, generator=draw)
    torch.testing.assert_close(
        ReleaseGate.of(own, whole_batch=False, dropout=0.0)(image, text), own(image, text)
    )
    assert not torch.allclose(
        ReleaseGate.of(own, whole_batch=True, dropout=0.0)(image, text), own(image, text)
    )
