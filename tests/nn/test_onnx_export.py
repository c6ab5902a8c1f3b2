"""Layers as ONNX models, run by ONNX Runtime on other lengths and batches than in the export."""

import pytest
import torch

from vand_robot.nn import CELLS, GRU, LSTM, LayerNormGRU, MinGRU, Vand, Zoneout, make_cell
from vand_robot.nn.onnx_export import export_onnx

onnxruntime = pytest.importorskip("onnxruntime")


def run(file, x, state):
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    found = session.run(None, {"x": x.numpy(), "state": state.numpy()})
    return [torch.from_numpy(value) for value in found]


def make(cell, layers=2, **options):
    torch.manual_seed(0)
    return make_cell(cell, 3, 5, layers, **options)


def check(layer, tmp_path, form):
    export_onnx(layer, tmp_path / "layer.onnx", form)
    assert layer.training
    layer.eval()
    for steps, batch in ((1, 4), (9, 1)):
        x = torch.randn(steps, batch, 3)
        state = torch.randn(layer.num_layers, batch, layer.state_size)
        if form == "step":
            expected = layer.step(x[0], state)
            found = run(tmp_path / "layer.onnx", x[0], state)
        else:
            result = layer.run(x, state)
            expected = result.output, result.state
            found = run(tmp_path / "layer.onnx", x, state)
        for ours, other in zip(expected, found, strict=True):
            torch.testing.assert_close(ours.detach(), other)


def test_a_sequence_of_any_length_is_onnxs_own_operator(tmp_path):
    check(make("gru", 1, regularizer=Vand()), tmp_path, "sequence")


@pytest.mark.slow
def test_a_step_holds_the_deterministic_map(tmp_path):
    check(make("lstm", 1, regularizer=Zoneout(0.2, z_cell=0.5)), tmp_path, "step")


@pytest.mark.slow
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("cell", ["elman", "gru", "lstm"])
def test_sequences_of_every_cell_of_onnx(cell, bias, tmp_path):
    check(make(cell, bias=bias), tmp_path, "sequence")


@pytest.mark.slow
@pytest.mark.parametrize("nonlinearity", ["relu", "sigmoid"])
def test_sequences_of_elman_networks(nonlinearity, tmp_path):
    check(make("elman", nonlinearity=nonlinearity), tmp_path, "sequence")


@pytest.mark.slow
@pytest.mark.parametrize("cell", CELLS)
def test_steps_of_every_cell(cell, tmp_path):
    check(make(cell), tmp_path, "step")


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (lambda: GRU(3, 5, regularizer=Zoneout()), "acts on the deterministic state"),
        (lambda: MinGRU(3, 5), "no operator for a sequence of MinGRU; export its step"),
        (lambda: LayerNormGRU(3, 5), "no operator for a sequence of LayerNormGRU"),
    ],
)
def test_what_onnx_has_no_operator_for_is_refused(layer, expected, tmp_path):
    with pytest.raises(ValueError, match=expected):
        export_onnx(layer(), tmp_path / "layer.onnx", "sequence")
    with pytest.raises(ValueError, match="did you mean 'step'"):
        export_onnx(LSTM(3, 5), tmp_path / "layer.onnx", "steps")
