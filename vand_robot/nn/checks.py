"""Checks of what recurrent layers are given: sizes, inputs, states, lengths."""

from __future__ import annotations

from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vand_robot.nn.regularizers.base import Regularizer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def check_sizes(name: str, sizes: Mapping[str, Any]) -> None:
    """Check a layer's sizes.

    Args:
        name: of the layer, for messages.
        sizes: argument -> value.

    Raises:
        TypeError: if one is no integer.
        ValueError: if one is below 1.
    """
    for option, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, Integral):
            raise TypeError(f"{name} expects {option}: an integer >= 1; got {size!r}")
        if int(size) < 1:
            raise ValueError(f"{name} expects {option} >= 1; got {size!r}")


def check_options(
    name: str, *, dropout: Any, bidirectional: Any, flags: Mapping[str, Any], regularizer: Any
) -> None:
    """Check a layer's other options.

    Args:
        name: of the layer, for messages.
        dropout: probability between layers.
        bidirectional: must be false.
        flags: argument -> value of what is true or false.
        regularizer: a recipe or None.

    Raises:
        TypeError: if a value is of another type.
        ValueError: if it is out of bounds or not supported.
    """
    if isinstance(dropout, bool) or not isinstance(dropout, Real):
        raise TypeError(f"{name} expects dropout: a number in [0, 1]; got {dropout!r}")
    if not 0 <= float(dropout) <= 1:
        raise ValueError(f"{name} expects dropout in [0, 1]; got {dropout!r}")
    if bidirectional:
        raise ValueError(f"{name} runs forwards only: bidirectional=True is not supported")
    for option, value in flags.items():
        if not isinstance(value, bool):
            raise TypeError(f"{name} expects {option}: True or False; got {value!r}")
    if regularizer is not None and not isinstance(regularizer, Regularizer):
        raise TypeError(
            f"{name} expects a Regularizer, e.g. Vand(); got {type(regularizer).__name__}"
            " (make_regularizer builds one from a dictionary)"
        )


def check_input(name: str, x: Any, size: int, dtype: torch.dtype) -> None:
    """Check a batch of sequences.

    Args:
        name: of the layer, for messages.
        x: should be (T, B, size) of the weights' type.
        size: of the input.
        dtype: of the weights.

    Raises:
        TypeError: if it is no tensor.
        ValueError: if shape or type does not fit.
    """
    if not isinstance(x, Tensor):
        raise TypeError(f"{name} expects x: a tensor; got {type(x).__module__}.{type(x).__name__}")
    if x.dim() != 3 or x.shape[2] != size:
        raise ValueError(f"{name} expects x of shape (steps, batch, {size}); got {tuple(x.shape)}")
    if x.shape[0] == 0:
        raise ValueError(f"{name} expects at least one step; got none")
    check_type(name, "x", x, dtype)


def check_type(name: str, what: str, value: Tensor, dtype: torch.dtype) -> None:
    """Raise ValueError unless a tensor is of the weights' type."""
    if value.dtype != dtype:
        raise ValueError(f"{name} expects {what} of its weights' {dtype}; got {value.dtype}")


def check_state(name: str, state: Any, shape: tuple[int, int, int]) -> None:
    """Raise unless a state is (num_layers, B, S).

    Raises:
        TypeError: if it is no tensor.
        ValueError: if it is of another shape.
    """
    if not isinstance(state, Tensor):
        kind = f"{type(state).__module__}.{type(state).__name__}"
        raise TypeError(f"{name} expects a state: a tensor; got {kind}")
    if state.shape != shape:
        raise ValueError(f"{name} expects a state of shape {shape}; got {tuple(state.shape)}")


def as_lengths(name: str, lengths: Tensor | Sequence[int], steps: int, batch: int) -> Tensor:
    """Turn integers of any type, in a tensor or a list, into int64, checked.

    Args:
        name: of the layer, for messages.
        lengths: B integers in 1..steps.
        steps: T.
        batch: B.

    Returns:
        (B,) the same.

    Raises:
        ValueError: if they are no integers, too many, too few or out of bounds.
    """
    found = (
        lengths if isinstance(lengths, Tensor) else torch.as_tensor(lengths)
    )  # no default device
    if found.numel() and (found.dtype.is_floating_point or found.dtype == torch.bool):
        raise ValueError(f"{name} expects lengths: integers; got {found.dtype}")
    found = found.long()
    if found.shape != (batch,):
        raise ValueError(
            f"{name} expects lengths: integers of shape ({batch},); got shape {tuple(found.shape)}"
        )
    if found.numel():
        low, high = torch.stack(torch.aminmax(found)).tolist()  # a GPU is waited for once
        if low < 1 or high > steps:
            raise ValueError(f"{name} expects lengths in 1..{steps}; got {low}..{high}")
    return found


def check_resets(name: str, resets: Any, shape: Sequence[int]) -> None:
    """Check the steps at which sequences start anew.

    Raises:
        TypeError: if they are no tensor of booleans.
        ValueError: if they are of another shape.
    """
    if not isinstance(resets, Tensor) or resets.dtype != torch.bool:
        got = resets.dtype if isinstance(resets, Tensor) else type(resets).__name__
        raise TypeError(f"{name} expects resets: a tensor of booleans; got {got}")
    if resets.shape != torch.Size(shape):
        raise ValueError(
            f"{name} expects resets of shape {tuple(shape)}; got {tuple(resets.shape)}"
        )
