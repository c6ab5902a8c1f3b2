"""The layers are those of `torch.nn`: outputs, gradients, states, lengths, errors."""

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence, pad_packed_sequence

from vand_robot.nn import GRU, LSTM, Elman, Noisin, Vand, Zoneout, make_cell, make_regularizer

TOLERANCE = {"rtol": 0, "atol": 1e-10}
PAIRS = {
    "tanh": (Elman, torch.nn.RNN, {}),
    "relu": (Elman, torch.nn.RNN, {"nonlinearity": "relu"}),
    "gru": (GRU, torch.nn.GRU, {}),
    "lstm": (LSTM, torch.nn.LSTM, {}),
}
STEPS, BATCH, INPUTS, UNITS = 7, 4, 3, 5
PACKED = pack_sequence([torch.zeros(3, 3), torch.zeros(7, 3)], enforce_sorted=False)


def make_pair(name, num_layers=1, **options):
    """Our layer and torch's with the same weights, in double."""
    ours, theirs, extra = PAIRS[name]
    options = {**extra, **options, "dtype": torch.float64}
    layer = ours(INPUTS, UNITS, num_layers, **options)
    reference = theirs(INPUTS, UNITS, num_layers, **options)
    reference.load_state_dict(layer.state_dict())
    layer.load_state_dict(reference.state_dict())
    return layer, reference


def random_state(name, num_layers):
    h = torch.randn(num_layers, BATCH, UNITS, dtype=torch.float64, requires_grad=True)
    return (h, torch.randn_like(h).requires_grad_()) if name == "lstm" else h


def tensors(state):
    return state if isinstance(state, tuple) else (state,)


def gradients(output, final, inputs):
    """Gradients of a loss that weighs every output and final state differently."""
    generator = torch.Generator().manual_seed(1)
    loss = sum(
        (value * torch.randn(value.shape, dtype=value.dtype, generator=generator)).sum()
        for value in (output, *tensors(final))
    )
    return torch.autograd.grad(loss, inputs)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("num_layers", [1, 2, 3])
@pytest.mark.parametrize("name", PAIRS)
def test_outputs_and_gradients_equal_torch(name, num_layers, bias):
    layer, reference = make_pair(name, num_layers, bias=bias)
    x = torch.randn(STEPS, BATCH, INPUTS, dtype=torch.float64, requires_grad=True)
    hx = random_state(name, num_layers)
    results = [m(x, hx) for m in (layer, reference)]
    all_values = [(output, *tensors(final)) for output, final in results]
    for ours, theirs in zip(*all_values, strict=True):
        torch.testing.assert_close(ours, theirs, **TOLERANCE)
    all_gradients = [
        gradients(*result, (x, *tensors(hx), *module.parameters()))
        for result, module in zip(results, (layer, reference), strict=True)
    ]
    for ours, theirs in zip(*all_gradients, strict=True):
        torch.testing.assert_close(ours, theirs, **TOLERANCE)


@pytest.mark.parametrize("name", PAIRS)
def test_lengths_equal_packed_sequences(name):
    layer, reference = make_pair(name, 2)
    x = torch.randn(STEPS, BATCH, INPUTS, dtype=torch.float64, requires_grad=True)
    hx = random_state(name, 2)
    lengths = torch.tensor([3, STEPS, 1, 5])
    ours, state = layer(x, hx, lengths)
    packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
    packed, expected_state = reference(packed, hx)
    expected, _ = pad_packed_sequence(packed, total_length=STEPS)
    torch.testing.assert_close(ours, expected, **TOLERANCE)
    for mine, theirs in zip(tensors(state), tensors(expected_state), strict=True):
        torch.testing.assert_close(mine, theirs, **TOLERANCE)
    for mine, theirs in zip(
        gradients(ours, state, (x, *tensors(hx), *layer.parameters())),
        gradients(expected, expected_state, (x, *tensors(hx), *reference.parameters())),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, **TOLERANCE)


