"""Make layers and regularizers by name, for configurations and command lines."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vand_robot.nn.cells.layer_norm import LayerNormElman, LayerNormGRU, LayerNormLSTM
from vand_robot.nn.cells.lru import LRU
from vand_robot.nn.cells.min_gru import MinGRU
from vand_robot.nn.layers import GRU, LSTM, Elman
from vand_robot.nn.regularizers.base import NoRegularizer, Regularizer
from vand_robot.nn.regularizers.chain import Chain
from vand_robot.nn.regularizers.classic import (
    Dropout,
    GaussianNoise,
    InputDropout,
    InputNoise,
    Zoneout,
)
from vand_robot.nn.regularizers.noisin import DropoutLSTM, Noisin
from vand_robot.nn.regularizers.options import (
    OptionInfo,
    did_you_mean,
    options_of_class,
    require_known,
)
from vand_robot.nn.regularizers.vand import Vand

if TYPE_CHECKING:
    from collections.abc import Sequence

Layer = Elman | GRU | LSTM | MinGRU | LRU
"""Any of the layers."""

CELLS: Mapping[str, type[Layer]] = {
    "elman": Elman,
    "gru": GRU,
    "lstm": LSTM,
    "layernorm_elman": LayerNormElman,
    "layernorm_gru": LayerNormGRU,
    "layernorm_lstm": LayerNormLSTM,
    "mingru": MinGRU,
    "lru": LRU,
}
"""Layers by name."""

REGULARIZERS: dict[str, type[Regularizer]] = {
    "none": NoRegularizer,
    "gaussian_noise": GaussianNoise,
    "input_noise": InputNoise,
    "input_dropout": InputDropout,
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
) -> Layer:
    """Make a recurrent layer.

    Args:
        name: one of `CELLS`.
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
    require_known("cell", name, CELLS)
    layer = CELLS[name]
    _require_options(name, options, list(inspect.signature(layer).parameters))
    return layer(input_size, hidden_size, num_layers, regularizer=regularizer, **options)


def register_regularizer(name: str, recipe: type[Regularizer]) -> type[Regularizer]:
    """Make a regularizer of one's own known by a name, to `make_regularizer` and configurations.

    Args:
        name: its name in configurations.
        recipe: a dataclass derived from `Regularizer`; its fields are the options.

    Returns:
        The recipe.

    Raises:
        TypeError: if it is no such class.
        ValueError: if the name is taken.
    """
    known = isinstance(recipe, type) and issubclass(recipe, Regularizer)
    if not known or not dataclasses.is_dataclass(recipe):
        raise TypeError(f"{name}: expected a dataclass derived from Regularizer, got {recipe!r}")
    if name in REGULARIZERS:
        raise ValueError(f"regularizer {name!r} is registered already")
    REGULARIZERS[name] = recipe
    return recipe


def make_regularizer(name: str | Mapping[str, Any] | None, **options: Any) -> Regularizer:
    """Make a regularizer by name: `make_regularizer("vand", beta=1e-3)`.

    Args:
        name: one of `REGULARIZERS`; or all in one mapping, as a configuration has it,
            `{"name": "vand", "beta": 1e-3}`; None for none.
        **options: arguments of its constructor, see `options_of`. The members of a chain are
            recipes or such mappings, as a list under "regularizers".

    Returns:
        The recipe.

    Raises:
        ValueError: if there is no such regularizer, no such option, or an option's value is bad.
        TypeError: if the members of a chain are no regularizers.
    """
    kind: Any
    if isinstance(name, Mapping):
        options = {**name, **options}
        kind = options.pop("name", "")
    else:
        kind = "none" if name is None else name
    known = [option.name for option in options_of(kind)]
    _require_options(kind, options, known)
    recipe = REGULARIZERS[kind]
    if recipe is Chain and isinstance(options.get("regularizers"), (list, tuple)):
        options["regularizers"] = tuple(
            member if isinstance(member, Regularizer) else make_regularizer(member)
            for member in options["regularizers"]
        )
    return recipe(**options)


def options_of(name: str) -> tuple[OptionInfo, ...]:
    """List the options of a regularizer: name, type, default, bounds, choices, one line of help.

    They come from the fields of its recipe, the only place where they are written.

    Args:
        name: one of `REGULARIZERS`.

    Returns:
        The options, in the constructor's order.

    Raises:
        ValueError: if there is no such regularizer.
    """
    require_known("regularizer", name, REGULARIZERS)
    return options_of_class(REGULARIZERS[name])


def _require_options(name: str, options: Mapping[str, Any], known: Sequence[str]) -> None:
    for option in options:
        if option not in known:
            hint = did_you_mean(option, known)
            raise ValueError(f"{name} has no option {option!r}{hint}; it has: {', '.join(known)}")
