"""The method as released, and each of its switches."""

from __future__ import annotations

import copy
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from forgetmi.authors_code import step as step_module
from forgetmi.authors_code.deviations import Deviations
from forgetmi.authors_code.forget_mi import ForgetMIRelease
from forgetmi.authors_code.image import PixelNoise
from forgetmi.authors_code.noise import ReleaseNoise
from forgetmi.authors_code.optimiser import TransformersAdamW, parameter_groups
from forgetmi.authors_code.sampler import retain_order
from forgetmi.authors_code.step import Gates, step_losses
from forgetmi.core.errors import MethodError, SpecError
from forgetmi.core.partition import Partition
from forgetmi.data.loaders import SampleStore
from forgetmi.methods.forget_mi import ForgetMI
from forgetmi.model.image_text import ImageText, parameter_digest
from forgetmi.model.initialise import build
from forgetmi.model.recipe import Recipe
from forgetmi.model.spec import ModelSpec, ResNetSpec, TextEncoderSpec
from forgetmi.unlearning.method import Unlearned, unlearn


@pytest.fixture(scope="module")
def spec() -> ModelSpec:
    """The smallest network of the authors' form: one stage, one text layer, widths of 16."""
    return ModelSpec(
        image=ResNetSpec(
            size=64, stem_stride=4, stem_width=4, widths=(1,), blocks=1, pooling="average2x2"
        ),
        text=TextEncoderSpec(
            hidden=16, layers=1, heads=2, intermediate=24, vocabulary=23, positions=40
        ),
        classes=4,
    )


