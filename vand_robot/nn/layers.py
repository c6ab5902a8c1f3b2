"""Elman, GRU and LSTM layers: those of `torch.nn`, with a regularizer of the state.

Constructor, call, parameter names and initialization are those of `torch.nn.RNN`, `GRU` and
`LSTM`; state dictionaries load both ways (a regularizer's own parameters come on top, under
`regularizer.`). Variable lengths are given as a packed sequence, as there, or as `lengths`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import torch
from torch import Tensor

from vand_robot.nn.kernel.cells import ElmanCell, GRUCell, LSTMCell, Nonlinearity
from vand_robot.nn.recurrent import Recurrent
from vand_robot.nn.regularizers.options import did_you_mean

if TYPE_CHECKING:
    from vand_robot.nn.kernel.cells import Transition
    from vand_robot.nn.regularizers.base import Regularizer


class OneTensorState(Recurrent[Tensor]):
    """Layers whose state in `torch.nn` is one tensor."""

    def merge_state(self, hx: Any) -> Tensor:
        """See `Recurrent.merge_state`: it is merged as it is."""
        if not isinstance(hx, Tensor):
            name = type(self).__name__
            raise TypeError(f"{name} expects hx to be a tensor; got {type(hx).__name__}")
        return hx

    def split_state(self, state: Tensor) -> Tensor:
        """See `Recurrent.split_state`."""
        return state


class Elman(OneTensorState):
    """h = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu: `torch.nn.RNN` with a regularizer.

    Args:
        input_size: size of the input, I.
        hidden_size: units per layer, H.
        num_layers: layers, each fed by the one below.
        nonlinearity: "tanh", "relu", or "sigmoid", which torch does not have (the cell of the
            Noisin paper).
        bias: whether there are biases.
        batch_first: whether `forward` takes and gives (B, T, .).
        dropout: dropout between layers, as in `torch.nn`.
        bidirectional: must be False.
        device: where the weights live.
        dtype: type of the weights.
        regularizer: recipe of the state's regularizer; None for none.

    Raises:
        ValueError: if an option does not fit.
        TypeError: if the regularizer is none.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: Nonlinearity = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        regularizer: Regularizer | None = None,
    ) -> None:
        known = get_args(Nonlinearity)
        if nonlinearity not in known:
            hint = did_you_mean(nonlinearity, known)
            raise ValueError(
                f"nonlinearity must be one of {', '.join(known)}; got {nonlinearity!r}{hint}"
            )
        super().__init__(
            ElmanCell(nonlinearity),
            input_size=input_size,
            hidden_size=hidden_size,
            num_layers=num_layers,
            bias=bias,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            device=device,
            dtype=dtype,
            regularizer=regularizer,
        )


class GRU(OneTensorState):
    """The gated recurrent unit in the form of `torch.nn.GRU`, with a regularizer.

    Args:
        input_size: size of the input, I.
        hidden_size: units per layer, H.
        num_layers: layers, each fed by the one below.
        bias: whether there are biases.
        batch_first: whether `forward` takes and gives (B, T, .).
        dropout: dropout between layers, as in `torch.nn`.
        bidirectional: must be False.
        device: where the weights live.
        dtype: type of the weights.
        regularizer: recipe of the state's regularizer; None for none.

    Raises:
        ValueError: if an option does not fit.
        TypeError: if the regularizer is none.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        regularizer: Regularizer | None = None,
    ) -> None:
        super().__init__(
            GRUCell(),
            input_size=input_size,
            hidden_size=hidden_size,
            num_layers=num_layers,
            bias=bias,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            device=device,
            dtype=dtype,
            regularizer=regularizer,
        )


class CustomCell(OneTensorState):
    """A layer of a cell of one's own, with every regularizer.

    The cell is a frozen dataclass with `gates`, `parts` and `transition`, see `Transition`. Nothing
    need be derived by hand: it runs step by step under autograd, several times slower than the
    layers that have a backward pass of their own. Its hidden part comes first in the state.

    Args:
        cell: the transition.
        input_size: size of the input, I.
        hidden_size: units per layer, H.
        num_layers: layers, each fed by the one below.
        bias: whether there are biases.
        batch_first: whether `forward` takes and gives (B, T, .).
        dropout: dropout between layers.
        device: where the weights live.
        dtype: type of the weights.
        regularizer: recipe of the state's regularizer; None for none.

    Raises:
        ValueError: if an option does not fit.
        TypeError: if an option is of another type.
    """

    def __init__(
        self,
        cell: Transition,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        regularizer: Regularizer | None = None,
    ) -> None:
        super().__init__(
            cell,
            input_size=input_size,
            hidden_size=hidden_size,
            num_layers=num_layers,
            bias=bias,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=False,
            device=device,
            dtype=dtype,
            regularizer=regularizer,
        )


class LSTM(Recurrent[tuple[Tensor, Tensor]]):
    """Long short-term memory in the form of `torch.nn.LSTM`, with a regularizer.

    The regularized state is [hidden; cell], 2H wide; both halves are treated alike.

    Args:
        input_size: size of the input, I.
        hidden_size: units per layer, H.
        num_layers: layers, each fed by the one below.
        bias: whether there are biases.
        batch_first: whether `forward` takes and gives (B, T, .).
        dropout: dropout between layers, as in `torch.nn`.
        bidirectional: must be False.
        proj_size: must be 0.
        device: where the weights live.
        dtype: type of the weights.
        regularizer: recipe of the state's regularizer; None for none.

    Raises:
        ValueError: if an option does not fit.
        TypeError: if the regularizer is none.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        regularizer: Regularizer | None = None,
    ) -> None:
        if proj_size:
            raise ValueError(f"LSTM has no projections: proj_size={proj_size!r} is not supported")
        super().__init__(
            LSTMCell(),
            input_size=input_size,
            hidden_size=hidden_size,
            num_layers=num_layers,
            bias=bias,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            device=device,
            dtype=dtype,
            regularizer=regularizer,
        )

    def merge_state(self, hx: Any) -> Tensor:
        """See `Recurrent.merge_state`: the pair (h, c) becomes [h; c], (num_layers, B, 2H)."""
        size = self.hidden_size
        if isinstance(hx, Tensor) and hx.shape[-1:] == (2 * size,):
            return hx
        if isinstance(hx, Tensor):
            raise TypeError(
                f"LSTM expects hx to be a pair (h, c); got Tensor of shape {tuple(hx.shape)},"
                f" and a merged state is (..., {2 * size})"
            )
        if not (isinstance(hx, (tuple, list)) and [type(part) for part in hx] == [Tensor] * 2):
            kinds = [type(part).__name__ for part in hx] if isinstance(hx, (tuple, list)) else []
            got = f"({', '.join(kinds)})" if kinds else type(hx).__name__
            raise TypeError(f"LSTM expects hx to be a pair (h, c); got {got}")
        shapes = [tuple(part.shape) for part in hx]
        if shapes[0] != shapes[1] or shapes[0][-1:] != (size,):
            raise ValueError(f"LSTM expects h and c of one shape (..., {size}); got {shapes}")
        return torch.cat(tuple(hx), -1)

    def split_state(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """See `Recurrent.split_state`: [h; c] becomes the pair (h, c)."""
        # Not by chunk(), whose parts may not be written on.
        return state[..., : self.hidden_size], state[..., self.hidden_size :]
