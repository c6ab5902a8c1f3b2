"""Held-out adaptation: the mixed derivative against autograd, and strengths against closed forms.

For linear regression with noise of scale s on its inputs, the expected training loss is that of
ridge regression: |y - X w|^2 / N + sum_i s_i^2 w_i^2. With orthonormal inputs, X^T X = N I, and the
least squares solutions a of the training and b of the held-out data, the weights end at
w_i = a_i / (1 + s_i^2), and the held-out loss is least where w_i = b_i: at s_i^2 = a_i / b_i - 1.
"""

from dataclasses import dataclass

import pytest
import torch

from vand_robot.nn import (
    CustomCell,
    Elman,
    GaussianHead,
    Vand,
    adapt_held_out,
    collect_penalty,
    drop_gradients,
    mixed_derivatives,
    parameter_groups,
)
from vand_robot.nn.held_out import preconditioned
from vand_robot.nn.kernel.affine import AffineMap
from vand_robot.nn.regularizers.base import Regularizer, Sample, Sampler, mirrored

STEPS, BATCH, INPUTS, UNITS = 7, 4, 3, 5


class FixedNoise(Sampler):
    """Noise that was drawn beforehand, of a scale for each unit."""

    def __init__(self, recipe, hidden_size, state_size):
        super().__init__(recipe, hidden_size, state_size)
        self.log_sigma = torch.nn.Parameter(torch.linspace(-1, 0, state_size).double())
        self.eps = torch.randn(STEPS, BATCH, state_size).double()

    def sample(self, layer, steps, like):
        return Sample(AffineMap(B=self.log_sigma.exp() * self.eps))


@dataclass(frozen=True)
class FixedNoiseRecipe(Regularizer):
    def bind(self, num_layers, hidden_size, state_size):
        return FixedNoise(self, hidden_size, state_size)


def test_the_mixed_derivative_is_that_of_double_backward():
    """The layer's own scan, which has no second derivative, beside the same cell step by step."""
    torch.manual_seed(0)
    layer = Elman(INPUTS, UNITS, regularizer=FixedNoiseRecipe(), dtype=torch.float64)
    x = torch.randn(STEPS, BATCH, INPUTS).double()
    target = torch.randn(STEPS, BATCH, UNITS).double()
    sampler = layer.regularizer
    weights = [layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_ih_l0, layer.bias_hh_l0]
    direction = [torch.randn_like(weight) for weight in weights]

    def by_hand():
        w_in, w_back, b_in, b_back = weights
        h, states = x.new_zeros(BATCH, UNITS), []
        for now, eps in zip(x, sampler.eps, strict=True):
            h = torch.tanh(now @ w_in.T + b_in + h @ w_back.T + b_back)
            h = h + sampler.log_sigma.exp() * eps
            states.append(h)
        return (torch.stack(states) - target).square().mean()

    def by_layer():
        return (layer.run(x).output - target).square().mean()

    assert by_layer().item() == pytest.approx(by_hand().item(), abs=1e-12)
    slopes = torch.autograd.grad(by_hand(), weights, create_graph=True)
    along = sum((v * slope).sum() for v, slope in zip(direction, slopes, strict=True))
    (exact,) = torch.autograd.grad(along, sampler.log_sigma)
    before = [weight.detach().clone() for weight in weights]
    (found,) = mixed_derivatives(by_layer, weights, direction, [sampler.log_sigma])
    # central differences are wrong by the square of the displacement, 1e-3 of the weights
    torch.testing.assert_close(found, exact, rtol=1e-4, atol=1e-6)
    assert all(torch.equal(now, then) for now, then in zip(weights, before, strict=True))


def test_the_mirror_image_has_the_same_masks_and_the_opposite_noise():
    sampler = Vand(sigma=0.3, drop=0.4).bind(1, UNITS, UNITS)
    drawn = []
    for mirror in (False, True):
        torch.manual_seed(3)
        with mirrored(mirror):
            drawn.append(sampler.sample(0, STEPS, torch.zeros(BATCH, UNITS)).affine)
    assert torch.equal(drawn[0].keep, drawn[1].keep)
    assert torch.equal(drawn[0].B, -drawn[1].B)
    assert drawn[0].B.abs().min() > 0


def test_gradients_are_scaled_as_adam_scales_its_steps():
    """After one step of a gradient g Adam's second moment, without bias, is g^2."""
    weight = torch.nn.Parameter(torch.tensor([1.0, 1.0]))
    optimizer = torch.optim.AdamW([weight], lr=0.1)
    weight.grad = torch.tensor([2.0, -0.5])
    optimizer.step()
    (scaled,) = preconditioned(optimizer, [weight], [torch.tensor([4.0, 4.0])])
    torch.testing.assert_close(scaled, torch.tensor([2.0, 8.0]), rtol=1e-4, atol=0)
    plain = torch.optim.SGD([weight], lr=0.1)
    assert preconditioned(plain, [weight], [weight.grad])[0] is weight.grad


