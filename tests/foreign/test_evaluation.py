"""A policy in somebody else's environment, in another process."""

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.helpers.browser import until
from vand_robot.config import validation
from vand_robot.config.schema import PolicyConfig, TrainConfig
from vand_robot.foreign.evaluation import EPISODES_IN_A_JOB
from vand_robot.foreign.remote_env import RemoteEnv
from vand_robot.interface import PolicySpec
from vand_robot.policies.checkpoint import Checkpoint, save_checkpoint
from vand_robot.policies.recurrent import RecurrentPolicy


def make_run(folder: Path, seed: int = 0, **changes) -> Path:
    """A policy that moves against the point; saved as a run's checkpoint."""
    values = {"action_size": 2, "control_dt_s": 0.1, "observations": {"point": 2}, **changes}
    spec = PolicySpec(robot="point", action_mode="ee_twist", instructions=("reach",), **values)
    shape = {"hidden_size": 2, "encoder": {"sizes": []}, "attention_heads": 0, "cell": "elman"}
    policy = RecurrentPolicy(validation.build(PolicyConfig, shape), spec).eval()
    with torch.no_grad():
        for parameter in policy.core.parameters():
            parameter.zero_()
        policy.core.weight_ih_l0.copy_(-torch.eye(2)[:, : policy.core.weight_ih_l0.shape[1]])
        policy.head.linear.weight.zero_()
        policy.head.linear.weight[: spec.action_size].copy_(2 * torch.eye(2)[: spec.action_size])
        policy.head.linear.bias.zero_()
    train = validation.build(TrainConfig, {"data": ["x.hdf5"], "policy": shape, "seed": seed})
    save_checkpoint(folder / "best", Checkpoint(policy, train, 1, {}, {}), None)
    return folder


ENV = "gymnasium:tests.helpers.reach_env:VandTests/Reach-v0"


