"""The mixture of Gaussians as a policy's head: what acts, its loss, and its draws."""

import numpy as np
import pytest
import torch

from tests.policies.test_recurrent import make_batch, make_policy, rolled_out
from vand_envs.errors import UsageError


@pytest.mark.parametrize("act", ["mode", "sample"])
def test_a_mixture_acts_by_the_mean_of_one_component_as_its_forward_pass_has_it(act: str):
    policy = make_policy(head="gmm", mixture={"modes": 3, "act": act})
    x = make_batch([6] * 5).observations
    output = policy.core.run(policy.encoder(policy.normalizer(x))).output
    log_weight, mean, _ = policy.head(output)  # (T, n, M), (T, n, M, A)
    actions = torch.from_numpy(rolled_out(policy, x))
    distance = (mean.clamp(-1, 1) - actions.unsqueeze(2)).abs().amax(-1)  # (T, n, M)
    nearest, chosen = distance.min(-1)
    assert nearest.max() < 2e-6
    likely = chosen == log_weight.argmax(-1)
    assert likely.all() if act == "mode" else not likely.all()


def test_the_loss_of_a_mixture_is_that_of_torchs_distributions():
    policy = make_policy(head="gmm", attention_heads=0, min_std=0.1)
    batch = make_batch([7, 4])
    output = policy.core.run(policy.encoder(policy.normalizer(batch.observations))).output
    log_weight, mean, log_std = policy.head(output)
    assert log_weight.shape[-1] == 5
    assert log_std.exp().min() > 0.1
    d = torch.distributions
    mixture = d.MixtureSameFamily(
        d.Categorical(logits=log_weight), d.Independent(d.Normal(mean, log_std.exp()), 1)
    )
    expected = -mixture.log_prob(batch.actions)[batch.mask].mean()
    torch.testing.assert_close(policy.loss(batch).nll, expected)


def test_draws_of_a_mixture_follow_from_the_episode_and_not_from_its_neighbors():
    policy = make_policy(head="gmm", mixture={"act": "sample"})
    x = make_batch([40] * 6).observations
    together = rolled_out(policy, x)
    alone = np.concatenate([rolled_out(policy, x[:, i : i + 1]) for i in range(6)], 1)
    np.testing.assert_allclose(together, alone, atol=2e-6)
    with torch.no_grad():  # weights of 0.2, 0.8 whatever is seen; means of 0 and 0.5
        head = policy.head.linear
        head.weight.zero_()
        head.bias.fill_(0)
        head.bias[:5] = torch.tensor([0.2, 0.8, 1e-9, 1e-9, 1e-9]).log()
        head.bias[5:].view(5, 20)[1, :10] = 0.5
    drawn = rolled_out(policy, torch.randn(40, 100, 7))[..., 0]
    assert set(np.unique(drawn)) == {0.0, 0.5}
    assert (drawn > 0).mean() == pytest.approx(0.8, abs=4 * (0.16 / 4000) ** 0.5)
    again = rolled_out(policy, torch.randn(40, 100, 7))[..., 0]
    assert not np.array_equal(drawn, again)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"head": "gmn"}, "did you mean 'gmm'?"),
        ({"head": "gmm", "mixture": {"modes": 0}}, "mixture.modes"),
        ({"head": "gmm", "mixture": {"act": "mean"}}, "'mean'"),
        ({"head": "gmm", "mixture": {"mode": 5}}, "did you mean 'mixture.modes'?"),
    ],
)
def test_a_bad_head_is_one_line(values: dict[str, object], expected: str):
    with pytest.raises(UsageError) as caught:
        make_policy(**values)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
