"""A batch that several processes work on, each on some of its sequences.

A sequence's noise must not depend on which process has it. So within `sharded` all that is random
is drawn for the whole batch, in every process from the same seed, and each takes what belongs to
its sequences: process r of K has the sequences r, r + K, r + 2K, ... of the batch. What is drawn
for the others is the price: drawing is not shared out, all else is.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Concatenate, ParamSpec

import torch

from vand_robot.nn.kernel.affine import AffineMap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

P = ParamSpec("P")


@dataclass(frozen=True)
class Shard:
    """The part of a batch that this process works on."""

    index: int
    """This process, from 0."""

    count: int
    """Number of processes."""

    batch: int
    """Sequences of the whole batch."""

    steps: int
    """Valid steps of this process's sequences."""

    whole_steps: int
    """Valid steps of all of them."""

    total: Callable[[Tensor], Tensor]
    """Sums a tensor over the processes; each must call it as often as the others."""

    @property
    def columns(self) -> slice:
        """Those of this process among the sequences of the whole batch."""
        return slice(self.index, None, self.count)

    def own(self, affine: AffineMap) -> AffineMap:
        """Take this process's part of a map of the whole batch."""

        def part(value: Tensor | None) -> Tensor | None:
            return None if value is None else value[:, self.columns].contiguous()

        return AffineMap(part(affine.A), part(affine.B), part(affine.C), part(affine.keep))

    def whole(self, like: Tensor) -> Tensor:
        """Make a tensor (..., B, S) of zeros for the whole batch, like one of this process's."""
        return like.new_zeros(*like.shape[:-2], self.batch, like.shape[-1])


_current: ContextVar[Shard | None] = ContextVar("shard", default=None)


def current_shard() -> Shard | None:
    """Return the part of a batch that is worked on here; None: batches are whole."""
    return _current.get()


@contextmanager
def sharded(shard: Shard | None) -> Iterator[None]:
    """Have all layers take their batches for a part of a whole one inside the block.

    Args:
        shard: the part; None: batches are whole.
    """
    token = _current.set(shard)
    try:
        yield
    finally:
        _current.reset(token)


def perturbed(
    x: Tensor, perturb: Callable[Concatenate[Tensor, P], Tensor], *args: P.args, **kwargs: P.kwargs
) -> Tensor:
    """Perturb this process's part (T, B, .) of a batch as a part of the whole.

    Args:
        x: the part.
        perturb: draws in the shape of its first argument, and acts on each element by itself.
        args: further arguments of `perturb`.
        kwargs: further named ones.
    """
    shard = _current.get()
    if shard is None:
        return perturb(x, *args, **kwargs)
    columns = torch.arange(shard.batch, device=x.device)[shard.columns]
    whole = shard.whole(x).index_copy(1, columns, x)
    return perturb(whole, *args, **kwargs)[:, shard.columns]


def whole_mean(value: Tensor) -> Tensor:
    """Average a mean over the steps of this process's part over those of the whole; no gradient."""
    shard, value = _current.get(), value.detach()
    if shard is None:
        return value
    return shard.total(value * (shard.steps / shard.whole_steps))


def whole_sums(sums: Tensor) -> Tensor:
    """Sum over all processes, each of which has sums of its own; without a gradient."""
    shard = _current.get()
    return sums if shard is None else shard.total(sums.detach())
