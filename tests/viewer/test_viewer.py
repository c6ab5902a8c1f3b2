import json
import os
import re
import socket
import subprocess
import sys

import imageio_ffmpeg
import mujoco
import numpy as np
import pytest
from PIL import Image

from tests.helpers.browser import browser, until
from tests.helpers.disk import small_disk
from vand_envs.errors import UsageError, VandError
from vand_envs.rendering import Renderer, default_gl_backend
from vand_robot.viewer import write_html, write_video
from vand_robot.viewer.motion import STATE, even_places, poses, poses_at, timed_places

DT = 0.1
SAMPLES = 12


@pytest.fixture(scope="module")
def model():
    return mujoco.MjModel.from_xml_string(
        """
        <mujoco>
          <statistic center="0 0 0.3" extent="1"/>
          <worldbody>
            <light pos="1 -1 3" dir="-1 1 -3"/>
            <geom name="floor" type="plane" size="2 2 0.1" rgba="0.8 0.8 0.8 1"/>
            <camera name="side" pos="0 -2 0.6" xyaxes="1 0 0 0 0.3 1"/>
            <body name="arm" pos="0 0 0.2">
              <joint name="turn" axis="0 0 1"/>
              <geom type="capsule" fromto="0 0 0 0.6 0 0.2" size="0.06" rgba="0.9 0.4 0.1 1"/>
            </body>
            <body name="cube" pos="0 0.5 0.1">
              <freejoint/>
              <geom type="box" size="0.1 0.1 0.1" rgba="0.1 0.2 0.8 1"/>
            </body>
            <body name="goal" mocap="true" pos="0.6 0.6 0.1">
              <geom type="sphere" size="0.05" contype="0" conaffinity="0" rgba="0 0.7 0.3 1"/>
            </body>
          </worldbody>
        </mujoco>
        """
    )


@pytest.fixture(scope="module")
def motion(model):
    """The arm turns by a right angle and the cube tips over, as integration states."""
    data = mujoco.MjData(model)
    rows = np.empty((SAMPLES, mujoco.mj_stateSize(model, STATE)))
    for i, part in enumerate(np.linspace(0, 1, SAMPLES)):
        data.qpos[:] = [part * np.pi / 2, part, 0.5, 0.1, np.cos(part), np.sin(part), 0, 0]
        data.mocap_pos[0] = [0.6 + part, 0.6, 0.1]
        mujoco.mj_getState(model, data, rows[i], STATE)
    return rows


def positions(model, motion):
    return np.array([data.qpos.copy() for data in poses(model, motion)])


def decode(path):
    frames = imageio_ffmpeg.read_frames(str(path))
    meta = next(frames)
    width, height = meta["size"]
    pictures = [np.frombuffer(frame, np.uint8).reshape(height, width, 3) for frame in frames]
    return meta, np.array(pictures)


def test_poses_pass_through_every_sample_at_constant_joint_velocity(model, motion):
    turn = np.array([data.qpos[0] for data in poses(model, motion, 3)])
    assert len(turn) == len(even_places(SAMPLES, 3)) == 34
    np.testing.assert_allclose(turn, np.linspace(0, np.pi / 2, 34), atol=1e-12)


def test_poses_between_samples_keep_quaternions_normalized(model, motion):
    for data in poses(model, motion, 4):
        assert np.linalg.norm(data.qpos[4:8]) == pytest.approx(1)


def test_poses_of_states_move_mocap_bodies(model, motion):
    places = [data.mocap_pos[0, 0] for data in poses(model, motion)]
    assert places[-1] - places[0] == pytest.approx(1)


def test_poses_of_positions_equal_those_of_states(model, motion):
    np.testing.assert_array_equal(
        positions(model, positions(model, motion)), positions(model, motion)
    )


def test_a_motion_of_another_model_or_with_holes_is_refused(model, motion):
    with pytest.raises(VandError, match=r"\(T, 8\).*not \(12, 5\)"):
        next(poses(model, np.zeros((12, 5))))
    broken = motion.copy()
    broken[7, 3] = np.nan
    with pytest.raises(VandError, match="sample 7"):
        next(poses(model, broken))


def test_renderer_draws_in_both_qualities_and_leaves_the_model_as_it_was(model):
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    before = model.vis.global_.offwidth, model.vis.quality.offsamples
    for fast in (False, True):
        with Renderer(model, 800, 500, camera="side", fast=fast) as renderer:
            picture = renderer.render(data)
        assert picture.shape == (500, 800, 3)
        assert picture.std() > 10
    assert (model.vis.global_.offwidth, model.vis.quality.offsamples) == before


def test_an_unknown_camera_is_named_with_its_likeness(model, motion, tmp_path):
    with pytest.raises(UsageError, match=r"'sied'.*did you mean 'side'"):
        Renderer(model, camera="sied")
    with pytest.raises(UsageError, match="known: -1, 0"):
        Renderer(model, camera=3)
    with pytest.raises(UsageError, match="did you mean 'side'"):
        write_html(model, motion, DT, tmp_path / "a.html", camera="sied")


