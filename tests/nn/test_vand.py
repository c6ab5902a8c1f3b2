"""VAND: the bound, the samples, who gets which gradient, the limits, the budget."""

import math

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from vand_robot.nn import GRU, Chain, GaussianHead, Vand, dual_step, make_cell
from vand_robot.nn.kernel.scan import scan
from vand_robot.nn.regularizers.vand import FORGOTTEN_PASSES
from vand_robot.nn.regularizers.vand_posterior import kl_bound, mean_square, relaxed_bernoulli

STEPS, BATCH, INPUTS, UNITS = 6, 4, 3, 5
CELLS = ["elman", "gru", "lstm"]


def make_layer(cell, recipe, num_layers=1):
    torch.manual_seed(0)
    return make_cell(cell, INPUTS, UNITS, num_layers, regularizer=recipe, dtype=torch.float64)


def make_x(steps=STEPS, batch=BATCH):
    return torch.randn(steps, batch, INPUTS, dtype=torch.float64)


def integrated_kl(mu, m, sigma, scale, drop):
    """KL of the mixture to the prior by the trapezium rule [nats]."""
    h = torch.linspace(-20, 20, 400_001, dtype=torch.float64)

    def density(mean, std):
        return torch.exp(-0.5 * ((h - mean) / std) ** 2) / (std * math.sqrt(2 * math.pi))

    prior = density(m, scale)
    posterior = (1 - drop) * density(mu, sigma) + drop * prior
    log_ratio = torch.where(posterior > 0, torch.log(posterior / prior), 0.0)
    return torch.trapezoid(posterior * log_ratio.nan_to_num(), h).item()


@pytest.mark.parametrize("drop", [0.0, 0.01, 0.3, 0.9])
@pytest.mark.parametrize(("gap", "sigma", "scale"), [(0, 1, 1), (1, 0.1, 1), (0.5, 0.4, 0.7)])
def test_bound_is_never_below_the_mixtures_kl_and_tight_without_drop(gap, sigma, scale, drop):
    bound = kl_bound(*(torch.tensor(float(v)) for v in (gap**2, sigma, drop, scale))).item()
    exact = integrated_kl(0.2 + gap, 0.2, sigma, scale, drop)
    assert bound >= exact - 1e-6
    if drop == 0:
        assert bound == pytest.approx(exact, abs=1e-5)


def test_bound_falls_as_noise_or_drop_rises_and_is_zero_when_noise_covers_the_memory():
    square = torch.tensor(0.3)
    sigmas = torch.linspace(0.05, 1, 20)
    by_sigma = kl_bound(square, sigmas, torch.tensor(0.1), None)
    assert torch.all(by_sigma.diff() < 0)
    drops = torch.linspace(0, 1, 20)
    by_drop = kl_bound(square, torch.tensor(0.1), drops, None)
    assert torch.all(by_drop.diff() < 0)
    assert kl_bound(torch.tensor(0.0), torch.tensor(1.0), None, None) == 0


@pytest.mark.parametrize("estimator", ["straight-through", "relaxed"])
def test_samples_have_the_mixtures_mean_and_variance(estimator):
    torch.manual_seed(0)
    recipe = Vand(sigma=0.2, drop=0.3, prior="learned", estimator=estimator, temperature=1e-3)
    sampler = recipe.bind(1, 2, 2)
    sampler.log_prior.data.fill_(math.log(0.5))
    shape = (1, 200_000, 2)
    mu, m = torch.tensor([0.8, -0.3]), torch.tensor([-0.2, 0.1])
    affine = sampler.sample(0, 1, torch.zeros(shape[1:])).affine
    samples = affine(mu.expand(shape), torch.zeros(shape), m.expand(shape))[0]
    mean = 0.7 * mu + 0.3 * m
    second = 0.7 * (0.2**2 + mu**2) + 0.3 * (0.5**2 + m**2)
    torch.testing.assert_close(samples.mean(0), mean, rtol=0, atol=0.01)
    torch.testing.assert_close(samples.var(0), second - mean**2, rtol=0, atol=0.01)


