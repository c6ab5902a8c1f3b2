"""Noisin: the table's moments, unbiasedness of each form, the explicit regularizer; chains."""

import math

import pytest
import torch

from vand_robot.nn import (
    DISTRIBUTIONS,
    GRU,
    Chain,
    DropoutLSTM,
    GaussianNoise,
    InputNoise,
    Noisin,
    Vand,
    Zoneout,
    make_cell,
    make_regularizer,
    marginal_regularizer,
)

STEPS, INPUTS, UNITS = 4, 3, 5
MANY = 40_000

# Spread and shape, and the variance the paper's table gives for them.
CASES = {
    "normal": (0.3, 1.0, 0.09),
    "bernoulli": (0.8, 1.0, 0.25),
    "gamma": (0.3, 2.0, 0.09),
    "gumbel": (0.3, 1.0, 0.09),
    "laplace": (0.3, 1.0, 0.09),
    "logistic": (0.3, 1.0, 0.09),
    "beta": (0.09, 0.5, 0.09),
    "chi_square": (0.5, 1.0, 0.5),
}


def make_recipe(distribution, **options):
    spread, alpha, _ = CASES[distribution]
    return Noisin(distribution, spread=spread, alpha=alpha, **options)


def make_layer(recipe, cell="gru"):
    torch.manual_seed(0)
    return make_cell(cell, INPUTS, UNITS, regularizer=recipe, dtype=torch.float64)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_noise_has_mean_zero_and_the_tables_variance(distribution):
    torch.manual_seed(0)
    recipe, variance = make_recipe(distribution), CASES[distribution][2]
    assert recipe.variance == pytest.approx(variance)
    eps = recipe.noise(torch.empty(1_000_000, dtype=torch.float64))
    assert eps.isfinite().all()
    assert eps.mean().item() == pytest.approx(0, abs=5 * math.sqrt(variance / 1e6))
    assert eps.var().item() == pytest.approx(variance, rel=0.05)


@pytest.mark.parametrize(("dtype", "bits"), [(torch.float32, 24), (torch.float64, 53)])
@pytest.mark.parametrize("distribution", ["logistic", "laplace", "gumbel"])
def test_the_rarest_draw_is_no_outlier(distribution, dtype, bits, monkeypatch):
    """torch's uniform draws include 0: it may give no more than 2^-(bits + 1) would."""
    smallest = math.log(2 ** (bits + 1))
    bound = {
        "logistic": math.sqrt(3) / math.pi * smallest,
        "laplace": smallest / math.sqrt(2),
        "gumbel": math.sqrt(6) / math.pi * smallest,
    }[distribution]
    for extreme in (0.0, 1 - 2.0**-bits):
        monkeypatch.setattr(torch, "rand_like", lambda like, u=extreme: torch.full_like(like, u))
        eps = Noisin(distribution, spread=1.0).noise(torch.empty(3, dtype=dtype))
        assert eps.isfinite().all()
        assert eps.abs().max() <= bound * (1 + 1e-6)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_noise_of_a_given_variance_has_it(distribution):
    torch.manual_seed(0)
    recipe = Noisin.of_variance(distribution, 0.04, form="multiplicative", alpha=2.0)
    assert recipe.form == "multiplicative"
    assert recipe.variance == pytest.approx(0.04)
    eps = recipe.noise(torch.empty(400_000, dtype=torch.float64))
    assert eps.var().item() == pytest.approx(0.04, rel=0.05)
    with pytest.raises(ValueError, match="variance must be above 0"):
        Noisin.of_variance(distribution, 0.0)


@pytest.mark.parametrize("form", ["additive", "multiplicative"])
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_weak_noise_leaves_the_mean_of_a_step_given_the_state(distribution, form):
    layer = make_layer(make_recipe(distribution, form=form))
    x = torch.randn(1, 1, INPUTS, dtype=torch.float64).expand(1, MANY, INPUTS)
    state = torch.randn(1, 1, UNITS, dtype=torch.float64).expand(1, MANY, UNITS)
    with torch.no_grad():
        samples = layer.run(x, state).output[0]
        expected = layer.run(x, state, deterministic=True).output[0, 0]
    error = (samples.mean(0) - expected).abs()
    assert torch.all(error < 5 * samples.std(0) / math.sqrt(MANY))
    scale = expected.abs() if form == "multiplicative" else 1.0
    spread = torch.as_tensor(scale * math.sqrt(CASES[distribution][2])).expand(UNITS)
    torch.testing.assert_close(samples.std(0), spread.to(samples), rtol=0.1, atol=0)