@dataclass(frozen=True)
class PassOn:
    """A cell that answers with its input: noise on its state is noise on that."""

    gates: int = 1
    parts: int = 1

    def transition(self, gates, recurrent, state):
        return gates


class Regression(torch.nn.Module):
    """y = w . (x + noise), x orthonormal: four sequences of one step, 64 times."""

    def __init__(self, recipe, held_out):
        super().__init__()
        signs = torch.tensor([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
        self.x = signs.repeat(64, 1)[None]  # (1, 256, 3), X^T X = 256 I
        self.core = CustomCell(PassOn(), 3, 3, bias=False, regularizer=recipe)
        for name, weight in self.core.named_parameters():
            if name.startswith("weight"):
                weight.requires_grad_(False).copy_(torch.eye(3))
        self.readout = torch.nn.Parameter(torch.ones(3))
        self.held_out = held_out

    def loss(self, least_squares):
        answer = self.core.run(self.x).output @ self.readout
        return (answer - self.x @ least_squares).square().mean()

    def train_loss(self):
        return self.train().loss(torch.ones(3))

    def held_out_loss(self):
        return self.eval().loss(self.held_out)


def adapted_sigma(recipe, best, updates=250):
    """Train on least squares 1, held-out ones 1 / (1 + best^2); sigma at the end."""
    torch.manual_seed(1)
    model = Regression(recipe, 1 / (1 + best.square()))
    groups = parameter_groups(model, learning_rate=0.1, strength_rate=0.5)
    optimizer = torch.optim.AdamW(groups, weight_decay=0, betas=(0.8, 0.95))
    for update in range(updates):
        for group in optimizer.param_groups:
            group["lr"] = 0.1 * group["rate"] * (1 - update / updates)
        loss = model.train_loss() + collect_penalty(model)
        optimizer.zero_grad()
        loss.backward()
        drop_gradients(model)
        optimizer.step()
        adapt_held_out(model, optimizer, model.train_loss, model.held_out_loss)
    return model.core.regularizer.sigma[0].detach()


@pytest.mark.parametrize("start", [0.02, 0.9])
def test_each_units_noise_finds_the_best_ridge_from_far_below_and_above(start):
    best = torch.tensor([0.3, 0.5, 0.7])
    recipe = Vand(sigma=start, dropout=False, adaptation="held_out")
    torch.testing.assert_close(adapted_sigma(recipe, best), best, rtol=0.15, atol=0)


@pytest.mark.parametrize("beta", [1e-3, 2.0])
def test_beta_finds_the_noise_that_is_best_for_held_out_data(beta):
    """sigma descends the bound, to sigma^2 = beta / (2 w^2 + beta); the right beta is 0.43."""
    recipe = Vand(sigma=0.2, dropout=False, adaptation="held_out_beta", beta=beta)
    best = torch.full((3,), 0.5)
    torch.testing.assert_close(adapted_sigma(recipe, best), best, rtol=0.15, atol=0)


def test_a_spread_that_follows_held_out_data_is_that_of_their_errors():
    torch.manual_seed(0)
    head = GaussianHead(2, 1, min_std=0.01, shared_std=True)
    optimizer = torch.optim.AdamW(parameter_groups(head, learning_rate=0.05))
    x, noise = torch.randn(400, 2), torch.randn(400, 1)
    target = head.mean(x).detach()
    for _ in range(300):
        optimizer.zero_grad()
        head.nll(x, target).backward()  # known by heart: its own pull is to the floor
        drop_gradients(head, [head.raw_std])
        optimizer.step()
        adapt_held_out(
            head,
            optimizer,
            lambda: head.nll(x, target),
            lambda: head.nll(x, target + 0.3 * noise),
            direct=[head.raw_std],
        )
    std = head(x)[1][0].exp()
    rms = (head.mean(x) - target - 0.3 * noise).square().mean().sqrt().item()
    assert std.item() == pytest.approx(rms, rel=0.02)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"budget": 10.0}, "does not go with a budget"),
        ({"adaptive": False}, "does not go with adaptive=False"),
    ],
)
def test_what_moves_the_strengths_is_one_thing(options, words):
    with pytest.raises(ValueError, match=words):
        Vand(adaptation="held_out", **options)
    with pytest.raises(ValueError, match="beta must lie in"):
        Vand(adaptation="held_out_beta", beta=0.0)