def test_gradients_of_the_mixture_are_those_of_the_formula_under_autograd():
    torch.manual_seed(0)
    recipe = Vand(sigma=0.2, drop=0.3, prior="learned", estimator="straight-through")
    sampler = recipe.bind(1, 3, 3).double()
    like, weight = torch.zeros(4, 3).double(), torch.randn(2, 5, 4, 3).double()
    torch.manual_seed(1)
    affine = sampler.sample(0, 5, like).affine
    loss = (affine.B * weight[0]).sum() + (affine.keep * weight[1]).sum()
    ours = torch.autograd.grad(loss, list(sampler.parameters()))
    hard, sigma, drop, scale = (
        affine.keep.detach(),
        *(value[0] for value in (sampler.sigma, sampler.drop, sampler.prior_scale)),
    )
    eps = affine.B.detach() / torch.where(hard == 1, sigma, scale).detach()
    keep = hard + (drop.detach() - drop)
    noise = keep * sigma * eps + (1 - keep) * scale * eps
    loss = (noise * weight[0]).sum() + (keep * weight[1]).sum()
    for mine, expected in zip(
        ours, torch.autograd.grad(loss, list(sampler.parameters())), strict=True
    ):
        torch.testing.assert_close(mine, expected)


@pytest.mark.parametrize("cell", CELLS)
def test_vanishing_noise_and_drop_give_the_plain_network(cell):
    tiny = Vand(sigma=1e-12, sigma_min=0, drop=1e-12, drop_min=0)
    x = make_x()
    expected = make_layer(cell, None)(x)[0]
    torch.testing.assert_close(make_layer(cell, tiny)(x)[0], expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("mask", ["step", "sequence"])
@pytest.mark.parametrize("cell", CELLS)
def test_dropping_all_memory_gives_the_memoryless_network(cell, mask):
    recipe = Vand(
        drop=1 - 1e-12, drop_min=0, noise=False, mask=mask, estimator="relaxed", temperature=1e-3
    )
    layer, plain = make_layer(cell, recipe), make_layer(cell, None)
    x = make_x()
    alone = [plain(x[t : t + 1])[0] for t in range(STEPS)]
    torch.testing.assert_close(layer(x)[0], torch.cat(alone), rtol=0, atol=1e-12)


def parameters_with_gradient(layer, loss):
    found = torch.autograd.grad(loss, list(layer.parameters()), allow_unused=True)
    names = [name for name, _ in layer.named_parameters()]
    return {n for n, g in zip(names, found, strict=True) if g is not None and g.abs().max() > 0}


@pytest.mark.parametrize("cell", CELLS)
def test_penalty_reaches_the_weights_only_when_explicit(cell):
    own = {"regularizer.log_sigma", "regularizer.drop_logit", "regularizer.log_prior"}
    layer = make_layer(cell, Vand(prior="learned"))
    assert parameters_with_gradient(layer, layer.run(make_x()).terms.penalty) == own
    layer = make_layer(cell, Vand(prior="learned", explicit=True))
    found = parameters_with_gradient(layer, layer.run(make_x()).terms.penalty)
    assert found >= own | {"weight_hh_l0", "weight_ih_l0"}


def test_data_term_reaches_weights_noise_and_drop():
    layer = make_layer("gru", Vand(drop=0.5))
    found = parameters_with_gradient(layer, layer.run(make_x()).output.square().sum())
    assert found == {name for name, _ in layer.named_parameters()}


def test_straight_through_gradient_of_drop_is_minus_the_gradient_of_the_mask():
    torch.manual_seed(0)
    layer = make_layer("gru", Vand(drop=0.5, sigma=0.2, estimator="straight-through"))
    x = make_x(steps=1)
    torch.manual_seed(1)
    layer.run(x).output.square().sum().backward()
    # By hand: h = keep (mu + sigma eps) + (1 - keep) (m + eps), d loss / d keep = 2 h (...)
    plain = make_layer("gru", None)
    with torch.no_grad():
        mu = plain(x)[0]  # one step from zeros: mu = m
        torch.manual_seed(1)
        sampled = layer.run(x).output
        eps_scaled = sampled - mu
        kept = eps_scaled.abs()
        sigma, drop = layer.regularizer.sigma[0], layer.regularizer.drop[0]
        torch.manual_seed(1)
        draw = layer.regularizer.sample(0, 1, torch.zeros(BATCH, UNITS).double())
        keep = draw.affine.keep.round()
        eps = eps_scaled / torch.where(keep == 1, sigma, 1.0)
        by_keep = 2 * sampled * (sigma - 1) * eps
        low = layer.regularizer.vand.drop_min
        share = (drop - low) / (1 - 2 * low)
        expected = -by_keep.sum((0, 1)) * (1 - 2 * low) * share * (1 - share)
    assert kept.min() > 0
    torch.testing.assert_close(layer.regularizer.drop_logit.grad[0], expected)


def quadratic_layer(estimator, cost, **options):
    """One step from a given state, loss cost/2 |h - mu|^2 a unit: all expectations in closed form.

    Returns the layer, a function to draw the loss, and the mean square gap of every unit.
    """
    layer = make_layer("elman", Vand(estimator=estimator, **options))
    batch = 20_000
    x = make_x(1, 1).expand(1, batch, -1)
    state = torch.randn(1, 1, UNITS).double().expand(1, batch, -1)
    with torch.no_grad():
        mu = layer.run(x, state, deterministic=True).output
        m = layer.run(x, deterministic=True).output

    def draw():
        result = layer.run(x, state)
        data = cost / 2 * (result.output - mu).square().sum(-1).mean()
        return data + result.terms.penalty

    return layer, draw, (mu - m)[0, 0].square()


def test_noise_settles_where_the_bound_has_its_optimum():
    """min cost/2 sigma^2 + beta (sigma^2 / 2 - ln sigma): sigma^2 = beta / (cost + beta)."""
    cost, beta = 0.9, 0.1
    torch.manual_seed(0)
    layer, draw, _ = quadratic_layer("straight-through", cost, beta=beta, dropout=False)
    optimizer = torch.optim.Adam(layer.regularizer.parameters(), lr=0.1)
    for _ in range(80):
        optimizer.zero_grad()
        draw().backward()
        optimizer.step()
    expected = math.sqrt(beta / (cost + beta))
    torch.testing.assert_close(
        layer.regularizer.sigma[0], torch.full((UNITS,), expected).double(), rtol=0.05, atol=0
    )


@pytest.mark.parametrize("drop", [0.05, 0.5])
def test_trapezoid_gradient_of_drop_is_exact_for_a_quadratic_loss(drop):
    """Dropping costs cost/2 (gap^2 + 1 - sigma^2) and saves beta k."""
    cost, beta, sigma = 0.5, 0.2, 0.3
    torch.manual_seed(0)
    layer, draw, square = quadratic_layer("trapezoid", cost, beta=beta, sigma=sigma, drop=drop)
    share = torch.autograd.grad(layer.regularizer.drop.sum(), layer.regularizer.drop_logit)[0]
    found = torch.autograd.grad(draw(), layer.regularizer.drop_logit)[0] / share
    k = -math.log(sigma) + (sigma**2 + square) / 2 - 0.5
    expected = cost / 2 * (square + 1 - sigma**2) - beta * k
    torch.testing.assert_close(found[0], expected, rtol=0, atol=0.05)


@pytest.mark.parametrize(("cost", "rises"), [(0.0, True), (5.0, False)])
@pytest.mark.parametrize("estimator", ["trapezoid", "relaxed"])
def test_drop_rises_where_memory_is_useless_and_falls_where_it_is_needed(estimator, cost, rises):
    torch.manual_seed(0)
    layer, draw, _ = quadratic_layer(estimator, cost, beta=0.2, sigma=0.3, drop=0.3)
    optimizer = torch.optim.Adam([layer.regularizer.drop_logit], lr=0.1)
    for _ in range(20):
        optimizer.zero_grad()
        draw().backward()
        optimizer.step()
    assert torch.all((layer.regularizer.drop > 0.3) == rises)


def test_straight_through_underrates_what_dropping_costs():
    """The known bias, near the optimum of the data term; it is why there is the trapezoid."""
    torch.manual_seed(0)
    costs = {}
    for estimator in ("straight-through", "trapezoid"):
        layer, draw, _ = quadratic_layer(estimator, 1.0, beta=0.0, sigma=0.1, drop=0.05)
        costs[estimator] = torch.autograd.grad(draw(), layer.regularizer.drop_logit)[0].mean()
    assert 0 < costs["straight-through"] < costs["trapezoid"] / 2


@pytest.mark.parametrize("cell", ["gru", pytest.param("lstm", marks=pytest.mark.slow)])
def test_the_default_estimator_is_the_total_derivative_at_a_trained_network(cell):
    """Against finite differences of the loss in the logit of d, with common random numbers.

    The noise, as large as what the head can tell, keeps the loss near quadratic in a dropped unit.
    """
    assert Vand().estimator == "trapezoid"
    torch.manual_seed(0)
    layer = make_cell(cell, 1, 8, regularizer=Vand(drop=0.1, sigma=0.1, adaptive=False))
    head = GaussianHead(8, 1, min_std=0.1, shared_std=True)
    sampler = layer.regularizer

    def loss(batch):
        wave = torch.sin(0.3 * torch.arange(31.0) + 6.28 * torch.rand(batch, 1)).t()[..., None]
        return head.nll(layer.run(wave[:-1]).output, wave[1:])

    optimizer = torch.optim.Adam([*layer.parameters(), *head.parameters()], lr=2e-2)
    for _ in range(200):
        optimizer.zero_grad()
        loss(16).backward()
        optimizer.step()
    for parameter in (*layer.parameters(), *head.parameters()):
        parameter.requires_grad_(False)
    logit = sampler.drop_logit.detach().clone()
    step, differences = 0.2, []
    for seed in range(15):
        ends = []
        for sign in (1, -1):
            sampler.drop_logit.data = logit + sign * step
            torch.manual_seed(seed)
            ends.append(loss(1000).item())
        differences.append((ends[0] - ends[1]) / (2 * step))
    sampler.drop_logit.data = logit
    expected = sum(differences) / len(differences)
    found = {}
    for estimator in ("trapezoid", "straight-through"):
        object.__setattr__(sampler.vand, "estimator", estimator)
        sampler.drop_logit.requires_grad_(True)
        gradients = [
            torch.autograd.grad(loss(1000), sampler.drop_logit)[0].sum() for _ in range(10)
        ]
        found[estimator] = torch.stack(gradients).mean().item()
    assert expected > 0
    assert found["trapezoid"] == pytest.approx(expected, rel=0.25)
    assert found["straight-through"] < 0.5 * expected


def test_relaxed_masks_harden_and_keep_their_probability():
    torch.manual_seed(0)
    uniform = torch.rand(100_000, 1, dtype=torch.float64)
    soft = relaxed_bernoulli(torch.tensor([0.7], dtype=torch.float64), uniform, 1e-3)
    assert soft.mean().item() == pytest.approx(0.7, abs=0.01)
    assert ((soft < 0.01) | (soft > 0.99)).double().mean() > 0.99


def test_kl_is_the_formula_summed_over_units_and_layers_in_nats_per_step():
    recipe = Vand(sigma=0.2, drop=0.25, noise=True)
    layer = make_layer("elman", recipe, num_layers=2)
    x = make_x()
    torch.manual_seed(2)
    result = layer.run(x)
    # Both layers again, from the same draws, with m by the formula.
    torch.manual_seed(2)
    total, inputs = 0.0, x
    for index in range(2):
        initial, weights = torch.zeros(BATCH, UNITS).double(), layer.weights(index)
        draw = layer.regularizer.sample(index, STEPS, initial)
        path = scan(layer.cell, inputs, weights, initial, draw.affine)
        from_input = inputs @ weights.ih.t() + weights.bias_ih + weights.bias_hh
        before = torch.cat((initial[None], path.states[:-1]))
        gap = torch.tanh(from_input + before @ weights.hh.t()) - torch.tanh(from_input)
        k = -math.log(0.2) + (0.2**2 + gap**2) / 2 - 0.5
        total += (0.75 * k).sum(-1).mean().item()
        inputs = path.states
    assert result.terms.kl.item() == pytest.approx(total, rel=1e-6)
    assert result.terms.metrics["memory_nats"] == pytest.approx(total, rel=1e-6)
    assert result.terms.penalty.item() == pytest.approx(recipe.beta * total, rel=1e-6)


def test_kl_averages_over_valid_steps_only():
    gap = torch.randn(STEPS, BATCH, UNITS)
    lengths = torch.tensor([6, 2, 1, 4])
    valid = torch.arange(STEPS)[:, None] < lengths
    torch.testing.assert_close(mean_square(gap, valid, None), gap[valid].square().mean(0))
    torch.testing.assert_close(
        mean_square(gap, torch.ones_like(valid), None), mean_square(gap, None, None)
    )


def test_kl_per_sequence_is_paid_by_the_sequences_that_kept_the_unit():
    gap = torch.randn(STEPS, BATCH, 2)
    kept = torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 0.0], [0.0, 0.0]])[None]
    square = mean_square(gap, None, kept)
    torch.testing.assert_close(square[0], gap[:, [0, 2], 0].square().mean())
    torch.testing.assert_close(square[1], gap[..., 1].square().mean())  # kept by none
    lengths = torch.tensor([6, 2, 1, 4])
    valid = torch.arange(STEPS)[:, None] < lengths
    square = mean_square(gap, valid, kept)
    both = torch.cat((gap[:6, 0, 0], gap[:1, 2, 0]))
    torch.testing.assert_close(square[0], both.square().mean())


