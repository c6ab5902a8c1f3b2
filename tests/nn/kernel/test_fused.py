"""torch's kernels where nothing acts on the state: the same answers, chosen where faster."""

import pytest
import torch

from vand_robot.nn import Vand, layer_pass, make_cell
from vand_robot.nn.kernel.affine import IDENTITY
from vand_robot.nn.kernel.fused import prefers_fused, run_fused
from vand_robot.nn.kernel.native import native_scan
from vand_robot.nn.kernel.scan import scan

CELLS = {"tanh": ("elman", {}), "relu": ("elman", {"nonlinearity": "relu"})}
CELLS |= {"gru": ("gru", {}), "lstm": ("lstm", {})}
INPUTS, UNITS = 3, 5


def make_layer(name, regularizer=None, **options):
    torch.manual_seed(0)
    cell, extra = CELLS[name]
    return make_cell(cell, INPUTS, UNITS, regularizer=regularizer, **extra, **options)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", CELLS)
def test_both_ways_have_the_same_states_and_gradients(name, bias):
    layer = make_layer(name, bias=bias, dtype=torch.float64)
    weights = layer.weights(0)
    x = torch.randn(7, 4, INPUTS, dtype=torch.float64, requires_grad=True)
    start = torch.randn(4, layer.state_size, dtype=torch.float64, requires_grad=True)
    inputs = [x, start, *(weight for weight in weights if weight is not None)]
    path = scan(layer.cell, x, weights, start, IDENTITY)
    ours = (path.states[..., :UNITS], path.states[-1])
    found = []
    for output, final in (ours, run_fused(layer.cell, x, weights, start)):
        loss = output.square().sum() + final.sum()
        found.append((output, final, *torch.autograd.grad(loss, inputs)))
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.fixture
def without_c(monkeypatch):
    """The scan by torch, whether or not there is one in C."""
    monkeypatch.setattr(native_scan, "library", lambda: None)


@pytest.mark.parametrize(
    ("name", "steps", "batch", "learns", "fused"),
    [
        ("lstm", 100, 8, True, True),
        ("gru", 100, 8, True, False),
        ("tanh", 100, 8, True, False),
        ("tanh", 100, 256, True, True),
        ("gru", 1, 8, True, True),
        ("gru", 100, 8, False, True),
        ("tanh", 100, 8, False, True),
    ],
)
def test_the_faster_way_is_chosen(name, steps, batch, learns, fused, without_c):
    layer = make_layer(name)
    x, start = torch.zeros(steps, batch, INPUTS), torch.zeros(batch, layer.state_size)
    with torch.set_grad_enabled(learns):
        assert prefers_fused(layer.cell, x, layer.weights(0), start) is fused


@pytest.mark.parametrize(
    ("name", "steps", "learns", "fused"),
    [
        ("lstm", 100, True, False),
        ("lstm", 100, False, True),
        ("gru", 100, False, False),
        ("gru", 1, False, True),
        ("gru", 1, True, False),
        ("tanh", 100, True, False),
    ],
)
def test_the_scan_in_c_is_preferred_where_it_is_faster(name, steps, learns, fused, monkeypatch):
    monkeypatch.setattr(native_scan, "library", lambda: "there")
    layer = make_layer(name)
    x, start = torch.zeros(steps, 256, INPUTS), torch.zeros(256, layer.state_size)
    with torch.set_grad_enabled(learns):
        assert prefers_fused(layer.cell, x, layer.weights(0), start) is fused


@pytest.mark.parametrize("name", CELLS)
def test_a_regularizer_that_acts_lengths_and_half_precision_go_by_the_scan(
    name, monkeypatch, without_c
):
    calls = []
    monkeypatch.setattr(layer_pass, "run_fused", lambda *a: calls.append(a) or run_fused(*a))
    x = torch.randn(7, 4, INPUTS)
    with torch.no_grad():
        make_layer(name, Vand())(x)
        make_layer(name)(x, lengths=[7, 6, 5, 4])
        make_layer(name, dtype=torch.bfloat16)(x.bfloat16())
        assert not calls
        make_layer(name, Vand()).eval()(x)
    assert len(calls) == 1
