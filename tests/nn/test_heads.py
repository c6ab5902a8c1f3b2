"""The Gaussian head: likelihood, bounds, masks."""

import pytest
import torch

from vand_robot.nn import GaussianHead, gaussian_nll


def test_nll_is_that_of_torch_distributions():
    head = GaussianHead(4, 3)
    h, target = torch.randn(6, 2, 4), torch.randn(6, 2, 3)
    mean, log_std = head(h)
    expected = -torch.distributions.Normal(mean, log_std.exp()).log_prob(target).sum(-1).mean()
    torch.testing.assert_close(head.nll(h, target), expected)


def test_masked_steps_are_ignored_even_if_nan():
    mean, log_std, target = torch.randn(3, 6, 2, 3, requires_grad=True)
    mask = torch.rand(6, 2) < 0.5
    expected = gaussian_nll(mean[mask], log_std[mask], target[mask])
    polluted = torch.where(mask[..., None], target, torch.nan)
    loss = gaussian_nll(mean, log_std, polluted, mask)
    torch.testing.assert_close(loss, expected)
    (gradient,) = torch.autograd.grad(loss, mean)
    assert torch.all(gradient[~mask] == 0)
    assert torch.all(gradient[mask].isfinite())


def test_a_mask_of_another_type_or_shape_is_refused():
    values = torch.randn(3, 6, 2, 3)
    for dtype in (torch.int64, torch.uint8, torch.float32):
        with pytest.raises(TypeError, match=f"torch.bool, .* got {dtype}"):
            gaussian_nll(*values, torch.ones(6, 2, dtype=dtype))
    with pytest.raises(ValueError, match="at least one step"):
        gaussian_nll(*values, torch.zeros(6, 2, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"shape \(6, 2\); got \(6, 2, 3\)"):
        gaussian_nll(*values, torch.ones(6, 2, 3, dtype=torch.bool))


def test_spread_stays_within_bounds_and_keeps_a_gradient():
    head = GaussianHead(2, 1, min_std=0.1, max_std=1.0)
    h = (5 * torch.randn(1000, 2)).requires_grad_()
    std = head(h)[1].exp()
    assert std.min() >= 0.1
    assert std.max() <= 1.0
    std.sum().backward()
    assert torch.all(h.grad.abs().sum(-1) > 0)


def test_mean_alone_and_samples_agree_with_the_prediction():
    torch.manual_seed(0)
    head = GaussianHead(4, 3)
    h = torch.randn(1, 4).expand(50_000, 4)
    mean, log_std = head(h)
    torch.testing.assert_close(head.mean(h), mean)
    samples = head.sample(h)
    torch.testing.assert_close(samples.mean(0), mean[0], rtol=0, atol=0.02)
    torch.testing.assert_close(samples.std(0), log_std[0].exp(), rtol=0.02, atol=0)


def test_bad_bounds_raise_a_clear_error():
    with pytest.raises(ValueError, match="0 < min_std < max_std"):
        GaussianHead(4, 3, min_std=2.0, max_std=1.0)


def test_a_shared_spread_is_the_same_for_every_input_and_finds_the_noise():
    torch.manual_seed(0)
    head = GaussianHead(3, 2, min_std=0.01, shared_std=True)
    x = torch.randn(4000, 3)
    target = x[:, :2] + torch.tensor([0.1, 0.5]) * torch.randn(4000, 2)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        head.nll(x, target).backward()
        optimizer.step()
    mean, log_std = head(x)
    assert torch.equal(log_std[0], log_std[-1])
    assert torch.allclose(log_std[0].exp(), torch.tensor([0.1, 0.5]), rtol=0.05)
    assert torch.allclose(head.mean(x), mean)


@pytest.mark.parametrize("shape", [(6, 1), (6,), (1, 6, 1), (6, 6, 1), (6, 1, 2)])
def test_a_target_of_another_shape_is_refused_not_broadcast(shape):
    head = GaussianHead(5, 1)
    with pytest.raises(ValueError, match=r"target must be of shape \(6, 1, 1\); got"):
        head.nll(torch.randn(6, 1, 5), torch.randn(shape))
    with pytest.raises(ValueError, match=r"log_std must be of shape \(6, 1, 1\)"):
        gaussian_nll(torch.randn(6, 1, 1), torch.randn(6, 1), torch.randn(6, 1, 1))
