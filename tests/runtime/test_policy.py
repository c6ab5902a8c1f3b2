"""A policy without torch: it answers as the run's does, and what does not fit is one line."""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.helpers.exports import SEEN
from vand_robot.runtime import Network, Policy, PolicyError, PolicyUsageError
from vand_robot.runtime.graph import operators
from vand_robot.runtime.interface import METADATA_KEY

ROOT = Path(__file__).parents[2]

IMPORTS_NOTHING_ELSE = """
import sys
from vand_robot.runtime import Policy, run_loop
import vand_robot.runtime.command
policy = Policy.load(sys.argv[1])
policy.reset(instruction="wipe")
policy.act({"ee_pos": [0.1, 0, 0], "cube_rel": [0, 0, 0], "bin_rel": [0, 0, 0]})
tops = {name.partition(".")[0] for name in sys.modules}
print(sorted(tops & {"torch", "mujoco", "h5py", "gymnasium", "scipy", "vand_envs", "vand_demos"}))
"""


def seen(rng: np.random.Generator) -> dict[str, np.ndarray]:
    sizes = {key: size for key, size in SEEN.items() if key != "instruction"}
    return {key: rng.normal(size=size).astype(np.float32) for key, size in sizes.items()}


def test_it_acts_as_the_runs_policy_with_the_instruction_by_name(exported):
    ours, _, path = exported
    policy = Policy.load(path)
    rng = np.random.default_rng(0)
    for episode in ("wipe", "stow-cube"):
        policy.reset(instruction=episode)
        code, state = np.float32([episode == "stow-cube", episode == "wipe"]), None
        for _ in range(30):
            observation = seen(rng)
            expected, state = ours.act({**observation, "instruction": code}, state)
            action = policy.act(observation)
            assert action.dtype == np.float32
            np.testing.assert_allclose(action, expected, atol=1e-5)


def test_the_instruction_may_come_with_the_observation_and_change_on_the_way(exported):
    _, _, path = exported
    told, shown = Policy.load(path), Policy.load(path)
    told.reset("wipe")
    rng = np.random.default_rng(1)
    for code in ([0, 1], [1, 0]):
        if code == [1, 0]:
            told.instruct("stow-cube")  # and the memory goes on
        observation = seen(rng)
        expected = shown.act({**observation, "instruction": code})
        np.testing.assert_array_equal(told.act(observation), expected)


def test_actions_that_were_returned_stay_as_they_are(exported):
    policy = Policy.load(exported[2])
    policy.reset("wipe")
    rng = np.random.default_rng(2)
    first = policy.act(seen(rng))
    kept = first.copy()
    policy.act(seen(rng))
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"ee_pos": None}, "observation 'ee_pos' is missing; there are: cube_rel"),
        ({"ee_pos": np.zeros(4)}, r"observation 'ee_pos': expected shape \(3,\), got \(4,\)"),
        ({"ee_pos": 0.0}, r"observation 'ee_pos': expected shape \(3,\), got \(\)"),
        ({"ee_pos": ["a", "b", "c"]}, "observation 'ee_pos': expected 3 numbers"),
        ({"bin_rel": np.array([0, np.nan, 0])}, "observation 'bin_rel' is not finite"),
    ],
)
def test_an_observation_that_does_not_fit_is_one_line(exported, change: dict, line: str):
    policy = Policy.load(exported[2])
    policy.reset("wipe")
    observation = {**seen(np.random.default_rng(0)), **change}
    observation = {key: value for key, value in observation.items() if value is not None}
    with pytest.raises(PolicyError, match=line):
        policy.act(observation)


def test_no_instruction_and_an_unknown_one_are_one_line(exported):
    policy = Policy.load(exported[2])
    with pytest.raises(PolicyError, match=r"'instruction' is missing \(or reset"):
        policy.act(seen(np.random.default_rng(0)))
    with pytest.raises(PolicyUsageError, match=r"unknown instruction 'wip' .did you mean 'wipe'"):
        policy.reset("wip")


def test_files_that_are_no_policies_are_one_line(exported, tmp_path: Path, monkeypatch):
    path = exported[2]
    with pytest.raises(PolicyUsageError, match="does not exist"):
        Policy.load(tmp_path / "absent.onnx")
    with pytest.raises(PolicyUsageError, match="expected a file"):
        Policy.load(tmp_path)
    (tmp_path / "cut.onnx").write_bytes(path.read_bytes()[:500])
    with pytest.raises(PolicyError, match="damaged or no ONNX model"):
        Policy.load(tmp_path / "cut.onnx")
    model = onnx.load(path)
    for changes, line in (
        ({}, "not a model of vand-robot export"),
        ({"vand_robot": "{"}, "no JSON"),
        ({"vand_robot": "{}"}, "format: expected a text, got None"),
        (
            {
                "vand_robot": Network.load(path)
                .interface.to_json()
                .replace('["ee_pos", 3]', '["a", 4]')
            },
            r"input obs: expected \(..., 12\)",
        ),
    ):
        del model.metadata_props[:]
        onnx.helper.set_model_props(model, changes)
        onnx.save(model, tmp_path / "other.onnx")
        with pytest.raises(PolicyError, match=line):
            Policy.load(tmp_path / "other.onnx")
    monkeypatch.setenv("VAND_MAX_BYTES", "100")
    with pytest.raises(PolicyError, match="expected at most 100 bytes"):
        Policy.load(path)


