"""Schedules of a regularizer's options."""

import math

import pytest
import torch

from vand_robot.nn import (
    GRU,
    LSTM,
    Chain,
    Dropout,
    GaussianNoise,
    InputDropout,
    Noisin,
    Ramp,
    Vand,
    Zoneout,
    apply_schedules,
)


def test_a_ramp_is_constant_before_and_after_and_exact_at_its_ends():
    linear = Ramp(0.1, 0.7, updates=3, begin=10)
    assert [linear(u) for u in (0, 10)] == [0.1, 0.1]
    assert linear(11) == pytest.approx(0.3)
    assert [linear(u) for u in (13, 1000)] == [0.7, 0.7]
    assert Ramp(0.0, 1.0, updates=10**400, begin=10**400)(5) == 0
    cosine = Ramp(1.0, 0.0, updates=4, shape="cosine")
    assert [cosine(u) for u in range(5)] == pytest.approx(
        [(1 + math.cos(math.pi * u / 4)) / 2 for u in range(5)]
    )


@pytest.mark.parametrize(
    ("recipe", "option", "value"),
    [
        (GaussianNoise(0.0), "scale", 0.5),
        (Dropout(0.0), "p", 0.5),
        (Zoneout(0.0), "z", 0.5),
        (InputDropout(0.0), "p", 0.5),
        (Noisin(spread=1e-9), "spread", 0.5),
        (Vand(sigma=0.01, adaptive=False), "sigma", 0.5),
        (Chain((Zoneout(0.0), Dropout(0.0))), "p", 0.5),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_option_that_is_set_acts_as_one_of_the_constructor(recipe, option, value):
    layer = GRU(2, 8, 2, regularizer=recipe)
    apply_schedules(torch.nn.Sequential(layer), {option: lambda _: value}, 1)
    if isinstance(recipe, Chain):
        other = Chain((Zoneout(0.0), Dropout(value)))
    else:
        other = type(recipe)(**{**recipe.__dict__, option: value})
    expected = GRU(2, 8, 2, regularizer=other)
    expected.load_state_dict(layer.state_dict())
    assert repr(layer) == repr(expected)
    x, outputs = torch.randn(5, 3, 2), []
    for one in (layer, expected):
        torch.manual_seed(0)
        outputs.append(one(x)[0])
        outputs.append(one.run(x, deterministic=True).output)
    assert torch.equal(outputs[0], outputs[2])
    assert torch.equal(outputs[1], outputs[3])


def test_beta_and_budget_of_vand_follow_their_schedules():
    layer = GRU(2, 8, regularizer=Vand(beta=0.0))
    x = torch.randn(5, 3, 2)
    for update in (5, 10, 20):
        apply_schedules(layer, {"beta": Ramp(0.0, 1e-2, updates=10)}, update)
        terms = layer.run(x).terms
        beta = min(update, 10) * 1e-3
        torch.testing.assert_close(terms.penalty, beta * terms.kl)
        assert terms.metrics["beta"] == pytest.approx(beta)
    layer = GRU(2, 8, regularizer=Vand(budget=10.0))
    apply_schedules(layer, {"budget": lambda _: 2.0}, 1)
    assert layer.regularizer.vand.budget == 2.0


@pytest.mark.parametrize(
    ("recipe", "option", "value", "expected"),
    [
        (Vand(), "sigma", 0.1, "sigma is learned: a schedule of it needs adaptive=False"),
        (Vand(budget=5.0), "beta", 0.1, "dual ascent"),
        (Vand(), "budget", 5.0, "needs a budget"),
        (Vand(), "sigma_min", 0.1, "no regularizer here has a number 'sigma_min'"),
        (Dropout(), "q", 0.1, "has a number 'q'; there are: p"),
        (GaussianNoise(), "scal", 0.1, "did you mean 'scale'"),
        (GaussianNoise(), "on", 0.1, "there are: scale"),
        (Dropout(), "p", 1.5, "p must lie"),
        (None, "beta", 0.1, "there are: none"),
    ],
)
def test_what_cannot_be_set_is_refused(recipe, option, value, expected):
    with pytest.raises(ValueError, match=expected):
        apply_schedules(GRU(2, 8, regularizer=recipe), {option: lambda _: value}, 1)


def test_zoneout_has_a_rate_of_the_cells_own():
    torch.manual_seed(0)
    layer = LSTM(2, 400, regularizer=Zoneout(0.1, z_cell=0.6))
    like = torch.zeros(5, 800)
    affine = layer.regularizer.sample(0, 50, like).affine
    kept = affine.C.mean((0, 1))
    assert kept[:400].mean().item() == pytest.approx(0.1, abs=0.005)
    assert kept[400:].mean().item() == pytest.approx(0.6, abs=0.005)
    torch.testing.assert_close(affine.A + affine.C, torch.ones(50, 5, 800))
    expected = layer.regularizer.expected(like).C
    assert expected[0, 0, 399].item() == pytest.approx(0.1)
    assert expected[0, 0, 400].item() == pytest.approx(0.6)
    apply_schedules(layer, {"z_cell": lambda _: 0.2}, 1)
    assert layer.regularizer.expected(like).C[0, 0, 400].item() == pytest.approx(0.2)
    same, plain = (
        LSTM(2, 4, regularizer=recipe) for recipe in (Zoneout(0.3, z_cell=0.3), Zoneout(0.3))
    )
    same.load_state_dict(plain.state_dict())
    x = torch.randn(6, 3, 2)
    for deterministic in (True, False):
        outputs = []
        for one in (same, plain):
            torch.manual_seed(1)
            outputs.append(one.run(x, deterministic=deterministic).output)
        torch.testing.assert_close(*outputs)
    with pytest.raises(ValueError, match="z_cell is for the LSTM"):
        GRU(2, 4, regularizer=Zoneout(0.1, z_cell=0.6))
    with pytest.raises(ValueError, match="z_cell is of the cell"):
        Zoneout(0.1, z_cell=0.6, on="hidden")


@pytest.mark.parametrize("layers", ["all", "first"])
@pytest.mark.parametrize("mask", ["step", "sequence"])
def test_masks_on_inputs_are_one_per_sequence_or_step_and_keep_the_mean(mask, layers):
    torch.manual_seed(0)
    recipe = InputDropout(0.25, mask=mask, layers=layers)
    x = torch.ones(40, 30, 50)
    for layer in (0, 1):
        dropped = recipe.perturb_input(x, layer)
        if layer and layers == "first":
            assert torch.equal(dropped, x)
            continue
        assert dropped.unique().tolist() == pytest.approx([0, 4 / 3])
        assert dropped.mean().item() == pytest.approx(1, abs=0.06)
        assert (dropped == dropped[0]).all() == (mask == "sequence")


def test_gal_and_ghahramanis_dropout_is_a_chain():
    torch.manual_seed(0)
    recipe = Chain((Dropout(0.5, mask="sequence"), InputDropout(0.5)))
    layer = LSTM(20, 30, 2, regularizer=recipe)
    x = torch.randn(7, 3, 20, requires_grad=True)
    output = layer(x)[0]
    dropped = output == 0
    assert (dropped == dropped[0]).all()
    assert 0.3 < dropped[0].float().mean() < 0.7
    output[-1].sum().backward()
    unseen = x.grad == 0
    assert (unseen == unseen[0]).all()
    assert 0.3 < unseen[0].float().mean() < 0.7
    layer.eval()
    assert (layer(x)[0] != 0).all()