def test_mask_per_sequence_holds_for_all_steps():
    layer = make_layer("gru", Vand(drop=0.5, noise=False, mask="sequence"))
    plain = make_layer("gru", None)
    x = make_x(steps=20)
    output = layer(x)[0].detach()
    memoryless = torch.cat([plain(x[t : t + 1])[0] for t in range(20)])
    forgets = torch.isclose(output, memoryless, rtol=0, atol=1e-12)[1:]
    assert torch.equal(forgets.all(0), forgets.any(0))
    assert 0 < forgets.all(0).sum() < forgets[0].numel()


@pytest.mark.parametrize("budget", [2.0, 8.0])
def test_dual_ascent_holds_the_budget(budget):
    """A steady pull towards precision stands for the data term."""
    layer = make_layer("gru", Vand(budget=budget, beta=0.1, dual_rate=0.03))
    optimizer = torch.optim.Adam(layer.regularizer.parameters(), lr=0.03)
    x = make_x()
    history = []
    for _ in range(400):
        result = layer.run(x)
        pull = 0.3 * (layer.regularizer.log_sigma + layer.regularizer.drop_logit).sum()
        optimizer.zero_grad()
        (pull + result.terms.penalty).backward()
        optimizer.step()
        dual_step(layer)
        history.append(result.terms.kl.item())
    assert sum(history[-100:]) / 100 == pytest.approx(budget, rel=0.05)
    assert result.terms.metrics["beta"] != pytest.approx(0.1)


