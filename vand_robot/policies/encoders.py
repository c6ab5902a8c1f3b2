"""The layers between the observation and the recurrent core."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from torch import nn

Activation = Literal["tanh", "silu", "relu"]

_ACTIVATIONS: dict[Activation, type[nn.Module]] = {
    "tanh": nn.Tanh,
    "silu": nn.SiLU,
    "relu": nn.ReLU,
}


def make_encoder(
    in_features: int, sizes: Sequence[int], activation: Activation, *, layer_norm: bool
) -> nn.Sequential:
    """A small perceptron: linear, layer norm if asked for, activation, for each size.

    Args:
        in_features: Numbers in a normalised observation, D.
        sizes: Units of each layer; empty for none, and then the core sees the observation itself.
        activation: The nonlinearity.
        layer_norm: Whether to normalise over units before the nonlinearity.

    Returns:
        Module from (..., D) to (..., F), F the last of `sizes`.
    """
    layers: list[nn.Module] = []
    for width, size in pairwise((in_features, *sizes)):
        layers.append(nn.Linear(width, size))
        layers += [nn.LayerNorm(size)] if layer_norm else []
        layers.append(_ACTIVATIONS[activation]())
    return nn.Sequential(*layers)
