"""A reset within a sequence is the beginning of another one, for every cell and regularizer."""

import pytest
import torch
from torch.nn.utils.rnn import pack_sequence

from vand_robot.nn import (
    GRU,
    LSTM,
    Chain,
    Dropout,
    DropoutLSTM,
    GaussianNoise,
    InputNoise,
    Noisin,
    Vand,
    Zoneout,
    make_cell,
)
from vand_robot.nn.registry import CELLS

STEPS, BATCH, INPUTS, UNITS = 9, 3, 2, 4
REGULARIZERS = {
    "none": None,
    "gaussian": GaussianNoise(0.1),
    "input": InputNoise(0.1),
    "dropout": Dropout(0.3),
    "dropout sequence": Dropout(0.3, mask="sequence"),
    "dropout lstm": DropoutLSTM(),
    "zoneout": Zoneout(0.3),
    "noisin": Noisin(),
    "noisin strong": Noisin(unbiased="strong", form="multiplicative"),
    "vand": Vand(drop=0.3),
    "vand sequence": Vand(drop=0.3, mask="sequence", prior="learned"),
    "chain": Chain((Vand(drop=0.3), Zoneout(0.2))),
}


def make(cell, regularizer=None, layers=2):
    torch.manual_seed(0)
    return make_cell(cell, INPUTS, UNITS, layers, regularizer=regularizer, dtype=torch.float64)


def make_batch():
    torch.manual_seed(1)
    x = torch.randn(STEPS, BATCH, INPUTS, dtype=torch.float64)
    resets = torch.zeros(STEPS, BATCH, dtype=torch.bool)
    resets[[4, 6], 0] = True
    resets[[0, 3], 1] = True
    return x, resets


PIECES = [(0, 0, 4), (0, 4, 6), (0, 6, 9), (1, 0, 3), (1, 3, 9), (2, 0, 9)]
"""(sequence, first step, end) of `make_batch`."""


@pytest.mark.parametrize("cell", CELLS)
def test_a_reset_is_the_beginning_of_a_separate_sequence(cell):
    layer = make(cell).eval()
    x, resets = make_batch()
    start = torch.randn(2, BATCH, layer.state_size, dtype=torch.float64)
    result = layer.run(x, start, resets=resets)
    for b, first, end in PIECES:
        continues = first == 0 and b != 1
        state = start[:, b : b + 1] if continues else None
        alone = layer.run(x[first:end, b : b + 1], state)
        torch.testing.assert_close(result.output[first:end, b : b + 1], alone.output)
        if end == STEPS:
            torch.testing.assert_close(result.state[:, b : b + 1], alone.state)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("name", REGULARIZERS)
def test_draws_losses_and_gradients_are_those_of_separate_sequences(cell, name):
    layer = make(cell, REGULARIZERS[name])
    x, resets = make_batch()
    pieces = sorted(PIECES, key=lambda piece: piece[1] - piece[2])  # longest first
    apart = torch.zeros(STEPS, len(pieces), INPUTS, dtype=torch.float64)
    for i, (b, first, end) in enumerate(pieces):
        apart[: end - first, i] = x[first:end, b]
    lengths = [end - first for _, first, end in pieces]
    found = []
    for run in (lambda: layer.run(x, resets=resets), lambda: layer.run(apart, lengths=lengths)):
        torch.manual_seed(2)
        result = run()
        loss = result.output.square().sum() + result.terms.penalty
        gradients = torch.autograd.grad(loss, list(layer.parameters()), allow_unused=True)
        found.append((result, gradients))
    (joined, ours), (separate, expected) = found
    for i, (b, first, end) in enumerate(pieces):
        torch.testing.assert_close(joined.output[first:end, b], separate.output[: end - first, i])
    torch.testing.assert_close(joined.terms.kl, separate.terms.kl)
    for gradient, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(gradient, other)


@pytest.mark.parametrize("cell", CELLS)
def test_no_gradient_passes_a_reset(cell):
    layer = make(cell, Zoneout(0.1))
    x, resets = make_batch()
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(layer.run(x, resets=resets).output[5, 0].sum(), x)
    assert gradient[4:6, 0].abs().max() > 0
    assert gradient[:4].abs().max() == gradient[6:].abs().max() == gradient[:, 1:].abs().max() == 0


def test_each_piece_has_a_mask_of_its_own():
    layer = GRU(INPUTS, 64, regularizer=Dropout(0.5, mask="sequence"))
    x, resets = torch.randn(8, 1, INPUTS), torch.zeros(8, 1, dtype=torch.bool)
    resets[4] = True
    dropped = layer.run(x, resets=resets).output[:, 0] == 0  # (T, H)
    assert (dropped[:4] == dropped[0]).all()
    assert (dropped[4:] == dropped[4]).all()
    assert (dropped[0] != dropped[4]).any()


def test_resets_in_padding_do_not_count_and_lengths_hold():
    layer = make("gru").eval()
    x, resets = make_batch()
    lengths = [5, 9, 2]
    late = resets.clone()
    late[7:, 0] = late[5:, 2] = True
    kept, more = (layer.run(x, lengths=lengths, resets=mask) for mask in (resets, late))
    assert torch.equal(kept.output, more.output)
    assert torch.equal(kept.state, more.state)
    assert kept.output[5:, 0].abs().max() == 0
    alone = layer.run(x[4:5, :1])
    torch.testing.assert_close(kept.state[:, :1], alone.state)


def test_steps_and_the_call_of_torch_take_resets_too():
    layer = LSTM(INPUTS, UNITS, batch_first=True)
    x, resets = torch.randn(STEPS, BATCH, INPUTS), make_batch()[1]
    expected = layer.run(x, resets=resets)
    output, (h, c) = layer(x.transpose(0, 1), resets=resets.t())
    torch.testing.assert_close(output.transpose(0, 1), expected.output)
    torch.testing.assert_close(torch.cat((h, c), -1), expected.state)
    torch.testing.assert_close(layer(x[:, 0], resets=resets[:, 0])[0], expected.output[:, 0])
    state = layer.initial_state(BATCH)
    for t in range(STEPS):
        stepped, state = layer.step(x[t], state, resets=resets[t])
        torch.testing.assert_close(stepped, expected.output[t])


def test_wrong_resets_are_refused():
    layer, x = GRU(INPUTS, UNITS), torch.randn(STEPS, BATCH, INPUTS)
    with pytest.raises(TypeError, match=r"resets: a tensor of booleans; got torch\.int64"):
        layer.run(x, resets=torch.zeros(STEPS, BATCH, dtype=torch.long))
    with pytest.raises(ValueError, match=r"resets of shape \(9, 3\); got \(3, 9\)"):
        layer.run(x, resets=torch.zeros(BATCH, STEPS, dtype=torch.bool))
    with pytest.raises(ValueError, match="no resets with a packed sequence"):
        layer(pack_sequence([x[:, 0]]), resets=torch.zeros(STEPS, 1, dtype=torch.bool))
