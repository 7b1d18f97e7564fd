"""Ranger, against the released optimiser's numbers and an independent implementation."""

import copy

import numpy as np
import pytest
import torch

from released import golden
from seeded import seeded_input
from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.training.ranger import (
    Ranger,
    RangerConfig,
    centralised,
    rectification,
)

SHAPES = {"matrix": (8, 5), "vector": (8,), "conv": (4, 3, 3, 3), "scalar": (1,)}
# In the released optimiser, use_gc=False changes nothing: wd_nogc_k5 centralises all the same.
CASES = {
    "lr2e-2": RangerConfig(lr=2e-2),
    "wd_nogc_k5": RangerConfig(lr=2e-2, weight_decay=1e-2, k=5),
    "gc_conv_only": RangerConfig(lr=2e-2, centralise_above=3),
}


def start() -> dict[str, torch.nn.Parameter]:
    return {
        name: torch.nn.Parameter(seeded_input(f"ranger.{name}", shape))
        for name, shape in SHAPES.items()
    }


def toy_loss(parameters: dict[str, torch.nn.Parameter]) -> torch.Tensor:
    """sum_k (1 + k) |p_k - t_k|^2 + sum sin(M_p T_m^T v)."""
    targets = {name: seeded_input(f"ranger.target.{name}", s) for name, s in SHAPES.items()}
    loss = torch.zeros(())
    for index, name in enumerate(SHAPES):
        loss = loss + (1 + index) * (parameters[name] - targets[name]).square().sum()
    product = parameters["matrix"] @ targets["matrix"].T @ parameters["vector"]
    return loss + product.sin().sum()


def walk(optimizer, parameters, steps):
    for _ in range(steps):
        optimizer.zero_grad()
        toy_loss(parameters).backward()
        optimizer.step()


@pytest.mark.parametrize("case", CASES)
def test_follows_the_released_optimiser(case):
    parameters = start()
    optimizer = Ranger(parameters.values(), CASES[case])
    done = 0
    for step in (1, 5, 6, 30):
        walk(optimizer, parameters, step - done)
        done = step
        for name, parameter in parameters.items():
            expected = golden("ranger")[f"{case}/step{step}/{name}"]
            np.testing.assert_allclose(parameter.detach().numpy(), expected, rtol=0, atol=2e-6)


def test_a_resumed_run_repeats_an_uninterrupted_one_bit_for_bit():
    straight = start()
    walk(Ranger(straight.values(), CASES["lr2e-2"]), straight, 20)

    first = start()
    optimizer = Ranger(first.values(), CASES["lr2e-2"])
    walk(optimizer, first, 8)  # two steps after a move of the slow weights
    saved = copy.deepcopy(optimizer.state_dict())
    second = {name: torch.nn.Parameter(p.detach().clone()) for name, p in first.items()}
    resumed = Ranger(second.values(), CASES["lr2e-2"])
    resumed.load_state_dict(saved)
    walk(resumed, second, 12)
    for name, parameter in straight.items():
        assert torch.equal(second[name], parameter), name


def test_the_state_has_the_names_of_the_released_checkpoints():
    parameters = start()
    optimizer = Ranger(parameters.values(), RangerConfig())
    walk(optimizer, parameters, 1)
    for state in optimizer.state_dict()["state"].values():
        assert set(state) == {"step", "exp_avg", "exp_avg_sq", "slow_buffer"}
        assert state["step"] == 1


def test_the_fast_weights_return_halfway_every_sixth_step():
    parameter = torch.nn.Parameter(torch.tensor([1.0]))
    optimizer = Ranger([parameter], RangerConfig(lr=0.1))
    path = [1.0]
    for _ in range(6):
        parameter.grad = torch.tensor([1.0])
        optimizer.step()
        path.append(parameter.item())
    assert path == [*sorted(path[:6], reverse=True), path[6]]
    assert path[6] > path[5]


