"""MinGRU and LRU: the parallel scan is the recurrence step by step, with every regularizer."""

import pytest
import torch

from tests.nn.test_resets import REGULARIZERS
from vand_robot.nn import LRU, MinGRU, Vand, collect_penalty, make_cell
from vand_robot.nn.cells.linear_scan import linear_scan

CELLS = {"mingru": MinGRU, "lru": LRU}
BATCH, INPUTS, UNITS = 3, 2, 4


def make(cell, regularizer=None, layers=1, dtype=torch.float64, **options):
    torch.manual_seed(0)
    return make_cell(cell, INPUTS, UNITS, layers, regularizer=regularizer, dtype=dtype, **options)


def factors(kind, steps):
    torch.manual_seed(steps)
    if kind == "matrices":
        a = 0.5 * torch.randn(steps, 2, 2, BATCH, UNITS, dtype=torch.float64)
        return a, torch.randn(steps, 2, BATCH, UNITS, dtype=torch.float64)
    dtype = torch.complex128 if kind == "complex" else torch.float64
    a = torch.randn(steps, 1 if kind == "shared" else BATCH, UNITS, dtype=dtype)
    return a, torch.randn(steps, BATCH, UNITS, dtype=dtype)


@pytest.mark.parametrize("kind", ["real", "shared", "complex", "matrices"])
@pytest.mark.parametrize("steps", [1, 2, 4, 5, 8, 13, 32])
def test_the_scan_is_the_recurrence(kind, steps):
    a, b = factors(kind, steps)
    h, expected = torch.zeros_like(b[0]), []
    for t in range(steps):
        moved = a[t] * h if a.dim() == 3 else torch.einsum("ijbn,jbn->ibn", a[t], h)
        h = moved + b[t]
        expected.append(h)
    torch.testing.assert_close(linear_scan(a, b), torch.stack(expected))


@pytest.mark.parametrize("kind", ["real", "shared", "complex", "matrices"])
def test_derivatives_of_the_scan_are_right_the_second_ones_too(kind):
    a, b = factors(kind, 6)
    a, b = a[..., :1].clone().requires_grad_(), b[..., :1].clone().requires_grad_()
    assert torch.autograd.gradcheck(linear_scan, (a, b))
    assert torch.autograd.gradgradcheck(linear_scan, (a, b))


def test_factors_of_zero_and_factors_that_vanish_do_no_harm():
    a = torch.full((2000, 1, 2), 1e-3)
    a[7] = 0
    b = torch.ones(2000, 1, 2)
    assert linear_scan(a, b)[-1, 0, 0].item() == pytest.approx(1 / (1 - 1e-3))
    assert torch.equal(linear_scan(a, b)[7], b[7])


@pytest.mark.parametrize("cell", CELLS)
def test_a_sequence_is_its_steps(cell):
    layer = make(cell, layers=2).eval()
    x = torch.randn(11, BATCH, INPUTS, dtype=torch.float64)
    state = start = torch.randn(2, BATCH, layer.state_size, dtype=torch.float64)
    result = layer.run(x, start)
    for t in range(11):
        output, state = layer.step(x[t], state)
        torch.testing.assert_close(result.output[t], output)
    torch.testing.assert_close(result.state, state)


def by_steps(layer, x, start, sample, lengths):
    """States and gaps of one layer, step by step under autograd."""
    affine, h, states, gaps = sample.affine, start, [], []
    given = (affine.A, affine.B, affine.C, affine.keep)
    for t in range(len(x)):
        mu, m = layer.answer(0, x[t], h), layer.answer(0, x[t], torch.zeros_like(h))
        A, B, C, keep = (None if c is None else c[t if len(c) > 1 else 0] for c in given)
        gaps.append(mu - m)
        value = mu if keep is None else m + keep * (mu - m)
        value = value if A is None else A * value
        value = value if B is None else value + B
        h = value if C is None else value + C * h
        valid = (t < lengths).unsqueeze(-1)
        h, gaps[-1] = h * valid, gaps[-1] * valid
        states.append(h)
    return torch.stack(states), torch.stack(gaps)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("name", REGULARIZERS)
def test_every_regularizer_acts_as_it_does_step_by_step(cell, name):
    layer = make(cell, REGULARIZERS[name])
    x = torch.randn(9, BATCH, INPUTS, dtype=torch.float64, requires_grad=True)
    start = torch.randn(BATCH, layer.state_size, dtype=torch.float64, requires_grad=True)
    lengths = torch.tensor([9, 6, 1])
    sample = layer.regularizer.sample(0, 9, start.detach())
    path = layer.scan_layer(0, x, start, sample.affine, lengths)
    states, gaps = by_steps(layer, x, start, sample, lengths)
    torch.testing.assert_close(path.states, states)
    if path.gap is not None:
        torch.testing.assert_close(path.gap, gaps)
    leaves = [x, start, *layer.parameters()]
    found = []
    for some in ((path.states, path.gap), (states, None if path.gap is None else gaps)):
        loss = layer.readout(0, some[0], x).square().sum() + some[0].sum()
        if some[1] is not None:
            loss = loss + some[1].square().sum()
        found.append(torch.autograd.grad(loss, leaves, allow_unused=True, retain_graph=True))
    for ours, expected in zip(*found, strict=True):
        torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("cell", CELLS)