@pytest.mark.parametrize("form", ["additive", "multiplicative"])
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_strong_noise_leaves_the_mean_at_every_step_and_the_state_exact(distribution, form):
    layer = make_layer(make_recipe(distribution, form=form, unbiased="strong"))
    x = torch.randn(STEPS, 1, INPUTS, dtype=torch.float64).expand(STEPS, MANY, INPUTS)
    with torch.no_grad():
        noisy = layer.run(x)
        exact = layer.run(x[:, :1], deterministic=True)
    assert torch.allclose(noisy.state[:, :1], exact.state)
    error = (noisy.output.mean(1) - exact.output[:, 0]).abs()
    assert torch.all(error < 5 * noisy.output.std(1) / math.sqrt(MANY))


def test_noise_spares_the_lstms_cell_unless_asked_for():
    x = torch.randn(1, 2, INPUTS, dtype=torch.float64)
    exact = make_layer(None, "lstm").run(x).state
    for on, same in (("hidden", True), ("state", False)):
        state = make_layer(Noisin(on=on), "lstm").run(x).state
        cell = torch.allclose(state[..., UNITS:], exact[..., UNITS:], rtol=0, atol=1e-12)
        assert cell is same


def test_marginal_regularizer_is_what_noise_adds_to_the_likelihood():
    """Strong noise before a linear head: half the trace of W gamma^2 W^T, and no bias."""
    torch.manual_seed(0)
    spread, std = 0.3, 0.5
    layer = make_layer(Noisin("normal", spread=spread, unbiased="strong"))
    head = torch.randn(2, UNITS, dtype=torch.float64)
    x = torch.randn(STEPS, 1, INPUTS, dtype=torch.float64)
    target = torch.randn(STEPS, 1, 2, dtype=torch.float64)
    with torch.no_grad():
        draws = torch.stack([layer.run(x).output @ head.t() for _ in range(2_000)])
        clean = layer.run(x, deterministic=True).output @ head.t()
    found = marginal_regularizer(draws, std).item()
    worked_out = spread**2 * head.square().sum().item() / (2 * std**2)
    assert found == pytest.approx(worked_out, rel=0.1)

    def nll(mean):
        return ((target - mean).square() / (2 * std**2)).sum(-1)

    added = (nll(draws).mean(0) - nll(clean)).mean().item()
    assert added == pytest.approx(worked_out, rel=0.2)


def test_marginal_regularizer_counts_the_masked_steps_only():
    draws = torch.randn(10, 6, 2, 3)
    mask = torch.rand(6, 2) < 0.5
    expected = draws.var(0).sum(-1)[mask].mean() / 2
    torch.testing.assert_close(marginal_regularizer(draws, mask=mask), expected)
    with pytest.raises(ValueError, match="at least 2"):
        marginal_regularizer(draws[:1])
    with pytest.raises(TypeError, match=r"got torch\.int64"):
        marginal_regularizer(draws, mask=mask.long())
    with pytest.raises(ValueError, match="at least one step"):
        marginal_regularizer(draws, mask=mask & ~mask)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_noise_of_half_precision_is_finite_and_of_the_tables_variance(distribution, dtype):
    torch.manual_seed(0)
    recipe, variance = make_recipe(distribution), CASES[distribution][2]
    eps = recipe.noise(torch.empty(200_000, dtype=dtype))
    assert eps.dtype == dtype
    assert eps.isfinite().all()
    assert eps.double().var().item() == pytest.approx(variance, rel=0.1)


