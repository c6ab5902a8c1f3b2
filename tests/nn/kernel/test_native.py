"""The scan in C against the scan in torch, which is the reference."""

import itertools
import math
import platform

import pytest
import torch

from vand_robot.nn import REGULARIZERS, make_cell, make_regularizer
from vand_robot.nn.kernel.affine import AffineMap
from vand_robot.nn.kernel.cells import ElmanCell, GRUCell, LSTMCell, Weights
from vand_robot.nn.kernel.native import library as loading
from vand_robot.nn.kernel.native import native_draws, native_scan
from vand_robot.nn.kernel.native.build import FOLDER, NAME, CompilerError, build, compiler
from vand_robot.nn.kernel.scan import scan
from vand_robot.nn.regularizers import vand_posterior

CELLS = {name: ElmanCell(name) for name in ("tanh", "relu", "sigmoid")}
CELLS |= {"gru": GRUCell(), "lstm": LSTMCell()}
PRESENCE = list(itertools.product([False, True], repeat=4))
STEPS, BATCH, INPUTS = 6, 9, 5
UNITS = 37  # two tiles, the second with an edge, for every width of a vector


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """Path of the shared object: the installed one, or one compiled for these tests."""
    try:
        loading.load(FOLDER / NAME)
    except loading.BackendError:
        if compiler() is None:
            pytest.skip("no C compiler, so no scan in C to compare")
        return build(tmp_path_factory.mktemp("native"))
    return FOLDER / NAME


X86_64 = platform.machine().lower() in {"x86_64", "amd64"}


@pytest.fixture(params=["avx512", "avx2"] if X86_64 else ["any"])
def variant(request, shared):
    """Every variant that the processor can run."""
    try:
        return loading.load(shared, request.param)
    except loading.BackendError as error:
        pytest.skip(str(error))


@pytest.fixture
def use(monkeypatch):
    """Choose what scans and draws: use(variant), or use(None) for torch."""

    def choose(found):
        for module in (native_scan, native_draws):
            monkeypatch.setattr(module, "library", lambda: found)

    return choose


@pytest.fixture
def native(shared, use):
    """C for the whole test."""
    use(loading.load(shared))


def draw_weights(cell, bias=True):
    width = cell.gates * UNITS
    weights = [torch.randn(width, n) / math.sqrt(n) for n in (INPUTS, UNITS)]
    weights += [0.3 * torch.randn(width) if bias else None for _ in range(2)]
    return Weights(*(None if w is None else w.requires_grad_() for w in weights))


def draw_coefficients(presence, size, steps=STEPS):
    """A, B, C and keep, where present; keep as VAND has it, C for all steps at once."""
    drawn = (
        0.5 + 0.5 * torch.rand(steps, BATCH, size),
        0.1 * torch.randn(steps, BATCH, size),
        0.2 * torch.rand(1, BATCH, size),
        (torch.rand(steps, BATCH, size) > 0.1).float(),
    )
    return [c.requires_grad_() if p else None for c, p in zip(drawn, presence, strict=True)]


def outcome(cell, x, weights, start, coefficients, lengths=None, through_states=True):
    """States, gap and all gradients of a scan, by name."""
    path = scan(cell, x, weights, start, AffineMap(*coefficients), lengths)
    valid = torch.ones(x.shape[:2])
    if lengths is not None:
        valid = (torch.arange(len(x))[:, None] < lengths).float()
    direction = torch.linspace(-1, 1, start.shape[1]) * valid[..., None]
    loss = (path.states * direction).mean() if through_states else 0.0
    hidden = path.states[..., : weights.hh.shape[1]] if path.output is None else path.output
    loss = loss + (hidden * valid[..., None]).square().mean()
    if path.gap is not None:
        loss = loss + (path.gap * valid[..., None]).square().mean()
    names = ("x", *Weights._fields, "start", "A", "B", "C", "keep")
    given = {
        name: value
        for name, value in zip(names, (x, *weights, start, *coefficients), strict=True)
        if value is not None and value.requires_grad
    }
    gradients = torch.autograd.grad(loss, list(given.values()))
    paths = {"states": path.states, "gap": path.gap, "output": hidden}
    return {
        **{k: v for k, v in paths.items() if v is not None},
        **dict(zip(given, gradients, strict=True)),
    }


