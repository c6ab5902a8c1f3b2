"""Diagnostics on networks whose answer can be worked out."""

import math

import pytest
import torch

from vand_robot.nn import (
    CELLS,
    GRU,
    LSTM,
    Chain,
    Elman,
    GaussianNoise,
    Vand,
    Zoneout,
    make_cell,
)
from vand_robot.nn.diagnostics import gradient_norms, lyapunov_exponent, memory_nats, pca

STEPS, BATCH, INPUTS, UNITS = 6, 3, 2, 4


def linear_layer(weight):
    """An Elman layer that is linear near zero: h = tanh(W h)."""
    layer = Elman(INPUTS, UNITS, bias=False, dtype=torch.float64)
    with torch.no_grad():
        layer.weight_hh_l0.copy_(weight)
    return layer


def random_rotation():
    return torch.linalg.qr(torch.randn(UNITS, UNITS, dtype=torch.float64))[0]


@pytest.mark.parametrize("factor", [0.5, 0.9, 1.2])
def test_exponent_of_a_scaled_rotation_is_the_logarithm_of_its_scale(factor):
    torch.manual_seed(0)
    layer = linear_layer(factor * random_rotation())
    rest = layer.initial_state(BATCH)
    x = torch.zeros(20, BATCH, INPUTS, dtype=torch.float64)
    found = lyapunov_exponent(layer, rest, x, discard=5)
    torch.testing.assert_close(found, torch.full((BATCH,), math.log(factor)).double())


def test_exponent_without_memory_is_minus_infinity():
    layer = linear_layer(torch.zeros(UNITS, UNITS))
    x = torch.randn(5, BATCH, INPUTS, dtype=torch.float64)
    found = lyapunov_exponent(layer, layer.initial_state(BATCH), x)
    assert torch.all(found == -math.inf)


def test_driven_exponent_is_the_growth_of_a_small_difference():
    torch.manual_seed(0)
    layer = GRU(INPUTS, UNITS, 2, dtype=torch.float64).eval()
    x = torch.randn(400, 1, INPUTS, dtype=torch.float64)
    found = lyapunov_exponent(layer, layer.initial_state(1), x, discard=100).item()
    at_100 = layer.run(x[:100]).state
    difference = 1e-6 * torch.randn_like(at_100)
    with torch.no_grad():
        differences = [
            (layer.run(x[100:end], at_100 + difference).state - layer.run(x[100:end], at_100).state)
            for end in (120, 125)
        ]
        rate = math.log(differences[1].norm() / differences[0].norm()) / 5
    assert found < 0
    assert rate == pytest.approx(found, abs=0.25)


def test_expected_zoneout_slows_the_state_down():
    torch.manual_seed(0)
    weight = 0.5 * torch.eye(UNITS, dtype=torch.float64)
    layer = Elman(INPUTS, UNITS, bias=False, dtype=torch.float64, regularizer=Zoneout(0.4))
    with torch.no_grad():
        layer.weight_hh_l0.copy_(weight)
    x = torch.zeros(10, 1, INPUTS, dtype=torch.float64)
    found = lyapunov_exponent(layer, layer.initial_state(1), x)
    assert found.item() == pytest.approx(math.log(0.6 * 0.5 + 0.4))


def test_memory_is_the_formula_and_counts_valid_steps():
    torch.manual_seed(0)
    layer = linear_layer(torch.randn(UNITS, UNITS, dtype=torch.float64))
    x = torch.randn(STEPS, BATCH, INPUTS, dtype=torch.float64)
    lengths = torch.tensor([6, 2, 3])
    found = memory_nats(layer, x, sigma=0.1, lengths=lengths)
    mu, _ = layer(x)
    m = torch.tanh(x @ layer.weight_ih_l0.t())
    k = -math.log(0.1) + (0.01 + (mu - m).square()) / 2 - 0.5
    assert found.shape == (1, STEPS, UNITS)
    torch.testing.assert_close(found[0, 1], k[1].mean(0))
    torch.testing.assert_close(found[0, 2], k[2, [0, 2]].mean(0))
    torch.testing.assert_close(found[0, 5], k[5, 0])
    with pytest.raises(ValueError, match="sigma"):
        memory_nats(layer, x)