def test_dropout_lstm_masks_input_state_and_output():
    layer = make_layer(DropoutLSTM(0.5, 0.4, 0.5), "lstm")
    output = layer.run(torch.randn(50, 40, INPUTS, dtype=torch.float64)).output
    silent = (output == 0).double().mean().item()
    assert silent == pytest.approx(1 - 0.5 * 0.6, abs=0.03)
    only_state = make_layer(DropoutLSTM(0, 0.4, 0), "lstm")
    state = only_state.run(torch.randn(50, 40, INPUTS, dtype=torch.float64)).state
    assert (state[..., :UNITS] == 0).any()
    assert not (state[..., UNITS:] == 0).any()


def test_input_noise_is_on_the_first_layers_input_only():
    torch.manual_seed(0)
    layer = GRU(INPUTS, UNITS, 2, regularizer=InputNoise(0.1))
    seen = []
    original = layer.regularizer.perturb_input
    layer.regularizer.perturb_input = lambda x, index: (
        seen.append(torch.equal(original(x, index), x)) or original(x, index)
    )
    layer(torch.randn(STEPS, 2, INPUTS))
    assert seen == [False, True]


def test_chain_composes_its_members_in_order():
    members = (DropoutLSTM(0, 0.4, 0), Noisin("laplace", form="additive", spread=0.2), Zoneout(0.3))
    layer = make_layer(Chain(members), "lstm")
    torch.manual_seed(1)
    like = torch.zeros(2, 2 * UNITS, dtype=torch.float64)
    affine = layer.regularizer.sample(0, STEPS, like).affine
    torch.manual_seed(1)
    parts = [m.sample(0, STEPS, like).affine for m in layer.regularizer.members]
    mu, previous = torch.randn(2, STEPS, 2, 2 * UNITS, dtype=torch.float64)
    expected = mu
    for part in parts:
        expected = part(expected, previous)
    torch.testing.assert_close(affine(mu, previous), expected)


def test_noisin_on_dropout_lstm_averages_to_its_deterministic_state():
    recipe = Chain((DropoutLSTM(0, 0.2, 0.3), Noisin("gamma", spread=0.2, form="multiplicative")))
    layer = make_layer(recipe, "lstm")
    x = torch.randn(1, 1, INPUTS, dtype=torch.float64).expand(1, MANY, INPUTS)
    state = torch.randn(1, 1, 2 * UNITS, dtype=torch.float64).expand(1, MANY, -1)
    with torch.no_grad():
        samples = layer.run(x, state).output[0]
        expected = layer.run(x, state, deterministic=True).output[0, 0]
    error = (samples.mean(0) - expected).abs()
    assert torch.all(error < 5 * samples.std(0) / math.sqrt(MANY))


def test_chain_may_begin_with_vand_and_reports_its_terms():
    layer = make_layer(Chain((Vand(), GaussianNoise(0.1))))
    terms = layer.run(torch.randn(STEPS, 2, INPUTS, dtype=torch.float64)).terms
    assert terms.metrics["sigma"] == pytest.approx(0.05)
    assert terms.penalty.item() == pytest.approx(1e-3 * terms.kl.item(), rel=1e-5)
    assert terms.kl > 0


def test_chain_is_made_from_nested_options():
    recipe = make_regularizer(
        {
            "name": "chain",
            "regularizers": [{"name": "dropout_lstm"}, {"name": "noisin", "spread": 0.2}],
        }
    )
    assert recipe == Chain((DropoutLSTM(), Noisin(spread=0.2)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Noisin("cauchy"), "normal, bernoulli"),
        (lambda: Noisin(spread=0.0), "spread must lie"),
        (lambda: Noisin("bernoulli", spread=1.5), "spread must lie"),
        (lambda: Noisin(form="both"), "additive, multiplicative"),
        (lambda: DropoutLSTM(recurrent=1.0), "recurrent must lie"),
        (lambda: Noisin(unbiased="strong", on="state"), 'leave on="hidden"'),
        (lambda: Noisin(spread="0.1"), r"spread must be a number in .* got '0\.1'"),
        (lambda: Chain((GaussianNoise(),), on="hidden"), 'leave on="state"'),
        (lambda: InputNoise(on="hidden"), 'leave on="state"'),
        (lambda: Chain((GaussianNoise(), Vand())), "first in a chain"),
        (lambda: Chain(()), "at least one"),
    ],
)
def test_bad_options_raise_clear_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()
