"""Parameters of layers: state dictionaries, resets, the terms of the last pass, half precision."""

import math

import pytest
import torch

from vand_robot.nn import (
    CELLS,
    GRU,
    LSTM,
    Chain,
    GaussianNoise,
    Vand,
    collect_penalty,
    make_cell,
)
from vand_robot.nn.regularizers.vand_posterior import kl_bound, mean_square

STEPS, BATCH, INPUTS, UNITS = 6, 4, 3, 5
RECIPES = {
    "none": None,
    "noise": GaussianNoise(),
    "vand": Vand(),
    "budget": Vand(budget=5.0),
    "chain": Chain((Vand(), GaussianNoise())),
}


class Net(torch.nn.Module):
    """A layer within a model, as it usually is."""

    def __init__(self, regularizer):
        super().__init__()
        self.core = GRU(INPUTS, UNITS, regularizer=regularizer)


@pytest.mark.parametrize("loaded", RECIPES)
@pytest.mark.parametrize("saved", RECIPES)
@pytest.mark.parametrize("wrap", [lambda r: Net(r).core, Net], ids=["layer", "within_a_model"])
def test_state_dictionaries_load_with_and_without_a_regularizer(saved, loaded, wrap):
    source, target = wrap(RECIPES[saved]), wrap(RECIPES[loaded])
    with torch.no_grad():
        for parameter in source.parameters():
            parameter.normal_()
    own = [p.clone() for n, p in target.named_parameters() if "regularizer" in n]
    ours, theirs = (
        {k for k in m.state_dict() if "regularizer" in k and "beta" not in k}
        for m in (source, target)
    )
    if ours and theirs and ours != theirs:  # both have learned something, of different forms
        with pytest.raises(RuntimeError, match="regularizer"):
            target.load_state_dict(source.state_dict())
        return
    target.load_state_dict(source.state_dict())
    for name, parameter in target.named_parameters():
        if "regularizer" not in name or ours == theirs:
            assert torch.equal(parameter, source.get_parameter(name)), name
    if not ours:
        now = [p for n, p in target.named_parameters() if "regularizer" in n]
        assert all(torch.equal(a, b) for a, b in zip(own, now, strict=True))


def test_half_a_regularizer_does_not_load():
    layer = GRU(INPUTS, UNITS, regularizer=Vand())
    values = layer.state_dict()
    del values["regularizer.log_sigma"]
    with pytest.raises(RuntimeError, match="log_sigma"):
        layer.load_state_dict(values)


def test_a_fixed_beta_is_the_recipes_and_one_of_dual_ascent_is_loaded():
    saved = GRU(INPUTS, UNITS, regularizer=Vand(budget=5.0, beta=0.5)).state_dict()
    fixed = GRU(INPUTS, UNITS, regularizer=Vand(beta=0.01))
    fixed.load_state_dict(saved)
    assert fixed.regularizer.beta.item() == pytest.approx(0.01)
    assert "regularizer.beta" not in fixed.state_dict()
    resumed = GRU(INPUTS, UNITS, regularizer=Vand(budget=5.0, beta=0.01))
    resumed.load_state_dict(fixed.state_dict())
    assert resumed.regularizer.beta.item() == pytest.approx(0.01)
    resumed.load_state_dict(saved)
    assert resumed.regularizer.beta.item() == pytest.approx(0.5)


@pytest.mark.parametrize(
    "recipe", [Vand(budget=3.0, prior="learned"), Chain((Vand(budget=3.0, prior="learned"),))]
)
def test_reset_parameters_begins_again_the_regularizer_too(recipe):
    layer = LSTM(INPUTS, UNITS, 2, regularizer=recipe, device="meta").to_empty(device="cpu")
    for value in (*layer.parameters(), *layer.buffers()):
        value.data.fill_(math.nan)
    torch.manual_seed(0)
    layer.reset_parameters()
    torch.manual_seed(0)
    fresh = LSTM(INPUTS, UNITS, 2, regularizer=recipe)
    assert layer.state_dict().keys() == fresh.state_dict().keys()
    for name, value in fresh.state_dict().items():
        assert torch.equal(layer.state_dict()[name], value), name


