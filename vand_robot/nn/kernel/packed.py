"""Packed sequences, as `torch.nn.utils.rnn` makes them, in and out of the padded form of `run`.

A packed batch lies in descending order of length, which is the order in which padding costs the
scan next to nothing. So it is worked on in that order, and only states, which the caller has in an
order of their own, are permuted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

if TYPE_CHECKING:
    from torch import Tensor


def padded(packed: PackedSequence) -> tuple[Tensor, Tensor]:
    """Pad a packed batch, longest sequence first.

    Args:
        packed: N valid steps of B sequences, data (N, I).

    Returns:
        (T, B, I) steps, zero at padding, and (B,) lengths, descending.
    """
    return pad_packed_sequence(PackedSequence(packed.data, packed.batch_sizes))


def packed_like(packed: PackedSequence, output: Tensor, lengths: Tensor) -> PackedSequence:
    """Pack what was made of a packed batch.

    Args:
        packed: the batch.
        output: (T, B, H), longest sequence first.
        lengths: (B,) of `padded`.

    Returns:
        Data (N, H), with the order of `packed`.
    """
    data = pack_padded_sequence(output, lengths).data
    return PackedSequence(data, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices)


def in_order(state: Tensor, order: Tensor | None) -> Tensor:
    """Permute the sequences of a state (num_layers, B, S) by indices (B,); None leaves them."""
    return state if order is None else state.index_select(1, order)
