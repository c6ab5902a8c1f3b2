"""Metrics of one update, and the error of an update whose loss is not finite."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from vand_demos.system.files import write_bytes
from vand_envs.errors import VandError
from vand_robot.data.batches import Batch
from vand_robot.policies.recurrent import PolicyLoss


@dataclass(frozen=True)
class UpdateMetrics:
    """Metrics of one update: the terms of the loss, and how the weights were moved."""

    loss: float
    """The loss that was minimized."""
    nll: float
    """Negative log likelihood of the demonstrated actions [nats per step]."""
    future_actions: float
    """That of later actions [nats per step]."""
    penalty: float
    """The regularizer's explicit term."""
    gradient_norm: float
    """Norm of the gradient before it was clipped."""
    learning_rate: float
    """Learning rate of the update."""
    regularizer: Mapping[str, float]
    """The regularizer's own: mean sigma, mean d, nats of memory per step, beta."""

    @classmethod
    def of(cls, loss: PolicyLoss, norm: Tensor, learning_rate: float) -> "UpdateMetrics":
        """The metrics of an update, in one transfer: a GPU is waited for once.

        Args:
            loss: Its loss.
            norm: Scalar, norm of the gradient.
            learning_rate: Learning rate.
        """
        terms = [loss.total, loss.nll, loss.future_actions, loss.penalty, norm]
        regularizer = [value for _, piece in loss.regularizer_metrics for value in piece.values()]
        numbers = torch.stack([value.detach() for value in (*terms, *regularizer)]).tolist()
        means: dict[str, float] = {}
        following = iter(numbers[len(terms) :])
        for share, piece in loss.regularizer_metrics:
            for name in piece:
                means[name] = means.get(name, 0) + share * next(following)
        total, nll, future_actions, penalty, gradient_norm = numbers[: len(terms)]
        return cls(total, nll, future_actions, penalty, gradient_norm, learning_rate, means)

    @property
    def is_finite(self) -> bool:
        """Whether the weights can be moved by this update."""
        return math.isfinite(self.loss) and math.isfinite(self.gradient_norm)

    def named(self) -> dict[str, float]:
        """Name -> metric; the regularizer's beside the others."""
        names = (field.name for field in dataclasses.fields(self) if field.name != "regularizer")
        return {**{name: getattr(self, name) for name in names}, **self.regularizer}


def not_finite(
    file: Path, update: int, batch: Batch, loss: PolicyLoss, metrics: UpdateMetrics
) -> VandError:
    """The error for an update whose loss or gradient is not finite; its batch is saved.

    Args:
        file: Where the batch and the core's output are saved, as safetensors.
        update: Number of the update.
        batch: Its batch.
        loss: Its loss.
        metrics: Its metrics.
    """
    tensors = {
        "observations": batch.observations,
        "actions": batch.actions,
        "lengths": batch.lengths,
        "states": loss.output,
        **batch.images,
    }
    write_bytes(file, safetensors.torch.save({k: v.cpu().contiguous() for k, v in tensors.items()}))
    came = f"loss {metrics.loss}, gradient norm {metrics.gradient_norm}"
    return VandError(f"update {update}: not finite ({came}); its batch is in {file}")
