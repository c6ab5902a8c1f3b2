"""The layers under torch's own tools: parametrizations, copies, transforms, export, autocast."""

import copy

import pytest
import torch
from torch.func import functional_call, grad, jvp, vmap
from torch.nn.utils import parametrizations, parametrize, prune

from vand_robot.nn import GRU, LSTM, Chain, Elman, GaussianNoise, Noisin, Vand, Zoneout, make_cell

STEPS, BATCH, INPUTS, UNITS = 5, 4, 3, 5
CELLS = ["elman", "gru", "lstm"]
TORCH = {"elman": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}


def make_layer(cell, regularizer=None, num_layers=1, **options):
    torch.manual_seed(0)
    options = {"dtype": torch.float64, **options}
    return make_cell(cell, INPUTS, UNITS, num_layers, regularizer=regularizer, **options)


def make_x(*shape, dtype=torch.float64):
    return torch.randn(*(shape or (STEPS, BATCH)), INPUTS, dtype=dtype)


def torch_layer(layer, cell):
    """torch's layer with the weights that ours has at this moment."""
    reference = TORCH[cell](INPUTS, UNITS, dtype=torch.float64)
    with torch.no_grad():
        for name, parameter in reference.named_parameters():
            parameter.copy_(getattr(layer, name))
    return reference


class WeightDrop(torch.nn.Module):
    def forward(self, weight):
        return weight * (torch.arange(weight.shape[1]) % 2)


REPLACED = {
    "orthogonal": lambda m: parametrizations.orthogonal(m, "weight_hh_l0"),
    "weight norm": lambda m: parametrizations.weight_norm(m, "weight_ih_l0"),
    "spectral norm": lambda m: parametrizations.spectral_norm(m, "weight_hh_l0").eval(),
    "prune": lambda m: prune.l1_unstructured(m, "weight_hh_l0", 0.5),
    "weight drop": lambda m: parametrize.register_parametrization(
        m, "weight_hh_l0", WeightDrop(), unsafe=True
    ),
    "bias": lambda m: parametrize.register_parametrization(m, "bias_hh_l0", torch.nn.Tanh()),
}


@pytest.mark.parametrize("replace", REPLACED.values(), ids=REPLACED)
@pytest.mark.parametrize("cell", CELLS)
def test_replaced_weights_are_the_ones_used_and_learned(cell, replace):
    layer = make_layer(cell)
    replace(layer)
    x = make_x()
    output, _ = layer(x)
    expected, _ = torch_layer(layer, cell)(x)
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(layer.step(x[0], layer.initial_state(BATCH))[0], expected[0])
    output.sum().backward()
    assert all(parameter.grad is not None for parameter in layer.parameters())
    layer.reset_parameters()


def test_a_replica_without_parameters_of_its_own_runs():
    """As DataParallel makes them: plain attributes where the parameters were."""
    layer = make_layer("gru", num_layers=2)
    replica = layer._replicate_for_data_parallel()
    replica.regularizer = layer.regularizer
    for name, parameter in layer.named_parameters():
        setattr(replica, name, parameter.detach().clone())
    x = make_x()
    torch.testing.assert_close(replica(x)[0], layer(x)[0])


@pytest.mark.parametrize("regularizer", [None, Vand()], ids=["none", "vand"])
def test_a_layer_can_be_copied_and_saved_after_a_pass(regularizer, tmp_path):
    layer = make_layer("gru", regularizer)
    layer(make_x())
    copied = copy.deepcopy(layer).eval()
    torch.save(layer, tmp_path / "layer.pt")
    loaded = torch.load(tmp_path / "layer.pt", weights_only=False).eval()
    x = make_x()
    for other in (copied, loaded):
        assert torch.equal(other(x)[0], layer.eval()(x)[0])
        assert other.terms is None or other.terms.penalty == 0


ACTING = {
    "none": None,
    "zoneout": Zoneout(0.3),
    "noise": GaussianNoise(0.1),
    "noisin": Noisin(),
    "vand": Vand(drop=0.3),
    "vand_learned": Vand(drop=0.3, prior="learned", estimator="straight-through"),
    "relaxed": Vand(drop=0.3, estimator="relaxed"),
    "chain": Chain((Vand(drop=0.3), Zoneout(0.1))),
}