def test_memory_of_vand_uses_its_own_noise_and_first_step_has_none():
    layer = LSTM(INPUTS, UNITS, 2, regularizer=Vand(sigma=0.2, drop=0.3))
    found = memory_nats(layer, torch.randn(STEPS, BATCH, INPUTS))
    assert found.shape == (2, STEPS, 2 * UNITS)
    nothing = 0.7 * (-math.log(0.2) + 0.02 - 0.5)  # k of a unit that answers as the prior does
    torch.testing.assert_close(found[:, 0], torch.full((2, 2 * UNITS), nothing))
    assert torch.all(found[:, 1:] > nothing)


def test_memory_finds_vand_in_a_chain():
    torch.manual_seed(0)
    layer = GRU(INPUTS, UNITS, regularizer=Vand(sigma=0.2))
    chained = GRU(INPUTS, UNITS, regularizer=Chain((Vand(sigma=0.2), GaussianNoise())))
    chained.load_state_dict(layer.state_dict(), strict=False)
    x = torch.randn(STEPS, BATCH, INPUTS)
    torch.testing.assert_close(memory_nats(chained, x), memory_nats(layer, x))
    with pytest.raises(ValueError, match="sigma"):
        memory_nats(GRU(INPUTS, UNITS, regularizer=Chain((GaussianNoise(),))), x)


def test_memory_is_measured_where_the_network_is():
    layer = GRU(INPUTS, UNITS, device="meta")
    x = torch.zeros(STEPS, BATCH, INPUTS, device="meta")
    assert memory_nats(layer, x, 0.1, torch.tensor([6, 2, 3])).is_meta


def test_components_are_those_of_the_cloud():
    torch.manual_seed(0)
    basis = random_rotation()
    cloud = torch.randn(50, 40, UNITS, dtype=torch.float64) * torch.tensor([3.0, 1.0, 0.1, 0.1])
    states = cloud @ basis + 2
    mask = torch.rand(50, 40) < 0.9
    found = pca(torch.where(mask[..., None], states, torch.nan), 2, mask)
    alignment = (found.components @ basis.t()).abs()
    assert alignment[0, 0] > 0.99
    assert alignment[1, 1] > 0.99
    assert found.explained.tolist() == pytest.approx([9 / 10.02, 1 / 10.02], abs=0.03)
    assert found.project(states).shape == (50, 40, 2)
    with pytest.raises(ValueError, match=r"count in 1\.\.4"):
        pca(states, 5)
    with pytest.raises(TypeError, match=r"torch\.bool"):
        pca(states, 2, mask.long())


@pytest.mark.parametrize("regularizer", [None, Zoneout(0.4)], ids=["plain", "zoneout"])
def test_gradient_norms_are_those_of_autograd(regularizer):
    torch.manual_seed(0)
    layer = GRU(INPUTS, UNITS, 2, dtype=torch.float64, regularizer=regularizer).eval()
    x = torch.randn(STEPS, BATCH, INPUTS, dtype=torch.float64)
    found = gradient_norms(layer, x, lambda output: output[-1].sum())
    assert found.shape == (2, STEPS, BATCH)
    # From step 2 on, step by step, with the state after step 2 as the variable of the upper layer.
    state = layer.run(x[:3]).state.detach().requires_grad_()
    output, now = None, state
    for x_t in x[3:]:
        output, now = layer.transition(x_t, now)
    (expected,) = torch.autograd.grad(output.sum(), state)
    torch.testing.assert_close(found[1, 2], expected[1].norm(dim=-1))


def test_gradient_through_a_rotation_keeps_its_norm():
    torch.manual_seed(0)
    layer = linear_layer(random_rotation())
    x = torch.zeros(STEPS, BATCH, INPUTS, dtype=torch.float64)
    found = gradient_norms(layer, x, lambda output: output[-1, :, 0].sum())
    torch.testing.assert_close(found, torch.ones_like(found))


@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_can_be_measured(cell):
    layer = make_cell(cell, INPUTS, UNITS, 2, regularizer=Vand())
    x = torch.randn(6, 3, INPUTS)
    nats = memory_nats(layer, x)
    assert nats.shape == (2, 6, layer.state_size)
    assert (nats >= 0).all()
    exponent = lyapunov_exponent(layer, layer.initial_state(3), x)
    assert exponent.isfinite().all()
    norms = gradient_norms(layer, x, lambda output: output[-1].sum())
    assert norms.shape == (2, 6, 3)
    assert (norms[1, -1] > 0).all()
