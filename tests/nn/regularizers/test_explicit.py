"""Noisin's explicit regularizer, against the expected losses that it stands for."""

import pytest
import torch

from vand_robot.nn import (
    GRU,
    LRU,
    LSTM,
    BernoulliHead,
    CategoricalHead,
    Elman,
    GaussianHead,
    GaussianMixtureHead,
    GaussianNoise,
    Noisin,
    PoissonHead,
    explicit_regularizer,
    marginal_regularizer,
)

STEPS, BATCH, UNITS = 5, 2, 6
HEADS = {
    "gaussian": lambda: GaussianHead(UNITS, 3, shared_std=True),
    "bernoulli": lambda: BernoulliHead(UNITS, 3),
    "poisson": lambda: PoissonHead(UNITS, 3),
    "categorical": lambda: CategoricalHead(UNITS, 4),
}


def make(cell, recipe, **options):
    torch.manual_seed(0)
    return cell(2, UNITS, dtype=torch.float64, regularizer=recipe, **options)


def loss_per_step(name, head, h, target):
    """(K, T, B) losses of noisy states h (K, T, B, H)."""
    if name == "gaussian":
        mean, log_std = head(h)
        return -torch.distributions.Normal(mean, log_std.exp()).log_prob(target).sum(-1)
    if name == "bernoulli":
        return -torch.distributions.Bernoulli(logits=head(h)).log_prob(target).sum(-1)
    if name == "poisson":
        return -torch.distributions.Poisson(head(h).exp()).log_prob(target).sum(-1)
    return -torch.distributions.Categorical(logits=head(h)).log_prob(target.expand(h.shape[:-1]))


@pytest.mark.parametrize("form", ["additive", "multiplicative"])
@pytest.mark.parametrize("cell", [Elman, GRU, LSTM])
@pytest.mark.parametrize("name", HEADS)
def test_it_is_what_a_steps_noise_adds_to_the_loss_given_the_state_before(name, cell, form):
    recipe = Noisin.of_variance("normal", 1e-3, form=form)
    layer, head = make(cell, recipe, num_layers=2), HEADS[name]().double()
    x = torch.randn(STEPS, BATCH, 2, dtype=torch.float64)
    torch.manual_seed(1)
    found = explicit_regularizer(layer, head, x)
    # The same path again, and from it the answers of the last layer, each with noise of its own.
    torch.manual_seed(1)
    inputs = x
    for index in range(2):
        start = layer.initial_state(BATCH)[index]
        affine = layer.regularizer.sample(index, STEPS, start).affine
        states = layer.scan_layer(index, inputs, start, affine).states
        before = torch.cat((start[None], states[:-1]))
        means = torch.stack([layer.answer(index, inputs[t], before[t]) for t in range(STEPS)])
        inputs = states[..., :UNITS]
    mean = means[..., :UNITS]
    eps = recipe.noise(torch.empty(4000, *mean.shape, dtype=torch.float64))
    eps = torch.cat((eps, -eps))  # the slope averages to nothing
    noisy = mean + eps if form == "additive" else mean * (1 + eps)
    target = head.sample(mean)
    added = loss_per_step(name, head, noisy, target) - loss_per_step(name, head, mean, target)
    assert found.item() == pytest.approx(added.mean().item(), rel=0.03)


def test_the_marginal_one_has_the_variance_of_the_means_on_top():
    """By the law of total variance."""
    recipe = Noisin.of_variance("laplace", 1e-3)
    layer, head = make(Elman, recipe), HEADS["gaussian"]().double()
    with torch.no_grad():
        layer.weight_hh_l0.copy_(1.5 * torch.eye(UNITS))  # remembers
    one = torch.randn(STEPS, 1, 2, dtype=torch.float64)
    many = one.expand(STEPS, 20_000, 2).contiguous()
    with torch.no_grad():
        conditional = explicit_regularizer(layer, head, many).item()
        states = layer.run(many, deterministic=False).output
        std = head(states)[1][0, 0].exp()
        marginal = marginal_regularizer(head.mean(states).transpose(0, 1), std).item()
        before = torch.cat((torch.zeros_like(states[:1]), states[:-1]))
        means = layer.answer(0, many.flatten(0, 1), before.flatten(0, 1)).view_as(states)
        moved = marginal_regularizer(head.mean(means).transpose(0, 1), std).item()
    assert marginal == pytest.approx(conditional + moved, rel=0.02)
    assert marginal > 1.3 * conditional


def test_noise_on_the_output_alone_is_measured_at_the_deterministic_state():
    recipe = Noisin.of_variance("normal", 0.01, unbiased="strong")
    layer, head = make(GRU, recipe), HEADS["gaussian"]().double()
    x = torch.randn(STEPS, BATCH, 2, dtype=torch.float64)
    _, log_std = head(layer.run(x, deterministic=True).output)
    expected = 0.01 * (torch.exp(-2 * log_std) @ head.linear.weight.square()).sum(-1).mean() / 2
    torch.testing.assert_close(explicit_regularizer(layer, head, x), expected)
    mask = torch.zeros(STEPS, BATCH, dtype=torch.bool)
    mask[2:, 0] = True
    torch.testing.assert_close(explicit_regularizer(layer, head, x, mask), expected)
    assert torch.autograd.grad(expected, head.linear.weight)[0].abs().min() > 0


def test_what_has_no_such_formula_is_refused():
    x = torch.randn(STEPS, BATCH, 2, dtype=torch.float64)
    head = HEADS["gaussian"]().double()
    with pytest.raises(TypeError, match="expects Noisin; got GaussianNoise"):
        explicit_regularizer(make(GRU, GaussianNoise()), head, x)
    with pytest.raises(TypeError, match="got GaussianMixtureHead"):
        explicit_regularizer(make(GRU, Noisin()), GaussianMixtureHead(UNITS, 3).double(), x)
    with pytest.raises(ValueError, match="that of a LRU is not"):
        explicit_regularizer(make(LRU, Noisin()), head, x)