class Seen:
    """What went through each step of a run."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Any]] = []

    def of(self, name: str) -> list[Any]:
        return [step[name] for step in self.steps]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    spied = Seen()

    def spy(student: ImageText, teacher: ImageText, **more: Any) -> Any:
        losses = step_losses(student, teacher, **more)
        spied.steps.append(
            {
                "forget": more["forget"].row.tolist(),
                "retain": more["retain"].row.tolist(),
                "losses": losses,
                "noisy": more["noisy"],
                "length": more["forget"].tokens.shape[1],
                "gates": more["gates"],
                "six": more["six_forwards"],
                "teacher": teacher,
                "student": student,
                "modes": (student.training, teacher.training),
                "dropout": torch.rand(1).item(),
            }
        )
        return losses

    monkeypatch.setattr(step_module, "step_losses", spy)
    return spied


@pytest.fixture(scope="module")
def done() -> dict[tuple[str, int], tuple[Unlearned, list[dict[str, Any]]]]:
    """What was run, and what was seen of it, by method and seed: several tests look at the same run."""
    return {}


@pytest.fixture
def run(
    model: ImageText,
    records: SampleStore,
    partition: Partition,
    spec: Any,
    done: dict[tuple[str, int], tuple[Unlearned, list[dict[str, Any]]]],
    seen: Seen,
):
    """Run a method on the nine forgotten and eighteen retained samples, four a batch; the same run only once."""

    def go(method: Any, *, seed: int = 0, **more: Any) -> Unlearned:
        key, before = (repr(method), seed), len(seen.steps)
        if more or key not in done:
            found = afresh(method, seed, **more)
            if more:
                return found
            done[key] = found, seen.steps[before:]
        else:
            seen.steps += done[key][1]
        return done[key][0]

    def afresh(method: Any, seed: int, **more: Any) -> Unlearned:
        return unlearn(
            method,
            model,
            records=records,
            partition=partition,
            seed=seed,
            recipe=Recipe(epochs=1),
            fresh_model=lambda own: build(spec, seed=own),
            batch_size=4,
            **more,
        )

    return go


def release(**changes: Any) -> ForgetMIRelease:
    return replace(ForgetMIRelease(epochs=3), **changes)


def without(*names: str, **changes: Any) -> ForgetMIRelease:
    return release(deviations=replace(Deviations(), **dict.fromkeys(names, False)), **changes)


def only(*names: str, **changes: Any) -> ForgetMIRelease:
    return release(deviations=replace(Deviations.none(), **dict.fromkeys(names, True)), **changes)


def test_one_small_update_an_epoch_and_none_in_the_first(run: Any, model: ImageText) -> None:
    assert run(release(epochs=4)).trace.steps == 3
    done = run(release(epochs=2))
    old, new = model.state_dict(), done.model.state_dict()
    moved = {
        name: float((new[name] - old[name]).abs().max()) for name, _ in model.named_parameters()
    }
    assert max(moved.values()) == pytest.approx(1e-4, rel=0.05)  # the rate, and weight decay
    assert done.trace.first_gradient is not None
    assert done.trace.first_gradient > 0


def test_the_first_epoch_changes_statistics_but_no_weight(run: Any, model: ImageText) -> None:
    done = run(release(epochs=1)).model
    for name, value in done.state_dict().items():
        is_statistic = "running" in name or "num_batches" in name
        assert torch.equal(value, model.state_dict()[name]) != is_statistic


def test_heads_and_gate_never_change(run: Any, model: ImageText) -> None:
    done = run(release(lr=0.1, epochs=4)).model
    for name in (
        "img_model.fc1.weight",
        "img_model.fc1.bias",
        "text_model.classifier.weight",
        "text_model.classifier.bias",
        "gate.fc2.weight",
        "gate.norm.bias",
    ):
        assert torch.equal(done.state_dict()[name], model.state_dict()[name])
    assert not torch.equal(done.img_model.conv1.weight, model.img_model.conv1.weight)


def test_the_original_drifts_in_statistics_only(run: Any, seen: Seen, model: ImageText) -> None:
    run(release())
    teacher = seen.steps[-1]["teacher"]
    for name, value in model.state_dict().items():
        is_statistic = "running" in name or "num_batches" in name
        assert torch.equal(value, teacher.state_dict()[name]) != is_statistic
    assert seen.of("modes") == [(True, True)] * 9
    assert int(teacher.img_model.bn1.num_batches_tracked) == 3 * 9
    assert int(seen.steps[-1]["student"].img_model.bn1.num_batches_tracked) == 3 * 9


def test_a_frozen_original_does_not_drift(run: Any, seen: Seen, model: ImageText) -> None:
    run(without("teacher_in_train_mode"))
    assert parameter_digest(seen.steps[-1]["teacher"]) == parameter_digest(model)
    assert seen.of("modes") == [(True, False)] * 9


def test_a_student_in_eval_mode_keeps_its_statistics(run: Any, model: ImageText) -> None:
    done = run(without("student_in_train_mode"))
    assert not any("running" in name for name in done.trace.changed)


def test_four_forwards_move_statistics_twice_a_step(run: Any, seen: Seen) -> None:
    run(without("six_forwards"))
    assert int(seen.steps[-1]["teacher"].img_model.bn1.num_batches_tracked) == 2 * 9


def test_gates_are_new_at_every_step_and_the_same_in_every_epoch(run: Any, seen: Seen) -> None:
    run(release())
    weights = [gates.original_noisy.fc2.weight for gates in seen.of("gates")]
    assert all(torch.equal(one, two) for one, two in zip(weights[:3], weights[3:6], strict=True))
    assert not torch.equal(weights[0], weights[1])
    one = seen.steps[0]["gates"]
    assert len({float(gate.beta.detach()) for gate in one}) == 4
    assert all(gate.training and gate.dropout.p == 0.1 and gate.whole_batch for gate in one)
    assert seen.of("dropout")[:3] == seen.of("dropout")[3:6]


def test_other_epochs_other_gates_without_repeated_randomness(run: Any, seen: Seen) -> None:
    run(without("repeated_randomness"))
    assert len(set(seen.of("dropout"))) == 9


def test_fitted_gates_are_shared_and_the_models_own(run: Any, seen: Seen, model: ImageText) -> None:
    run(without("fresh_gates", "gate_dropout", "whole_batch_gate"))
    gates = seen.steps[0]["gates"]
    assert len({id(gate) for gate in gates}) == 1
    assert torch.equal(gates[0].fc2.weight, model.gate.fc2.weight)
    assert gates[0].dropout.p == 0.0
    assert not gates[0].whole_batch


def test_retention_is_cut_at_the_last_batch_of_the_first_epoch(run: Any, seen: Seen) -> None:
    done = run(release(epochs=4, lr=0.05, use_noise=True))
    margin = {name: getattr(seen.steps[2]["losses"], name).item() + 1 for name in ("UR", "MR")}
    free = {name: [getattr(step["losses"], name).item() for step in seen.steps] for name in margin}
    sizes = np.array([4, 4, 1])
    for epoch, means in enumerate(done.trace.epochs):
        for name in margin:
            raw = np.array(free[name][3 * epoch : 3 * epoch + 3])
            expected = raw if epoch == 0 else np.minimum(raw, margin[name])
            assert means[name] == pytest.approx(float((expected * sizes).sum() / 9), rel=1e-5)
    assert max(free["UR"][3:]) > margin["UR"]  # there was something to cut


def test_without_the_cap_the_means_are_the_distances(run: Any, seen: Seen) -> None:
    done = run(without("capped_retention", lr=0.05, use_noise=True))
    raw = np.array([step["losses"].UR.item() for step in seen.steps[-3:]])
    assert done.trace.epochs[-1]["UR"] == pytest.approx(
        float((raw * [4, 4, 1]).sum() / 9), rel=1e-5
    )


def test_a_step_a_batch_and_a_working_first_epoch(run: Any) -> None:
    assert run(without("one_step_per_epoch")).trace.steps == 6
    assert run(without("idle_first_epoch")).trace.steps == 3
    assert run(without("one_step_per_epoch", "idle_first_epoch")).trace.steps == 9


def test_the_summed_gradient_is_that_of_all_batches(
    run: Any,
    seen: Seen,
    model: ImageText,
    records: SampleStore,
) -> None:
    """Eval mode and the fitted gate, so that every step can be computed again."""
    done = run(only("one_step_per_epoch", epochs=1, alpha=1, beta=2, theta=3, gamma=4))
    student = copy.deepcopy(model)
    total = torch.zeros(())
    for step in seen.steps[:]:
        losses = step_losses(
            student,
            model,
            forget=records.batch(np.array(step["forget"])),
            noisy=step["noisy"],
            retain=records.batch(np.array(step["retain"])),
            gates=Gates.shared(model, whole_batch=False, dropout=0.0),
        )
        total = total + 0.1 * losses.UR + 0.2 * losses.UU + 0.3 * losses.MU + 0.4 * losses.MR
    student.gate.requires_grad_(False)
    free = [parameter for parameter in student.parameters() if parameter.requires_grad]
    gradients = [g for g in torch.autograd.grad(total, free, allow_unused=True) if g is not None]
    norm = torch.cat([g.flatten() for g in gradients]).norm()
    assert len(seen.steps) == 3
    assert done.trace.first_gradient == pytest.approx(norm.item(), rel=1e-4)
    assert norm.item() > 0


@pytest.mark.parametrize(
    ("method", "sign"),
    [(release(), -1), (release(use_noise=True), 1), (without("sign_by_use_noise"), 1)],
)
def test_the_sign_of_the_unlearning_distances(run: Any, method: ForgetMIRelease, sign: int) -> None:
    first = run(method).trace.epochs[0]
    assert first["UU"] * sign > 0
    assert first["MU"] * sign > 0
    assert first["UR"] > 0


def test_orders(run: Any, seen: Seen, partition: Partition) -> None:
    run(release())
    expected = partition.retain[retain_order(18, 9)][:12].tolist()
    for epoch in range(3):
        steps = seen.steps[3 * epoch : 3 * epoch + 3]
        assert [row for step in steps for row in step["forget"]] == list(range(9))
        assert [row for step in steps for row in step["retain"]] == expected
        assert all(step["noisy"].row.tolist() == step["forget"] for step in steps)


def test_shuffled_forget_rows_and_retain_rows_that_go_on(run: Any, seen: Seen) -> None:
    run(without("forget_in_file_order", "fixed_retain_order"))
    forget = [
        [row for step in seen.steps[3 * e : 3 * e + 3] for row in step["forget"]] for e in range(3)
    ]
    assert all(sorted(rows) == list(range(9)) for rows in forget)
    assert forget[0] != forget[1]
    retain = [
        {row for step in seen.steps[3 * e : 3 * e + 3] for row in step["retain"]} for e in range(3)
    ]
    assert retain[0] | retain[1] == set(range(9, 27))
    assert retain[0] == retain[2]
    assert all(step["noisy"].row.tolist() == step["forget"] for step in seen.steps)


def test_image_noise_repeats_or_runs_on_and_texts_never_change(run: Any, seen: Seen) -> None:
    run(release())
    assert torch.equal(seen.steps[0]["noisy"].image, seen.steps[3]["noisy"].image)
    seen.steps.clear()
    run(without("repeated_image_noise"))
    assert not torch.equal(seen.steps[0]["noisy"].image, seen.steps[3]["noisy"].image)
    assert torch.equal(seen.steps[0]["noisy"].tokens, seen.steps[3]["noisy"].tokens)


def test_texts_are_padded_to_the_models_positions(run: Any, seen: Seen) -> None:
    run(release(epochs=1))
    assert seen.of("length") == [40] * 3
    seen.steps.clear()
    run(without("padded_texts", epochs=1))
    assert max(seen.of("length")) < 40


def test_keywords_are_blanked_only_by_the_release(
    run: Any, seen: Seen, records: SampleStore
) -> None:
    def unknown() -> int:
        number = records.tokenizer.vocabulary.index("[UNK]")
        return sum(int((step["noisy"].tokens == number).sum()) for step in seen.steps)

    run(release(epochs=1, text_noise_level=0.0))
    assert unknown() > 9  # "[NOISE]" is not in the vocabulary
    seen.steps.clear()
    run(without("keyword_noise", epochs=1, text_noise_level=0.0))
    assert unknown() == 0


def test_rounded_weights(run: Any) -> None:
    assert run(release(epochs=1)).trace.facts["weights"] == {
        "UU": 0.17,
        "MU": 0.33,
        "UR": 0.17,
        "MR": 0.33,
    }
    assert run(without("rounded_weights", epochs=1)).trace.facts["weights"]["UU"] == pytest.approx(
        1 / 6
    )


def test_all_switches_off_is_paper_mode(run: Any) -> None:
    options = {"noise_std": 0.1, "epochs": 2, "weight_decay": 0.0}
    ours = run(
        release(
            deviations=Deviations.none(),
            text_noise_level=0.5,
            lr=1e-9,
            alpha=1,
            beta=1,
            theta=1,
            gamma=1,
            **options,
        )
    ).trace.epochs
    paper = run(
        ForgetMI(noise="given", text_level=0.5, redraw=True, lr=1e-9, **options)
    ).trace.epochs
    for one, two in zip(ours, paper, strict=True):
        for name in ("UU", "MU"):
            assert one[name] == pytest.approx(two[name], rel=1e-5)
        for name in ("UR", "MR"):
            assert one[name] == pytest.approx(two[name], abs=1e-5)


@pytest.fixture(scope="module")
def known() -> dict[str, str]:
    """Results of the release with all switches on, by options."""
    return {}


@pytest.mark.parametrize("name", [f.name for f in fields(Deviations)])
def test_each_switch_changes_the_result(run: Any, known: dict[str, str], name: str) -> None:
    given = {"lr": 1e-3, "epochs": 2, "weight_decay": 0.5, "alpha": 3.0}
    if name == "capped_retention":
        given |= {"lr": 0.1, "use_noise": True, "epochs": 3}
    if str(given) not in known:
        known[str(given)] = parameter_digest(run(release(**given)).model)
    assert parameter_digest(run(without(name, **given)).model) != known[str(given)]


def test_interrupted_equals_uninterrupted(run: Any, tmp_path: Path) -> None:
    whole = run(release(epochs=4))
    done: list[int] = []

    def stop(epoch: int, total: int) -> None:
        done.append(epoch)
        if epoch == 2 and len(done) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(release(epochs=4), state=tmp_path / "state", progress=stop)
    again = run(release(epochs=4), state=tmp_path / "state")
    assert parameter_digest(again.model) == parameter_digest(whole.model)
    assert again.trace.epochs == whole.trace.epochs


def test_the_seed_decides_the_noise_alone(run: Any, seen: Seen) -> None:
    run(release(epochs=1), seed=0)
    first = list(seen.steps)
    seen.steps.clear()
    run(release(epochs=1), seed=1)
    assert seen.of("dropout") == [step["dropout"] for step in first]
    assert not torch.equal(seen.steps[0]["noisy"].image, first[0]["noisy"].image)


def test_options_out_of_range() -> None:
    with pytest.raises(SpecError) as caught:
        ForgetMIRelease(lr=-1, noise_std=float("nan"), text_noise_level=2)
    assert len(caught.value.faults) == 3
    with pytest.raises(SpecError, match="all four weights"):
        ForgetMIRelease(alpha=0, beta=0, theta=0, gamma=0)


def test_a_loss_that_is_not_finite_stops_the_run(run: Any) -> None:
    with pytest.raises(MethodError, match="the loss became"):
        run(without("one_step_per_epoch", lr=1e30, epochs=5))


def test_one_step_against_plain_formulas(model: ImageText, records: SampleStore) -> None:
    """Eval mode, own gate, per-sample norms: four distances written out."""
    rows = np.arange(4)
    forget, retain = records.batch(rows), records.batch(rows + 10)
    noise = ReleaseNoise(PixelNoise(), 0.5, {}, 0)
    noisy = records.batch(rows, perturbation=noise)
    student = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.mul_(1.05)
        student.gate.load_state_dict(model.gate.state_dict())
        found = step_losses(
            student,
            model,
            forget=forget,
            noisy=noisy,
            retain=retain,
            gates=Gates.shared(model, whole_batch=False, dropout=0.0),
        )
        pairs = {"UU": (student(forget), model(noisy)), "UR": (student(retain), model(retain))}
        for name, (a, b) in pairs.items():
            c = torch.sqrt(
                ((a.image_embedding - b.image_embedding) ** 2).sum(1)
                + ((a.text_embedding - b.text_embedding) ** 2).sum(1)
            )
            joint = torch.linalg.vector_norm(a.joint_embedding - b.joint_embedding, dim=1)
            torch.testing.assert_close(getattr(found, name), c.mean(), rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(
                getattr(found, name.replace("U", "M", 1)), joint.mean(), rtol=1e-4, atol=1e-5
            )


def test_noise_leaves_padding_black_and_shares_reports() -> None:
    noise = ReleaseNoise(PixelNoise(std=0.2), 0.8, {}, seed=1)
    images = np.zeros((2, 1, 12, 12), np.float32)
    images[:, :, 3:9] = 0.5
    noisy = noise.images(images, np.array([4, 9]))
    assert not noisy[:, :, :3].any()
    assert not noisy[:, :, 9:].any()
    assert noisy[:, :, 3:9].std() == pytest.approx(0.2, rel=0.15)
    np.testing.assert_array_equal(noisy[1], noise.images(images[1:], np.array([9]))[0])
    assert not np.array_equal(noisy[0], noisy[1])
    assert not noise.images(np.zeros((1, 1, 4, 4), np.float32), np.array([0])).any()
    text = "heart size normal and lungs are clear today"
    one, two = noise.texts([text, text], np.array([0, 5]))
    assert one == two != text


def optimised(make: Any, steps: int) -> torch.Tensor:
    parameter = torch.nn.Parameter(torch.tensor([1.0, -2.0, 3.0, 0.5]))
    optimiser = make([parameter])
    for step in range(steps):
        parameter.grad = torch.tensor([1.0, 1e-5, -0.3, 0.0]) * (step + 1)
        optimiser.step()
    return parameter.detach()


def test_the_optimiser_by_hand() -> None:
    """First step: lr g / (|g| + eps / sqrt(1 - 0.999)), then decay."""
    found = optimised(lambda p: TransformersAdamW(p, lr=0.01, weight_decay=0.1), 1)
    gradient, start = torch.tensor([1.0, 1e-5, -0.3, 0.0]), torch.tensor([1.0, -2.0, 3.0, 0.5])
    moved = start - 0.01 * gradient / (gradient.abs() + 1e-6 / 0.001**0.5)
    torch.testing.assert_close(found, moved * (1 - 0.01 * 0.1))


def test_the_optimiser_is_adamw_where_epsilon_does_not_matter() -> None:
    ours = optimised(lambda p: TransformersAdamW(p, lr=0.01, eps=1e-20), 5)
    torchs = optimised(lambda p: torch.optim.AdamW(p, lr=0.01, eps=1e-20, weight_decay=0.0), 5)
    torch.testing.assert_close(ours, torchs)


def test_decay_goes_by_name(model: ImageText) -> None:
    decayed, spared = (group["params"] for group in parameter_groups(model, weight_decay=0.1))
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert "img_model.bn1.weight" in {names[id(p)] for p in decayed}
    assert {names[id(p)] for p in spared} == {
        n for n in names.values() if n.endswith("bias") or "LayerNorm" in n
    }
    without_bn = parameter_groups(model, weight_decay=0.1, decay_batch_norm=False)[0]["params"]
    assert all(parameter.ndim > 1 for parameter in without_bn)
