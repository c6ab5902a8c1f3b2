"""Layers as ONNX models, for a runtime without PyTorch.

A whole sequence of a layer on whose deterministic state nothing acts is ONNX's own recurrent
operator, RNN, GRU or LSTM, one for each layer, with time and batch of any length. A single step can
be exported of every layer: its formula, the deterministic map of the state included.

`pip install onnx onnxscript`; PyTorch from 2.8 on.
"""

from __future__ import annotations

import logging
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from vand_robot.nn.cells.linear import LinearRecurrent
from vand_robot.nn.layers import GRU, LSTM, CustomCell, Elman
from vand_robot.nn.regularizers.options import require_known

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from vand_robot.nn.recurrent import Recurrent

Form = Literal["sequence", "step"]

GATE_ORDER: dict[type, tuple[int, ...]] = {Elman: (0,), GRU: (1, 0, 2), LSTM: (0, 3, 1, 2)}
"""Layer -> torch's number of each gate in ONNX's order: z r n of the GRU, i o f g of the LSTM."""


def export_onnx(layer: Recurrent[Any], file: str | Path, form: Form = "step") -> None:
    """Write a layer's deterministic answer as an ONNX model.

    Inputs of the model are "x", (T, B, I), of a step (B, I), and "state", (num_layers, B, S), with
    the LSTM's [h; c]; outputs "output" (T, B, H), of a step (B, H), and "next_state".

    Args:
        layer: the layer, on the CPU; it is left as it is.
        file: the model's file.
        form: a whole "sequence" of any length, or a "step".

    Raises:
        ValueError: if a sequence is asked for, and ONNX has no operator for the layer, or a
            regularizer acts on its deterministic state (zoneout).
        ImportError: if ONNX's packages are not there.
    """
    require_known("form", form, ("sequence", "step"))
    batch = torch.export.Dim("batch")
    dynamic: dict[str, dict[int, Any]] = {"x": {0: batch}, "state": {1: batch}}
    like = layer.current_weight("weight_ih_l0")
    x = like.new_zeros(2, layer.input_size)
    model: nn.Module = _Step(layer)
    if form == "sequence":
        model, x = _Sequence(layer, _operator_of(layer)), x.expand(3, *x.shape)
        dynamic["x"] = {0: torch.export.Dim("time"), 1: batch}
    with _exporting(layer, model):
        program = torch.onnx.export(
            model,
            (x, layer.initial_state(2)),
            input_names=["x", "state"],
            output_names=["output", "next_state"],
            dynamic_shapes=dynamic,
            dynamo=True,
            verbose=False,
        )
    assert program is not None  # noqa: S101  (as it is with dynamo)
    program.save(file)


class _Step(nn.Module):
    """One deterministic step by the readable formula."""

    def __init__(self, layer: Recurrent[Any]) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        return self.layer.transition(x, state)


class _Sequence(nn.Module):
    """All steps, by ONNX's operator of this name for each layer."""

    def __init__(self, layer: Recurrent[Any], operator: type) -> None:
        super().__init__()
        self.layer, self.operator = layer, operator

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        states = []
        for index in range(self.layer.num_layers):
            x, state_after = self._run(index, x, state[index])
            states.append(state_after)
        return x, torch.stack(states)

    def _run(self, index: int, x: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
        """Run one layer over x (T, B, I) from a state (B, S)."""
        layer, size = self.layer, self.layer.hidden_size
        weights = layer.weights(index)
        order = GATE_ORDER[self.operator]
        biases = None
        if weights.bias_ih is not None and weights.bias_hh is not None:
            both = [_ordered(bias, order) for bias in (weights.bias_ih, weights.bias_hh)]
            biases = torch.cat(both).unsqueeze(0)  # (1, 2G)
        initial = [
            part.unsqueeze(0) for part in start.chunk(layer.cell.parts, -1)
        ]  # (1, B, H) each
        inputs: Sequence[Tensor | None] = (
            x,
            _ordered(weights.ih, order).unsqueeze(0),
            _ordered(weights.hh, order).unsqueeze(0),
            biases,
            None,  # every sequence has all steps
            *initial,
        )
        attributes: dict[str, Any] = {"hidden_size": size}
        if self.operator is GRU:
            attributes["linear_before_reset"] = 1
        if self.operator is Elman:
            attributes["activations"] = [layer.cell.nonlinearity.capitalize()]  # type: ignore[attr-defined]  # Elman's
        ends = [(1, x.shape[1], size)] * len(initial)
        output, *finals = torch.onnx.ops.symbolic_multi_out(
            "RNN" if self.operator is Elman else self.operator.__name__,
            inputs,
            attributes,
            dtypes=[x.dtype] * (1 + len(ends)),
            shapes=[(x.shape[0], 1, x.shape[1], size), *ends],
            version=14,
        )
        return output.squeeze(1), torch.cat([final.squeeze(0) for final in finals], -1)


def _operator_of(layer: Recurrent[Any]) -> type:
    """The plain layer whose operator ONNX has, for a layer; raises ValueError where it has none."""
    name = type(layer).__name__
    known = [kind for kind in GATE_ORDER if isinstance(layer, kind)]
    if isinstance(layer, (LinearRecurrent, CustomCell)) or not known or not layer.has_kernels:
        raise ValueError(f"ONNX has no operator for a sequence of {name}; export its step")
    if not layer.regularizer.expected(layer.initial_state(1)[0]).is_identity:
        raise ValueError(
            "a regularizer acts on the deterministic state, which ONNX's operator leaves alone;"
            f" export the step of this {name}"
        )
    return known[0]


def _ordered(weight: Tensor, order: Sequence[int]) -> Tensor:
    """Put the gates of a weight (G, ...) into another order."""
    gates = weight.chunk(len(order))
    return torch.cat([gates[gate] for gate in order])


@contextmanager
def _exporting(layer: nn.Module, model: nn.Module) -> Iterator[None]:
    """Put a model, and the layer in it, into evaluation mode; hold back the exporter's remarks."""
    logger = logging.getLogger("torch.onnx")
    level, was_training = logger.level, layer.training
    logger.setLevel(logging.ERROR)
    model.eval()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on names of axes, and on torch's own deprecations
            yield
    finally:
        logger.setLevel(level)
        layer.train(was_training)
