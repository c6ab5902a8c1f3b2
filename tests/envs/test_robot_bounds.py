"""Robots in files: what their models and pictures may ask for, and where their files may lie."""

import json
import os
import struct
from importlib.resources import files
from pathlib import Path

import pytest

from vand_envs import make_world
from vand_envs.errors import VandError
from vand_envs.robot import VANDER
from vand_envs.robots.reading import to_mapping
from vand_robot.config.robots import find_robot


def written(folder: Path, inside: str = "") -> Path:
    """A robot's YAML, and beside it our own model with something more in it."""
    model = files("vand_envs").joinpath("assets", "vander.xml").read_text("utf-8")
    (folder / "mine.xml").write_text(model.replace("</mujoco>", f"{inside}</mujoco>"))
    spec = to_mapping(VANDER) | {"name": f"mine-{folder.name}"}
    spec["parts"][0]["file"] = "mine.xml"
    (folder / "mine.yaml").write_text(json.dumps(spec))
    return folder / "mine.yaml"


COPIES = '<worldbody>{}<geom size="1"/>{}</worldbody>'
PICTURE = '<asset><texture name="t" type="2d" file="large.png"/></asset>'


@pytest.mark.parametrize(
    ("inside", "words"),
    [
        (COPIES.format('<replicate count="1000000">', "</replicate>"), "at most 10000 copies"),
        (COPIES.format('<replicate count="100">' * 3, "</replicate>" * 3), "at most 10000 copies"),
        ('<worldbody><flexcomp name="f" type="grid" count="99 99 9"/></worldbody>', "copies"),
        (f"<worldbody>{'<body>' * 300}{'</body>' * 300}</worldbody>", "nested deeper than 200"),
        (f"<sensor>{'<clock/>' * 100_001}</sensor>", "at most 100000 elements"),
        ('<asset><hfield nrow="5000" ncol="9"/></asset>', "<hfield nrow=...>: expected a number"),
        ("<worldbody>", r"mine\.xml: expected MJCF: mismatched tag"),
        (PICTURE, "large.png: expected at most 33554432 pixels, got 12000 x 12000"),
    ],
)
def test_a_model_that_asks_for_too_much_is_refused_before_it_is_compiled(tmp_path, inside, words):
    head = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 12_000, 12_000)
    (tmp_path / "large.png").write_bytes(head + bytes(100))
    with pytest.raises(VandError, match=words) as caught:
        make_world(find_robot(str(written(tmp_path, inside))))
    assert "\n" not in str(caught.value)


def test_our_own_model_in_a_file_is_sound(tmp_path: Path):
    assert make_world(find_robot(str(written(tmp_path)))).model.nu == make_world().model.nu


@pytest.mark.parametrize("kind", ["loop", "pipe", "folder", "outside", "nothing"])
def test_a_model_that_is_no_file_is_one_line(tmp_path: Path, kind: str):
    robot, model = written(tmp_path), tmp_path / "mine.xml"
    model.unlink()
    make = {
        "loop": lambda: model.symlink_to(model.name),
        "pipe": lambda: os.mkfifo(model),
        "folder": model.mkdir,
        "outside": lambda: model.symlink_to("/etc/passwd"),
        "nothing": lambda: None,
    }
    make[kind]()
    with pytest.raises(VandError, match=r"^[^\n]*mine\.xml: [^\n]*$"):
        make_world(find_robot(str(robot)))


def test_a_check_that_finds_faults_ends_in_one_line(tmp_path: Path, fails):
    robot = written(tmp_path)
    spec = json.loads(robot.read_text())
    spec["base"]["max_speed"] = [3.0, 3.0, 1.2]
    spec["reach_m"] = 3.0
    robot.write_text(json.dumps(spec))
    code, line = fails("robots", "check", robot, "--episodes", 0)
    assert code == 1
    assert "checks failed" in line
