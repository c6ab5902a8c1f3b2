"""Two data sets compared bit for bit, and the machine named where they differ."""

import dataclasses
import json

import numpy as np
import pytest

from tests.helpers.episodes import ENV_ARGS, env_args, episode, put
from vand_demos.storage.difference import MOST_DIFFERENCES, compare_datasets
from vand_demos.storage.writer import write_dataset
from vand_demos.system.machine import likely_reason, machine_facts
from vand_demos.system.version import made_by

HERE = {"cpu": "A", "blas": "openblas Haswell"}


@pytest.fixture
def compared(tmp_path):
    """Compares data sets of two lists of episodes."""

    def compare(first, second, other_args=ENV_ARGS, splits=None):
        files = [tmp_path / "a.hdf5", tmp_path / "b.hdf5"]
        write_dataset(files[0], first, ENV_ARGS, {"train": [0]}, overwrite=True)
        write_dataset(files[1], second, other_args, splits or {"train": [0]}, overwrite=True)
        return compare_datasets(*files)

    return compare


def test_recordings_that_differ_in_identifier_and_time_alone_are_equal(compared):
    later = {"recorded_at": "2030-01-01T00:00:00+00:00", "versions": {"mujoco": "9"}}
    result = compared([episode(1), episode(2)], [episode(1, **later), episode(2)])
    assert not result.differences
    assert (result.episodes, result.reason) == (2, "")


def test_a_number_that_differs_is_named_with_its_step_and_the_machine(compared):
    one = episode(1, versions=HERE)
    states = put(one.states, (4, 2), one.states[4, 2] + 1e-9)
    other = dataclasses.replace(
        one, states=states, uid="0" * 32, versions={**HERE, "blas": "openblas Zen"}
    )
    result = compared([one], [other])
    (difference,) = result.differences
    assert difference.place == "demo_0: states"
    assert difference.words == "1 of 77 numbers differ by up to 1e-09, from step 4 on"
    assert result.reason == "likely reason: blas differs ('openblas Haswell'; 'openblas Zen')"


def test_the_sign_of_a_zero_counts_as_a_bit(compared):
    one = episode(1)
    zero = put(one.states, (0, 0), 0.0)
    pair = [
        dataclasses.replace(one, states=put(zero, (0, 0), z), uid=u * 32)
        for z, u in ((0.0, "a"), (-0.0, "b"))
    ]
    (difference,) = compared([pair[0]], [pair[1]]).differences
    assert difference.words == "differs in the sign of a zero"


def test_attributes_environment_splits_and_missing_episodes_are_named(compared):
    def places(*arguments, **named):
        return [difference.place for difference in compared(*arguments, **named).differences]

    assert places([episode(1)], [episode(1, success=False)]) == ["demo_0: success"]
    assert places([episode(1)], [episode(1), episode(2)]) == ["demo_1"]
    assert "env_args" in places([episode(1)], [episode(1)], env_args(instructions=["wipe"]))
    assert places([episode(1)], [episode(1)], splits={"valid": [0]}) == ["mask/train", "mask/valid"]
    assert places([episode(1)], [episode(1, steps=5)])[0] == "demo_0: actions"


def test_a_comparison_that_finds_too_much_stops(compared):
    many = [episode(seed) for seed in range(12)]
    others = [episode(seed + 100) for seed in range(12)]
    result = compared(many, others)
    assert len(result.differences) == MOST_DIFFERENCES + 1
    assert result.differences[-1].words == "and more; not compared on"


def test_the_command_says_where_and_ends_with_a_code(command, fails, tmp_path):
    files = [tmp_path / name for name in ("a.hdf5", "b.hdf5", "c.hdf5")]
    for file, seed in zip(files, (1, 1, 2), strict=True):
        write_dataset(file, [episode(seed)], ENV_ARGS)
    code, out, _ = command("demos", "diff", files[0], files[1])
    assert (code, out) == (0, "equal: 1 episodes, but for identifiers and times\n")
    code, out, _ = command("demos", "diff", files[0], files[2])
    assert code == 1
    assert "demo_0: actions: " in out
    code, out, _ = command("demos", "diff", files[0], files[2], "--json")
    assert json.loads(out)["differences"][0]["place"] == "demo_0: actions"
    assert fails("demos", "diff", files[0], tmp_path / "absent.hdf5")[0] == 2


def test_the_facts_of_this_machine_are_texts_and_name_its_kernels():
    facts = machine_facts()
    assert {"cpu", "system", "blas"} <= facts.keys()
    assert all(isinstance(value, str) and value for value in facts.values())
    assert made_by()["numpy"] == np.__version__


def test_the_reason_says_when_nothing_is_known_or_nothing_differs():
    assert likely_reason({}, HERE).startswith("reason unknown")
    assert likely_reason(HERE, HERE) == "no likely reason: the same cpu, blas"
