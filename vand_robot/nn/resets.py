"""Sequences that start anew on the way: each piece between two resets is a sequence of its own.

A batch of recorded experience holds the ends of episodes and the beginnings of the next ones. Where
`resets` says so, the state is zero again before the step. The pieces are cut out, run side by side
as sequences of unequal length, and put back: so every cell, every regularizer, every device and the
readable formula treat a reset as they treat the beginning of a sequence. A reset at step 0 means
that the state which was given does not count. Masks of one per sequence are drawn for each piece.
It takes memory for all pieces at the length of the longest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Pieces:
    """Where the N pieces of B sequences lie, longest piece first."""

    rows: Tensor
    """(T', N) row of each step in (T B, .), T' the longest piece; any row past a piece's end."""

    lengths: Tensor
    """(N,) steps of each piece, descending."""

    sequence: Tensor
    """(N,) which sequence each piece is of."""

    from_zero: Tensor
    """(N,) whether a piece starts from the zero state, not from the state that was given."""

    last: Tensor
    """(B,) the last piece of each sequence."""

    def cut(self, x: Tensor) -> Tensor:
        """Cut (T, B, .) into pieces (T', N, .)."""
        return x.flatten(0, 1)[self.rows]

    def cut_state(self, state: Tensor) -> Tensor:
        """Return the states (num_layers, N, S) that pieces start from; state (num_layers, B, S)."""
        return state[:, self.sequence].masked_fill(self.from_zero.unsqueeze(-1), 0.0)

    def join(self, pieces: Tensor, shape: torch.Size) -> Tensor:
        """Put pieces (T', N, .) back in their places in (T, B, .), zero at padding.

        Args:
            pieces: what was made of them.
            shape: (T, B).
        """
        steps = torch.arange(len(self.rows), device=self.rows.device).unsqueeze(1)
        valid = steps < self.lengths  # (T', N)
        joined = pieces.new_zeros((shape.numel(), pieces.shape[-1]))
        return joined.index_copy(0, self.rows[valid], pieces[valid]).view(*shape, -1)


def find_pieces(resets: Tensor, lengths: Tensor | None) -> Pieces:
    """Find the pieces of sequences.

    Args:
        resets: (T, B) booleans, True where a sequence starts anew at this step.
        lengths: (B,) valid steps of each sequence; None for all. Resets in padding do not count.

    Returns:
        The pieces.
    """
    steps, batch = resets.shape
    device = resets.device
    ends = torch.full((batch,), steps, device=device) if lengths is None else lengths.to(device)
    starts = resets & (torch.arange(steps, device=device).unsqueeze(1) < ends)
    starts[0] = True
    sequence, start = starts.t().nonzero(as_tuple=True)  # by sequence, then by time
    following = torch.cat((sequence[1:], sequence.new_full((1,), -1)))
    is_last = following != sequence
    end = torch.where(is_last, ends[sequence], start.roll(-1))
    found, order = (end - start).sort(descending=True, stable=True)
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=device)
    sequence_now, start_now = sequence[order], start[order]
    longest = int(found[0]) if len(found) else 0
    time = torch.arange(longest, device=device).unsqueeze(1) + start_now  # (T', N)
    rows = time.clamp_max(steps - 1) * batch + sequence_now
    from_zero = resets[start_now, sequence_now]
    return Pieces(rows, found, sequence_now, from_zero, place[is_last])