def test_dual_ascent_is_off_without_gradients_and_in_eval():
    layer = make_layer("gru", Vand(budget=1.0))
    with torch.no_grad():
        layer.run(make_x())
    layer.eval().run(make_x())
    dual_step(layer)
    assert layer.regularizer.beta.item() == pytest.approx(1e-3)


@pytest.mark.parametrize("kl", [math.nan, math.inf, 0.0, -1e-6])
def test_dual_step_is_skipped_for_a_kl_of_zero_or_not_finite(kl):
    sampler = make_layer("gru", Vand(budget=1.0, beta=0.1)).regularizer
    for _ in range(3):
        sampler.record(torch.tensor(kl, dtype=torch.float64), 10)
        sampler.dual_step()
    assert sampler.beta.item() == pytest.approx(0.1)
    sampler.record(torch.tensor(2.0, dtype=torch.float64), 10)
    sampler.dual_step()
    assert sampler.beta.item() > 0.1


def test_terms_and_a_pass_leave_beta_alone_and_the_dual_step_moves_it_by_the_mean_kl():
    layer = make_layer("gru", Chain((Vand(budget=1.0, beta=0.1, dual_rate=0.5),)))
    vand = layer.regularizer.members[0]
    first, second = (layer.run(make_x(steps)).terms.kl.item() for steps in (4, 8))
    assert vand.beta.item() == pytest.approx(0.1)
    dual_step(torch.nn.Sequential(torch.nn.Linear(2, 2), layer))
    excess = min(math.log((4 * first + 8 * second) / 12), 1.0)
    assert vand.beta.item() == pytest.approx(0.1 * math.exp(0.5 * excess))
    before = vand.beta.item()
    dual_step(layer)  # nothing was paid since
    assert vand.beta.item() == before


