"""The hand-written backward pass against finite differences and against autograd."""

import itertools

import pytest
import torch

from vand_robot.nn.affine import AffineMap
from vand_robot.nn.cells import ElmanCell, GRUCell, LSTMCell
from vand_robot.nn.scan import scan

CELLS = {"tanh": ElmanCell(), "relu": ElmanCell("relu"), "gru": GRUCell(), "lstm": LSTMCell()}
PRESENCE = list(itertools.product([False, True], repeat=3))
STEPS, BATCH, UNITS = 4, 2, 3


def make_inputs(cell, presence, steps=STEPS):
    generator = torch.Generator().manual_seed(3)

    def draw(*shape):
        return torch.randn(
            *shape, dtype=torch.float64, generator=generator, requires_grad=True
        )

    gates, size = cell.gates * UNITS, cell.parts * UNITS
    affine = [draw(steps, BATCH, size) if present else None for present in presence]
    return (
        draw(steps, BATCH, gates),
        draw(gates, UNITS),
        draw(gates),
        draw(BATCH, size),
        *affine,
    )


def scan_all(cell, gates, weight, bias, initial, *coefficients):
    return scan(cell, gates, weight, bias, initial, affine=AffineMap(*coefficients))


def unrolled(cell, gates, weight, bias, initial, *coefficients):
    """The same by the readable formula, step by step under autograd."""
    state, states, answers = initial, [], []
    for t in range(gates.shape[0]):
        recurrent = torch.nn.functional.linear(state[:, : weight.shape[1]], weight, bias)
        mu = cell.transition(gates[t], recurrent, state)
        A, B, C = (None if c is None else c[min(t, len(c) - 1)] for c in coefficients)
        state = AffineMap(A, B, C)(mu, state)
        states.append(state)
        answers.append(mu)
    return torch.stack(states), torch.stack(answers)


@pytest.mark.parametrize("presence", PRESENCE)
@pytest.mark.parametrize("name", CELLS)
def test_gradients_pass_finite_differences(name, presence):
    cell = CELLS[name]
    inputs = make_inputs(cell, presence, steps=3)
    assert torch.autograd.gradcheck(lambda *args: scan_all(cell, *args), inputs)


@pytest.mark.parametrize("presence", PRESENCE)
@pytest.mark.parametrize("name", CELLS)
def test_scan_equals_the_readable_formula(name, presence):
    cell = CELLS[name]
    inputs = make_inputs(cell, presence)
    weights = [torch.randn(STEPS, BATCH, cell.parts * UNITS, dtype=torch.float64) for _ in "hm"]
    present = [value for value in inputs if value is not None]
    gradients = []
    for run in (scan_all, unrolled):
        states, mu = run(cell, *inputs)
        loss = (states * weights[0]).sum() + (mu * weights[1]).sum()
        gradients.append((states, *torch.autograd.grad(loss, present)))
    for ours, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", CELLS)
def test_coefficients_for_all_steps_at_once_get_summed_gradients(name):
    cell = CELLS[name]
    gates, weight, bias, initial, A, _, C = make_inputs(cell, (True, False, True))
    once = [value[:1].detach().requires_grad_() for value in (A, C)]
    for run in (scan_all, unrolled):
        states, _ = run(cell, gates, weight, bias, initial, once[0], None, once[1])
        states.square().sum().backward()
    expected = [value.grad / 2 for value in once]
    for value in once:
        value.grad = None
    states, _ = scan_all(cell, gates, weight, bias, initial, once[0], None, once[1])
    states.square().sum().backward()
    for value, half in zip(once, expected, strict=True):
        torch.testing.assert_close(value.grad, half, rtol=0, atol=1e-10)


def test_composed_maps_equal_one_after_the_other():
    shape = (STEPS, BATCH, UNITS)
    mu, previous = torch.randn(2, *shape)
    for first, second in itertools.product(PRESENCE, PRESENCE):
        one, two = (
            AffineMap(*(torch.randn(shape) if present else None for present in presence))
            for presence in (first, second)
        )
        torch.testing.assert_close(
            one.then(two)(mu, previous), two(one(mu, previous), previous)
        )


def test_widened_map_leaves_the_new_units_untouched():
    narrow = AffineMap(*torch.randn(3, STEPS, BATCH, UNITS))
    mu, previous = torch.randn(2, STEPS, BATCH, 2 * UNITS)
    wide = narrow.widened(2 * UNITS)(mu, previous)
    torch.testing.assert_close(wide[..., :UNITS], narrow(mu[..., :UNITS], previous[..., :UNITS]))
    assert torch.equal(wide[..., UNITS:], mu[..., UNITS:])
