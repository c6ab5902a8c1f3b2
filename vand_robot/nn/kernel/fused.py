"""torch's own recurrent kernels, for layers where nothing acts on the state.

The scan in C is the faster one, or as fast, where gradients are kept. Without them torch's LSTM is
(the scan takes 1.01 to 1.35 times as long, by size), and so are all of torch's kernels for a few
steps of a few sequences, where a call costs more than its work.

Where there is no C, the scan by torch is the faster one where gradients are kept, for torch's
backward pass of GRU and RNN is slow on the CPU; but not for the LSTM, which oneDNN computes in one
piece, and not without gradients. Time of that scan over torch's, forward and backward / forward
alone (PyTorch 2.13, one thread of an AMD EPYC):

    batch, steps, inputs, units     Elman          GRU            LSTM
    1, 1, 48, 64                    2.27 / 4.53    1.99 / 4.11    1.51 / 2.06
    1, 400, 48, 64                  0.52 / 1.57    0.29 / 1.33    14.1 / 10.9
    8, 100, 32, 64                  0.65 / 1.51    0.34 / 1.12    2.66 / 4.26
    32, 200, 64, 128                0.84 / 0.97    0.70 / 1.00    1.00 / 2.03
    256, 40, 16, 32                 1.43 / 1.33    0.77 / 1.23    1.63 / 2.55
    16, 300, 64, 256                0.74 / 1.02    0.81 / 0.87    1.25 / 2.03
    80, 35, 650, 650                0.99 / 0.96    0.92 / 1.03    1.11 / 1.23
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from vand_robot.nn.kernel.affine import IDENTITY
from vand_robot.nn.kernel.cells import ElmanCell, GRUCell, LSTMCell
from vand_robot.nn.kernel.formula import in_transform
from vand_robot.nn.kernel.native import native_scan

if TYPE_CHECKING:
    from torch import Tensor

    from vand_robot.nn.kernel.cells import Transition, Weights

ONE_DNN: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]  # torch's
"""Whether torch has the fused LSTM; without it the scan is the faster one."""

FEW_STEPS = 4
"""Steps up to which torch's kernels win for every cell: a scan's preparation is not repaid."""

MANY_SEQUENCES = 128
"""Batch from which torch's kernel wins for the Elman cell."""


def prefers_fused(cell: Transition, x: Tensor, weights: Weights, initial: Tensor) -> bool:
    """Tell whether torch's kernel is there, and the faster one, as said above.

    Args:
        cell: the transition.
        x: (T, B, I) inputs.
        weights: of the layer.
        initial: (B, S) the state before the first step.

    Returns:
        Whether to call `run_fused` where the map of the state is the identity.
    """
    if not isinstance(cell, (ElmanCell, GRUCell, LSTMCell)) or not x.shape[1]:
        return False
    if isinstance(cell, ElmanCell) and cell.nonlinearity == "sigmoid":
        return False  # which torch does not have
    if in_transform() or x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64):
        return False
    tensors = (x, initial, *weights)
    learns = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)
    few = x.shape[0] <= FEW_STEPS
    if native_scan.usable(cell, x, weights, initial, IDENTITY):
        return not learns and (few or isinstance(cell, LSTMCell))
    if isinstance(cell, LSTMCell):
        wins = x.dtype == torch.float32 and ONE_DNN
    else:
        wins = isinstance(cell, ElmanCell) and x.shape[1] >= MANY_SEQUENCES
    return not learns or few or wins


def run_fused(
    cell: Transition, x: Tensor, weights: Weights, initial: Tensor
) -> tuple[Tensor, Tensor]:
    """Run one layer through time by torch's kernel.

    Args:
        cell: one of the three of `cells`.
        x: (T, B, I) inputs.
        weights: of the layer.
        initial: (B, S) the state before the first step.

    Returns:
        (T, B, H) hidden states, and the (B, S) final state.
    """
    flat = [weight for weight in weights if weight is not None]
    has_biases = weights.bias_ih is not None
    options = (has_biases, 1, 0.0, False, False, False)  # layers, dropout, train, two ways, batch
    if isinstance(cell, LSTMCell):
        size = weights.hh.shape[1]
        parts = (initial[:, :size], initial[:, size:])
        start = tuple(part.unsqueeze(0).contiguous() for part in parts)
        output, h, c = torch.lstm(x, start, flat, *options)
        return output, torch.cat((h[0], c[0]), -1)
    if isinstance(cell, GRUCell):
        kernel = torch.gru
    elif isinstance(cell, ElmanCell) and cell.nonlinearity == "tanh":
        kernel = torch.rnn_tanh
    else:
        kernel = torch.rnn_relu
    output, h = kernel(x, initial.unsqueeze(0).contiguous(), flat, *options)
    return output, h[0]