def test_padding_changes_nothing(cell):
    layer = make(cell, layers=2).eval()
    x = torch.randn(8, BATCH, INPUTS, dtype=torch.float64)
    lengths = [3, 8, 5]
    dirty = x.clone()
    dirty[3:, 0] = torch.nan
    result = layer.run(dirty, lengths=lengths)
    for b, length in enumerate(lengths):
        alone = layer.run(x[:length, b : b + 1])
        torch.testing.assert_close(result.output[:length, b : b + 1], alone.output)
        torch.testing.assert_close(result.state[:, b : b + 1], alone.state)
        assert result.output[length:, b].abs().sum() == 0


@pytest.mark.parametrize("cell", CELLS)
def test_transforms_of_torch_func_work(cell):
    layer = make(cell).eval()
    x = torch.randn(6, BATCH, INPUTS, dtype=torch.float64)
    tangent = torch.randn_like(x)

    def loss(x):
        return layer(x)[0].square().sum()

    gradient = torch.func.grad(loss)(x)
    (expected,) = torch.autograd.grad(loss(x.requires_grad_()), x)
    torch.testing.assert_close(gradient, expected)
    _, change = torch.func.jvp(loss, (x.detach(),), (tangent,))
    torch.testing.assert_close(change, (expected * tangent).sum())


@pytest.mark.parametrize("cell", CELLS)
def test_half_precision_scans_in_float32(cell):
    layer = make(cell, dtype=torch.float32).eval()
    x = torch.randn(200, BATCH, INPUTS)
    exact = layer(x)[0]
    rounded = layer.to(torch.bfloat16)(x.to(torch.bfloat16))[0]
    assert rounded.dtype == torch.bfloat16
    assert (rounded.float() - exact).abs().max() < 0.05 * exact.abs().max()


def test_the_factors_of_an_lru_start_on_their_ring_and_stay_in_the_circle():
    layer = LRU(2, 500, min_radius=0.9, max_radius=0.99, max_phase=0.3)
    found = layer.recurrence(0, torch.zeros(1, 1, 2))
    factor = torch.complex(found.factor, found.turn).flatten()
    assert factor.abs().min() > 0.9 - 1e-5
    assert factor.abs().max() < 0.99 + 1e-5
    assert factor.angle().min() > 0
    assert factor.angle().max() < 0.3
    gamma = layer.log_gamma_l0.exp()
    torch.testing.assert_close(gamma.square() + factor.abs().square(), torch.ones(500))
    with torch.no_grad():
        layer.log_nu_l0.fill_(-20.0)
    assert torch.hypot(*layer.recurrence(0, torch.zeros(1, 1, 2))[:2]).max() <= 1
    default = LRU(2, 4000)
    assert default.log_nu_l0.isfinite().all()
    assert default.log_theta_l0.isfinite().all()


@pytest.mark.parametrize("cell", CELLS)
def test_they_learn_to_recall_under_vand(cell):
    """A number that is seen once is told eight steps later; without memory the error is 1/3."""
    torch.manual_seed(0)
    layer = make_cell(cell, 2, 32, regularizer=Vand(sigma=0.02, beta=1e-5))
    head = torch.nn.Linear(32, 1)
    model = torch.nn.ModuleList([layer, head])
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)

    def draw(batch):
        told = 2 * torch.rand(batch) - 1
        x = torch.zeros(9, batch, 2)
        x[0, :, 0], x[0, :, 1] = told, 1
        return x, told

    for _ in range(120):
        x, told = draw(32)
        loss = (head(layer(x)[0][-1])[:, 0] - told).square().mean() + collect_penalty(model)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    layer.eval()
    x, told = draw(500)
    assert (head(layer(x)[0][-1])[:, 0] - told).square().mean() < 0.03


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"min_radius": 0.9, "max_radius": 0.5}, "min_radius < max_radius"),
        ({"max_phase": 7.0}, "max_phase"),
        ({"readout": "glu"}, "did you mean 'gelu'"),
    ],
)
def test_bad_options_of_an_lru_are_refused(options, expected):
    with pytest.raises(ValueError, match=expected):
        LRU(2, 3, **options)
