"""Exports answer as their policies do, over hundreds of steps, and say what they expect."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from tests.helpers.exports import CAMERA, SEEN, TASKS, make_checkpoint
from vand_envs.errors import UsageError, VandError
from vand_robot.export.network import ExportedNetwork
from vand_robot.export.onnx import CHECK_STEPS, export_policy
from vand_robot.runtime import Network, Policy, PolicyError


def recorded(n: int, seed: int = 1) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [
        {
            **{key: rng.normal(size=(n, size)).astype(np.float32) for key, size in SEEN.items()},
            "wrist_rgb": rng.integers(0, 256, (n, *CAMERA["wrist_rgb"], 3), dtype=np.uint8),
        }
        for _ in range(20)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", ["elman", "gru", "lstm"])
def test_every_cell_and_depth_is_exported(tmp_path: Path, cell: str, layers: int):
    make_checkpoint(tmp_path / "best", cell=cell, num_layers=layers, attention_heads=0)
    export = export_policy(tmp_path / "best", tmp_path / "policy.onnx")
    assert 0 < export.largest_difference < 1e-5
    assert set(export.interface.state) == ({"h", "c"} if cell == "lstm" else {"h"})


def test_an_export_with_images_attention_and_two_layers_answers_as_the_policy(tmp_path: Path):
    policy = make_checkpoint(tmp_path / "best", images=CAMERA, cell="lstm", num_layers=2)
    export = export_policy(tmp_path / "best", tmp_path / "policy.onnx")
    assert export.largest_difference < 1e-5
    session = onnxruntime.InferenceSession(str(tmp_path / "policy.onnx"))
    assert [i.name for i in session.get_inputs()] == ["obs", "wrist_rgb", "h_in", "c_in"]
    assert [o.name for o in session.get_outputs()] == ["actions", "h_out", "c_out"]
    network = Network.load(tmp_path / "policy.onnx")
    ours, theirs, reached = None, network.initial_state(3), 0.0
    for observation in recorded(3):  # a batch of another size than it was traced with
        expected, ours = policy.act(observation, ours)
        obs = np.concatenate([observation[key] for key in SEEN], 1)
        actions, theirs = network.step(obs, {"wrist_rgb": observation["wrist_rgb"]}, theirs)
        np.testing.assert_allclose(actions, expected, atol=1e-5)
        reached = max(reached, float(np.abs(actions).max()))
    assert reached == 1.0  # clipping took part
    robot, state = Policy.load(tmp_path / "policy.onnx"), None
    for observation in recorded(1):  # and in one episode, on buffers that stay
        expected, state = policy.act(observation, state)
        action = robot.act({key: value[0] for key, value in observation.items()})
        np.testing.assert_allclose(action, expected[0], atol=1e-5)
    turned = np.zeros((32, 24, 3), np.uint8)
    seen = {**{key: value[0] for key, value in observation.items()}, "wrist_rgb": turned}
    with pytest.raises(PolicyError, match=r"expected \(24, 32, 3\) uint8, got \(32, 24, 3\)"):
        robot.act(seen)


def test_the_interface_stands_in_the_metadata(tmp_path: Path, command):
    make_checkpoint(tmp_path / "best", reset_every=4)
    out = tmp_path / "policy.onnx"
    code, text, _ = command("export", tmp_path / "best", "--out", out, "--json")
    assert code == 0
    facts = json.loads(text)
    assert facts["steps"] == CHECK_STEPS
    assert 0 < facts["largest_difference"] < 1e-5
    interface = facts["interface"]
    assert interface["observations"] == [[key, size] for key, size in SEEN.items()]
    assert interface["instructions"] == {"stow-cube": [1, 0], "wipe": [0, 1]}
    assert interface["rate_hz"] == 10
    assert interface["reset_every"] == 4
    assert interface["worst_latency_ms"] >= interface["median_latency_ms"] > 0
    assert interface["action_low"] == [-1.0] * 10
    assert set(interface["versions"]) >= {"vand-robot", "torch"}
    read = Network.load(out).interface
    assert read.instructions == TASKS
    assert json.loads(read.to_json()) == interface


def test_torch_export_answers_as_the_policy(tmp_path: Path):
    policy = make_checkpoint(tmp_path / "best")
    out = tmp_path / "policy.pt2"
    assert export_policy(tmp_path / "best", out, file_format="torch").largest_difference < 1e-5
    extra = {"vand_robot.json": ""}
    module = torch.export.load(str(out), extra_files=extra).module()
    assert json.loads(extra["vand_robot.json"])["robot"] == "vander"
    x = torch.randn(1, 11)
    actions, _ = module(x, torch.zeros(1, 1, 7))
    parts = dict(zip(SEEN, np.split(x.numpy(), [3, 6, 9], 1), strict=True))
    np.testing.assert_allclose(actions.detach().numpy(), policy.act(parts)[0], atol=1e-5)


def test_an_export_that_differs_is_refused_and_not_written(tmp_path: Path, monkeypatch):
    make_checkpoint(tmp_path / "best")
    right = ExportedNetwork.forward

    def wrong(network, *arguments):
        actions, *state = right(network, *arguments)
        return actions + 1e-3, *state

    monkeypatch.setattr(ExportedNetwork, "forward", wrong)
    with pytest.raises(VandError, match=r"differs from its policy by .* nothing was written"):
        export_policy(tmp_path / "best", tmp_path / "policy.pt2", file_format="torch")
    assert not (tmp_path / "policy.pt2").exists()


def test_mistakes_are_one_line(tmp_path: Path):
    make_checkpoint(tmp_path / "best")
    out = tmp_path / "policy.onnx"
    out.touch()
    with pytest.raises(UsageError, match="--force replaces it"):
        export_policy(tmp_path / "best", out)
    with pytest.raises(UsageError, match="expected onnx or torch, got 'tflite'"):
        export_policy(tmp_path / "best", tmp_path / "x", file_format="tflite")
    with pytest.raises(UsageError, match="no checkpoint"):
        export_policy(tmp_path / "absent", tmp_path / "x")
    with pytest.raises(UsageError, match="there is no folder"):
        export_policy(tmp_path / "best", tmp_path / "absent" / "x.onnx")