@pytest.mark.parametrize("name", ACTING)
@pytest.mark.parametrize("cell", CELLS)
def test_func_grad_equals_autograd(cell, name):
    """Deterministic, so that both see the same network."""
    layer = make_layer(cell, ACTING[name], num_layers=2).eval()
    x = make_x().requires_grad_()
    expected = torch.autograd.grad(layer(x)[0].square().sum(), [x, layer.weight_hh_l0])
    found = grad(lambda x: layer(x)[0].square().sum())(x.detach())
    torch.testing.assert_close(found, expected[0])
    weights = {k: v.detach() for k, v in layer.named_parameters()}
    by_name = grad(lambda w: functional_call(layer, w, (x.detach(),))[0].square().sum())(weights)
    torch.testing.assert_close(by_name["weight_hh_l0"], expected[1])


@pytest.mark.parametrize("name", ACTING)
def test_samples_under_func_grad_reach_every_parameter(name):
    layer = make_layer("gru", ACTING[name])
    weights = {k: v.detach() for k, v in layer.named_parameters()}

    def loss(weights, x):
        return functional_call(layer, weights, (x,))[0].square().sum()

    found = grad(loss)(weights, make_x())
    assert found.keys() == weights.keys()
    for key, value in found.items():
        assert value.isfinite().all(), key
        assert value.abs().sum() > 0, key
    assert layer.terms is None  # whose tensors would outlive the transform


@pytest.mark.parametrize("cell", CELLS)
def test_forward_mode_equals_a_finite_difference(cell):
    layer = make_layer(cell, Zoneout(0.2)).eval()
    x, direction = make_x(), make_x()
    step = 1e-6
    with torch.no_grad():
        ends = [layer(x + sign * step * direction)[0] for sign in (1, -1)]
    _, tangent = jvp(lambda x: layer(x)[0], (x,), (direction,))
    torch.testing.assert_close(tangent, (ends[0] - ends[1]) / (2 * step), rtol=0, atol=1e-8)
    with torch.autograd.forward_ad.dual_level():
        dual = layer(torch.autograd.forward_ad.make_dual(x, direction))[0]
        found = torch.autograd.forward_ad.unpack_dual(dual).tangent
    torch.testing.assert_close(found, tangent)


@pytest.mark.parametrize("regularizer", [None, Zoneout(0.2)], ids=["none", "zoneout"])
@pytest.mark.parametrize("cell", CELLS)
def test_vmap_equals_a_loop_over_models_and_inputs(cell, regularizer):
    layers = [make_layer(cell, regularizer, dtype=torch.float64).eval() for _ in range(3)]
    for layer in layers:
        torch.nn.init.normal_(layer.weight_hh_l0)
    weights, buffers = torch.func.stack_module_state(layers)
    x = make_x(3, STEPS, BATCH)
    found = vmap(lambda w, b, x: functional_call(layers[0], (w, b), (x,))[0])(weights, buffers, x)
    expected = torch.stack([layer(x)[0] for layer, x in zip(layers, x, strict=True)])
    torch.testing.assert_close(found, expected)
    per_sample = vmap(grad(lambda x: layers[0](x)[0].square().sum()))(x)
    assert per_sample.shape == x.shape


def test_vmap_draws_where_randomness_is_allowed():
    layer = make_layer("gru", Vand(drop=0.3))
    found = vmap(lambda x: layer(x)[0], randomness="different")(make_x().expand(3, -1, -1, -1))
    assert (found[0] != found[1]).any()


