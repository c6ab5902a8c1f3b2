"""Make layers and regularizers by name, for configurations and command lines."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from vand_robot.nn.layers import GRU, LSTM, Elman
from vand_robot.nn.regularizers.base import NoRegularizer, Regularizer
from vand_robot.nn.regularizers.chain import Chain
from vand_robot.nn.regularizers.classic import Dropout, GaussianNoise, InputNoise, Zoneout
from vand_robot.nn.regularizers.noisin import DropoutLSTM, Noisin
from vand_robot.nn.regularizers.vand import Vand

if TYPE_CHECKING:
    from collections.abc import Mapping

CELLS: Mapping[str, type[Elman] | type[GRU] | type[LSTM]] = {
    "elman": Elman,
    "gru": GRU,
    "lstm": LSTM,
}
"""Layers by name."""

REGULARIZERS: Mapping[str, type[Regularizer]] = {
    "none": NoRegularizer,
    "gaussian_noise": GaussianNoise,
    "input_noise": InputNoise,
    "dropout": Dropout,
    "dropout_lstm": DropoutLSTM,
    "zoneout": Zoneout,
    "noisin": Noisin,
    "vand": Vand,
    "chain": Chain,
}
"""Regularizers by name."""


def make_cell(
    name: str,
    input_size: int,
    hidden_size: int,
    num_layers: int = 1,
    *,
    regularizer: Regularizer | None = None,
    **options: Any,
) -> Elman | GRU | LSTM:
    """Make a recurrent layer.

    Args:
        name: "elman", "gru" or "lstm".
        input_size: size of the input, I.
        hidden_size: units per layer, H.
        num_layers: layers, each fed by the one below.
        regularizer: recipe of the state's regularizer; None for none.
        **options: further arguments of the layer's constructor.

    Returns:
        The layer.

    Raises:
        ValueError: if there is no such layer, or no such option.
    """
    _require_known("cell", name, CELLS)
    layer = CELLS[name]
    _require_options(name, options, layer)
    return layer(input_size, hidden_size, num_layers, regularizer=regularizer, **options)


def make_regularizer(options: Mapping[str, Any] | None) -> Regularizer:
    """Make a regularizer from its options.

    Args:
        options: `{"name": ..., **arguments}`, e.g. `{"name": "vand", "beta": 1e-3}`; the members
            of a chain likewise, as a list under "regularizers". None for none.

    Returns:
        The recipe.

    Raises:
        ValueError: if there is no such regularizer, no such option, or an option's value is bad.
    """
    if options is None:
        return NoRegularizer()
    arguments = dict(options)
    name = arguments.pop("name", None)
    _require_known("regularizer", name, REGULARIZERS)
    recipe = REGULARIZERS[name]
    _require_options(name, arguments, recipe)
    if recipe is Chain and "regularizers" in arguments:
        arguments["regularizers"] = tuple(map(make_regularizer, arguments["regularizers"]))
    return recipe(**arguments)


def _require_known(kind: str, name: Any, known: Mapping[str, object]) -> None:
    if name not in known:
        raise ValueError(f"unknown {kind} {name!r}; known: {', '.join(known)}")


def _require_options(name: str, options: Mapping[str, Any], maker: type) -> None:
    known = inspect.signature(maker).parameters
    for option in options:
        if option not in known:
            raise ValueError(f"{name} has no option {option!r}; it has: {', '.join(known)}")
