"""Options of regularizers: listed as data, checked in one place."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Annotated

import pytest

from vand_robot.nn import (
    REGULARIZERS,
    Chain,
    GaussianNoise,
    Noisin,
    Range,
    Regularizer,
    Vand,
    make_regularizer,
    options_of,
)


@pytest.mark.parametrize("name", REGULARIZERS)
def test_every_option_is_listed_with_its_default_and_help(name):
    found = options_of(name)
    assert [o.name for o in found] == [f.name for f in dataclasses.fields(REGULARIZERS[name])]
    for option in found:
        assert option.help.endswith("."), option
        assert "\n" not in option.help
        assert option.name == "regularizers" or option.type in (float, int, bool, str)
        if option.range is not None and option.default is not None:
            assert option.default in option.range
        if option.choices:
            assert option.default in option.choices


def test_type_bounds_choices_and_none_come_from_the_annotation():
    found = {option.name: option for option in options_of("vand")}
    assert found["budget"].optional
    assert found["budget"].type is float
    assert found["budget"].range == Range(0, math.inf, open_low=True)
    assert found["noise"].type is bool
    assert found["mask"].choices == ("step", "sequence")
    assert not found["sigma"].optional
    assert {option.name for option in options_of("dropout")} == {"on", "p", "mask"}


@pytest.mark.parametrize("name", sorted(set(REGULARIZERS) - {"chain"}))
def test_a_value_of_another_type_is_refused_for_every_option(name):
    for option in options_of(name):
        with pytest.raises(ValueError, match=f"{option.name} must be .*; got '?false"):
            make_regularizer(name, **{option.name: "false"})


@pytest.mark.parametrize("name", sorted(set(REGULARIZERS) - {"chain"}))
def test_a_number_out_of_bounds_is_refused_for_every_option(name):
    for option in options_of(name):
        if option.range is not None:
            for value in (option.range.low - 1, math.nan, math.inf):
                with pytest.raises(ValueError, match=f"{option.name} must lie in"):
                    make_regularizer(name, **{option.name: value})


def test_a_regularizer_is_made_by_name_alone_or_with_options_or_from_a_mapping():
    assert make_regularizer("vand") == Vand()
    assert make_regularizer("vand", beta=1) == Vand(beta=1)
    assert make_regularizer({"name": "vand", "beta": 1}) == Vand(beta=1)
    assert make_regularizer("chain", regularizers=[Vand(), {"name": "noisin"}]) == Chain(
        (Vand(), Noisin())
    )


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("vant", {}, "unknown regularizer 'vant', did you mean 'vand'"),
        ({"beta": 1}, {}, "unknown regularizer ''"),
        ("vand", {"bets": 1}, "vand has no option 'bets', did you mean 'beta'"),
        ("vand", {"noise": "false"}, "noise must be True or False; got 'false'"),
        ("vand", {"noise": 1}, "noise must be True or False; got 1"),
        ("vand", {"mask": "steps"}, "step, sequence; got 'steps', did you mean 'step'"),
        ("vand", {"mask": ["step"]}, "one of step, sequence; got"),
        ("vand", {"sigma": True}, "sigma must be a number"),
        ("vand", {"sigma": 1e-4}, r"sigma must lie in \(0.001, inf\), by sigma_min"),
        ("vand", {"budget": 1.0, "beta": 1e3}, r"beta must lie in \[1e-06, 100\] where it moves"),
        ("vand", {"beta": None}, "beta must be a number"),
    ],
)
def test_a_bad_name_or_option_is_one_clear_line(name, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        make_regularizer(name, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (Vand(), "a tuple of regularizers; got one"),
        (("vand",), "needs regularizers; got 'vand'"),
        ((Vand,), "needs regularizers; got <class"),
    ],
)
def test_members_of_a_chain_are_regularizers(members, message):
    with pytest.raises(TypeError, match=message):
        Chain(members)


def test_vand_may_be_first_in_a_chain_within_a_chain_and_nowhere_else():
    inner = Chain([Vand(), GaussianNoise()])
    assert Chain((inner, Noisin())).flattened() == (Vand(), GaussianNoise(), Noisin())
    with pytest.raises(ValueError, match="Vand can only come first"):
        Chain((GaussianNoise(), inner))


@dataclass(frozen=True)
class Leak(Regularizer):
    """A recipe of one's own."""

    most: Annotated[float, Range(0, 1)] = 0.02
    """Largest part that fades."""

    partners: tuple[str, ...] = ()


def test_a_recipe_of_ones_own_is_checked_by_its_own_annotations():
    assert Leak(0.5, partners=("a",)).most == 0.5
    with pytest.raises(ValueError, match=r"most must lie in \[0, 1\)"):
        Leak(1.5)