def assert_same(ours, expected):
    """Equal to a millionth of the largest number of the kind, or of 1 for states."""
    assert ours.keys() == expected.keys()
    for name, value in expected.items():
        scale = (
            max(1.0, value.abs().max())
            if name in {"states", "gap", "output"}
            else value.abs().max()
        )
        assert (ours[name] - value).abs().max() <= 1e-6 * scale + 1e-9, name


@pytest.mark.parametrize(
    "lengths", [None, [6, 5, 5, 3, 3, 2, 1, 1, 1], [1, 4, 5, 2, 5, 3, 1, 4, 2]]
)
@pytest.mark.parametrize("name", CELLS)
def test_states_and_gradients_are_those_of_the_scan_in_torch(name, lengths, variant, use):
    cell = CELLS[name]
    lengths = None if lengths is None else torch.tensor(lengths)
    for presence in PRESENCE:
        torch.manual_seed(0)
        size = cell.parts * UNITS
        x = torch.randn(STEPS, BATCH, INPUTS, requires_grad=True)
        start = (0.5 * torch.randn(BATCH, size)).requires_grad_()
        weights = draw_weights(cell, bias=presence != PRESENCE[-1])
        given = (cell, x, weights, start, draw_coefficients(presence, size), lengths, presence[1])
        use(variant)
        assert native_scan.usable(cell, x, weights, start, AffineMap())
        ours = outcome(*given)
        use(None)
        assert_same(ours, outcome(*given))


@pytest.mark.parametrize("regularizer", REGULARIZERS)
@pytest.mark.parametrize("name", ["elman", "gru", "lstm"])
def test_every_regularizer_has_the_same_scan(name, regularizer, native, use):
    torch.manual_seed(0)
    try:
        layer = make_cell(name, INPUTS, UNITS, regularizer=make_regularizer(regularizer))
    except ValueError:
        pytest.skip(f"{regularizer} is not for {name}")
    start = torch.zeros(BATCH, layer.state_size)
    x = torch.randn(40, BATCH, INPUTS)
    affine = layer.regularizer.sample(0, 40, start).affine
    found = [None if v is None else v.detach() for v in (affine.A, affine.B, affine.C, affine.keep)]
    ours = outcome(layer.cell, x, layer.weights(0), start, found)
    use(None)
    assert_same(ours, outcome(layer.cell, x, layer.weights(0), start, found))


@pytest.mark.parametrize("name", CELLS)
def test_gradients_at_padding_go_nowhere(name, native):
    cell = CELLS[name]
    torch.manual_seed(0)
    lengths = torch.tensor([6, 5, 5, 3, 3, 2, 1, 1, 4])
    x, start = torch.randn(STEPS, BATCH, INPUTS), torch.zeros(BATCH, cell.parts * UNITS)
    weights = draw_weights(cell)
    valid = (torch.arange(STEPS)[:, None] < lengths)[..., None].float()
    direction = torch.randn(STEPS, BATCH, UNITS)
    found = []
    for along in (direction, direction * valid):
        output = scan(cell, x, weights, start, AffineMap(), lengths).output
        found.append(torch.autograd.grad((output * along).sum(), weights))
    assert not (output * (1 - valid)).any()
    for ours, expected in zip(*found, strict=True):
        assert torch.equal(ours, expected)


@pytest.mark.parametrize("name", CELLS)
def test_threads_and_repetition_change_no_bit(name, native):
    cell = CELLS[name]
    torch.manual_seed(0)
    x, start = torch.randn(STEPS, BATCH, INPUTS), torch.zeros(BATCH, cell.parts * UNITS)
    weights = draw_weights(cell)
    coefficients = draw_coefficients(PRESENCE[-1], start.shape[1])
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 2):
            torch.set_num_threads(threads)
            found.append(outcome(cell, x, weights, start, coefficients))
    finally:
        torch.set_num_threads(before)
    one, two, again = found
    for key, value in two.items():
        assert torch.equal(value, again[key]), key
        if not key.startswith(("ih", "hh", "bias")):  # which are summed over the threads
            assert torch.equal(value, one[key]), key