@pytest.mark.parametrize("with_state", [True, False], ids=["state", "zero-state"])
@pytest.mark.parametrize(
    ("lengths", "enforce_sorted"),
    [((7, 5, 5, 1), True), ((3, 7, 1, 5), False)],
    ids=["sorted", "unsorted"],
)
@pytest.mark.parametrize("name", PAIRS)
def test_packed_sequences_equal_torch(name, lengths, enforce_sorted, with_state):
    layer, reference = make_pair(name, 2, batch_first=True)  # which packing makes meaningless
    sequences = [
        torch.randn(length, INPUTS, dtype=torch.float64, requires_grad=True) for length in lengths
    ]
    hx = random_state(name, 2) if with_state else None
    inputs = (*sequences, *(tensors(hx) if with_state else ()))
    (ours, state), (theirs, expected) = (
        module(pack_sequence(sequences, enforce_sorted), hx) for module in (layer, reference)
    )
    torch.testing.assert_close(ours.data, theirs.data, **TOLERANCE)
    for mine, reference_part in zip(ours[1:], theirs[1:], strict=True):  # batch sizes and orders
        assert (mine is None and reference_part is None) or torch.equal(mine, reference_part)
    for mine, reference_part in zip(tensors(state), tensors(expected), strict=True):
        torch.testing.assert_close(mine, reference_part, **TOLERANCE)
    for mine, reference_part in zip(
        gradients(ours.data, state, (*inputs, *layer.parameters())),
        gradients(theirs.data, expected, (*inputs, *reference.parameters())),
        strict=True,
    ):
        torch.testing.assert_close(mine, reference_part, **TOLERANCE)


@pytest.mark.parametrize("name", PAIRS)
def test_values_in_the_padding_change_nothing(name):
    layer, _ = make_pair(name, 2)
    x = torch.randn(STEPS, BATCH, INPUTS, dtype=torch.float64)
    lengths = torch.tensor([3, STEPS, 1, 5])
    polluted = x.clone()
    for b, length in enumerate(lengths):
        polluted[length:, b] = float("nan")
    outcomes = []
    for inputs in (x, polluted):
        result = layer.run(inputs, lengths=lengths)
        (result.output.square().sum() + result.state.sum()).backward()
        outcomes.append((result.output, result.state, *(p.grad for p in layer.parameters())))
        layer.zero_grad()
    for clean, dirty in zip(*outcomes, strict=True):
        assert torch.equal(clean, dirty)


@pytest.mark.parametrize("name", PAIRS)
def test_state_carried_over_pieces_equals_one_pass(name):
    layer, _ = make_pair(name, 2)
    x = torch.randn(STEPS, BATCH, INPUTS, dtype=torch.float64)
    whole = layer.run(x)
    first = layer.run(x[:3])
    second = layer.run(x[3:], first.state)
    torch.testing.assert_close(torch.cat((first.output, second.output)), whole.output, **TOLERANCE)
    torch.testing.assert_close(second.state, whole.state, **TOLERANCE)
    direct = torch.autograd.grad(whole.output.sum(), layer.weight_hh_l0)
    pieces = torch.autograd.grad(first.output.sum() + second.output.sum(), layer.weight_hh_l0)
    torch.testing.assert_close(direct, pieces, **TOLERANCE)


@pytest.mark.parametrize("name", PAIRS)
def test_detached_state_truncates_backpropagation(name):
    layer, _ = make_pair(name)
    x = torch.randn(STEPS, BATCH, INPUTS, dtype=torch.float64, requires_grad=True)
    first = layer.run(x[:3])
    layer.run(x[3:], first.state.detach()).output.sum().backward()
    assert torch.all(x.grad[:3] == 0)
    assert torch.any(x.grad[3:] != 0)  # not all: a rectified unit may be off


@pytest.mark.parametrize("name", PAIRS)
def test_batch_first_and_unbatched_equal_torch(name):
    layer, reference = make_pair(name, batch_first=True)
    x = torch.randn(BATCH, STEPS, INPUTS, dtype=torch.float64, requires_grad=True)
    for inputs in (x, x[0]):
        ours, theirs = layer(inputs), reference(inputs)
        torch.testing.assert_close(gradients(*ours, x), gradients(*theirs, x), **TOLERANCE)
        torch.testing.assert_close(ours[0], theirs[0], **TOLERANCE)
        for mine, expected in zip(tensors(ours[1]), tensors(theirs[1]), strict=True):
            torch.testing.assert_close(mine, expected, **TOLERANCE)


