"""The scan on a GPU against the reference; without one, its kernels in Triton's interpreter."""

import itertools
import os
from importlib.util import find_spec

import pytest
import torch

GPU = torch.cuda.is_available()
if not GPU:
    os.environ.setdefault("TRITON_INTERPRET", "1")  # read when the kernels are imported

from vand_robot.nn.kernel import gpu_scan as module  # noqa: E402
from vand_robot.nn.kernel.affine import AffineMap  # noqa: E402
from vand_robot.nn.kernel.cells import ElmanCell, GRUCell, LSTMCell, Weights  # noqa: E402
from vand_robot.nn.kernel.gpu_scan import Tiling, gpu_scan, usable  # noqa: E402
from vand_robot.nn.kernel.scan import scan  # noqa: E402

DEVICE = "cuda" if GPU else "cpu"
CELLS = {"tanh": ElmanCell(), "relu": ElmanCell("relu"), "gru": GRUCell(), "lstm": LSTMCell()}
PRESENCE = list(itertools.product([False, True], repeat=4))
STEPS, BATCH, INPUTS, UNITS = 4, 19, 5, 20  # two tiles of sequences, two of units

needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
needs_gpu = pytest.mark.skipif(not GPU, reason="there is no GPU")


@pytest.fixture(autouse=True)
def _setting(monkeypatch):
    torch.manual_seed(0)
    torch.set_num_threads(1)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def make_inputs(cell, presence=(False,) * 4, sizes=(STEPS, BATCH, INPUTS, UNITS), bias=True):
    """Inputs, weights, initial state and coefficients A, B, C, keep, where present."""
    steps, batch, width, units = sizes
    gates, size = cell.gates * units, cell.parts * units
    scale = units**-0.5

    def draw(*shape):
        return torch.randn(*shape, device=DEVICE)

    return [
        draw(steps, batch, width),
        draw(gates, width) * scale,
        draw(gates, units) * scale,
        draw(gates) * scale if bias else None,
        draw(gates) * scale if bias else None,
        draw(batch, size),
        *(0.5 * draw(steps, batch, size) if present else None for present in presence),
    ]


def run(function, cell, inputs, upstream, lengths=None):
    """Outputs, and gradients of all inputs."""
    own = [None if value is None else value.detach().requires_grad_() for value in inputs]
    x, *weights, initial = own[:6]
    affine = AffineMap(*own[6:])
    states, gap = function(cell, x, Weights(*weights), initial, affine, lengths)
    loss = (states * upstream[0]).sum()
    if gap is not None:
        loss = loss + (gap * upstream[1]).sum()
    loss.backward()
    return [states, gap, *(None if value is None else value.grad for value in own)]


def assert_agrees(cell, inputs, lengths=None, tolerance=1e-5):
    """Compare with the reference in float64 on the CPU."""
    shape = (2, inputs[0].shape[0], *inputs[5].shape)
    upstream = torch.randn(shape, device=DEVICE)
    if lengths is not None:
        valid = torch.arange(shape[1], device=DEVICE).unsqueeze(1) < lengths.to(DEVICE)
        upstream = upstream * valid.unsqueeze(-1)
    found = run(gpu_scan, cell, inputs, upstream, lengths)
    exact = [None if value is None else value.double().cpu() for value in inputs]
    lengths = None if lengths is None else lengths.cpu()
    expected = run(scan, cell, exact, upstream.double().cpu(), lengths)
    for index, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        assert (ours is None) == (theirs is None)
        if theirs is not None:
            error = (ours.cpu() - theirs).norm() / theirs.norm().clamp_min(1e-12)
            assert error < tolerance, (index, error)


@pytest.fixture(params=[True, False], ids=["one_launch", "a_launch_per_step"])
def tiles(request, monkeypatch):
    """Tiles for the interpreter, whose programs run in turn and so cannot wait for each other."""
    if not GPU or not request.param:
        units = 32 if request.param else 16
        tiling = Tiling(16, units, 16, 1, 4, one_launch=request.param)
        monkeypatch.setattr(module, "_tiling", lambda *_, **__: tiling)


@needs_triton
@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize("ragged", [False, True], ids=["", "ragged"])
@pytest.mark.parametrize("presence", PRESENCE if GPU else [PRESENCE[i] for i in (0, 5, 10, 15)])
@pytest.mark.parametrize("name", CELLS)
def test_kernels_agree_with_the_reference(name, presence, ragged):
    cell = CELLS[name]
    lengths = torch.randint(1, STEPS + 1, (BATCH,), device=DEVICE) if ragged else None
    assert_agrees(cell, make_inputs(cell, presence), lengths)