@pytest.mark.parametrize("gradients", [True, False])
@pytest.mark.parametrize("regularizer", [None, Zoneout(0.2), Vand()], ids=["none", "zone", "vand"])
@pytest.mark.parametrize("cell", CELLS)
def test_an_exported_layer_answers_as_the_layer_and_learns(cell, regularizer, gradients):
    layer = make_layer(cell, regularizer, num_layers=2).eval()

    class Whole(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            return self.layer(x)

    x = make_x()
    exported = torch.export.export(Whole(), (x,)).module()
    with torch.set_grad_enabled(gradients):
        output = exported(x)[0]
    torch.testing.assert_close(output, layer(x)[0])
    if gradients:
        output.sum().backward()
        assert any(parameter.grad is not None for parameter in exported.parameters())


@pytest.mark.parametrize("cell", CELLS)
def test_a_step_under_autocast_answers_in_the_weights_type(cell):
    layer = make_layer(cell, dtype=torch.float32)
    x, start = make_x(dtype=torch.float32), layer.initial_state(BATCH)
    with torch.autocast("cpu", torch.bfloat16):
        output, state = layer.step(x[0], start)
        whole = layer.run(x[:1]).output[0]
    assert output.dtype == state.dtype == whole.dtype == torch.float32
    torch.testing.assert_close(output, whole)


def test_every_method_takes_a_pair_or_the_merged_state():
    layer = make_layer("lstm", num_layers=2).eval()
    x = make_x()
    _, pair = layer(x)
    merged = layer.merge_state(pair)
    assert merged.shape == (2, BATCH, 2 * UNITS)
    assert torch.equal(layer.merge_state(merged), merged)
    for mine, theirs in zip(layer.split_state(merged), pair, strict=True):
        assert torch.equal(mine, theirs)
    for method in (layer.run, lambda *a: layer.run(*a, deterministic=True), layer.forward):
        results = [method(x, state) for state in (pair, merged)]
        outputs = [r[0] if isinstance(r, tuple) else r.output for r in results]
        assert torch.equal(*outputs)
    for method in (layer.step, layer.transition):
        assert torch.equal(*(method(x[0], state)[0] for state in (pair, merged)))
    one = make_layer("gru")
    state = one(x)[1]
    assert torch.equal(one.merge_state(one.split_state(state)), state)


def test_deterministic_runs_of_a_training_layer_are_the_evaluation():
    layer = make_layer("gru", Vand(), num_layers=3, dropout=0.5)
    x = make_x()
    found = [layer.run(x, deterministic=True).output for _ in range(2)]
    assert torch.equal(*found)
    torch.testing.assert_close(found[0], layer.eval().run(x).output)


@pytest.mark.parametrize("cell", [GRU, LSTM, Elman])
def test_the_printout_tells_every_option_that_is_not_the_usual_one(cell):
    layer = cell(3, 5, 2, bias=False, batch_first=True, dropout=0.5, regularizer=Vand(beta=0.5))
    text = repr(layer)
    for part in ("3, 5", "num_layers=2", "bias=False", "batch_first=True", "dropout=0.5", "beta="):
        assert part in text
    assert "bias" not in repr(cell(3, 5))
    assert "nonlinearity='relu'" in repr(Elman(3, 5, nonlinearity="relu"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GRU(3, "5"), "GRU expects hidden_size: an integer >= 1; got '5'"),
        (lambda: GRU(3.0, 5), r"input_size: an integer >= 1; got 3\.0"),
        (lambda: GRU(3, 5, True), "num_layers: an integer"),
        (lambda: GRU(3, 5, bias="false"), "bias: True or False; got 'false'"),
        (lambda: GRU(3, 5, dropout="0.1"), r"dropout: a number in \[0, 1\]; got '0\.1'"),
        (lambda: GRU(3, 5).run(torch.zeros(2, 4, 3).numpy()), r"x: a tensor; got numpy\.ndarray"),
        (lambda: GRU(3, 5).run(torch.zeros(2, 4, 3), 0.0), "hx to be a tensor; got float"),
        (
            lambda: LSTM(3, 5).run(torch.zeros(2, 4, 3), (torch.zeros(1, 4, 5), 0.0)),
            r"a pair \(h, c\); got \(Tensor, float\)",
        ),
        (lambda: LSTM(3, 5).step(torch.zeros(4, 3), 0.0), r"a pair \(h, c\); got float"),
    ],
)
def test_a_value_of_another_type_is_one_clear_line(make, message):
    with pytest.raises(TypeError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)