def test_the_penalty_of_a_call_is_found_wherever_the_layer_is():
    class First(torch.nn.Module):
        def forward(self, pair):
            return pair[0]

    layers = [
        GRU(INPUTS, UNITS, regularizer=Vand(beta=0.3)),
        LSTM(UNITS, UNITS, regularizer=Vand()),
    ]
    model = torch.nn.Sequential(layers[0], First(), torch.nn.Tanh(), layers[1], First())
    assert collect_penalty(model) == 0
    model(torch.randn(STEPS, BATCH, INPUTS))
    expected = layers[0].terms.penalty + layers[1].terms.penalty
    found = collect_penalty(model)
    assert found == expected
    assert found.item() == pytest.approx(
        0.3 * layers[0].terms.kl.item() + 1e-3 * layers[1].terms.kl.item(), rel=1e-6
    )
    found.backward()
    assert all(layer.regularizer.log_sigma.grad.abs().sum() > 0 for layer in layers)
    model.eval()(torch.randn(STEPS, BATCH, INPUTS))
    assert collect_penalty(model) == 0
    assert collect_penalty(torch.nn.Linear(2, 2)) == 0


def test_run_keeps_the_terms_it_returns():
    layer = GRU(INPUTS, UNITS, regularizer=Vand())
    result = layer.run(torch.randn(STEPS, BATCH, INPUTS))
    assert layer.terms is result.terms
    assert result.terms.metrics.keys() == {"sigma", "drop", "beta", "memory_nats"}
    assert result.terms.metrics["memory_nats"] == pytest.approx(result.terms.kl.item())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_kl_of_half_precision_is_that_of_single_for_very_long_sequences(dtype):
    """float16 ends at 65,504: neither the count of steps nor the sum of squares may be in it."""
    steps = 70_000
    torch.manual_seed(0)
    gap = torch.full((steps, 2, 3), 0.5)
    valid = torch.ones(steps, 2, dtype=torch.bool)
    valid[-10:, 1] = False
    for given, kept in ((None, None), (valid, None), (valid, torch.ones(1, 2, 3))):
        found = mean_square(gap.to(dtype), given, None if kept is None else kept.to(dtype))
        torch.testing.assert_close(found, torch.full((3,), 0.25))
    layer = make_cell("elman", 1, 3, regularizer=Vand(sigma=0.1, drop=0.5), dtype=dtype)
    exact = make_cell("elman", 1, 3, regularizer=Vand(sigma=0.1, drop=0.5))
    exact.load_state_dict(layer.state_dict())
    x = torch.ones(300, 2, 1)
    kls = []
    for m in (layer, exact):
        torch.manual_seed(1)
        kls.append(m.run(x.to(m.weight_ih_l0.dtype), lengths=[300, 200]).terms.kl)
    assert kls[0].dtype == torch.float32
    assert kls[0].item() == pytest.approx(kls[1].item(), rel=0.01)
    assert kl_bound(found, torch.full((3,), 0.1), None, None).isfinite().all()


def test_dual_ascent_moves_in_bfloat16_as_in_single_precision():
    betas = []
    for dtype in (torch.bfloat16, torch.float32):
        sampler = Vand(budget=1.0, beta=0.1, dual_rate=1e-3).bind(1, 3, 3).to(dtype)
        assert sampler.log_sigma.dtype == dtype
        for _ in range(100):
            sampler.record(torch.tensor(2.0), 1)
            sampler.dual_step()
        betas.append(sampler.beta.item())
    assert betas[0] == pytest.approx(betas[1])
    assert betas[1] == pytest.approx(0.1 * 2 ** (1e-3 * 100), rel=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("drop", [1e-4, 0.5, 0.9999])
def test_the_trapezoid_is_finite_at_either_end_of_d(drop, dtype):
    torch.manual_seed(0)
    recipe = Vand(drop=drop, drop_min=1e-8, estimator="trapezoid", prior="learned")
    layer = GRU(INPUTS, UNITS, regularizer=recipe, dtype=dtype)
    result = layer.run(torch.randn(50, 40, INPUTS).to(dtype))
    (result.output.float().square().mean() + result.terms.penalty).backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad.isfinite().all(), name


def test_a_layer_has_no_attribute_that_tools_take_for_a_weight():
    """Loops over modules draw `module.weight` anew where there is one; torch's layers have none."""
    for name in CELLS:
        assert not hasattr(make_cell(name, 2, 3), "weight")
