"""Cells without a hand-written derivative: the same as those with one, and new ones."""

from dataclasses import dataclass

import pytest
import torch

from vand_robot.nn import (
    GRU,
    LSTM,
    CustomCell,
    Elman,
    GaussianNoise,
    Transition,
    Vand,
    Zoneout,
)
from vand_robot.nn.kernel.cells import GRUCell, LSTMCell

STEPS, BATCH, INPUTS, UNITS = 6, 4, 3, 5


@dataclass(frozen=True)
class FormulaOnly:
    """The formula of another cell, and nothing else of it."""

    inner: Transition
    gates: int
    parts: int

    def transition(self, gates, recurrent, state):
        return self.inner.transition(gates, recurrent, state)


@dataclass(frozen=True)
class MinimalGate:
    """h = (1 - z) h + z tanh(...), one gate."""

    gates: int = 2
    parts: int = 1

    def transition(self, gates, recurrent, state):
        z, n = (gates + recurrent).chunk(2, -1)
        return torch.lerp(state, torch.tanh(n), torch.sigmoid(z))


@pytest.mark.parametrize("lengths", [None, [6, 2, 4, 1]], ids=["whole", "lengths"])
@pytest.mark.parametrize(
    "regularizer", [None, Vand(drop=0.3), Zoneout(0.3)], ids=["none", "vand", "zoneout"]
)
@pytest.mark.parametrize(("layer", "cell"), [(GRU, GRUCell()), (LSTM, LSTMCell())])
def test_a_formula_alone_gives_the_layers_results_and_gradients(layer, cell, regularizer, lengths):
    known = layer(INPUTS, UNITS, 2, regularizer=regularizer, dtype=torch.float64)
    formula = FormulaOnly(cell, cell.gates, cell.parts)
    mine = CustomCell(formula, INPUTS, UNITS, 2, regularizer=regularizer, dtype=torch.float64)
    mine.load_state_dict(known.state_dict())
    x = torch.randn(STEPS, BATCH, INPUTS, dtype=torch.float64)
    found = []
    for module in (known, mine):
        torch.manual_seed(1)
        result = module.run(x, lengths=lengths)
        loss = result.output.square().sum() + result.state.sum() + result.terms.penalty
        gradients = torch.autograd.grad(loss, list(module.parameters()), allow_unused=True)
        found.append((result.output, result.state, result.terms.kl, *gradients))
    for ours, expected in zip(*found, strict=True):
        torch.testing.assert_close(ours, expected)
    state = mine.initial_state(BATCH)
    for ours, expected in zip(mine.step(x[0], state), known.step(x[0], state), strict=True):
        torch.testing.assert_close(ours, expected)


def test_a_cell_of_ones_own_learns_under_a_regularizer():
    torch.manual_seed(0)
    layer = CustomCell(MinimalGate(), 1, 8, regularizer=GaussianNoise(0.01))
    head = torch.nn.Linear(8, 1)
    optimizer = torch.optim.Adam([*layer.parameters(), *head.parameters()], lr=0.02)
    wave = torch.sin(0.3 * torch.arange(31.0) + 6.28 * torch.rand(16, 1)).t()[..., None]
    losses = []
    for _ in range(80):
        loss = (head(layer(wave[:-1])[0]) - wave[1:]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 5


def test_a_sigmoid_network_equals_its_formula_step_by_step():
    layer = Elman(INPUTS, UNITS, nonlinearity="sigmoid", dtype=torch.float64)
    x = torch.randn(STEPS, BATCH, INPUTS, dtype=torch.float64)
    h = torch.zeros(BATCH, UNITS, dtype=torch.float64)
    state = layer.initial_state(BATCH)
    output = layer(x)[0]
    for t in range(STEPS):
        pre = x[t] @ layer.weight_ih_l0.t() + layer.bias_ih_l0
        h = torch.sigmoid(pre + h @ layer.weight_hh_l0.t() + layer.bias_hh_l0)
        stepped, state = layer.step(x[t], state)
        torch.testing.assert_close(output[t], h)
        torch.testing.assert_close(stepped, h)