@pytest.mark.parametrize("name", ["tanh", "gru", "lstm"])
def test_small_states_keep_their_digits(name, native):
    cell = CELLS[name]
    torch.manual_seed(0)
    weights = draw_weights(cell, bias=False)
    x, start = 1e-6 * torch.randn(1, BATCH, INPUTS), torch.zeros(BATCH, cell.parts * UNITS)
    ours = scan(cell, x, weights, start, AffineMap()).states.double()
    wide = Weights(*(None if w is None else w.double() for w in weights))
    exact = scan(cell, x.double(), wide, start.double(), AffineMap()).states
    assert (ours / exact - 1).abs().max() < 3e-5  # sums of five terms may cancel
    assert (ours - exact).abs().max() < 1e-6 * exact.abs().max()


@pytest.mark.parametrize("name", CELLS)
def test_what_is_not_a_number_stays_one_and_stays_in_its_sequence(name, native):
    cell = CELLS[name]
    torch.manual_seed(0)
    x, start = torch.randn(STEPS, BATCH, INPUTS), torch.zeros(BATCH, cell.parts * UNITS)
    x[2, 4] = float("nan")
    states = scan(cell, x, draw_weights(cell), start, AffineMap()).states
    assert states[:2].isfinite().all()
    assert states[2:, 4].isnan().all()
    others = [i for i in range(BATCH) if i != 4]
    assert states[:, others].isfinite().all()


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "gru", "lstm"])
def test_extreme_inputs_saturate(name, native, use):
    cell = CELLS[name]
    torch.manual_seed(0)
    x, start = 1e4 * torch.randn(2, BATCH, INPUTS), torch.zeros(BATCH, cell.parts * UNITS)
    weights = draw_weights(cell)
    ours = scan(cell, x, weights, start, AffineMap()).states
    use(None)
    expected = scan(cell, x, weights, start, AffineMap()).states
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-6)


def test_normals_are_normal_and_follow_torchs_seed(variant, use):
    use(variant)
    torch.manual_seed(3)
    drawn = native_draws.draw_normals((1003, 301))
    z = drawn.double()
    error = 1 / math.sqrt(z.numel())
    moments = [(z**power).mean().item() for power in (1, 2, 3, 4)]
    for moment, expected, spread in zip(moments, (0, 1, 0, 3), (1, 2, 15, 96), strict=True):
        assert abs(moment - expected) < 4 * math.sqrt(spread) * error
    for limit in (0.5, 1, 2, 3, 4):
        p = math.erfc(limit / math.sqrt(2))
        share = (z.abs() > limit).double().mean().item()
        assert abs(share - p) < 4 * math.sqrt(p) * error, limit
    for lag in (1, 16, 2048, 4096):  # neighbors, streams, halves of a pair, blocks
        flat = z.flatten()
        assert abs((flat[lag:] * flat[:-lag]).mean()) < 4 * error, lag
    assert not torch.equal(drawn, native_draws.draw_normals((1003, 301)))
    torch.manual_seed(3)
    assert torch.equal(drawn, native_draws.draw_normals((1003, 301)))


@pytest.mark.parametrize("mask_steps", [1, 700])
def test_masks_and_noise_have_their_ratios_and_scales(mask_steps, variant, use):
    use(variant)
    torch.manual_seed(0)
    drop = torch.tensor([0.0, 0.02, 0.5, 1.0])
    sigma, scale = torch.tensor([0.1, 0.2, 0.3, 0.4]), torch.tensor([1.0, 2.0, 3.0, 4.0])
    like = torch.zeros(100, 4)
    keep, noise = native_draws.draw_mixture(sigma, scale, drop, False, (700, mask_steps), like)
    assert keep.shape == (mask_steps, 100, 4)
    dropped = (1 - keep).mean((0, 1))
    assert dropped[0] == 0
    assert dropped[3] == 1
    deviation = (drop * (1 - drop) / (mask_steps * 100)).sqrt()
    assert ((dropped - drop).abs() <= 4 * deviation + 1e-5).all()
    eps = noise / torch.where(keep == 1, sigma, scale)
    assert abs(eps.mean()) < 4 / math.sqrt(eps.numel())
    assert abs(eps.square().mean() - 1) < 4 * math.sqrt(2 / eps.numel())


