"""Every regularizer on every cell: gradients, limits, expectations, what is off at inference."""

import pytest
import torch

from vand_robot.nn import (
    REGULARIZERS,
    Chain,
    Dropout,
    DropoutLSTM,
    GaussianNoise,
    Noisin,
    NoRegularizer,
    Vand,
    Zoneout,
    make_cell,
    make_regularizer,
)
from vand_robot.nn.kernel.random_mask import draw_mask

STEPS, BATCH, INPUTS, UNITS = 5, 3, 2, 4
CELLS = ["elman", "gru", "lstm"]
RECIPES = {
    "none": NoRegularizer(),
    "noise": GaussianNoise(0.3),
    "noise_on_hidden": GaussianNoise(0.3, on="hidden"),
    "dropout": Dropout(0.4),
    "dropout_per_sequence": Dropout(0.4, mask="sequence"),
    "zoneout": Zoneout(0.3),
    "vand_relaxed": Vand(sigma=0.3, drop=0.4, beta=0.1, estimator="relaxed"),
    "vand_relaxed_explicit": Vand(
        sigma=0.3, drop=0.4, beta=0.1, estimator="relaxed", explicit=True, prior="learned"
    ),
    "vand_relaxed_per_sequence": Vand(
        sigma=0.3, drop=0.4, beta=0.1, estimator="relaxed", mask="sequence", prior="learned"
    ),
    "vand_noise_only": Vand(sigma=0.3, beta=0.1, dropout=False),
    "noisin": Noisin("gumbel", spread=0.2),
    "noisin_strong": Noisin("gamma", spread=0.2, form="multiplicative", unbiased="strong"),
    "dropout_lstm": DropoutLSTM(),
    "noisin_on_dropout_lstm": Chain((DropoutLSTM(), Noisin(form="multiplicative"))),
    "vand_drop_only": Vand(drop=0.4, beta=0.1, noise=False, estimator="relaxed"),
}


OPTIONS = {"chain": {"regularizers": [{"name": "vand"}, {"name": "noisin"}]}}


def make_by_name(name):
    return make_regularizer({"name": name, **OPTIONS.get(name, {})})


def make_layer(cell, recipe, **options):
    torch.manual_seed(0)
    return make_cell(cell, INPUTS, UNITS, 2, regularizer=recipe, dtype=torch.float64, **options)


def finite_difference_error(function, parameters, step=1e-5):
    """Largest error, relative to the gradient, of directional derivatives; one per parameter."""
    gradients = torch.autograd.grad(function(), parameters, allow_unused=True)
    errors = []
    for parameter, gradient in zip(parameters, gradients, strict=True):
        direction = torch.randn_like(parameter)
        start = parameter.detach().clone()
        values = []
        for sign in (1, -1):
            parameter.data.copy_(start + sign * step * direction)
            values.append(function().item())
        parameter.data.copy_(start)
        numeric = (values[0] - values[1]) / (2 * step)
        analytic = 0.0 if gradient is None else (gradient * direction).sum().item()
        errors.append(abs(numeric - analytic) / (abs(analytic) + 1e-3))
    return max(errors)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("cell", CELLS)
def test_gradients_pass_finite_differences(cell, recipe):
    layer = make_layer(cell, RECIPES[recipe])
    x = torch.randn(STEPS, BATCH, INPUTS, dtype=torch.float64)
    target = torch.randn(STEPS, BATCH, UNITS, dtype=torch.float64)
    lengths = torch.tensor([STEPS, 2, 4])
    # Detached terms have a gradient that is not the loss's own; they are tested in test_nn_vand.
    whole = not isinstance(layer.regularizer.recipe, Vand) or layer.regularizer.recipe.explicit

    def loss():
        torch.manual_seed(5)
        result = layer.run(x, lengths=lengths)
        data = (result.output - target).square().sum()
        return data + result.terms.penalty if whole else data

    assert finite_difference_error(loss, list(layer.parameters())) < 1e-6


