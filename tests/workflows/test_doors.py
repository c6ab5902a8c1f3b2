"""Damaged inputs of every kind: a few here, all of them with `make faults`."""

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.faults.answers import answer, fault_of
from tests.faults.corpus import COUNTS, damage
from tests.faults.runs import renew_hashes
from tests.faults.sound import make_sound
from tests.helpers.jobs import brief
from vand_envs.errors import VandError
from vand_robot.config.schema import PolicyConfig
from vand_robot.evaluation.results import EvaluationResult
from vand_robot.evaluation.target import load_target
from vand_robot.interface import PolicySpec
from vand_robot.policies.checkpoint import load_checkpoint, load_trainer_state
from vand_robot.policies.recurrent import RecurrentPolicy
from vand_robot.training.trainer import train


@pytest.fixture(scope="module")
def sound(demos, tmp_path_factory):
    with brief():
        return make_sound(tmp_path_factory.mktemp("sound") / "sound", demos)


@pytest.fixture
def run(sound, tmp_path):
    return shutil.copytree(sound.run, tmp_path / "run")


SAMPLE = {
    "checkpoint": 98,
    "run": 29,
    "results": 9,
    "yaml": 63,
    "lerobot": 11,
    "minari": 46,
    "imported": 7,
}


@pytest.mark.parametrize("kind", COUNTS)
def test_a_damaged_input_is_answered_with_lines(kind, sound, tmp_path):
    (tmp_path / "input").mkdir()
    damaged = damage(kind, SAMPLE[kind], sound, tmp_path / "input")
    reply = answer(list(damaged.arguments), tmp_path)
    assert not fault_of(reply), (damaged.what, reply)


def change(file, path, value):
    content = json.loads(file.read_text())
    *outer, last = path.split(".")
    owner = content
    for key in outer:
        owner = owner[key]
    if value is ...:
        del owner[last]
    else:
        owner[last] = value
    file.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("extras", None, "extras: expected a mapping, got None"),
        ("extras.references", {"wipe": 3}, "extras.references.wipe: expected a mapping, got 3"),
        (
            "extras.references.wipe.median_steps",
            2**62,
            "extras.references.wipe.median_steps: expected an integer from 1 to 1e+07",
        ),
        (
            "extras.references.wipe.cycle.frequency_hz",
            0,
            "extras.references.wipe.cycle.frequency_hz: expected a number from 0.0001 to 10000",
        ),
        ("extras.references.wipe.cycle", None, "expected the cycle of a periodic task, got None"),
        ("spec.control_dt_s", 0, "'spec.control_dt_s': expected a number in [1e-05, 1], got 0"),
        ("spec.observations.ee_pos", 10**18, "'spec.observations.ee_pos': expected an integer"),
        ("spec.robot", ..., "'spec.robot' is missing"),
        ("update", -1, "update: expected an integer >= 0, got -1"),
        ("metrics", {"a": "x"}, "metrics.a: expected a number, got 'x'"),
        ("sha256", {}, "sha256.policy.safetensors is missing"),
    ],
)
def test_a_value_of_a_checkpoint_that_does_not_fit_is_named(run, path, value, expected):
    file = run / "best" / "policy.json"
    change(file, path, value)
    with pytest.raises(VandError) as caught:
        load_target(run, expert=False)
    assert str(caught.value).startswith(f"{file}: ")
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("best", [], "best: expected a mapping, got []"),
        ("best.update", 99, "best.update: expected an integer from 0 to 2, got 99"),
        ("fingerprint", ..., "fingerprint is missing"),
        ("means.sums", {"nll": None}, "means.sums.nll: expected a number, got None"),
        ("update", True, "update: expected an integer, got True"),
    ],
)
def test_a_value_of_the_training_state_that_does_not_fit_is_named(run, path, value, expected):
    file = run / "last" / "trainer.json"
    change(file, path, value)
    with pytest.raises(VandError) as caught:
        load_trainer_state(run / "last")
    assert str(caught.value) == f"{file}: {expected}"


def test_an_optimizer_entry_of_another_shape_is_named(run):
    import safetensors.torch  # noqa: PLC0415

    file = run / "last" / "optimizer.safetensors"
    tensors = safetensors.torch.load_file(file)
    name = next(name for name, tensor in tensors.items() if tensor.ndim == 2)
    tensors[name] = tensors[name][:-1].clone()
    safetensors.torch.save_file(tensors, file)
    renew_hashes(run / "last")
    config = load_checkpoint(run / "last").config
    with pytest.raises(VandError, match=f"{file}: tensor '{name}': expected shape"):
        train(config, run, resume=True)


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("tasks.wipe.perturbations.nominal.success_rate", float("nan"), "a finite number, got nan"),
        ("tasks.wipe.perturbations.nominal.success_rate", 7, "a number from 0 to 1, got 7"),
        ("perturbations.nominal.about", None, "perturbations.nominal.about: expected a text"),
        ("first_seed", 10**18, None),
    ],
)
def test_a_value_of_a_result_that_does_not_fit_is_named(sound, tmp_path, path, value, expected):
    file = Path(shutil.copy(sound.results[0] / "results.json", tmp_path))
    change(file, path, value)
    if expected is None:
        assert EvaluationResult.read(file).first_seed == value
        return
    with pytest.raises(VandError) as caught:
        EvaluationResult.read(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert expected in str(caught.value)


def test_a_pipe_in_place_of_a_file_is_refused(run, tmp_path):
    for file, read in (
        (run / "last" / "trainer.json", lambda: load_trainer_state(run / "last")),
        (tmp_path / "results.json", lambda: EvaluationResult.read(tmp_path / "results.json")),
    ):
        file.unlink(missing_ok=True)
        os.mkfifo(file)
        with pytest.raises(VandError, match=f"^{file}: expected a file, got a pipe$"):
            read()


def test_a_policy_is_counted_before_it_is_made(monkeypatch):
    spec = PolicySpec("vander", "ee_twist", 10, 0.1, ("wipe",), {"ee_pos": 3})
    large = PolicyConfig(hidden_size=8192, num_layers=64)
    with pytest.raises(VandError, match=r"weights: .* got 102\.\d+ GB; VAND_MAX_BYTES"):
        RecurrentPolicy(large, spec)
    monkeypatch.setenv("VAND_MAX_BYTES", "1000")
    with pytest.raises(VandError, match="expected at most 1 kB in memory"):
        RecurrentPolicy(PolicyConfig(), spec)
    monkeypatch.setenv("VAND_MAX_BYTES", "many")
    with pytest.raises(VandError, match="VAND_MAX_BYTES: expected a positive number of bytes"):
        RecurrentPolicy(PolicyConfig(), spec)