@needs_triton
@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize("name", CELLS)
def test_coefficients_that_all_steps_share_and_no_biases(name):
    cell = CELLS[name]
    inputs = make_inputs(cell, PRESENCE[15], bias=False)
    inputs[6:] = [value[:1].clone() for value in inputs[6:]]
    assert_agrees(cell, inputs)


@needs_triton
def test_refuses_double_backward(monkeypatch):
    tiling = Tiling(16, 32, 16, 1, 4, one_launch=True)
    monkeypatch.setattr(module, "_tiling", lambda *_, **__: tiling)
    x, *weights, initial = make_inputs(LSTMCell())[:6]
    x.requires_grad_()
    states, _ = gpu_scan(LSTMCell(), x, Weights(*weights), initial, AffineMap())
    with pytest.raises(RuntimeError, match="double backward"):
        torch.autograd.grad(states.sum(), x, create_graph=True)


@needs_triton
@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize("name", ["tanh", "gru", "lstm"])
def test_small_states_keep_their_digits(name):
    cell = CELLS[name]
    inputs = make_inputs(cell, bias=False)
    inputs[0] *= 1e-5
    inputs[5] *= 1e-5
    assert_agrees(cell, inputs, tolerance=3e-6)


def test_the_cpu_keeps_its_own_scan():
    assert not usable(GRUCell(), torch.zeros(2, 3, 4))


def test_a_missing_triton_is_said(monkeypatch):
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    with pytest.warns(UserWarning, match="triton is not installed"):
        assert not module._works.__wrapped__(torch.device("cuda"))


def test_a_gpu_without_tf32_is_said(monkeypatch):
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    assert module.missing(torch.device("cuda")) == "the GPU's compute capability is 7.5, below 8.0"


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("batch", [1, 64, 256, 1000])
@pytest.mark.parametrize("hidden", [7, 256, 512, 1024])
def test_programs_that_wait_for_each_other_are_resident_all_at_once(
    batch, hidden, backwards, monkeypatch
):
    monkeypatch.setattr(module, "_multiprocessors", lambda _: 132)
    tiling = module._tiling(torch.device("cuda"), batch, hidden, backwards=backwards)
    rows, units = tiling.grid(batch, hidden)
    assert rows * tiling.rows >= batch
    assert units * tiling.units >= hidden
    assert rows * units <= 132 or not tiling.one_launch


@needs_gpu
@pytest.mark.parametrize(("batch", "units"), [(64, 256), (256, 512), (3, 1000)])
@pytest.mark.parametrize("name", CELLS)
def test_long_sequences(name, batch, units):
    cell = CELLS[name]
    inputs = make_inputs(cell, (False, True, False, True), (300, batch, 64, units))
    inputs[7] = inputs[7] * 0.1
    inputs[9] = (inputs[9] > -0.5).float()
    shape = (2, 300, *inputs[5].shape)
    upstream = torch.randn(shape, device=DEVICE)
    found = run(gpu_scan, cell, inputs, upstream)
    expected = run(scan, cell, [v if v is None else v.double() for v in inputs], upstream.double())
    for ours, theirs in zip(found, expected, strict=True):
        if theirs is not None:
            # A relu whose argument is rounded to the other side of zero changes its slope by 1.
            tolerance = 1e-2 if name == "relu" else 1e-4
            assert (ours - theirs).norm() / theirs.norm() < tolerance


@needs_gpu
def test_layers_scan_on_the_gpu_by_default_and_agree_to_tf32(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    called = []
    monkeypatch.setattr(module, "gpu_scan", lambda *a: called.append(1) or gpu_scan(*a))
    cell = GRUCell()
    inputs = make_inputs(cell, PRESENCE[15], (50, 64, 16, 64))
    upstream = torch.randn((2, 50, 64, 64), device=DEVICE)
    found = run(scan, cell, inputs, upstream)
    assert called
    expected = run(scan, cell, [v.double() for v in inputs], upstream.double())
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours - theirs).norm() / theirs.norm() < 1e-2
    assert torch.get_float32_matmul_precision() == "highest"


@needs_gpu
@pytest.mark.parametrize("name", CELLS)
def test_a_pass_waits_for_nothing_on_the_host(name):
    cell = CELLS[name]
    inputs = make_inputs(cell, PRESENCE[15])
    lengths = torch.tensor([STEPS] * BATCH, device=DEVICE)
    upstream = torch.randn((2, STEPS, *inputs[5].shape), device=DEVICE)
    run(scan, cell, inputs, upstream, lengths)  # compiles
    torch.cuda.set_sync_debug_mode("error")
    try:
        run(scan, cell, inputs, upstream, lengths)
    finally:
        torch.cuda.set_sync_debug_mode("default")
