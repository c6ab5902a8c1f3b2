"""Groups of parameters: what decays, what learns faster, that a budget is met."""

import pytest
import torch

from vand_robot.nn import (
    GRU,
    Chain,
    GaussianHead,
    GaussianNoise,
    Vand,
    collect_penalty,
    dual_step,
    parameter_groups,
)


def make_model(regularizer):
    torch.manual_seed(0)
    return torch.nn.ModuleDict(
        {"core": GRU(1, 8, regularizer=regularizer), "head": GaussianHead(8, 1, shared_std=True)}
    )


@pytest.mark.parametrize("recipe", [Vand(prior="learned"), Chain((Vand(), GaussianNoise()))])
def test_every_parameter_is_in_one_group_and_only_matrices_decay(recipe):
    model = make_model(recipe)
    groups = parameter_groups(model, learning_rate=0.01, weight_decay=0.1, strength_rate=5)
    found = {group["name"]: group for group in groups}
    names = {p: n for n, p in model.named_parameters()}
    listed = [names[p] for group in groups for p in group["params"]]
    assert sorted(listed) == sorted(names.values())
    assert all("regularizer" in names[p] for p in found["strengths"]["params"])
    assert found["strengths"]["lr"] == pytest.approx(0.05)
    assert found["strengths"]["rate"] == 5
    assert [found[n]["weight_decay"] for n in ("weights", "biases", "strengths")] == [0.1, 0, 0]
    assert {names[p] for p in found["weights"]["params"]} == {
        "core.weight_ih_l0",
        "core.weight_hh_l0",
        "head.linear.weight",
    }


def test_parameters_without_gradient_are_left_out():
    groups = parameter_groups(make_model(Vand(adaptive=False)), learning_rate=0.01)
    assert [group["name"] for group in groups] == ["weights", "biases"]
    with pytest.raises(ValueError, match="strength_rate must be >= 0"):
        parameter_groups(make_model(None), learning_rate=0.01, strength_rate=-1)


def test_decay_leaves_strengths_where_they_are():
    """AdamW on all parameters would drag log sigma and the logit of d to 0."""
    model = make_model(Vand(sigma=0.05, drop=0.02))
    optimizer = torch.optim.AdamW(
        parameter_groups(model, learning_rate=0.1, weight_decay=0.5, strength_rate=1)
    )
    for _ in range(100):
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
    sampler = model["core"].regularizer
    torch.testing.assert_close(sampler.sigma, torch.full((1, 8), 0.05))
    torch.testing.assert_close(sampler.drop, torch.full((1, 8), 0.02))
    assert model["core"].weight_hh_l0.abs().max() < 0.01


def test_a_budget_is_met_early_with_a_rate_of_their_own():
    """Twice as near after 150 updates as with one rate for all."""
    budget, errors = 4.0, {}
    for strength_rate in (1.0, 10.0):
        model = make_model(Vand(budget=budget, beta=0.1))
        groups = parameter_groups(model, learning_rate=3e-3, strength_rate=strength_rate)
        optimizer = torch.optim.Adam(groups)
        kls = []
        for _ in range(150):
            wave = torch.sin(0.3 * torch.arange(41.0) + 6.28 * torch.rand(16, 1)).t()[..., None]
            output = model["core"](wave[:-1])[0]
            loss = model["head"].nll(output, wave[1:]) + collect_penalty(model)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            dual_step(model)
            kls.append(model["core"].terms.kl.item())
        errors[strength_rate] = abs(sum(kls[-20:]) / 20 - budget)
    assert errors[10.0] < 0.5 * budget
    assert errors[10.0] < errors[1.0] / 2
