"""The parameters of a recurrent layer: weights, regularizer, state dictionaries, printout."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from vand_robot.nn import checks
from vand_robot.nn.kernel.cells import Cell, Weights
from vand_robot.nn.regularizers.base import NoRegularizer, Regularizer, RegularizerTerms

if TYPE_CHECKING:
    from vand_robot.nn.kernel.cells import Transition


class Parameters(nn.Module):
    """Weights and regularizer of a recurrent layer; `Recurrent` runs it.

    Args:
        cell: the transition.
        input_size: size of the input, I.
        hidden_size: units per layer, H.
        num_layers: layers, each fed by the one below.
        bias: whether there are biases.
        batch_first: whether `forward` takes and gives (B, T, .).
        dropout: dropout between layers.
        bidirectional: must be False.
        device: where the weights live.
        dtype: type of the weights.
        regularizer: recipe of the state's regularizer; None for none.
    """

    bidirectional = False
    """As `torch.nn` has it."""

    has_kernels = True
    """Whether the cell's own kernels, where it has any, are those of the layer."""

    terms: RegularizerTerms | None
    """The regularizer's terms of the last pass, of `forward` too; None before the first. With
    `collect_penalty` a loss finds them, wherever in a model the layer is."""

    def __init__(
        self,
        cell: Transition,
        *,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
        regularizer: Regularizer | None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        sizes = {"input_size": input_size, "hidden_size": hidden_size, "num_layers": num_layers}
        checks.check_sizes(name, sizes)
        checks.check_options(
            name,
            dropout=dropout,
            bidirectional=bidirectional,
            flags={"bias": bias, "batch_first": batch_first},
            regularizer=regularizer,
        )
        self.cell = cell
        self._kernels = cell if self.has_kernels and isinstance(cell, Cell) else None
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout = bias, batch_first, dropout
        self.state_size = cell.parts * hidden_size
        options: dict[str, Any] = {"device": device, "dtype": dtype}
        for layer in range(num_layers):
            for key, shape in self.weight_shapes(layer).items():
                weight = torch.empty(shape, **options)
                self.register_parameter(f"{key}_l{layer}", nn.Parameter(weight))
        recipe = NoRegularizer() if regularizer is None else regularizer
        hidden = self.regularized_hidden
        self.regularizer = recipe.bind(num_layers, hidden, self.state_size).to(**options)
        self.terms = None
        self.reset_parameters()

    @property
    def regularized_hidden(self) -> int:
        """How many of a layer's S state variables are its hidden part, which comes first."""
        return self.hidden_size

    def weight_shapes(self, layer: int) -> dict[str, tuple[int, ...]]:
        """Return name -> shape of a layer's weights; `_l` and its number are appended to names."""
        width = self.input_size if layer == 0 else self.hidden_size
        rows = self.cell.gates * self.hidden_size
        shapes: dict[str, tuple[int, ...]] = {
            "weight_ih": (rows, width),
            "weight_hh": (rows, self.hidden_size),
        }
        return {**shapes, "bias_ih": (rows,), "bias_hh": (rows,)} if self.bias else shapes

    def reset_parameters(self) -> None:
        """Draw all weights, as `torch.nn` does where it has the layer.

        What the regularizer has learned goes back to where its options say it starts.
        """
        self.reset_weights()
        self.regularizer.reset_parameters()

    def reset_weights(self) -> None:
        """Draw all weights from U(-1/sqrt(H), 1/sqrt(H))."""
        bound = 1 / math.sqrt(self.hidden_size)
        for name, parameter in self.named_parameters():
            if not name.startswith("regularizer."):
                nn.init.uniform_(parameter, -bound, bound)

    def weights(self, layer: int) -> Weights:
        """Weights of one layer, as they are now: parametrized, pruned or replaced ones too."""
        suffix = f"_l{layer}"
        return Weights(
            self.current_weight("weight_ih" + suffix),
            self.current_weight("weight_hh" + suffix),
            self.current_weight("bias_ih" + suffix) if self.bias else None,
            self.current_weight("bias_hh" + suffix) if self.bias else None,
        )

    def current_weight(self, name: str) -> Tensor:
        """Return a weight by its name, as it is now."""
        # An attribute's way through nn.Module would cost a tenth of a control step.
        found = self._parameters.get(name)
        weight: Tensor = getattr(self, name) if found is None else found
        return weight

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **options: Any
    ) -> None:
        """Load weights that were saved with another regularizer, or none, too.

        Where one of the two has nothing learned of a regularizer, only the weights are loaded.
        """
        inner = f"{prefix}regularizer."
        own = {inner + key: value for key, value in self.regularizer.state_dict().items()}
        given = [key for key in state_dict if key.startswith(inner)]
        if not own:
            for key in given:
                del state_dict[key]
        elif not given:
            state_dict.update(own)
        super()._load_from_state_dict(state_dict, prefix, *args, **options)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the last terms, which are part of a graph and cannot be copied or saved."""
        return {**self.__dict__, "terms": None}

    def flatten_parameters(self) -> None:
        """Do nothing: in `torch.nn` it lays weights out for cuDNN, which is not used here."""

    def extra_repr(self) -> str:
        """Show sizes, and options that are not the usual ones, in the module's printout."""
        usual: dict[str, Any] = {
            "num_layers": 1,
            "bias": True,
            "batch_first": False,
            "dropout": 0.0,
        }
        options = {key: getattr(self, key) for key in usual}
        if hasattr(self.cell, "nonlinearity"):
            usual["nonlinearity"], options["nonlinearity"] = "tanh", self.cell.nonlinearity
        changed = [f"{key}={value!r}" for key, value in options.items() if value != usual[key]]
        return ", ".join([str(self.input_size), str(self.hidden_size), *changed])