@pytest.mark.parametrize(
    "regularizer", [None, Vand(), Zoneout(0.3)], ids=["none", "vand", "zoneout"]
)
@pytest.mark.parametrize("name", ["elman", "gru", "lstm"])
def test_steps_equal_run_in_eval(name, regularizer):
    layer = make_cell(name, INPUTS, UNITS, 2, regularizer=regularizer, dtype=torch.float64).eval()
    x = torch.randn(STEPS, BATCH, INPUTS, dtype=torch.float64)
    whole = layer.run(x)
    state = layer.initial_state(BATCH)
    for t in range(STEPS):
        output, state = layer.step(x[t], state)
        torch.testing.assert_close(output, whole.output[t], **TOLERANCE)
    torch.testing.assert_close(state, whole.state, **TOLERANCE)


@pytest.mark.parametrize("name", ["elman", "gru", "lstm"])
def test_steps_follow_weights_however_they_change_and_keep_no_graph(name):
    layer = make_cell(name, INPUTS, UNITS, 2, dtype=torch.float64).eval()
    x, start = torch.randn(1, INPUTS, dtype=torch.float64), layer.initial_state(1)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)

    def train():
        layer.run(x.unsqueeze(0)).output.sum().backward()
        optimizer.step()

    def replace():
        layer.weight_ih_l0.data = torch.randn_like(layer.weight_ih_l0)

    other = make_cell(name, INPUTS, UNITS, 2, dtype=torch.float64)
    before, _ = layer.step(x, start)
    for change in (train, replace, lambda: layer.load_state_dict(other.state_dict())):
        change()
        output, state = layer.step(x, start)
        assert not output.requires_grad
        assert not state.requires_grad
        assert not torch.allclose(output, before)
        torch.testing.assert_close(output, layer.run(x.unsqueeze(0)).output[0], **TOLERANCE)
        before = output


def test_dropout_between_layers_acts_in_training_only():
    layer = GRU(INPUTS, UNITS, 2, dropout=0.5)
    x = torch.randn(STEPS, BATCH, INPUTS)
    assert not torch.equal(layer(x)[0], layer(x)[0])
    layer.eval()
    assert torch.equal(layer(x)[0], layer(x)[0])