def test_a_damaged_export_is_one_line_and_nothing_is_printed(exported, capfd):
    sound, rng = exported[2].read_bytes(), np.random.default_rng(0)
    lines = []
    for case in range(60):
        content = bytearray(sound)
        at = int(rng.integers(len(content)))
        if case % 3 == 0:
            del content[at:]
        elif case % 3 == 1:
            content[at : at + 8] = rng.bytes(8)
        else:
            content[at:at] = rng.bytes(20)
        try:
            policy = Policy(Network(bytes(content), "damaged.onnx"))
            policy.reset("wipe")
            policy.act(seen(rng))  # damage of a weight is a policy, too
        except PolicyError as error:
            lines.append(str(error))
    assert len(lines) > 30
    assert not [line for line in lines if "\n" in line]
    assert capfd.readouterr() == ("", "")


def with_loop(model: onnx.ModelProto) -> None:
    """Lets the actions go through 2^62 rounds that change nothing."""
    kinds = {"round": onnx.TensorProto.INT64, "go": onnx.TensorProto.BOOL}
    value = onnx.helper.make_tensor_value_info
    same = [onnx.helper.make_node("Identity", [a], [b]) for a, b in (("go", "on"), ("x", "y"))]
    inputs = [value(name, kind, []) for name, kind in kinds.items()]
    floats = [value(name, onnx.TensorProto.FLOAT, None) for name in ("x", "y")]
    outputs = [value("on", onnx.TensorProto.BOOL, []), floats[1]]
    body = onnx.helper.make_graph(same, "body", [*inputs, floats[0]], outputs)
    tensor = onnx.helper.make_tensor
    model.graph.initializer.append(tensor("rounds", onnx.TensorProto.INT64, [], [2**62]))
    model.graph.initializer.append(tensor("yes", onnx.TensorProto.BOOL, [], [True]))
    last = next(node for node in model.graph.node if "actions" in node.output)
    last.output[:] = ["before"]
    loop = onnx.helper.make_node("Loop", ["rounds", "yes", "before"], ["actions"], body=body)
    model.graph.node.append(loop)


def with_layers(layers: int):
    def change(model: onnx.ModelProto) -> None:
        (entry,) = [e for e in model.metadata_props if e.key == METADATA_KEY]
        content = json.loads(entry.value)
        content["state"]["h"][0] = layers
        entry.value = json.dumps(content)
        if layers > 3:
            (state,) = [i for i in model.graph.input if i.name == "h_in"]
            state.type.tensor_type.shape.dim[0].dim_value = layers

    return change


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (with_loop, "operator Loop is refused"),
        (with_layers(3), r"input h_in: expected \(3, n, ...\), got \[1, "),
        (with_layers(10**9), r"one step takes \d+ bytes, more than the limit|damaged"),
    ],
)
def test_a_policy_that_would_take_for_ever_or_all_memory_is_refused(exported, change, line: str):
    _, _, path = exported
    model = onnx.load(str(path))
    known = set(operators(path.read_bytes()))
    assert known == {node.op_type for node in model.graph.node} | {
        node.op_type for function in model.functions for node in function.node
    }
    change(model)
    with pytest.raises(PolicyError, match=line) as caught:
        Network(model.SerializeToString(), "policy.onnx")
    assert "\n" not in str(caught.value)


def test_names_that_are_no_text_are_one_line(exported):
    _, _, path = exported
    content = path.read_bytes().replace(b"vand_robot", b"\xff\xfend_robot")
    with pytest.raises(PolicyError, match=r"policy\.onnx: [^\n]*$"):
        Network(content, "policy.onnx")


def test_a_board_without_onnx_runtime_is_told_what_to_install(exported, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(PolicyError, match="pip install onnxruntime"):
        Policy.load(exported[2])


def test_the_runtime_imports_neither_torch_nor_mujoco(exported):
    program = [sys.executable, "-c", IMPORTS_NOTHING_ELSE, str(exported[2])]
    answer = subprocess.run(program, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


@pytest.mark.slow
def test_it_acts_in_an_environment_with_numpy_and_onnx_runtime_alone(exported, tmp_path: Path):
    venv.create(tmp_path / "board", with_pip=True)
    python = tmp_path / "board" / "bin" / "python"
    install = [python, "-m", "pip", "install", "-q"]
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    for words in (["--no-deps", str(ROOT)], ["-c", str(ROOT / "constraints.txt"), "numpy"]):
        subprocess.run([*install, *words], check=True, env=clean)
    program = [python, "-m", "vand_robot.runtime", str(exported[2]), "--driver", "socket"]
    answer = subprocess.run(
        program, capture_output=True, text=True, env=clean, cwd=tmp_path, check=False
    )
    assert answer.returncode == 1
    assert answer.stderr.strip().startswith("error: ONNX Runtime is not installed")
    subprocess.run(
        [*install, "-c", str(ROOT / "constraints.txt"), "onnxruntime"], check=True, env=clean
    )
    program = [python, "-c", IMPORTS_NOTHING_ELSE, str(exported[2])]
    answer = subprocess.run(
        program, capture_output=True, text=True, env=clean, cwd=tmp_path, check=False
    )
    assert answer.stdout.strip() == "[]", answer.stderr
