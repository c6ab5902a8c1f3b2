"""Two processes that train one policy together, on the loopback interface."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.helpers.parallel import VARIANTS, config_of
from tests.helpers.runs import small_config, write_random
from vand_envs.errors import UsageError
from vand_robot.data.loading import load_data
from vand_robot.training.processes import joined_processes, require_divisible
from vand_robot.training.trainer import train

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """The folder of two processes' runs, and what each of them tells."""
    folder = tmp_path_factory.mktemp("parallel")
    data = write_random(folder / "d.hdf5", per_task=6)
    launched = subprocess.run(
        [*TORCHRUN, "-m", "tests.helpers.parallel", str(folder), str(data)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert launched.returncode == 0, launched.stderr
    return folder, [json.loads((folder / f"{index}.json").read_text()) for index in (0, 1)]


@pytest.mark.parametrize("variant", VARIANTS)
def test_two_processes_have_the_loss_curve_of_one(told, tmp_path: Path, variant: str):
    folder, (leader, follower) = told
    curve: list[Any] = []
    config = config_of(folder / "d.hdf5", variant)
    train(config, tmp_path / "one", on_update=lambda _, metrics: curve.append(metrics))
    assert len(leader[variant]) == len(curve) == config.updates
    assert follower[variant] == []  # the first process alone reports
    for one, two in zip(curve, leader[variant], strict=True):
        assert one.keys() == two.keys()
        for name, value in one.items():
            assert two[name] == pytest.approx(value, rel=2e-5, abs=1e-6), name
    one, two = (
        load_file(path / "last/policy.safetensors") for path in (tmp_path / "one", folder / variant)
    )
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("policy.reset_every=4", "policy.reset_every: expected null"),
        ("held_out.spread=true", "held_out.spread: expected false"),
        ("policy.regularizer.adaptation=held_out", "adaptation: expected 'training'"),
        ("policy.regularizer.mask=sequence", "mask: expected 'step'"),
        ("batch_size=3", "batch_size: expected a multiple of the 2 processes"),
    ],
)
def test_what_several_processes_cannot_do_is_refused(tmp_path: Path, option: str, told: str):
    config = small_config(
        tmp_path / "d.hdf5", "policy.regularizer.name=vand", "batch_size=4", option
    )
    with pytest.raises(UsageError, match=told):
        require_divisible(config, SimpleNamespace(count=2))


def test_a_signal_to_one_process_stops_both_and_the_run_goes_on_exactly(told):
    folder, (leader, follower) = told
    assert leader["stopped"][0].startswith("stopped after update")
    assert follower["stopped"] == ["", 130]  # silent: the first process has said it
    assert leader["stopped"][1] == 130
    straight, stopped = (
        load_file(folder / run / "last/policy.safetensors") for run in ("budget", "stopped")
    )
    for name, tensor in straight.items():
        assert torch.equal(stopped[name], tensor), name
    lines = [(folder / run / "metrics.jsonl").read_text() for run in ("budget", "stopped")]
    assert lines[0] == lines[1]


def test_an_error_of_one_process_ends_both_with_one_line(told):
    _, (leader, follower) = told
    assert follower["missing"][0].startswith("there is no data set")
    assert leader["missing"] == ["", follower["missing"][1]]
    expected = "batch_size: expected a multiple of the 2 processes, got 5"
    assert leader["uneven"] == [expected, 2]
    assert follower["uneven"] == ["", 2]  # both failed alike: the first one says it


def test_a_process_that_nobody_started_beside_others_is_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORLD_SIZE", "8")  # of another launcher, which knows nothing of training
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    with joined_processes() as processes:
        assert processes is None


class _TwoProcesses:
    """Stands where a batch asks which part of it is wanted."""

    count = 2

    def __init__(self, index: int) -> None:
        self.index = index

    def total(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor


def test_the_parts_of_a_batch_are_the_whole(tmp_path: Path):
    demonstrations = load_data(config_of(write_random(tmp_path / "d.hdf5", 6), "budget")).train
    episodes = torch.arange(5)
    whole = demonstrations.batch(episodes)
    parts = [demonstrations.batch(episodes, _TwoProcesses(index)) for index in (0, 1)]
    rows = torch.cat([part.rows_of_whole for part in parts])
    assert sorted(rows.tolist()) == list(range(whole.steps))
    seen = torch.empty(whole.steps, whole.observations.shape[-1])
    seen[rows] = torch.cat([part.valid(part.observations) for part in parts])
    assert torch.equal(seen, whole.valid(whole.observations))
    for part in parts:
        assert len(part.observations) == len(whole.observations)
        assert part.whole_steps == whole.steps
        pieces, wholes = list(part.split_time(2)), list(whole.split_time(2))
        assert [piece.whole_steps for piece in pieces] == [piece.steps for piece in wholes]


@pytest.mark.slow
def test_the_command_trains_in_two_processes_and_says_everything_once(demos: Path, tmp_path: Path):
    command = (*TORCHRUN, "-m", "vand_robot", "train", "quickstart", f"data=[{demos}]")
    small = ("updates=4", "batch_size=4", "policy.hidden_size=16", "rollouts.episodes=1")
    out = ("--out", str(tmp_path / "run"))

    def launch(*words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*command, *small, *out, *words], capture_output=True, text=True, check=False
        )

    first = launch()
    assert first.returncode == 0, first.stderr
    assert first.stdout.count("4 updates done") == 1
    assert first.stderr.count("loading PyTorch") == 1
    again = launch()  # the folder is taken
    assert again.returncode == 1
    assert again.stderr.count("error: ") == 1
    assert "exists: go on with --resume" in again.stderr