def test_a_scheduler_can_change_the_rate():
    parameter = torch.nn.Parameter(torch.tensor([1.0]))
    optimizer = Ranger([parameter], RangerConfig(lr=0.1))
    optimizer.param_groups[0]["lr"] = 0.0
    parameter.grad = torch.tensor([1.0])
    optimizer.step()
    assert parameter.item() == 1.0


def test_parameters_without_a_gradient_stay():
    moved, still = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    optimizer = Ranger([moved, still], RangerConfig())
    moved.grad = torch.ones(2)
    optimizer.step()
    assert torch.equal(still, torch.ones(2))
    assert not torch.equal(moved, torch.ones(2))


def test_step_returns_the_closure_s_loss():
    parameters = start()
    optimizer = Ranger(parameters.values(), RangerConfig())

    def closure():
        optimizer.zero_grad()
        loss = toy_loss(parameters)
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == pytest.approx(toy_loss(start()).item())


def test_centralised_gradients_have_zero_mean_per_output():
    gradient = torch.randn(4, 3, 3, 3)
    assert centralised(gradient, above=1).mean(dim=(1, 2, 3)).abs().max() < 1e-6
    assert centralised(gradient, above=None) is gradient
    assert centralised(gradient[0, 0], above=3) is not None
    vector = torch.randn(4)
    assert centralised(vector, above=1) is vector


def test_rectification_starts_at_the_sixth_step_and_tends_to_one():
    assert [rectification(t, 0.999, above=5) is None for t in range(1, 8)] == [True] * 5 + [
        False
    ] * 2
    assert rectification(100_000, 0.999, above=5) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    "wrong",
    [
        {"lr": 0.0},
        {"k": 0},
        {"alpha": 1.5},
        {"betas": (0.9, 1.0)},
        {"eps": 0.0},
        {"rectify_above": 1.0},
    ],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigError):
        RangerConfig(**wrong)


def test_agrees_with_an_independent_implementation():
    independent = pytest.importorskip("pytorch_optimizer")
    ours, theirs = start(), start()
    walk(Ranger(ours.values(), RangerConfig(lr=1e-2)), ours, 40)
    other = independent.Ranger(theirs.values(), lr=1e-2, degenerated_to_sgd=True)
    walk(other, theirs, 40)
    for name, parameter in ours.items():
        torch.testing.assert_close(parameter, theirs[name], rtol=0, atol=2e-6)


def test_the_rate_falls_in_the_cooldown_and_stays_low():
    config = RangerConfig(lr=1.0, cooldown=(10, 20))
    assert [config.rate(1.0, step) for step in (1, 10, 15, 20, 99)] == [1.0, 1.0, 0.5, 0.01, 0.01]
    with pytest.raises(ConfigError, match="cooldown"):
        RangerConfig(cooldown=(3, 3))


def test_a_cooled_step_is_shorter():
    moved = []
    for cooldown in (None, (0, 2)):
        parameter = torch.ones(3, requires_grad=True)
        optimizer = Ranger([parameter], RangerConfig(lr=0.1, cooldown=cooldown))
        parameter.grad = torch.tensor([1.0, 2.0, -1.0])
        optimizer.step()
        moved.append((1 - parameter).detach())
    torch.testing.assert_close(moved[1], moved[0] / 2)


def test_the_cooldown_counts_the_steps_taken_before():
    moved = []
    for before in (0, 5):
        parameter = torch.ones(3, requires_grad=True)
        optimizer = Ranger([parameter], RangerConfig(lr=0.1, cooldown=(4, 8)))
        groups = [group | {"before": before} for group in optimizer.state_dict()["param_groups"]]
        optimizer.load_state_dict({"state": {}, "param_groups": groups})
        parameter.grad = torch.tensor([1.0, 2.0, -1.0])
        optimizer.step()
        moved.append((1 - parameter).detach())
    torch.testing.assert_close(moved[1], moved[0] / 2)  # step 6 of 4 to 8