@pytest.mark.parametrize("name", REGULARIZERS)
@pytest.mark.parametrize("cell", CELLS)
def test_inference_is_deterministic_and_free(cell, name):
    layer = make_layer(cell, make_by_name(name)).eval()
    x = torch.randn(STEPS, BATCH, INPUTS, dtype=torch.float64)
    results = [layer.run(x) for _ in range(2)]
    assert torch.equal(results[0].output, results[1].output)
    assert results[0].terms.penalty == 0
    assert results[0].terms.kl == 0


@pytest.mark.parametrize("name", sorted(set(REGULARIZERS) - {"none"}))
def test_samples_can_be_asked_for_at_inference(name):
    layer = make_layer("gru", make_by_name(name)).eval()
    x = torch.randn(STEPS, BATCH, INPUTS, dtype=torch.float64)
    draws = [layer.run(x, deterministic=False).output for _ in range(3)]
    assert len({draw.sum().item() for draw in draws}) > 1
    state = layer.initial_state(64)
    torch.manual_seed(0)
    output, _ = layer.step(x[0, :1].expand(64, -1), state, deterministic=False)
    assert output.std(0).max() > 0


@pytest.mark.parametrize(
    "recipe", [GaussianNoise(0.0), Dropout(0.0), Zoneout(0.0)], ids=lambda r: type(r).__name__
)
@pytest.mark.parametrize("cell", CELLS)
def test_a_regularizer_of_strength_zero_gives_the_plain_network(cell, recipe):
    x = torch.randn(STEPS, BATCH, INPUTS, dtype=torch.float64)
    plain, regularized = make_layer(cell, None), make_layer(cell, recipe)
    torch.testing.assert_close(regularized(x)[0], plain(x)[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(), (3,)], ids=["number", "by_unit"])
def test_masks_of_probability_zero_and_one_have_no_exceptions(shape):
    torch.manual_seed(0)
    like = torch.zeros(1000, 3)
    for probability in (0.0, 1.0):
        given = torch.full(shape, probability) if shape else probability
        assert torch.all(
            draw_mask(given, 1000, like) == bool(probability)
        )  # 2^-16 is seen 46 times


@pytest.mark.parametrize(
    "recipe", [Dropout(0.0), DropoutLSTM(0.0, 0.0, 0.0)], ids=lambda r: type(r).__name__
)
def test_dropout_of_nothing_drops_nothing(recipe):
    torch.manual_seed(0)
    assert torch.all(recipe.draw(1000, torch.zeros(100, 10)).A == 1)


def test_dropout_per_sequence_silences_a_unit_throughout():
    layer = make_layer("gru", Dropout(0.5, mask="sequence"))
    output, _ = layer(torch.randn(20, BATCH, INPUTS, dtype=torch.float64))
    silent = output == 0
    assert torch.equal(silent.all(0), silent.any(0))
    assert 0 < silent.all(0).sum() < silent[0].numel()


def test_noise_on_hidden_leaves_the_cell_state_exact_for_one_step():
    layer = make_layer("lstm", GaussianNoise(0.3, on="hidden"))
    plain = make_layer("lstm", None)
    x = torch.randn(1, BATCH, INPUTS, dtype=torch.float64)
    noisy, exact = layer.run(x).state[0], plain.run(x).state[0]
    torch.testing.assert_close(noisy[:, UNITS:], exact[:, UNITS:], rtol=0, atol=1e-12)
    assert not torch.any(noisy[:, :UNITS] == exact[:, :UNITS])


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(
    "recipe", [GaussianNoise(0.1), Dropout(0.2), Zoneout(0.3)], ids=lambda r: type(r).__name__
)
def test_one_step_averages_to_the_deterministic_state(cell, recipe):
    """Given the previous state, the deterministic state is the samples' mean."""
    layer = make_layer(cell, recipe)
    x = torch.randn(1, 1, INPUTS, dtype=torch.float64).expand(1, 40_000, INPUTS)
    state = torch.randn(2, 1, layer.state_size, dtype=torch.float64).expand(2, 40_000, -1)
    torch.manual_seed(1)
    with torch.no_grad():
        samples = layer.run(x, state).state[0]
        expected = layer.run(x, state, deterministic=True).state[0, 0]
    error = (samples.mean(0) - expected).abs()
    assert torch.all(error < 5 * samples.std(0) / 200)
