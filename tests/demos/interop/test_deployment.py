"""Recordings of deployments that are damaged: each is one line that names the array."""

import json

import numpy as np
import pytest

from vand_demos.interop.deployment import RECORDING_FORMAT, import_recording
from vand_envs.errors import VandError

STEPS = 6
INTERFACE = {
    "robot": "mine",
    "action_mode": "native",
    "control_dt_s": 0.1,
    "instructions": {"wave": [1]},
    "images": {},
    "action_low": [-1.0, 0.0],
    "action_high": [1.0, 2.0],
    "versions": {},
}


def recording(**changes):
    """The arrays of a recording of a robot that no simulation knows."""
    actions = np.linspace(0, 1, 2 * STEPS, dtype=np.float32).reshape(STEPS, 2)
    return {
        "format": np.array(RECORDING_FORMAT),
        "interface": np.array(json.dumps(INTERFACE)),
        "instruction": np.array("wave"),
        "success": np.array("True"),
        "driver": np.array("mine"),
        "recorded_at": np.array("2026-01-02T03:04:05+00:00"),
        "actions": actions,
        "obs/joints": np.zeros((STEPS, 3), np.float32),
    } | changes


def imported(folder, arrays):
    np.savez(folder / "a.npz", **arrays)
    return import_recording(folder / "a.npz", folder / "a.hdf5")


def test_a_recording_becomes_an_episode_without_its_last_step(tmp_path):
    rewards = np.zeros(STEPS, np.float32)
    whole = recording(**{"extra/seed": np.array(3), "extra/rewards": rewards})
    assert imported(tmp_path, whole) == (1, STEPS - 1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("actions", np.zeros((1, 2), np.float32)),
        ("actions", np.array("left")),
        ("actions", np.zeros((STEPS, 2), "U3")),
        ("obs/joints", np.array("x")),
        ("obs/joints", np.zeros((STEPS, 3, 1), np.float32)),
        ("obs/joints", np.zeros((STEPS - 1, 3), np.float32)),
        ("obs/joints", np.zeros((STEPS, 3), "U3")),
        ("extra/states", np.float32(3)),
        ("extra/rewards", np.zeros((STEPS, 1))),
        ("extra/seed", np.array([[3]])),
        ("extra/seed", np.array(-1)),
        ("extra/seed", np.array("x")),
    ],
)
def test_an_array_of_another_shape_or_type_is_named(tmp_path, name, value):
    with pytest.raises(VandError, match=f"a.npz: .*{name.split('/')[0]}") as caught:
        imported(tmp_path, recording(**{name: value}))
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "a.hdf5").exists()