def test_layers_of_single_precision_draw_alike_whatever_torchs_default_type(native):
    layer = make_cell("gru", INPUTS, UNITS, regularizer=make_regularizer("vand"))
    noisy = make_cell("gru", INPUTS, UNITS, regularizer=make_regularizer("gaussian_noise"))
    x, found = torch.randn(STEPS, BATCH, INPUTS), []
    for kind in (torch.float32, torch.float64):
        torch.set_default_dtype(kind)
        try:
            torch.manual_seed(1)
            output = layer.run(x).output + noisy.run(x).output
            (gradient,) = torch.autograd.grad(output.sum(), layer.regularizer.drop_logit)
        finally:
            torch.set_default_dtype(torch.float32)
        found.append((output.detach(), gradient))
    for ours, expected in zip(*found, strict=True):
        assert ours.dtype == torch.float32
        assert torch.equal(ours, expected)


@pytest.mark.parametrize("trapezoid", [True, False])
@pytest.mark.parametrize("mask_steps", [1, 20])
def test_gradients_of_the_draw_are_those_of_the_reference(mask_steps, trapezoid, native):
    torch.manual_seed(0)
    sigma = (0.1 + torch.rand(UNITS)).requires_grad_()
    scale = (0.5 + torch.rand(UNITS)).requires_grad_()
    drop = (0.1 + 0.5 * torch.rand(UNITS)).requires_grad_()
    shares = vand_posterior.trapezoid_shares(drop).float() if trapezoid else torch.ones(2, 1)
    like = torch.zeros(BATCH, UNITS)
    keep, noise = native_draws.draw_mixture(sigma, scale, drop, trapezoid, (20, mask_steps), like)
    dropped = keep == 0
    eps = (noise / torch.where(dropped, scale, sigma)).detach()
    expected = (
        vand_posterior._StraightThrough.apply(drop, dropped, shares),
        vand_posterior._MixtureNoise.apply(sigma, scale, drop, dropped, shares, eps),
    )
    to_keep, to_noise = torch.randn_like(keep), torch.randn_like(noise)
    found = []
    for kept, added in ((keep, noise), expected):
        loss = (kept * to_keep).sum() + (added * to_noise).sum()
        found.append(torch.autograd.grad(loss, (sigma, scale, drop)))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-4)


def test_the_environment_chooses_the_backend(monkeypatch, tmp_path):
    def choose(value):
        monkeypatch.setenv(loading.VARIABLE, value)
        loading.library.cache_clear()
        return loading.backend()

    try:
        assert choose("torch") == "torch"
        with pytest.raises(loading.BackendError, match=r"must be one of .*; got 'fast'"):
            choose("fast")
        monkeypatch.setattr(loading, "FOLDER", tmp_path)
        assert choose("auto") == "torch"
        with pytest.raises(loading.BackendError, match=r"VAND_BACKEND=c: no .*scan\.so"):
            choose("c")
        (tmp_path / NAME).write_bytes(b"no shared object")
        with pytest.raises(loading.BackendError, match="cannot load"):
            choose("c")
    finally:
        monkeypatch.undo()
        loading.library.cache_clear()


def test_a_failing_compiler_is_named(monkeypatch, tmp_path):
    broken = tmp_path / "cc"
    broken.write_text("#!/bin/sh\necho 'no space left' >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CC", str(broken))
    with pytest.raises(CompilerError, match="exit code 3: no space left"):
        build(tmp_path)
