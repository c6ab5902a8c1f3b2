"""Processes that train one policy together, as `torchrun` starts them.

Every process draws the same batch, works on its sequences, and adds its gradient to those of the
others; so all make the same update, and the loss is that of one process to rounding (see
`vand_robot.nn.shards` for the noise). The first process leads: it alone validates and writes.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta

import torch
from torch import Tensor, distributed, nn

from vand_envs.errors import UsageError, VandError
from vand_robot.config.schema import TrainConfig
from vand_robot.data.batches import CPU
from vand_robot.nn import Chain, Regularizer, Vand
from vand_robot.training.launch import process_count
from vand_robot.training.update_metrics import UpdateMetrics

PATIENCE = timedelta(days=7)
"""How long a process waits for another: the first one may validate for hours."""


class OtherProcessError(VandError):
    """Another process has failed, or was stopped, and has said so: nothing is left to say."""

    def __init__(self, exit_code: int = 1) -> None:
        super().__init__("")
        self.exit_code = exit_code


@dataclass(frozen=True)
class TrainingProcesses:
    """The processes of a run, two at least, seen from one of them."""

    index: int
    """This process, from 0."""
    count: int
    """How many they are."""
    local_index: int
    """This process among those of its machine: the number of its GPU."""
    device: torch.device = CPU
    """Where gradients are."""

    @property
    def leads(self) -> bool:
        """Whether this process validates and writes."""
        return self.index == 0

    def on(self, device: torch.device) -> "TrainingProcesses":
        """The same, training on a device; of a machine's GPUs each process takes its own."""
        if device == torch.device("cuda"):  # whichever of them
            device = torch.device("cuda", self.local_index)
        return replace(self, device=device)

    def total(self, tensor: Tensor) -> Tensor:
        """Sum a tensor over all processes; each must call it as often as the others.

        Raises:
            VandError: Another process has ended without a word.
        """
        summed = tensor.to(self.device, copy=True)
        try:
            distributed.all_reduce(summed)
        except RuntimeError as error:  # the connection broke: what it says is of no use
            raise VandError("another process of this run has ended") from error
        return summed.to(tensor.device)

    def any(self, here: bool) -> bool:
        """Whether something holds in any process."""
        return bool(self.total(torch.tensor(float(here), device=self.device)) > 0)

    def sum_gradients(self, module: nn.Module) -> None:
        """Replace the gradient of each parameter by its sum over all processes."""
        gradients = [p.grad for p in module.parameters() if p.grad is not None]
        summed = self.total(torch.cat([gradient.flatten() for gradient in gradients]))
        pieces = torch.split(summed, [gradient.numel() for gradient in gradients])
        for gradient, piece in zip(gradients, pieces, strict=True):
            gradient.copy_(piece.view_as(gradient))

    def sum_metrics(self, metrics: UpdateMetrics) -> UpdateMetrics:
        """The metrics of an update of which each process has its share."""
        shares = (metrics.loss, metrics.nll, metrics.future_actions, metrics.penalty)
        own = torch.tensor([*shares, *metrics.regularizer.values()], dtype=torch.float64)
        loss, nll, future_actions, penalty, *others = self.total(own).tolist()
        return replace(
            metrics,
            loss=loss,
            nll=nll,
            future_actions=future_actions,
            penalty=penalty,
            regularizer=dict(zip(metrics.regularizer, others, strict=True)),
        )

    @contextmanager
    def together(self) -> Iterator[None]:
        """A block that all processes leave together, and only if none of them failed in it.

        Raises:
            OtherProcessError: Another one failed; the first that did raises its own error.
        """
        error: Exception | None = None
        try:
            yield
        except Exception as own:  # noqa: BLE001  # it is raised below, once the others know
            error = own
        failures = torch.zeros(self.count, device=self.device)
        failures[self.index] = 0 if error is None else getattr(error, "exit_code", 1)
        codes = self.total(failures).tolist()
        failed = [index for index, code in enumerate(codes) if code]
        if not failed:
            return
        if failed[0] == self.index and error is not None:
            raise error
        raise OtherProcessError(int(codes[failed[0]])) from None


@contextmanager
def joined_processes() -> Iterator[TrainingProcesses | None]:
    """Join the other processes of a run that `torchrun` started; None where there are none.

    Raises:
        VandError: They cannot be reached.
    """
    count = process_count()
    if count < 2:
        yield None
        return
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:
        distributed.init_process_group(backend, timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise VandError(f"cannot reach the other processes of this run: {reason}") from error
    try:
        local = int(os.environ.get("LOCAL_RANK", "0"))
        yield TrainingProcesses(distributed.get_rank(), count, local)
    finally:
        distributed.destroy_process_group()


@contextmanager
def all_together(processes: TrainingProcesses | None) -> Iterator[None]:
    """`TrainingProcesses.together`, which does nothing in a single process."""
    if processes is None:
        yield
        return
    with processes.together():
        yield


def require_divisible(config: TrainConfig, processes: TrainingProcesses) -> None:
    """Check that several processes can work on a run together.

    Raises:
        UsageError: They cannot.
    """
    count = processes.count
    if config.batch_size % count:
        raise UsageError(
            f"batch_size: expected a multiple of the {count} processes, got {config.batch_size}"
        )
    if config.policy.reset_every is not None:
        raise UsageError(
            f"policy.reset_every: expected null with several processes,"
            f" got {config.policy.reset_every}"
        )
    if config.held_out.spread:
        raise UsageError("held_out.spread: expected false with several processes, got true")
    for recipe in _members(config.policy.regularizer):
        if isinstance(recipe, Vand) and recipe.adaptation != "training":
            raise UsageError(
                "policy.regularizer.adaptation: expected 'training' with several processes,"
                f" got {recipe.adaptation!r}"
            )
        if isinstance(recipe, Vand) and recipe.mask == "sequence" and recipe.dropout:
            raise UsageError(
                "policy.regularizer.mask: expected 'step' with several processes, got 'sequence':"
                " what memory costs is then a mean over sequences of all of them"
            )


def _members(recipe: Regularizer) -> tuple[Regularizer, ...]:
    return recipe.flattened() if isinstance(recipe, Chain) else (recipe,)