def test_a_policy_is_evaluated_in_an_environment_of_others(tmp_path: Path, command):
    run = make_run(tmp_path / "reach-0")
    words = ["--env", ENV, "--python", sys.executable, "--episodes", 7, "--jobs", 1, "--json"]
    code, text, err = command("evaluate", run, *words)
    assert code == 0, err
    result = json.loads(text)
    (task,) = result["tasks"].values()
    entry = task["perturbations"]["nominal"]
    assert (entry["episodes"], entry["successes"]) == (7, 7)
    assert entry["wilson_95"][0] > 0.6
    assert entry["metrics"]["length_steps"]["median"] == 5
    assert entry["metrics"]["return"]["median"] < 0
    out = run / "evaluation-VandTests-Reach-v0"
    assert "Reach-v0" in (out / "report.html").read_text()
    with (out / "episodes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len({row["seed"] for row in rows}) == len(rows) == 7
    again = tmp_path / "again"
    words += ["--success", "tests.helpers.reach_env:near_enough", "--env-arg", "key=something"]
    code, text, err = command("evaluate", run, *words, "--out", again)
    assert code == 0, err  # the same episodes, whose success a function tells
    numbers = json.loads(text)["tasks"].values()
    assert [t["perturbations"]["nominal"]["metrics"] for t in numbers] == [entry["metrics"]]


def test_an_evaluation_that_was_killed_goes_on_to_the_same_results(
    tmp_path: Path, command, monkeypatch
):
    run, out, whole = make_run(tmp_path / "reach-0"), tmp_path / "out", tmp_path / "whole"
    words = [*("evaluate", run, "--env", ENV), *("--episodes", 3 * EPISODES_IN_A_JOB, "--jobs", 1)]
    with subprocess.Popen(
        [sys.executable, "-m", "vand_robot", *map(str, [*words, "--out", out])],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stderr=subprocess.DEVNULL,
    ) as process:
        kept = until(
            lambda: list((out / "jobs").glob("*.job")) or process.poll() is not None, limit_s=300
        )
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert not (out / "results.json").exists()
    code, _, err = command(*words, "--out", out)
    assert (code, "--resume goes on" in err) == (2, True), err
    started = []

    class Counted(RemoteEnv):
        def __init__(self, *arguments, **options):
            started.append(arguments)
            super().__init__(*arguments, **options)

    monkeypatch.setattr("vand_robot.foreign.evaluation.RemoteEnv", Counted)
    code, _, err = command(*words, "--out", out, "--resume")
    assert code == 0, err
    # what was finished is not done again; one more shows whether resets follow their seeds
    assert len(started) == 1 + 3 - len(kept)
    code, _, err = command(*words, "--out", whole)
    assert code == 0, err
    assert (out / "episodes.csv").read_text() == (whole / "episodes.csv").read_text()
    answers = [json.loads((folder / "results.json").read_text()) for folder in (out, whole)]
    assert answers[0] == answers[1]


@pytest.mark.slow
def test_results_do_not_depend_on_processes_and_compare_takes_them(tmp_path: Path, command):
    answers = []
    for seed, jobs in ((0, 1), (1, 2)):
        run = make_run(tmp_path / "runs" / f"reach-{seed}", seed)
        code, text, err = command("evaluate", run, "--env", ENV, "--episodes", 6, "--jobs", jobs,
                                  "--env-arg", "near=0.2", "--json",
                                  "--out", tmp_path / "out" / f"reach-{seed}")  # fmt: skip
        assert code == 0, err
        answers.append(json.loads(text)["tasks"])
    assert answers[0] == answers[1]
    code, text, err = command("compare", tmp_path / "out", "--out", tmp_path / "compared", "--json")
    assert code == 0, err
    assert "reach" in json.loads(text)["methods"]


@pytest.mark.parametrize(
    ("words", "changes", "code", "line"),
    [
        (["--env", "gymnasium:NothingLikeIt-v0"], {}, 1, "NothingLikeIt"),
        (["--env", ENV, "--python", "/no/such/python"], {}, 2, "cannot start /no/such/python"),
        (["--env", ENV], {"action_size": 1}, 1, "the policy acts with 1 numbers"),
        (["--env", ENV], {"observations": {"place": 2}}, 1, "'place' is missing; there are: point"),
        (["--env", ENV], {"control_dt_s": 0.05}, 1, "its rate is 10 Hz, the policy acts at 20 Hz"),
        (["--env", ENV, "--env-arg", "key=done"], {}, 1, "success or is_success in info"),
        (["--env", ENV, "--env-arg", "key"], {}, 2, "expected KEY=VALUE"),
        (["--env", ENV, "--success", "json:nothing"], {}, 2, "no function 'json:nothing'"),
        (["--env", ENV, "--success", "json:loads"], {}, 1, "json:loads failed: TypeError"),
    ],
)
def test_what_does_not_fit_is_one_line(tmp_path: Path, fails, words, changes, code, line):
    run = make_run(tmp_path / "run", **changes)
    came, message = fails("evaluate", run, *words, "--episodes", 1, "--jobs", 1)
    assert came == code, message
    assert line in message


def test_an_environment_that_takes_its_seed_as_an_argument_is_made_for_each_episode(
    tmp_path: Path, command
):
    run, env = make_run(tmp_path / "reach-0"), ENV.replace("Reach-v0", "OwnSeed-v0")
    words = ["evaluate", run, "--env", env, "--episodes", 7, "--jobs", 1, "--out"]
    texts = []
    for name in ("one", "two"):
        code, _, err = command(*words, tmp_path / name, "--env-arg", "seed={seed}")
        assert (code, "note:" in err) == (0, False), err
        texts.append((tmp_path / name / "episodes.csv").read_text())
    assert texts[0] == texts[1]
    returns = [row["return"] for row in csv.DictReader(texts[0].splitlines())]
    assert len(set(returns)) == 7
    _, _, err = command(*words, tmp_path / "three", "--env-arg", "seed=3")
    assert "begins in another way each time, whatever the seed" in err
    rows = csv.DictReader((tmp_path / "three/episodes.csv").read_text().splitlines())
    assert len({row["return"] for row in rows}) == 5  # a process of its own for every five
