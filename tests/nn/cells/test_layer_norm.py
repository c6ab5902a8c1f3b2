"""Layer-normalized cells: the formula, every regularizer by the shared tests, and learning."""

import pytest
import torch
from torch.nn.functional import layer_norm

from vand_robot.nn import Vand, make_cell

CELLS = ["elman", "gru", "lstm"]
STEPS, BATCH, INPUTS, UNITS = 6, 4, 3, 5


def make(cell, **options):
    torch.manual_seed(0)
    layer = make_cell(f"layernorm_{cell}", INPUTS, UNITS, dtype=torch.float64, **options)
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            if name.startswith(("gain", "bias")):
                parameter.add_(0.3 * torch.randn_like(parameter))
    return layer


def normalized(value, gain, bias):
    parts = [layer_norm(gate, (UNITS,)) for gate in value.split(UNITS, -1)]
    return torch.cat(parts, -1) * gain + bias


@pytest.mark.parametrize("cell", CELLS)
def test_a_sequence_equals_the_formula_of_the_paper_with_each_gate_normalized(cell):
    layer = make(cell)
    x = torch.randn(STEPS, BATCH, INPUTS, dtype=torch.float64)
    w = {name.removesuffix("_l0"): value for name, value in layer.named_parameters()}
    h = c = torch.zeros(BATCH, UNITS, dtype=torch.float64)
    output = layer.run(x).output
    state = layer.initial_state(BATCH)
    for t in range(STEPS):
        a = normalized(x[t] @ w["weight_ih"].t(), w["gain_ih"], w["bias_ih"])
        b = normalized(h @ w["weight_hh"].t(), w["gain_hh"], w["bias_hh"])
        if cell == "elman":
            h = torch.tanh(a + b)
        elif cell == "gru":
            (r, z, n), (r2, z2, n2) = a.chunk(3, -1), b.chunk(3, -1)
            n = torch.tanh(n + torch.sigmoid(r + r2) * n2)
            h = (1 - torch.sigmoid(z + z2)) * n + torch.sigmoid(z + z2) * h
        else:
            i, f, g, o = (a + b).chunk(4, -1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(normalized(c, w["gain_c"], w["bias_c"]))
        torch.testing.assert_close(output[t], h)
        stepped, state = layer.step(x[t], state)
        torch.testing.assert_close(stepped, h)


@pytest.mark.parametrize("cell", CELLS)
def test_the_scale_of_the_weights_does_not_matter(cell):
    layer = make(cell, num_layers=2)
    x = torch.randn(STEPS, BATCH, INPUTS, dtype=torch.float64)
    before = layer(x)[0]
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            if name.startswith("weight"):
                parameter.mul_(100.0)
    torch.testing.assert_close(layer(x)[0], before, rtol=0, atol=2e-2)  # but for the epsilon


@pytest.mark.parametrize(("cell", "bias"), [("gru", False), ("lstm", True)])
def test_gains_start_at_one_and_all_weights_learn_under_vand(cell, bias):
    torch.manual_seed(0)
    layer = make_cell(f"layernorm_{cell}", 1, 16, bias=bias, regularizer=Vand())
    assert all((p == 1).all() for n, p in layer.named_parameters() if n.startswith("gain"))
    assert all((p == 0).all() for n, p in layer.named_parameters() if n.startswith("bias"))
    assert any(n.startswith("bias") for n, _ in layer.named_parameters()) is bias
    head = torch.nn.Linear(16, 1)
    optimizer = torch.optim.Adam([*layer.parameters(), *head.parameters()], lr=2e-2)
    wave = torch.sin(0.3 * torch.arange(16.0) + 6.28 * torch.rand(8, 1)).t()[..., None]
    losses = []
    for _ in range(40):
        result = layer.run(wave[:-1])
        loss = (head(result.output) - wave[1:]).square().mean()
        optimizer.zero_grad()
        (loss + result.terms.penalty).backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(p.grad.abs().sum() > 0 for p in layer.parameters())
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize("cell", CELLS)
def test_half_precision_scans_in_float32(cell):
    layer = make(cell).float().eval()
    x = torch.randn(40, BATCH, INPUTS)
    exact = layer(x)[0]
    rounded = layer.to(torch.bfloat16)(x.to(torch.bfloat16))[0]
    assert rounded.dtype == torch.bfloat16
    assert (rounded.float() - exact).abs().max() < 0.1