def test_the_error_names_a_backend_that_is_not_installed(monkeypatch):
    monkeypatch.setattr("vand_envs.rendering._available", lambda backend: False)
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    monkeypatch.delitem(__import__("sys").modules, "mujoco")
    with pytest.raises(VandError, match=r"MUJOCO_GL=osmesa .* install libegl1"):
        default_gl_backend()


def test_video_has_every_frame_in_real_time_and_shows_the_motion(model, motion, tmp_path):
    done = []
    frames = write_video(
        model,
        motion,
        DT,
        tmp_path / "a.mp4",
        size=(320, 240),
        camera="side",
        captions="turn the arm",
        progress=lambda k, n: done.append((k, n)),
    )
    meta, pictures = decode(tmp_path / "a.mp4")
    assert frames == len(pictures) == 2 * (SAMPLES - 1) + 1
    assert done[0] == (1, frames)
    assert done[-1] == (frames, frames)
    assert meta["fps"] == 20
    assert meta["codec"] == "h264"
    assert pictures[0].std() > 10
    assert np.abs(pictures[0].astype(int) - pictures[-1])[:200].max() > 100
    assert list(tmp_path.iterdir()) == [tmp_path / "a.mp4"]  # nothing left behind


def test_video_captions_change_with_the_samples(model, motion, tmp_path):
    captions = ["I"] * (SAMPLES // 2) + ["a much longer caption that must be cut " * 5] * 6
    write_video(model, motion, DT, tmp_path / "a.mp4", size=(320, 240), captions=captions)
    _, pictures = decode(tmp_path / "a.mp4")
    bright = (pictures[:, 224:, :250].min(axis=-1) > 150).sum(axis=(1, 2))
    assert bright[-1] > 5 * bright[0] > 0


@pytest.mark.parametrize(
    ("name", "signature"),
    [("a.gif", b"GIF89a"), ("a.webm", b"\x1aE\xdf\xa3"), ("a.MP4", b"\x00\x00\x00")],
)
def test_the_ending_of_the_name_says_the_format(model, motion, tmp_path, name, signature):
    path = tmp_path / name
    frames = write_video(model, motion, DT, path, size=(96, 64), fps=7.5, captions="turn")
    assert path.read_bytes().startswith(signature)
    meta, pictures = decode(path)
    assert meta["size"] == (96, 64)
    assert meta["fps"] == pytest.approx(7.5, rel=0.03)  # a GIF counts hundredths of a second
    assert frames == 9  # 1.1 s
    assert len(pictures) == pytest.approx(frames, abs=1)


def test_poses_at_a_rate_of_their_own_lie_on_the_motion(model, motion):
    places = timed_places(SAMPLES, DT, 7.5)
    turn = np.array([data.qpos[0] for data in poses_at(model, motion, places)])
    np.testing.assert_allclose(turn, np.arange(9) / 7.5 / 1.1 * np.pi / 2, atol=1e-9)
    assert timed_places(SAMPLES, DT, 10.0) == even_places(SAMPLES, 1)


def test_video_refuses_odd_sizes_and_missing_captions(model, motion, tmp_path):
    with pytest.raises(UsageError, match="even, not 321x240"):
        write_video(model, motion, DT, tmp_path / "a.mp4", size=(321, 240))
    with pytest.raises(UsageError, match="2 captions for 12 samples"):
        write_video(model, motion, DT, tmp_path / "a.mp4", captions=["a", "b"])
    for options in ({"size": (2, 8192)}, {"fps": 0.0}, {"fps": 1000.0}):
        with pytest.raises(UsageError, match="expected"):
            write_video(model, motion, DT, tmp_path / "a.mp4", **options)


def test_a_video_that_fails_leaves_the_old_file(model, motion, tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"old")
    motion = motion.copy()
    motion[-1] = np.inf
    with pytest.raises(VandError, match="not finite"):
        write_video(model, motion, DT, path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture(scope="module")
def page(model, motion, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "a.html"
    write_html(model, motion, DT, path, title="turn <the> arm", caption="seed 3 & more", camera=0)
    return path


@pytest.mark.parametrize("ending", [".mp4", ".webm", ".gif"])
def test_a_video_on_a_full_disk_is_an_error_and_the_old_file_stays(model, motion, tmp_path, ending):
    with small_disk(tmp_path, "90k") as disk:
        path = disk / f"a{ending}"
        path.write_bytes(b"old")
        (disk / "other").write_bytes(bytes(75_000))
        with pytest.raises(VandError, match=f"^cannot write {path}: the disk is full$"):
            write_video(model, np.tile(motion, (2, 1)), DT, path, size=(320, 240), fps=30)
        assert path.read_bytes() == b"old"
        assert sorted(disk.iterdir()) == [path, disk / "other"]


def test_a_video_that_lost_pictures_is_refused(model, motion, tmp_path, monkeypatch):
    monkeypatch.setattr("imageio_ffmpeg.count_frames_and_secs", lambda path: (3, 1.0))
    with pytest.raises(VandError, match=r"3 of .* pictures could be read back"):
        write_video(model, motion, DT, tmp_path / "a.mp4", size=(64, 48))
    assert list(tmp_path.iterdir()) == []


FULL_DISK = """#!/bin/sh
case "$*" in *-version*) exec "{real}" "$@" ;; esac
echo "av_interleaved_write_frame(): No space left on device" >&2
exit 1
"""
WRITE = """
import sys, mujoco, numpy as np
from vand_robot.viewer import write_video
model = mujoco.MjModel.from_xml_string("<mujoco><worldbody><body><freejoint/>"
    "<geom size='.1'/></body></worldbody></mujoco>")
motion = np.tile(model.qpos0, (300, 1))
try:
    write_video(model, motion, 0.1, sys.argv[1], size=(64, 48))
except Exception as error:
    print(type(error).__name__, error)
"""


def test_an_ffmpeg_that_stops_is_one_line_without_its_command(tmp_path):
    fake = tmp_path / "ffmpeg"
    fake.write_text(FULL_DISK.format(real=imageio_ffmpeg.get_ffmpeg_exe()))
    fake.chmod(0o755)
    out = tmp_path / "out.mp4"
    done = subprocess.run(
        [sys.executable, "-c", WRITE, out],
        env={**os.environ, "IMAGEIO_FFMPEG_EXE": str(fake)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.startswith(f"VandError cannot write {out}: "), done.stderr
    assert "COMMAND" not in done.stdout
    assert len(done.stdout.splitlines()) == 1
    assert not out.exists()


def test_page_refers_to_nothing_outside_itself(page):
    text = page.read_text("utf-8")
    hosts = set(re.findall(r"https?://([^/\"'`\s)]+)", text))
    assert hosts <= {"www.w3.org"}  # the name of the SVG vocabulary, not an address
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=[\"'](?!data:)", text)


def test_page_shows_title_and_caption_as_text(page):
    text = page.read_text("utf-8")
    assert "<title>turn &lt;the&gt; arm</title>" in text
    assert "<h1>turn &lt;the&gt; arm</h1><p>seed 3 &amp; more</p>" in text


def test_page_is_small(page):
    assert page.stat().st_size < 1.3e6


def test_writing_a_page_is_silent_and_leaves_no_server(model, motion, tmp_path, capfd, monkeypatch):
    bound = []
    original = socket.socket.bind

    def bind(self, address):
        bound.append(address)
        return original(self, address)

    monkeypatch.setattr(socket.socket, "bind", bind)
    write_html(model, motion, DT, tmp_path / "a.html")
    assert capfd.readouterr().out == ""
    assert all(address[0] == "127.0.0.1" for address in bound)


def test_page_draws_the_scene_in_a_browser_without_network(page, tmp_path):
    picture = tmp_path / "page.png"

    def shows_the_scene():
        shown.screenshot(picture)
        pixels = np.asarray(Image.open(picture).convert("RGB")).astype(int)[60:240]
        red, green, blue = np.moveaxis(pixels, -1, 0)
        arm = (red > blue + 60) & (red > green + 30)  # orange
        cube = (blue > red + 40) & (blue > green + 20)
        return arm.sum() > 200 and cube.sum() > 200

    with browser(tmp_path, (300, 380), "--host-resolver-rules=MAP * ~NOTFOUND") as go:
        shown = go(page.as_uri())
        until(shows_the_scene, 60, every_s=0.5)


def test_marks_stand_on_the_time_bar_and_tell_their_label_and_time(model, motion, tmp_path):
    path, length_s = tmp_path / "a.html", (SAMPLES - 1) * DT
    marks = [(0.2 * length_s, "<b>lift</b> & more"), (0.75 * length_s, "put down")]
    write_html(model, motion, DT, path, marks=marks)
    mark, bar = "#marks i:nth-of-type({})", ".mantine-Slider-trackContainer"
    box = "JSON.stringify(document.querySelector({!r}).getBoundingClientRect())"
    with browser(tmp_path, (300, 380), "--host-resolver-rules=MAP * ~NOTFOUND") as go:
        shown = go(path.as_uri())
        until(lambda: shown.run(f"!!document.querySelector('{bar} #marks')"), 60, every_s=0.2)
        track = json.loads(shown.run(box.format(bar)))
        for number, (time_s, _) in enumerate(marks, start=1):
            middle = shown.middle(mark.format(number))[0]
            share = (middle - track["left"]) / track["width"]
            assert share == pytest.approx(time_s / length_s, abs=0.01)
        label = mark.format(1) + " b"
        assert shown.text(label) == "<b>lift</b> & more"
        display = f"getComputedStyle(document.querySelector({label!r})).display"
        assert shown.run(display) == "none"
        shown.mouse("Moved", *shown.middle(mark.format(1)))
        until(lambda: shown.run(display) == "block", 20)
        place = json.loads(shown.run(box.format(label)))
        assert place["left"] >= 0
        assert place["right"] <= shown.run("innerWidth")
        shown.press("Space", " ")  # it stands still, so that the click alone sets the time
        shown.click(mark.format(2))
        told = f"{marks[1][0]:.1f}"
        until(lambda: shown.run("document.querySelector('input').value") == told, 20)


def test_a_page_without_marks_has_none_of_their_script(page):
    assert 'id="marks"' not in page.read_text("utf-8")
