"""Heads of classes, flags, counts and mixtures, against torch's distributions."""

import pytest
import torch
from torch import distributions as d

from vand_robot.nn import BernoulliHead, CategoricalHead, GaussianMixtureHead, PoissonHead

LEAD = (6, 2)
HEADS = {
    "categorical": lambda: CategoricalHead(4, 5),
    "bernoulli": lambda: BernoulliHead(4, 3),
    "poisson": lambda: PoissonHead(4, 3),
    "mixture": lambda: GaussianMixtureHead(4, 3, modes=4),
}


def distribution(name, head, h):
    """torch's distribution of a step."""
    if name == "categorical":
        return d.Categorical(logits=head(h))
    if name == "bernoulli":
        return d.Independent(d.Bernoulli(logits=head(h)), 1)
    if name == "poisson":
        return d.Independent(d.Poisson(head(h).exp()), 1)
    log_weight, mean, log_std = head(h)
    return d.MixtureSameFamily(
        d.Categorical(logits=log_weight), d.Independent(d.Normal(mean, log_std.exp()), 1)
    )


@pytest.mark.parametrize("name", HEADS)
def test_nll_is_that_of_torch_distributions_and_masks_leave_steps_out(name):
    torch.manual_seed(0)
    head, h = HEADS[name](), torch.randn(*LEAD, 4)
    target = head.sample(h)
    per_step = -distribution(name, head, h).log_prob(target)
    torch.testing.assert_close(head.nll(h, target), per_step.mean())
    mask = torch.rand(LEAD) < 0.5
    torch.testing.assert_close(head.nll(h, target, mask), per_step[mask].mean())
    head.nll(h, target, mask).backward()
    assert all(parameter.grad.isfinite().all() for parameter in head.parameters())


@pytest.mark.parametrize("name", HEADS)
def test_samples_have_the_distributions_mean(name):
    torch.manual_seed(0)
    head, h = HEADS[name](), torch.randn(1, 4).expand(40_000, 4)
    drawn = head.sample(h)
    if name == "categorical":
        found = torch.nn.functional.one_hot(drawn, 5).float().mean(0)
        torch.testing.assert_close(found, head(h)[0].softmax(-1), rtol=0, atol=0.02)
        assert head.mean(h)[0] == head(h)[0].argmax()
    else:
        torch.testing.assert_close(
            drawn.mean(0), distribution(name, head, h[:1]).mean[0], rtol=0, atol=0.05
        )


@pytest.mark.parametrize("name", HEADS)
def test_a_target_or_mask_of_another_shape_is_refused(name):
    head, h = HEADS[name](), torch.randn(*LEAD, 4)
    target = head.sample(h)
    for wrong in (target[0], target[:, :1], target[..., None]):
        with pytest.raises(ValueError, match="target must be of shape"):
            head.nll(h, wrong)
    with pytest.raises(ValueError, match="shape"):
        head.nll(h, target, torch.ones(6, 1, dtype=torch.bool))
    with pytest.raises(TypeError, match=r"torch\.bool"):
        head.nll(h, target, torch.ones(LEAD))


def test_classes_are_integers():
    with pytest.raises(TypeError, match=r"integers; got torch\.float32"):
        CategoricalHead(4, 5).nll(torch.randn(*LEAD, 4), torch.zeros(LEAD))


def test_a_mixture_finds_two_modes_where_one_gaussian_lies_between():
    torch.manual_seed(0)
    head = GaussianMixtureHead(1, 1, modes=2, min_std=0.05)
    x = torch.ones(512, 1)
    target = torch.where(torch.rand(512, 1) < 0.7, 0.5, -0.5)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        head.nll(x, target).backward()
        optimizer.step()
    assert head.mean(x[:1]).item() == pytest.approx(0.5, abs=0.05)
    log_weight, mean, log_std = head(x[0])
    assert mean[:, 0].sort().values.tolist() == pytest.approx([-0.5, 0.5], abs=0.05)
    assert log_weight.exp().max().item() == pytest.approx(0.7, abs=0.05)
    assert log_std.exp().max() < 0.1


def test_a_component_is_drawn_by_its_weight_and_its_mean_given():
    torch.manual_seed(0)
    head, h = GaussianMixtureHead(4, 3, modes=4), torch.randn(1, 4)
    log_weight, mean, _ = head(h)
    uniform = (torch.arange(10_000) + 0.5) / 10_000
    drawn = head.drawn_mean(h.expand(10_000, 4), uniform)
    shares = torch.isclose(drawn[:, None], mean, atol=1e-6).all(-1).float().mean(0)
    torch.testing.assert_close(shares, log_weight[0].exp(), rtol=0, atol=2e-4)


def test_bad_options_raise_a_clear_error():
    with pytest.raises(ValueError, match="modes >= 1"):
        GaussianMixtureHead(4, 3, modes=0)
    with pytest.raises(ValueError, match="0 < min_std < max_std"):
        GaussianMixtureHead(4, 3, min_std=0.0)