@pytest.mark.parametrize("split", ["checkpointed", "accumulated"])
def test_the_dual_step_does_not_depend_on_how_a_batch_is_worked_on(split):
    """Checkpointing runs every pass twice; accumulation runs it in pieces of the batch."""
    found = []
    for way in ("whole", split):
        layer = make_layer("gru", Vand(budget=0.5, beta=0.1, dropout=False, sigma=1e-2))
        torch.manual_seed(3)
        x = make_x(batch=1).expand(-1, BATCH, -1)
        if way == "checkpointed":
            out = checkpoint(lambda x, run=layer.run: run(x).output, x, use_reentrant=False)
            out.sum().backward()
        else:
            for piece in x.split(BATCH if way == "whole" else 1, dim=1):
                layer.run(piece).output.sum().backward()
        dual_step(layer)
        found.append(layer.regularizer.beta.item())
    assert found[0] == pytest.approx(found[1], rel=1e-3)
    assert found[0] > 0.1


def test_a_forgotten_dual_step_is_warned_of():
    sampler = Vand(budget=1.0).bind(1, 3, 3)
    for _ in range(FORGOTTEN_PASSES - 1):
        sampler.record(torch.tensor(1.0), 1)
    with pytest.warns(UserWarning, match="dual_step was not called"):
        sampler.record(torch.tensor(1.0), 1)


