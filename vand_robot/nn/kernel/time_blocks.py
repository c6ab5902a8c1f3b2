"""Blocks of time with a shrinking batch, in which the scan walks through a padded batch.

A block is short enough for the cache, and works on the first n sequences, the last of which is
the last that is not over. So if the longest sequence comes first, as a batch of sequences of
unequal length usually has it, padding costs next to nothing; in any other order the result is the
same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

BLOCK_ROWS = 1024
"""Steps times batch of a block: few enough for the cache, many enough for matrix products."""

PADDING_ROWS = 16
"""Steps of padding at which a block ends: by then they cost more than to begin another one."""


class TimeBlock(NamedTuple):
    """A block of time, and the sequences that are not over at its beginning."""

    steps: slice
    """Its t steps within T."""

    batch: slice
    """The first n of the B sequences."""

    packed: slice
    """Its t n rows in buffers that hold one block after the other, without padding."""

    @property
    def padded(self) -> tuple[slice, slice]:
        """Index of the block in padded tensors, (T, B, .)."""
        return self.steps, self.batch

    def of_packed(self, buffers: Sequence[Tensor]) -> list[Tensor]:
        """View the block, (t, n, .), of packed buffers (R, .)."""
        steps = self.steps.stop - self.steps.start
        return [b[self.packed].view(steps, self.batch.stop, b.shape[1]) for b in buffers]


def split_time(steps: int, batch: int, lengths: Sequence[int] | None = None) -> list[TimeBlock]:
    """Split time into blocks, as far as any sequence goes.

    Args:
        steps: T.
        batch: B.
        lengths: the valid steps of each sequence, in 1..T; None for all.

    Returns:
        The blocks, in order.
    """
    running = running_sequences(lengths) if lengths else [batch] * steps
    blocks: list[TimeBlock] = []
    start = packed = 0
    while start < len(running):
        first, stop, padding = running[start], start, 0
        limit = min(len(running), start + max(1, BLOCK_ROWS // max(1, first)))
        while stop < limit and padding < PADDING_ROWS:
            padding += first - running[stop]
            stop += 1
        end = packed + (stop - start) * first
        blocks.append(TimeBlock(slice(start, stop), slice(first), slice(packed, end)))
        start, packed = stop, end
    return blocks


def padding_rows(
    blocks: Sequence[TimeBlock], lengths: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Find the steps that the blocks do past the end of a sequence.

    Args:
        blocks: of `split_time`.
        lengths: (B,) the valid steps of each sequence.

    Returns:
        Their rows in what is padded, (T B, .), and in packed buffers, (R, .).
    """
    batch = len(lengths)
    padded: list[int] = []
    packed: list[int] = []
    for steps, sequences, rows in blocks:
        for index in range(sequences.stop):
            first = max(steps.start, lengths[index])
            padded += range(first * batch + index, steps.stop * batch, batch)
            offset = (first - steps.start) * sequences.stop + index
            packed += range(rows.start + offset, rows.stop, sequences.stop)
    return padded, packed


def running_sequences(lengths: Sequence[int]) -> list[int]:
    """Tell for each step how many of the first sequences hold all that are not over."""
    counts: list[int] = []
    for index in reversed(range(len(lengths))):
        counts += [index + 1] * (lengths[index] - len(counts))
    return counts
