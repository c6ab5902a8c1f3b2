"""Quickstart from end to end, small."""

import dataclasses
import json

import pytest

from tests.conftest import TINY
from vand_demos.recording import record
from vand_envs.errors import UsageError, VandError
from vand_robot.cli import console
from vand_robot.workflows.quickstart import QuickstartInterruptedError, quickstart


@pytest.mark.usefixtures("short_episodes")
def test_quickstart_records_trains_evaluates_replays_and_can_go_on(tmp_path, monkeypatch):
    monkeypatch.setattr("vand_robot.workflows.evaluate.processors", lambda: 1)
    out = tmp_path / "quick"
    small = {"demonstrations": 3, "episodes": 2, "overrides": TINY, "replay_s": 1.0}
    result = quickstart(out, **small)
    episodes = {task: entry.success.episodes for task, entry in result.tasks.items()}
    assert episodes == {"stow-cube": 2, "wipe": 2}
    report = (out / "report.html").read_text()
    for name in ("replay-stow-cube.html", "replay-wipe.html", "replay-stow-cube.mp4"):
        assert (out / name).stat().st_size > 20_000
        assert f'href="{name}"' in report
    weights = (out / "run" / "best" / "policy.safetensors").read_bytes()

    with pytest.raises(UsageError, match="--resume goes on with it"):
        quickstart(out, **small)
    with pytest.raises(UsageError, match="not both"):
        quickstart(out, resume=True, force=True, **small)
    again = quickstart(out, resume=True, **small)
    assert (out / "run" / "best" / "policy.safetensors").read_bytes() == weights
    assert again == result
    assert again.to_json() == json.loads((out / "results.json").read_text())


def test_quickstart_says_before_the_work_that_nothing_can_be_drawn(tmp_path, monkeypatch, capsys):
    def stop(*_: object, **__: object) -> None:
        assert "no video will be written: cannot render" in capsys.readouterr().err
        raise KeyboardInterrupt

    for name in ("MUJOCO_GL", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("vand_envs.rendering._available", lambda backend: False)
    monkeypatch.setattr("vand_robot.workflows.quickstart.record", stop)
    with pytest.raises(QuickstartInterruptedError, match="--resume goes on"):
        quickstart(tmp_path / "quick", console=console.err)


def test_quickstart_stops_when_recording_is_interrupted(tmp_path, monkeypatch):
    def interrupted(task, path, **options):
        report = record(task, path, **{**options, "episodes": 1})
        return dataclasses.replace(report, interrupted=True)

    monkeypatch.setattr("vand_robot.workflows.quickstart.record", interrupted)
    with pytest.raises(VandError, match="--resume goes on") as error:
        quickstart(tmp_path / "quick", demonstrations=2)
    assert error.value.exit_code == 130
    assert not (tmp_path / "quick" / "run").exists()


def test_quickstart_leaves_a_folder_alone_that_it_did_not_make(tmp_path):
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    with pytest.raises(UsageError, match="is no quickstart folder"):
        quickstart(tmp_path, force=True)
    assert mine.read_text() == "mine"


def test_force_leaves_what_a_person_put_there(tmp_path, monkeypatch):
    out = tmp_path / "quick"
    mine = [out / name for name in ("notes.txt", "data/mine.hdf5", "run/notes.txt", "run/eval/r")]
    made = ["demos.hdf5", "results.json", "report.html", "run/last/x", "run/best/x", "jobs/x"]
    made += ["replay-wipe.html", "replay-stow-cube.mp4", "demos.hdf5.parts/0-a.hdf5"]
    for file in (*mine, *(out / name for name in ("quickstart", *made))):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x")

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("vand_robot.workflows.quickstart.episodes_missing", stop)
    with pytest.raises(QuickstartInterruptedError, match="--resume goes on"):
        quickstart(out, force=True)
    assert [file for file in mine if not file.exists()] == []
    assert [name for name in made if (out / name).exists()] == []
    with pytest.raises(UsageError, match="--resume goes on with it"):
        quickstart(out)


def test_resuming_where_nothing_was_begun_is_refused(tmp_path, fails):
    code, line = fails("quickstart", "--resume", "--out", tmp_path / "new")
    assert code == 2
    assert "nothing to go on with" in line
    assert not (tmp_path / "new").exists()


def test_the_command_takes_overrides_of_the_training_configuration(tmp_path, fails):
    code, line = fails("quickstart", "updates=none", "--out", tmp_path / "quick")
    assert code == 2
    assert "updates" in line
    assert not (tmp_path / "quick").exists()  # found before anything is recorded