def test_backward_may_run_twice_over_a_retained_graph():
    for name in PAIRS:
        layer, _ = make_pair(name)
        output, _ = layer(torch.randn(STEPS, BATCH, INPUTS, dtype=torch.float64))
        loss = output.square().sum()
        first, second = (
            torch.autograd.grad(loss, layer.weight_hh_l0, retain_graph=True) for _ in range(2)
        )
        torch.testing.assert_close(first, second)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GRU(3, 5, bidirectional=True), "bidirectional"),
        (lambda: LSTM(3, 5, proj_size=2), "proj_size"),
        (lambda: GRU(3, 0), "hidden_size"),
        (lambda: Elman(3, 5, nonlinearity="sine"), "tanh, relu"),
        (lambda: GRU(3, 5, dropout=1.5), "dropout"),
        (lambda: make_cell("rnn", 3, 5), "elman, gru, lstm"),
        (lambda: make_cell("gru", 3, 5, hidden=2), "batch_first"),
        (lambda: make_regularizer({"name": "vandal"}), "vand"),
        (lambda: make_regularizer({"name": "vand", "betta": 1}), "beta"),
        (lambda: make_regularizer({"name": "dropout", "p": 1.0}), "p must lie"),
        (lambda: GRU(3, 5).run(torch.zeros(7, 4, 2)), "steps, batch, 3"),
        (lambda: GRU(3, 5).run(torch.zeros(0, 4, 3)), "at least one step"),
        (lambda: GRU(3, 5)(torch.zeros(3)), "dimensions"),
        (lambda: GRU(3, 5).run(torch.zeros(7, 4, 3), torch.zeros(1, 4, 6)), "state of shape"),
        (
            lambda: GRU(3, 5).run(torch.zeros(7, 4, 3), lengths=torch.tensor([1, 2, 3, 8])),
            "lengths in 1..7",
        ),
        (
            lambda: GRU(3, 5).run(torch.zeros(7, 4, 3), lengths=torch.tensor([1, 2])),
            "integers of shape",
        ),
        (
            lambda: GRU(3, 5).run(torch.zeros(7, 4, 3), lengths=torch.ones(4)),
            r"integers; got torch\.float32",
        ),
        (lambda: GRU(3, 5).run(torch.zeros(7, 2, 3), lengths=[True, True]), "integers; got"),
        (
            lambda: GRU(3, 5).run(torch.zeros(7, 4, 3, dtype=torch.float64)),
            r"x of its weights' torch\.float32; got torch\.float64",
        ),
        (
            lambda: LSTM(3, 5)(torch.zeros(7, 4, 3), (torch.zeros(1, 4, 4), torch.zeros(1, 4, 6))),
            r"h and c of one shape \(\.\.\., 5\)",
        ),
        (
            lambda: GRU(3, 5).step(torch.zeros(4, 3), torch.zeros(2, 4, 5)),
            r"state of shape \(1, 4, 5\); got \(2, 4, 5\)",
        ),
        (
            lambda: GRU(3, 5).transition(torch.zeros(4, 3), torch.zeros(2, 4, 5)),
            r"state of shape \(1, 4, 5\); got \(2, 4, 5\)",
        ),
        (
            lambda: make_regularizer({"name": "vand", "beta": "1e-3"}),
            r"beta must be a number in \[0, inf\); got '1e-3'",
        ),
        (lambda: GRU(3, 5)(PACKED, lengths=torch.tensor([7, 3])), "no lengths with a packed"),
        (lambda: GRU(4, 5)(PACKED), "steps, batch, 4"),
        (lambda: GRU(3, 5)(PACKED, torch.zeros(1, 1, 5)), "state of shape"),
    ],
)
def test_bad_input_raises_a_clear_error(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_foreign_input_and_foreign_regularizer_raise_type_errors():
    with pytest.raises(TypeError, match="a tensor or a packed sequence; got list"):
        GRU(3, 5)([[0.0, 0.0, 0.0]])
    with pytest.raises(TypeError, match="hx to be a tensor; got tuple"):
        GRU(3, 5)(torch.zeros(7, 4, 3), (torch.zeros(1, 4, 5), torch.zeros(1, 4, 5)))
    with pytest.raises(TypeError, match=r"a pair \(h, c\); got Tensor"):
        LSTM(3, 5)(torch.zeros(7, 4, 3), torch.zeros(2, 4, 5))
    with pytest.raises(TypeError, match="make_regularizer"):
        GRU(3, 5, regularizer={"name": "vand"})


@pytest.mark.parametrize("regularizer", [None, Vand()], ids=["none", "vand"])
@pytest.mark.parametrize("name", ["elman", "gru", "lstm"])
@pytest.mark.parametrize(("inputs", "units"), [(1, 4), (3, 1), (1, 1)])
def test_a_pass_leaves_the_weights_alone_however_small_the_layer(name, regularizer, inputs, units):
    layer = make_cell(name, inputs, units, regularizer=regularizer)
    before = {key: value.clone() for key, value in layer.state_dict().items()}
    layer.run(torch.randn(5, 2, inputs)).output.sum().backward()
    layer.eval().run(torch.randn(5, 2, inputs))
    for key, value in layer.state_dict().items():
        assert torch.equal(value, before[key]), key


@pytest.mark.parametrize("lengths", [[2, 200], [200, 2]], ids=["ascending", "descending"])
@pytest.mark.parametrize(
    "regularizer", [None, Vand(explicit=True), Zoneout(0.02)], ids=lambda r: type(r).__name__
)
def test_a_state_that_overflows_past_its_sequences_end_spoils_no_gradient(regularizer, lengths):
    torch.manual_seed(0)
    layer = Elman(1, 2, nonlinearity="relu", regularizer=regularizer)
    with torch.no_grad():
        layer.weight_hh_l0.copy_(60 * torch.eye(2))
        layer.bias_ih_l0.zero_()
        layer.bias_hh_l0.zero_()
        layer.weight_ih_l0.fill_(-1.0)
    short = lengths.index(2)
    start = torch.zeros(1, 2, 2)
    start[0, short] = 1e10  # 4e13 after two steps, infinite 16 later
    x = torch.full((200, 2, 1), 1e6)  # the long sequence's units are off throughout
    x[:, short] = 0
    result = layer.run(x, start, torch.tensor(lengths))
    loss = 1e-10 * result.output[:2].sum() + result.terms.penalty
    assert loss.isfinite()
    for gradient in torch.autograd.grad(loss, [layer.weight_hh_l0, layer.weight_ih_l0]):
        assert gradient.isfinite().all()


@pytest.mark.parametrize("regularizer", [None, Vand(), Zoneout()], ids=lambda r: type(r).__name__)
@pytest.mark.parametrize("create_graph", [False, True])
def test_double_backward_is_refused(regularizer, create_graph):
    layer = GRU(INPUTS, UNITS, regularizer=regularizer)
    x = torch.randn(STEPS, BATCH, INPUTS, requires_grad=True)
    output, _ = layer(x)
    if create_graph:
        with pytest.raises(RuntimeError, match=r"double backward .* transition"):
            torch.autograd.grad(output.sum(), x, create_graph=True)
    else:
        (gradient,) = torch.autograd.grad(output.sum(), x)
        assert not gradient.requires_grad


@pytest.mark.parametrize("regularizer", [None, Vand()], ids=lambda r: type(r).__name__)
@pytest.mark.parametrize("name", PAIRS)
def test_outputs_and_states_may_be_modified_in_place(name, regularizer):
    ours, _, extra = PAIRS[name]
    torch.manual_seed(0)
    layer = ours(INPUTS, UNITS, regularizer=regularizer, **extra)
    x = torch.randn(STEPS, BATCH, INPUTS)
    outcomes = []
    for inplace in (False, True):
        torch.manual_seed(1)
        output, state = layer(x)
        first = tensors(state)[0]
        first = first.mul_(2) if inplace else first * 2
        output = output.add_(0.1) if inplace else output + 0.1
        output = torch.nn.functional.relu(output, inplace=inplace)
        loss = output.square().sum() + first.sum()
        outcomes.append((output, *torch.autograd.grad(loss, list(layer.parameters())[:4])))
    for ours, expected in zip(*outcomes, strict=True):
        assert torch.equal(ours, expected)


@pytest.mark.parametrize("lengths", [None, []], ids=["whole", "lengths"])
@pytest.mark.parametrize(
    "regularizer", [None, Vand(prior="learned"), Noisin()], ids=lambda r: type(r).__name__
)
@pytest.mark.parametrize("name", ["elman", "gru", "lstm"])
def test_an_empty_batch_has_zero_gradients(name, regularizer, lengths):
    layer = make_cell(name, INPUTS, UNITS, 2, regularizer=regularizer)
    x = torch.zeros(STEPS, 0, INPUTS, requires_grad=True)
    result = layer.run(x, lengths=lengths)
    assert result.output.shape == (STEPS, 0, UNITS)
    (result.output.sum() + result.terms.penalty).backward()
    assert x.grad.shape == x.shape
    for parameter in layer.parameters():
        assert parameter.grad is None or torch.all(parameter.grad == 0)


@pytest.mark.parametrize("kind", [torch.int64, torch.int32, torch.int16, torch.uint8, list])
@pytest.mark.parametrize("lengths", [[7, 5, 2, 1], [3, 7, 1, 5]])
def test_lengths_may_be_integers_of_any_type(kind, lengths):
    layer, _ = make_pair("lstm")
    x = torch.randn(STEPS, BATCH, INPUTS, dtype=torch.float64)
    expected, state = layer(x, lengths=torch.tensor(lengths))
    given = lengths if kind is list else torch.tensor(lengths, dtype=kind)
    output, found = layer(x, lengths=given)
    assert torch.equal(output, expected)
    assert torch.equal(found[1], state[1])


@pytest.mark.parametrize("regularizer", [None, Vand()], ids=lambda r: type(r).__name__)
@pytest.mark.parametrize("name", ["elman", "gru", "lstm"])
def test_an_autocast_changes_neither_results_nor_gradients(name, regularizer):
    layer = make_cell(name, INPUTS, UNITS, regularizer=regularizer)
    x, y = torch.randn(2, STEPS, BATCH, INPUTS, requires_grad=True)
    start = layer.initial_state(BATCH)
    outcomes = []
    for enabled in (False, True):
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            output = layer.run(x).output
            gradients = torch.autograd.grad(output.square().sum(), [x, layer.weight_hh_l0])
            after, _ = layer.transition(y[0], start)
        outcomes.append((output, *gradients, after))
    for ours, expected in zip(*outcomes, strict=True):
        assert torch.equal(ours, expected)


def test_an_autocast_takes_a_packed_sequence_with_a_state_of_another_type():
    layer = GRU(INPUTS, UNITS)
    x, start = torch.randn(STEPS, BATCH, INPUTS), torch.randn(1, BATCH, UNITS)
    lengths = torch.arange(1, BATCH + 1)
    packed = pack_padded_sequence(x.bfloat16(), lengths, enforce_sorted=False)
    with torch.autocast("cpu", torch.bfloat16):
        output, _ = layer(packed, start)
    wanted, _ = layer(
        pack_padded_sequence(x.bfloat16().float(), lengths, enforce_sorted=False), start
    )
    assert torch.equal(output.data.float(), wanted.data)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", PAIRS)
def test_half_precision_keeps_its_digits(name, dtype):
    ours, _, extra = PAIRS[name]
    layer = ours(INPUTS, UNITS, **extra).to(dtype)
    exact = ours(INPUTS, UNITS, dtype=torch.float64, **extra)
    exact.load_state_dict(layer.state_dict())
    with torch.no_grad():
        for parameter in (*layer.parameters(), *exact.parameters()):
            if parameter.dim() == 1:
                parameter.zero_()
    x = (1e-2 * torch.randn(100, BATCH, INPUTS)).to(dtype)  # where a tanh is small
    (output, _), (expected, _) = layer(x), exact(x.double())
    assert output.dtype == dtype
    scale = expected.abs().mean()
    assert (output - expected).abs().mean() < torch.finfo(dtype).eps * scale
    pair = ((layer, output), (exact, expected))
    found, wanted = (torch.autograd.grad(o.double().sum(), m.weight_hh_l0)[0] for m, o in pair)
    assert (found - wanted).abs().mean() < torch.finfo(dtype).eps * wanted.abs().mean()


@pytest.mark.parametrize("size", [1e-2, 1e-4, 1e-6])
@pytest.mark.parametrize("name", PAIRS)
def test_small_states_keep_their_digits(name, size):
    """Single precision against torch's layers in double: errors are relative to the state."""
    ours, theirs, extra = PAIRS[name]
    torch.manual_seed(0)
    layer, exact = ours(INPUTS, UNITS, **extra), theirs(INPUTS, UNITS, dtype=torch.float64, **extra)
    exact.load_state_dict(layer.state_dict())
    with torch.no_grad():
        for module in (layer, exact):
            for key, parameter in module.named_parameters():
                if "bias" in key:
                    parameter.zero_()
    x = size * torch.randn(STEPS, BATCH, INPUTS)
    output, expected = layer(x)[0], exact(x.double())[0]
    assert (output - expected).abs().max() < 1e-6 * expected.abs().max()
    state, steps = layer.initial_state(BATCH), []
    for x_t in x:
        h, state = layer.step(x_t, state)
        steps.append(h)
    assert (torch.stack(steps) - expected).abs().max() < 1e-6 * expected.abs().max()


@pytest.mark.parametrize("name", PAIRS)
def test_other_members_of_torchs_layers_exist(name):
    layer, reference = make_pair(name)
    assert layer.flatten_parameters() is None
    assert layer.bidirectional == reference.bidirectional


def test_a_pass_runs_on_the_meta_device():
    layer = GRU(INPUTS, UNITS, device="meta")
    assert layer.run(torch.zeros(STEPS, BATCH, INPUTS, device="meta")).output.is_meta
