"""Policies that are no runs in our suite: exported files, servers, modules of others."""

import asyncio
import json
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

import vand_robot as vr
from vand_envs.errors import UsageError, VandError
from vand_robot.evaluation.doors import exported_target, others_target
from vand_robot.evaluation.rollout import rollout
from vand_robot.export.actor import actor_maker
from vand_robot.export.onnx import export_policy
from vand_robot.policies.exported import ExportedPolicy
from vand_robot.policies.mapping import read_mapping
from vand_robot.policies.others import connect
from vand_robot.serving.server import PolicyServer

MAPPING = """
observations:
  observation.state: [joint_pos, gripper]
images:
  observation.images.head: {camera: head_rgb, size: [12, 16]}
prompt: task
reset: begins
execute: 2
"""


class Chunks:
    """Another project's policy: it answers with chunks of three actions, and keeps what it saw."""

    seen: ClassVar[list] = []

    def __init__(self) -> None:
        self.asked = 0

    def reset(self) -> None:
        self.asked = 0

    def infer(self, observation):
        Chunks.seen.append(observation)
        self.asked += 1
        return {"actions": np.full((3, 10), 0.01 * self.asked) * [[1], [2], [3]]}


def broken():
    return lambda observation: {"action": [0.0]}


@contextmanager
def serving(source: Path):
    """A server of a policy in a thread; gives its address."""
    started, address, loop = threading.Event(), [], asyncio.new_event_loop()
    stop = asyncio.Event()

    def ready(where: str) -> None:
        address.append(where)
        started.set()

    server = PolicyServer(actor_maker(source), port=0)
    thread = threading.Thread(target=loop.run_until_complete, args=(server.run(ready, stop),))
    thread.start()
    try:
        assert started.wait(10)
        yield address[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


@pytest.fixture(scope="module")
def exported_run(run, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "policy.onnx"
    export_policy(run, path)
    return path


def test_directly_exported_and_served_a_policy_does_the_same(run, exported_run):
    policy = vr.load_policy(run)
    expected = rollout(policy, "wipe", [0, 1, 2], 12)
    answers = {"exported": rollout(ExportedPolicy(exported_run), "wipe", [0, 1, 2], 12)}
    with serving(run) as address:
        answers["served"] = rollout(connect(address, None), "wipe", [0, 1, 2], 12)
    for name, got in answers.items():
        np.testing.assert_allclose(got.actions, expected.actions, atol=1e-4, err_msg=name)


@pytest.mark.slow
def test_an_exported_policy_is_evaluated_as_its_run_is(run, exported_run, tmp_path: Path, command):
    words = ["--tasks", "wipe", "--episodes", "1", "--jobs", "1", "--json"]
    answers = []
    for source in (run, exported_run):
        code, out, err = command("evaluate", source, *words, "--out", tmp_path / source.name)
        assert code == 0, err
        answers.append(json.loads(out)["tasks"])
    assert answers[0]["wipe"]["perturbations"]["nominal"]["episodes"] == 1
    assert answers[0].keys() == answers[1].keys()
    assert (tmp_path / exported_run.name / "report.html").exists()


def test_an_exported_policy_without_references_is_one_line(exported, demos):
    path = exported[2]
    with pytest.raises(VandError, match=r"holds no references to judge by; --references FILE does"):
        exported_target(path)
    assert set(exported_target(path, demos).references) == {"stow-cube", "wipe"}


def test_a_policy_of_others_sees_and_acts_by_its_mapping(demos, tmp_path: Path):
    (tmp_path / "mapping.yaml").write_text(MAPPING)
    target = others_target(
        policy="tests.evaluation.test_doors:Chunks",
        mapping=tmp_path / "mapping.yaml",
        references=demos,
    )
    assert set(target.references) == {"stow-cube", "wipe"}
    Chunks.seen.clear()
    policy = target.make_policy()
    assert policy.spec.images == {"head_rgb": (12, 16)}
    episodes = rollout(policy, "wipe", [0, 1], 4)
    # of each chunk of three two are carried out: 0.01, 0.02, then the second answer's
    np.testing.assert_allclose(episodes.actions[:, 0, 0], [0.01, 0.02, 0.02, 0.04], atol=1e-6)
    assert len(Chunks.seen) == 2 * 2  # two episodes and no copies, two chunks each
    first, later = Chunks.seen[0], Chunks.seen[2]
    assert set(first) == {"observation.state", "observation.images.head", "task", "begins"}
    assert first["observation.images.head"].shape == (12, 16, 3)
    assert first["observation.state"].dtype == np.float32
    assert "wipe" in first["task"].lower()
    assert (first["begins"], later["begins"]) == (True, False)


@pytest.mark.usefixtures("short_episodes")
def test_the_suite_runs_on_a_policy_of_others(demos, tmp_path: Path, command):
    code, out, err = command(
        "evaluate", "--policy", "tests.evaluation.test_doors:Chunks", "--references", demos,
        "--perturbations", "nominal,sensor", "--tasks", "stow-cube", "--episodes", 1, "--jobs", 1,
        "--out", tmp_path / "out", "--json",
    )  # fmt: skip
    assert code == 0, err
    result = json.loads(out)
    assert set(result["tasks"]["stow-cube"]["perturbations"]) == {"nominal", "sensor"}
    assert set(result["confusion"]["nominal"]["stow-cube"]) > {"wipe", "none"}
    assert (tmp_path / "out" / "report.html").exists()


def test_mistakes_are_one_line(demos, tmp_path: Path, fails):
    ours = "tests.evaluation.test_doors"
    for words, code, line in (
        (["--policy", f"{ours}:Chunks"], 2, "--references: needed"),
        (["--policy", f"{ours}:Chunk", "--references", demos], 2, "has no attribute 'Chunk'"),
        (["--policy", "nothing", "--references", demos], 2, "expected MODULE:FACTORY"),
        (["--policy", f"{ours}:broken", "--references", demos], 1, "lacks 'actions'"),
        (["--policy", "builtins:exit", "--references", demos], 1, "be made: SystemExit"),
        (["--server", "ws://127.0.0.1:1", "--references", demos], 1, "no server at ws://127"),
        (["--policy", f"{ours}:Chunks", "--server", "x"], 2, "expected one policy"),
        ([], 2, "expected one policy: a run or a policy.onnx"),
    ):  # fmt: skip
        came, message = fails("evaluate", *words, "--jobs", 1, "--out", tmp_path / "out")
        assert (came, line in message) == (code, True), message
    came, message = fails("evaluate", "--server", "x", "--references", demos)
    assert "--out: a folder for the results is needed" in message
    for text, line in (
        ("observations: {state: [joint_po]}", "did you mean 'joint_pos'"),
        ("images: {head: {camera: head}}", "did you mean 'head_rgb'"),
        ("prompts: x", "did you mean 'prompt'"),
        ("observations: [", "expected YAML"),
        ("execute: 0", "execute"),
    ):
        (tmp_path / "mapping.yaml").write_text(text)
        with pytest.raises((UsageError, VandError), match=line):
            read_mapping(tmp_path / "mapping.yaml")


def test_a_server_that_dies_stops_the_evaluation_in_one_line(run):
    with serving(run) as address:
        policy = connect(address, None)
        batch = vr.TaskBatch("wipe", 2, instructions=policy.spec.instructions)
        observation = batch.reset([0, 1])
        _, state = policy.act(observation)
    with pytest.raises(VandError, match="the server has gone"):
        policy.act(observation, state)
