"""The head that turns features into a distribution of actions, and the draws of a sampled one.

`gaussian` is one Gaussian; its mean acts. `gmm` is a mixture of Gaussians, as in robomimic's
recurrent policies (Mandlekar et al. 2021, "What matters in learning from offline human
demonstrations"): where demonstrations go left or right, it need not go between them. What of a
mixture acts is an option, see `MixtureConfig`.

**Draws.** An episode must not depend on the episodes beside it, nor on the process that runs it. So
draws come from no generator: the first observation of an episode is its seed, and each draw is a
function of that seed and the step.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vand_envs.typing import Float32Array
from vand_robot.config.schema import PolicyConfig
from vand_robot.nn import GaussianHead, GaussianMixtureHead

Seeds = NDArray[np.uint64]
"""(n,) seeds of the draws of n episodes."""

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""2^64 over the golden ratio: the increment of SplitMix64 (Steele et al. 2014)."""


def make_action_head(config: PolicyConfig, actions: int) -> GaussianHead | GaussianMixtureHead:
    """The head of a policy.

    Args:
        config: The policy's shape.
        actions: Numbers in an action, A.
    """
    if config.head == "gmm":
        return GaussianMixtureHead(
            config.hidden_size, actions, modes=config.mixture.modes, min_std=config.min_std
        )
    return GaussianHead(
        config.hidden_size, actions, min_std=config.min_std, shared_std=config.shared_std
    )


def episode_seeds(observations: Float32Array) -> Seeds:
    """The seeds of episodes that begin with these observations (n, D)."""
    bits = np.ascontiguousarray(observations, np.float32).view(np.uint32).astype(np.uint64)
    seeds = np.zeros(len(bits), np.uint64)
    for column in bits.T:
        seeds = _mixed(seeds + _GOLDEN + column)
    return seeds


def uniform_draws(seeds: Seeds, step: int) -> Tensor:
    """Numbers (n,) in [0, 1), one for each episode, the same whenever they are asked for.

    Args:
        seeds: Of the episodes.
        step: Actions taken before.
    """
    counter = np.uint64(int(_GOLDEN) * (step + 1) % 2**64)
    drawn = _mixed(seeds + counter)
    return torch.from_numpy((drawn >> np.uint64(40)).astype(np.float32) / np.float32(2**24))


def _mixed(x: NDArray[Any]) -> Seeds:
    """The output function of SplitMix64: every bit depends on all bits of x."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Seeds = x ^ (x >> np.uint64(31))
    return mixed