def test_an_empty_batch_leaves_the_budget_alone_and_costs_nothing():
    layer = make_layer("gru", Vand(budget=1.0, beta=0.1))
    terms = layer.run(make_x(batch=0)).terms
    assert terms.penalty == 0
    assert layer.regularizer.beta.item() == pytest.approx(0.1)


@pytest.mark.parametrize("noise", [True, False])
def test_the_gradients_of_the_samples_refuse_to_be_differentiated(noise):
    sampler = Vand(noise=noise).bind(1, 3, 3)
    affine = sampler.sample(0, 5, torch.zeros(4, 3)).affine
    for coefficient in (affine.keep, affine.B) if noise else (affine.keep,):
        with pytest.raises(RuntimeError, match="double backward"):
            torch.autograd.grad(coefficient.sum(), sampler.drop_logit, create_graph=True)


@pytest.mark.parametrize("estimator", ["straight-through", "trapezoid", "relaxed"])
def test_half_precision_trains(estimator):
    torch.manual_seed(0)
    recipe = Vand(estimator=estimator, budget=5.0)
    layer = GRU(INPUTS, UNITS, regularizer=recipe, dtype=torch.bfloat16)
    result = layer.run(make_x(50, 40).bfloat16())
    (result.output.square().mean() + result.terms.penalty).backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad.dtype == torch.bfloat16, name
        assert parameter.grad.isfinite().all(), name


def test_fixed_noise_and_drop_are_not_learned():
    layer = make_layer("gru", Vand(adaptive=False))
    assert not any(p.requires_grad for p in layer.regularizer.parameters())


def test_initial_values_are_those_asked_for():
    sampler = GRU(3, 5, 2, regularizer=Vand(sigma=0.07, drop=0.03)).regularizer
    torch.testing.assert_close(sampler.sigma, torch.full((2, 5), 0.07))
    torch.testing.assert_close(sampler.drop, torch.full((2, 5), 0.03))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noise": False, "dropout": False}, "noise or dropout"),
        ({"sigma": 1e-4}, "sigma must lie"),
        ({"drop": 1.0}, "drop must lie"),
        ({"budget": -1.0}, "budget must lie"),
        ({"mask": "episode"}, "step, sequence"),
        ({"estimator": "reinforce"}, "straight-through, trapezoid, relaxed"),
        ({"on": "hidden"}, "whole state"),
    ],
)
def test_bad_options_raise_clear_errors(options, message):
    with pytest.raises(ValueError, match=message):
        Vand(**options)
