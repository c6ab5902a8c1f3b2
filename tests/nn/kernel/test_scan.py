"""The hand-written backward pass against finite differences and against autograd."""

import itertools

import pytest
import torch
from torch.nn.functional import linear

from vand_robot.nn.kernel import time_blocks
from vand_robot.nn.kernel.affine import AffineMap
from vand_robot.nn.kernel.cells import ElmanCell, GRUCell, LSTMCell, Weights
from vand_robot.nn.kernel.scan import scan

CELLS = {name: ElmanCell(name) for name in ("tanh", "relu", "sigmoid")}
CELLS |= {"gru": GRUCell(), "lstm": LSTMCell()}
PRESENCE = list(itertools.product([False, True], repeat=4))
STEPS, BATCH, INPUTS, UNITS = 4, 2, 2, 3


@pytest.fixture(autouse=True, params=[1, 1024], ids=["short_blocks", "one_block"])
def _block_length(request, monkeypatch):
    """Every test with time cut into single steps, and in one piece."""
    monkeypatch.setattr(time_blocks, "BLOCK_ROWS", request.param)


def make_inputs(cell, presence, steps=STEPS, batch=BATCH):
    """Inputs, weights, initial state and coefficients A, B, C, keep, where present."""
    generator = torch.Generator().manual_seed(3)

    def draw(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=generator, requires_grad=True)

    gates, size = cell.gates * UNITS, cell.parts * UNITS
    return (
        draw(steps, batch, INPUTS),
        draw(gates, INPUTS),
        draw(gates, UNITS),
        draw(gates),
        draw(gates),
        draw(batch, size),
        *(draw(steps, batch, size) if present else None for present in presence),
    )


def scan_all(cell, x, weight_ih, weight_hh, bias_ih, bias_hh, initial, *coefficients):
    weights = Weights(weight_ih, weight_hh, bias_ih, bias_hh)
    return scan(cell, x, weights, initial, AffineMap(*coefficients))


def unrolled(cell, x, weight_ih, weight_hh, bias_ih, bias_hh, initial, *coefficients):
    """The same by the readable formula, step by step under autograd."""
    state, paths = initial, []
    for t in range(x.shape[0]):
        gates = linear(x[t], weight_ih, bias_ih)
        mu = cell.transition(gates, linear(state[:, :UNITS], weight_hh, bias_hh), state)
        m = cell.transition(gates, bias_hh.expand_as(gates), torch.zeros_like(state))
        affine = AffineMap(*(None if c is None else c[min(t, len(c) - 1)] for c in coefficients))
        state = affine(mu, state, m)
        paths.append((state, mu - m))
    states, gap = (torch.stack(path) for path in zip(*paths, strict=True))
    return states, gap if coefficients[3] is not None else None


@pytest.mark.parametrize("presence", PRESENCE)
@pytest.mark.parametrize("name", CELLS)
def test_gradients_pass_finite_differences(name, presence):
    cell = CELLS[name]
    inputs = make_inputs(cell, presence, steps=2)
    direction = [torch.randn_like(value) for value in inputs if value is not None]

    def along(step):
        """All outputs as one moves all inputs along one direction: cheap, and sees everything."""
        moves = iter(direction)
        moved = [None if value is None else value + step * next(moves) for value in inputs]
        return tuple(path for path in scan_all(cell, *moved) if path is not None)

    assert torch.autograd.gradcheck(along, torch.zeros((), dtype=torch.float64, requires_grad=True))


@pytest.mark.parametrize("presence", PRESENCE)
@pytest.mark.parametrize("name", CELLS)
def test_scan_equals_the_readable_formula(name, presence):
    cell = CELLS[name]
    inputs = make_inputs(cell, presence)
    weights = torch.randn(2, STEPS, BATCH, cell.parts * UNITS, dtype=torch.float64)
    present = [value for value in inputs if value is not None]
    outcomes = []
    for run in (scan_all, unrolled):
        paths = [path for path in run(cell, *inputs) if path is not None]
        loss = sum((path * weight).sum() for path, weight in zip(paths, weights, strict=False))
        outcomes.append((*paths, *torch.autograd.grad(loss, present)))
    for ours, expected in zip(*outcomes, strict=True):
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", CELLS)
def test_coefficients_for_all_steps_at_once_get_summed_gradients(name):
    cell = CELLS[name]
    *inputs, A, _, C, keep = make_inputs(cell, (True, False, True, True))
    once = [value[:1].detach().requires_grad_() for value in (A, C, keep)]
    gradients = [
        torch.autograd.grad(run(cell, *inputs, once[0], None, *once[1:])[0].square().sum(), once)
        for run in (scan_all, unrolled)
    ]
    for ours, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-10)


LENGTHS = {"descending": [4, 3, 1], "any_order": [1, 4, 2], "none_to_the_end": [3, 3, 2]}


@pytest.mark.parametrize("padding_rows", [1, 1024])
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("presence", [PRESENCE[0], PRESENCE[-1]], ids=["plain", "mapped"])
@pytest.mark.parametrize("name", CELLS)
def test_lengths_change_nothing_where_steps_are_valid(
    name, presence, lengths, padding_rows, monkeypatch
):
    monkeypatch.setattr(time_blocks, "PADDING_ROWS", padding_rows)
    cell, lengths = CELLS[name], torch.tensor(lengths)
    x, *weights, start, A, B, C, keep = make_inputs(cell, presence, batch=len(lengths))
    present = [value for value in (x, *weights, start, A, B, C, keep) if value is not None]
    valid = (torch.arange(STEPS)[:, None] < lengths)[..., None]  # (T, B, 1)
    outcomes = []
    for given in (lengths, None):
        paths = scan(cell, x, Weights(*weights), start, AffineMap(A, B, C, keep), given)
        kept = [path * valid for path in paths if path is not None]
        loss = sum((path.square() * (1 + place)).sum() for place, path in enumerate(kept))
        outcomes.append((*kept, *torch.autograd.grad(loss, present)))
    for ours, expected in zip(*outcomes, strict=True):
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-10)


def test_descending_lengths_cost_their_valid_steps_and_little_more():
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(120, 301, (24,), generator=generator).sort(descending=True).values
    blocks = time_blocks.split_time(300, 24, lengths.tolist())
    rows = sum((s.steps.stop - s.steps.start) * s.batch.stop for s in blocks)
    assert rows == blocks[-1].packed.stop
    assert lengths.sum() <= rows < 1.05 * lengths.sum()  # all in all 1.35


def test_composed_maps_equal_one_after_the_other():
    shape = (STEPS, BATCH, UNITS)
    mu, previous, m = torch.randn(3, *shape)
    for first, second in itertools.product(PRESENCE, PRESENCE):
        one, two = (
            AffineMap(*(torch.randn(shape) if present else None for present in presence))
            for presence in (first, second)
        )
        if two.keep is None:
            both = one.then(two)(mu, previous, m)
            torch.testing.assert_close(both, two(one(mu, previous, m), previous))
        else:
            with pytest.raises(ValueError, match="only the first"):
                one.then(two)


def test_widened_map_leaves_the_new_units_untouched():
    narrow = AffineMap(*torch.randn(3, STEPS, BATCH, UNITS))
    mu, previous = torch.randn(2, STEPS, BATCH, 2 * UNITS)
    wide = narrow.widened(2 * UNITS)(mu, previous)
    torch.testing.assert_close(wide[..., :UNITS], narrow(mu[..., :UNITS], previous[..., :UNITS]))
    assert torch.equal(wide[..., UNITS:], mu[..., UNITS:])
