"""Hand-written backward passes have no derivative of their own: asking for one is refused."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

Gradients = TypeVar("Gradients")


def first_order(backward: Callable[..., Gradients]) -> Callable[..., Gradients]:
    """Make the backward pass of an autograd function refuse to be differentiated again.

    torch's own `once_differentiable` refuses only where the incoming gradient requires one. That
    of a sum does not: then it gives a constant, and a penalty on the gradient is dropped unseen.

    Args:
        backward: backward(ctx, *gradients).

    Returns:
        The same, which raises RuntimeError under `create_graph=True`.
    """

    @wraps(backward)
    def guarded(ctx: Any, *gradients: Any) -> Gradients:
        if torch.is_grad_enabled():  # in a backward pass: create_graph alone switches it on
            raise RuntimeError(
                "double backward (create_graph=True) is not supported by recurrent layers and Vand;"
                " go step by step with transition() instead"
            )
        return backward(ctx, *gradients)

    return guarded
