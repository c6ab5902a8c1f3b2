"""Held-out adaptation in a training run; see `vand_robot.nn.held_out`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from vand_envs.errors import UsageError
from vand_robot.config.schema import TrainConfig
from vand_robot.data.batches import Batch, EpisodeBuffer
from vand_robot.data.held_out import HeldOutParts
from vand_robot.nn import GaussianHead, adapt_held_out, drop_gradients
from vand_robot.nn.held_out import held_out_samplers, sampler_parameters
from vand_robot.policies.recurrent import RecurrentPolicy

HELD_OUT_NLL = "held_out_nll"
"""Name of the metric: the held-out loss, of actions and of those to come [nats per step]."""


class HeldOutAdaptation:
    """What follows the loss on demonstrations that the weights do not learn from.

    Args:
        config: The run.
        train: Its training demonstrations.
        policy: The policy that is trained.
    """

    def __init__(self, config: TrainConfig, train: EpisodeBuffer, policy: RecurrentPolicy) -> None:
        self.config = config
        self.spreads = _spreads(policy) if config.held_out.spread else []
        self.parts = HeldOutParts.of(
            train, config.held_out.share, config.held_out.rotate_every, config.seed
        )
        self.told: dict[str, float] = {}

    def drop_gradients(self, policy: RecurrentPolicy) -> None:
        """Drop the training gradients of what follows the held-out loss."""
        drop_gradients(policy, self.spreads)

    def step(
        self,
        policy: RecurrentPolicy,
        averaged: RecurrentPolicy,
        optimizer: torch.optim.Optimizer,
        batch: Batch,
        update: int,
    ) -> None:
        """Step what follows the held-out loss, where it is time to.

        The loss is that of the averaged weights, which will act; the last ones swing about them.

        Args:
            policy: The policy, whose weights have just been moved.
            averaged: The average of its weights, or the policy itself.
            optimizer: Its optimizer.
            batch: The training batch of the update.
            update: Its number, from 1.
        """
        config = self.config
        self.told = {}
        if update % config.held_out.interval:
            return
        left_out = self.parts.batch(update, config.batch_size)

        def train_loss() -> Tensor:
            policy.train()
            loss = policy.loss(
                batch,
                truncate_steps=config.truncate_steps,
                input_noise_std=config.input_noise_std,
                precision=config.precision,
            )
            explicit = getattr(config.policy.regularizer, "explicit", False)
            return loss.total if explicit else loss.total - loss.penalty

        def held_out_loss() -> Tensor:
            policy.eval()
            loss = policy.loss(left_out, precision=config.precision)
            return loss.total - loss.penalty

        with _weights_of(averaged, policy, self.spreads):
            now = adapt_held_out(policy, optimizer, train_loss, held_out_loss, direct=self.spreads)
        policy.train()
        self.told = {HELD_OUT_NLL: float(now)}


@contextmanager
def _weights_of(
    averaged: RecurrentPolicy, policy: RecurrentPolicy, spreads: Sequence[Tensor]
) -> Iterator[None]:
    """Give a policy the averaged weights, but for what follows the held-out loss, for a while."""
    own = sampler_parameters(policy) | set(spreads)
    pairs = [
        (parameter, mean)
        for parameter, mean in zip(policy.parameters(), averaged.parameters(), strict=True)
        if parameter is not mean and parameter not in own
    ]
    kept = [parameter.detach().clone() for parameter, _ in pairs]
    with torch.no_grad():
        for parameter, mean in pairs:
            parameter.copy_(mean)
    try:
        yield
    finally:
        with torch.no_grad():
            for (parameter, _), before in zip(pairs, kept, strict=True):
                parameter.copy_(before)


def adaptation_of(
    config: TrainConfig, train: EpisodeBuffer, policy: RecurrentPolicy
) -> HeldOutAdaptation | None:
    """The adaptation of a run; None where nothing follows the held-out loss.

    Raises:
        UsageError: A spread is to follow it that is not one number for each dimension.
        VandError: There are too few demonstrations.
    """
    if not (held_out_samplers(policy) or config.held_out.spread):
        return None
    return HeldOutAdaptation(config, train, policy)


def _spreads(policy: RecurrentPolicy) -> Sequence[Tensor]:
    """The shared standard deviations of the heads.

    Raises:
        UsageError: The head of actions has none.
    """
    if not (isinstance(policy.head, GaussianHead) and policy.head.raw_std is not None):
        raise UsageError(
            "held_out.spread: expected policy.head=gaussian and policy.shared_std=true, got"
            f" policy.head={policy.config.head} and"
            f" policy.shared_std={str(policy.config.shared_std).lower()}"
        )
    heads = [policy.head, policy.future_actions]
    return [head.raw_std for head in heads if head is not None and head.raw_std is not None]
