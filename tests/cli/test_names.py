"""Names from outside that are no text: lone surrogates, mathematics, markup."""

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.workflows.test_compare import evaluated
from vand_demos import DemoDataset
from vand_demos.storage.check import iterate_check
from vand_robot.runtime.errors import PolicyError
from vand_robot.runtime.interface import Interface

STRANGE = "\ud800$^$<b>"
"""Half a character, what matplotlib fails on, and markup."""


def test_methods_of_strange_names_are_compared(tmp_path: Path, command):
    for number, name in enumerate((STRANGE, "plain")):
        evaluated(tmp_path / "runs", str(number), 0, 3)
        file = tmp_path / "runs" / str(number) / "evaluation" / "results.json"
        content = json.loads(file.read_text())
        content["policy"]["run"] = f"{name}-0"
        content["tasks"]["wipe"]["instruction"] = STRANGE
        file.write_text(json.dumps(content))
    code, out, err = command("compare", tmp_path / "runs", "--out", tmp_path / "out")
    assert code == 0, err
    assert "$^$" in out
    page = (tmp_path / "out" / "comparison.html").read_bytes().decode()
    assert "$^$&lt;b&gt;" in page
    (picture, *_) = (tmp_path / "out").glob("*.png")
    assert picture.stat().st_size > 0


def test_instructions_that_are_no_text_come_in_as_text(tmp_path: Path, command):
    pytest.importorskip("pyarrow")
    pytest.importorskip("av")
    folder = shutil.copytree("tests/fixtures/lerobot_v2", tmp_path / "reach")
    for name in ("tasks.jsonl", "episodes.jsonl"):
        file = folder / "meta" / name
        file.write_text(file.read_text().replace("Reach left.", "\\ud800 $^$"))
    out = tmp_path / os.fsdecode(b"\xff.hdf5")
    code, _, err = command("demos", "import", folder, "--format", "lerobot", "--out", out)
    assert code == 0, err
    assert not [text for kind, text in iterate_check(out) if kind == "fault"]
    with DemoDataset.open(out) as dataset:
        instructions = [dataset.attribute(name, "instruction") for name in dataset.names]
    assert any("$^$" in text for text in instructions)
    assert all(text.encode() for text in instructions)
    for words in (["info", out], ["plot", out, "--out", tmp_path / "plots"], ["check", out]):
        code, _, err = command("demos", *words)
        assert code == 0, err
    (picture, *_) = (tmp_path / "plots").glob("*.png")
    assert picture.stat().st_size > 0


def test_an_error_s_line_moves_no_cursor(tmp_path: Path, fails):
    for name in ("\x1b[31mred\x1b[2J", "\x07\x9b", "\ud800", "\u202eevil"):
        code, line = fails("demos", "info", tmp_path / name)
        assert code == 2
        assert line.isprintable()
        assert "\\" in line


def test_the_names_of_an_exported_policy_are_text(tmp_path: Path):
    content = {
        "format": "vand-robot-export",
        "format_version": 1,
        "observations": [["ee_pos", 3]],
        "images": {},
        "instructions": {"wipe": [1]},
        "control_dt_s": 0.1,
        "robot": STRANGE,
        "action_mode": "ee_twist",
        "action_size": 1,
        "action_low": [-1.0],
        "action_high": [1.0],
        "state": {"h": [1, 4]},
        "worst_latency_ms": 1.0,
        "median_latency_ms": 1.0,
        "name": STRANGE,
        "versions": {},
    }
    interface = Interface.from_json(json.dumps(content), "policy.onnx")
    for text in (interface.name, interface.robot):
        assert text.encode()
    with pytest.raises(PolicyError, match=r"policy\.onnx: robot: expected a text") as caught:
        Interface.from_json(json.dumps({**content, "robot": ["\ud800"]}), "policy.onnx")
    assert str(caught.value).encode()
