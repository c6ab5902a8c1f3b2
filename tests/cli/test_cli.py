"""The command: its output, and one line and an exit code for every mistake."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest

from tests.conftest import TINY
from vand_demos.recording import record_tasks
from vand_envs import task_ids


def test_the_installed_command_runs():
    out = subprocess.run(
        [sys.executable, "-m", "vand_robot", "--version"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert out.returncode == 0
    assert out.stdout.startswith("vand-robot ")


@pytest.mark.parametrize(
    "start", ["-m vand_robot", "-c from~vand_robot.cli.main~import~main;main()"]
)
def test_a_graphics_backend_that_does_not_exist_is_one_line(start):
    command = [sys.executable, *(word.replace("~", " ") for word in start.split())]
    out = subprocess.run(
        [*command, "tasks"],
        env={**os.environ, "MUJOCO_GL": "elg"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert out.returncode == 1
    assert out.stderr.startswith("error: MUJOCO_GL: unknown backend 'elg' (did you mean 'egl'?)")
    assert len(out.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("tasks",),
        ("record",),
        ("demos",),
        ("demos", "info"),
        ("demos", "check"),
        ("demos", "repair"),
        ("demos", "split"),
        ("demos", "merge"),
        ("demos", "filter"),
        ("demos", "delete"),
        ("demos", "verify"),
        ("demos", "augment"),
        ("demos", "plot"),
        ("demos", "export"),
        ("demos", "import"),
        ("train",),
        ("evaluate",),
        ("compare",),
        ("experiments",),
        ("experiments", "sequences"),
        ("experiments", "series"),
        ("experiments", "language"),
        ("experiments", "language-table"),
        ("experiments", "ablation"),
        ("replay",),
        ("quickstart",),
    ],
)
def test_every_command_has_a_help_with_an_example(command, words):
    code, out, _ = command(*words, "--help")
    assert code == 0
    assert "Usage: vand-robot" in out
    if words not in [(), ("demos",), ("experiments",)]:
        assert f"Example: vand-robot {' '.join(words)} " in " ".join([*out.split(), ""])
    assert command(*words, "-h") == (code, out, "")


@pytest.mark.parametrize("words", [(), ("demos",), ("experiments",)])
def test_a_group_without_a_command_prints_its_help_and_no_error(command, words):
    code, out, err = command(*words)
    assert code == 2
    assert "Usage" in out + err
    assert "error:" not in err


def test_a_configuration_key_written_as_an_option_is_suggested(fails, tmp_path):
    for option, meant in (
        (("--updates", "3"), "'updates=3'"),
        (("--policy.hidden-size=64",), "'policy.hidden_size=64'"),
        (("--updates",), "'updates=VALUE'"),
        (("--forse",), "'--force'"),
    ):
        code, line = fails("train", "quickstart", "--out", tmp_path / "out", *option)
        assert code == 2
        assert f"did you mean {meant}?" in line, line
    code, line = fails("quickstart", "--seed", "3")
    assert "did you mean 'seed=3'?" in line


def test_a_command_is_found_where_it_is_one(fails):
    for words, told in (
        (("info", "a.hdf5"), "unknown command 'info' (did you mean 'demos info'?)"),
        (("check", "a"), "unknown command 'check' (did you mean 'demos check' or 'robots check'?)"),
        (("demos", "record"), "unknown command 'record' (did you mean 'record'?)"),
        (("demos", "inf"), "unknown command 'inf' (did you mean 'info'?); known: info, "),
    ):
        code, line = fails(*words)
        assert code == 2
        assert told in line, line
    known = fails("trian")[1].partition("known: ")[2].split(", ")
    assert len(known) == len(set(known))
    assert {"record", "demos"} <= set(known)
    assert "info" not in known


def test_importing_the_commands_does_not_import_torch():
    program = "import sys; import vand_robot.cli.app; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_tab_completion_is_offered(command):
    assert "--install-completion" in command("--help")[1]
    ended = subprocess.run(
        [sys.executable, "-m", "vand_robot"],
        env={
            **os.environ,
            "_VAND_ROBOT_COMPLETE": "complete_bash",
            "COMP_WORDS": "vand-robot eva",
            "COMP_CWORD": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stdout.split() == ["evaluate"]


def test_tasks_are_listed_for_scripts(command):
    code, out, _ = command("tasks", "--json")
    assert code == 0
    assert tuple(task["id"] for task in json.loads(out)) == task_ids()


def test_a_recorded_data_set_is_described_checked_and_repaired(command, tmp_path):
    path = tmp_path / "wipe.hdf5"
    code, out, _ = command(
        "record", "wipe", "--episodes", 2, "--session", 9, "--out", path, "--json"
    )
    assert code == 0
    assert json.loads(out)["recorded"] == 2
    code, out, _ = command("demos", "info", path, "--json")
    assert code == 0
    assert json.loads(out)["tasks"]["wipe"]["episodes"] == 2
    assert command("demos", "check", path)[0] == 0
    assert command("demos", "repair", path)[0] == 0
    assert "2 episodes" in command("demos", "info", path)[1]


def test_several_tasks_are_recorded_one_after_the_other(command, fails, tmp_path):
    path = tmp_path / "two.hdf5"
    words = ("record", "wipe,stow-cube", "stow-cube", "--episodes", 1, "--out", path)
    code, out, err = command(*words)
    assert code == 0, err
    assert [line.split()[4] for line in out.splitlines()] == ["wipe", "stow-cube"]
    for tasks, words in (
        (("wipe", "stor"), "unknown task 'stor'"),
        (("all", "wipe"), "expected 'all' alone"),
        (("wipe", "stir", "--device", "web"), "records one task at a time"),
    ):
        code, line = fails("record", *tasks, "--out", tmp_path / "new.hdf5")
        assert (code, words in line) == (2, True), line


def test_a_changed_instruction_is_recorded_and_told(command, fails, tmp_path):
    path = tmp_path / "changed.hdf5"
    words = ("record", "knock-3", "--switch-to", "stow-cube", "--episodes", 1, "--out", path)
    code, out, err = command(*words)
    assert code == 0, err
    assert "1 episodes of knock-3 then stow-cube recorded" in out
    assert "changed instructions: knock-3, then stow-cube (1)" in command("demos", "info", path)[1]
    code, out, _ = command(*words, "--resume")
    assert (code, "all episodes of knock-3 then stow-cube are there" in out) == (0, True)
    for more, line in (
        (("wipe", "--switch-to", "wipe"), "expected another task"),
        (("stow-cube,drawer-stow", "--switch-to", "stow-cube"), "expected another task"),
        (("wipe", "--switch-to", "stir", "--device", "web"), "--switch-to is not for the device"),
    ):
        code, said = fails("record", *more, "--out", tmp_path / "new.hdf5")
        assert (code, line in said) == (2, True), said


def test_force_replaces_a_data_set(command, fails, tmp_path):
    path = tmp_path / "wipe.hdf5"
    words = ("record", "stow-cube", "--episodes", 1, "--out", path)
    for session in (1, 2):
        code, _, err = command(*words, "--session", session, "--force")
        assert code == 0, err
    assert json.loads(command("demos", "info", path, "--json")[1])["episodes"] == 1
    with h5py.File(path) as file:
        assert file["data/demo_0"].attrs["seed"] == 20_000
    assert "not both" in fails(*words, "--force", "--resume")[1]


def test_options_of_other_devices_are_refused(fails, tmp_path):
    for option, value, device in (
        ("--disturb", 0.1, "web"),
        ("--speed", 0.5, "expert"),
        ("--host", "127.0.0.1", "keyboard"),
        ("--port", 0, "expert"),
        ("--mapping", "pad.yaml", "web"),
    ):
        words = ("--device", device, option, value, "--out", tmp_path / "x.hdf5")
        code, line = fails("record", "wipe", *words)
        assert code == 2
        assert f"{option} is not for the device '{device}'" in line


def test_ctrl_c_names_the_command_that_goes_on(command, monkeypatch, tmp_path):
    def interrupted(*words, **options):
        for task, report in record_tasks(*words, **options):
            yield task, dataclasses.replace(report, interrupted=True)

    monkeypatch.setattr("vand_robot.cli.data.record.record_tasks", interrupted)
    path = tmp_path / "my demos.hdf5"
    code, _, err = command("record", "stow-cube", "--force", "--episodes", 1, "--out", path)
    assert code == 130
    expected = f"to go on: vand-robot record stow-cube --episodes 1 --out '{path}' --resume"
    assert err.splitlines()[-1] == expected


def test_an_interrupted_evaluation_promises_only_what_it_can_do(
    command, monkeypatch, run, tmp_path
):
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("vand_robot.workflows.evaluate.run_evaluation", interrupt)
    words = ("evaluate", run, "--out", tmp_path / "out")
    code, _, err = command(*words)
    assert code == 130
    assert "before anything was finished" in err
    (tmp_path / "out" / "jobs").mkdir(parents=True)
    (tmp_path / "out" / "jobs" / "nominal-wipe-0.npz").touch()
    assert (
        f"to go on: vand-robot evaluate {run} --out {tmp_path / 'out'} --resume"
        in command(*words)[2]
    )


def test_an_interrupted_session_goes_on_with_the_same_command(command, tmp_path):
    path = tmp_path / "demos.hdf5"
    words = ("record", "stow-cube", "--session", "5", "--out", str(path), "--resume")
    _, out, _ = command(*words, "--episodes", "1")
    assert "1 episodes of stow-cube recorded in 1 attempts" in out
    _, out, _ = command(*words, "--episodes", "2")
    assert "1 episodes of stow-cube recorded in 1 attempts" in out
    code, out, _ = command(*words, "--episodes", "2")
    assert code == 0
    assert "all episodes of stow-cube are there; another --session records others" in out
    whole = tmp_path / "whole.hdf5"
    command("record", "stow-cube", "--session", "5", "--out", str(whole), "--episodes", "2")
    with h5py.File(path) as a, h5py.File(whole) as b:
        for demo in ("demo_0", "demo_1"):
            assert np.array_equal(a["data"][demo]["actions"], b["data"][demo]["actions"])


def test_square_brackets_are_printed_as_they_are(command, tmp_path):
    _, out, _ = command("train", "--help")
    assert "data=wipe.hdf5" in " ".join(out.split())
    _, out, _ = command("tasks")
    assert "x and y [m]" in out
    path = tmp_path / "[bold]odd.hdf5"
    _, out, _ = command("record", "stow-cube", "--episodes", "1", "--out", str(path))
    assert out.startswith(str(path))


def test_check_reports_a_nan_with_its_place(command, demos, tmp_path):
    path = tmp_path / "bad.hdf5"
    shutil.copy(demos, path)
    with h5py.File(path, "r+") as file:
        file["data/demo_1/obs/ee_pos"][3, 1] = np.nan
    code, out, _ = command("demos", "check", path)
    assert code == 1
    assert "demo_1" in out
    assert "ee_pos" in out
    assert "nan" in out


@pytest.mark.usefixtures("short_episodes")
def test_a_policy_is_trained_resumed_evaluated_and_replayed(command, demos, tmp_path):
    run = tmp_path / "run"
    code, out, err = command("train", "quickstart", f"data=[{demos}]", *TINY, "--out", run)
    assert code == 0, err
    *lines, following = out.splitlines()
    assert lines[0].startswith(f"{run}: 4 updates done")
    assert "success in its validation rollouts:" in lines
    assert following == f"next: vand-robot evaluate {run}"
    code, _, err = command(
        "train", "quickstart", f"data=[{demos}]", *TINY, "updates=6", "--out", run, "--resume"
    )
    assert code == 0, err
    code, out, err = command("evaluate", run, "--episodes", 2, "--task", "wipe", "--json")
    assert code == 0, err
    assert json.loads(out)["tasks"]["wipe"]["perturbations"]["nominal"]["episodes"] == 2
    folder = run / "evaluation"
    report = (folder / "report.html").read_text()
    assert "wipe the board in circles" in report
    assert "http://" not in report
    assert (folder / "wipe-phase.png").stat().st_size > 5000
    assert len((folder / "episodes.csv").read_text().splitlines()) == 3
    page = tmp_path / "replay.html"
    code, out, err = command("replay", run, "--task", "stow-cube", "--seconds", 2, "--out", page)
    assert code == 0, err
    assert "stages done" in out
    assert page.stat().st_size > 100_000
    video = tmp_path / "demo.mp4"
    code, _, err = command(
        "replay",
        demos,
        "--viewer",
        "video",
        "--task",
        "wipe",
        "--out",
        video,
        "--size",
        "160x120",
        "--fps",
        5,
    )
    assert code == 0, err
    assert video.stat().st_size > 20_000


def test_unknown_names_get_the_nearest_one(fails, run, demos, tmp_path):
    out = tmp_path / "out"
    for arguments, nearest in (
        (("trian",), "'train'"),
        (("record", "wpe", "--out", out), "'wipe'"),
        (("record", "wipe", "--device", "exprt", "--out", out), "'expert'"),
        (("record", "wipe", "--action-mode", "joints", "--out", out), "'joint'"),
        (("train", "quickstrt", "--out", out), "'quickstart'"),
        (("train", "quickstart", "policy.hiden_size=3", "--out", out), "'policy.hidden_size'"),
        (("train", "quickstart", f"data=[{demos}]", "tasks=[wip]", "--out", out), "'wipe'"),
        (("evaluate", run, "--task", "stow"), "'stow-cube'"),
        (("replay", run, "--viewer", "htm", "--out", out), "'html'"),
        (("replay", run, "--task", "wip", "--out", out), "'wipe'"),
        (("replay", demos, "--episode", "demo1", "--out", out), "'demo_1'"),
    ):
        code, line = fails(*arguments)
        assert code == 2, line
        assert f"did you mean {nearest}" in line, line
    assert not out.exists()


def test_missing_files_are_named(fails, tmp_path):
    missing = tmp_path / "missing"
    for arguments in (
        ("demos", "info", missing),
        ("demos", "check", missing),
        ("demos", "repair", missing),
        ("train", "quickstart", f"data=[{missing}]", "--out", tmp_path / "out"),
        ("train", missing, "--out", tmp_path / "out"),
        ("evaluate", missing),
        ("replay", missing, "--out", tmp_path / "out"),
    ):
        code, line = fails(*arguments)
        assert code in (1, 2), line
        assert "missing" in line, line
    assert not (tmp_path / "out").exists()


def test_wrong_types_and_bad_values_are_named(fails, demos, run, tmp_path):
    out = tmp_path / "out"
    for arguments, words in (
        (("train", "quickstart", "updates=many", "--out", out), "updates"),
        (("train", "quickstart", "updates=0", "--out", out), "updates"),
        (("record", "wipe", "--episodes", "0", "--out", out), "episodes"),
        (("record", "wipe", "--rate", "0", "--out", out), "--rate"),
        (("record", "wipe", "--disturb", "-1", "--out", out), "--disturb"),
        (("record", "wipe", "--disturb", "nan", "--out", out), "--disturb"),
        (("record", "wipe", "--disturb", "inf", "--out", out), "--disturb"),
        (("record", "wipe", "--episodes", "two", "--out", out), "--episodes"),
        (("evaluate", run, "--episodes", "0"), "--episodes"),
        (("replay", run, "--seconds", "-3", "--out", out), "--seconds"),
        (("replay", run, "--camera", "overveiw", "--out", out), "overview"),
    ):
        code, line = fails(*arguments)
        assert code == 2, line
        assert words in line, line


def test_foreign_and_damaged_files_are_one_line(fails, command, demos, tmp_path):
    text = tmp_path / "text.hdf5"
    text.write_text("not a data set")
    half = tmp_path / "half.hdf5"
    half.write_bytes(demos.read_bytes()[:20_000])
    empty = tmp_path / "empty.hdf5"
    empty.touch()
    with h5py.File(tmp_path / "foreign.hdf5", "w") as file:
        file["x"] = np.arange(3)
    for path in (text, half, empty, tmp_path / "foreign.hdf5"):
        code, line = fails("train", "quickstart", f"data=[{path}]", "--out", tmp_path / "out")
        assert code == 1, line
        assert path.name in line
        code, line = fails("demos", "info", path)
        assert code == 1, line
        code, out, err = command("demos", "check", path)
        assert code == 1
        assert path.name in out + err


def test_nothing_is_overwritten_without_force(fails, demos, run):
    for arguments in (
        ("record", "wipe", "--episodes", 1, "--out", demos),
        ("train", "quickstart", f"data=[{demos}]", *TINY, "--out", run),
        ("quickstart", "--out", run),
    ):
        before = demos.read_bytes(), sorted(run.rglob("*"))
        code, line = fails(*arguments)
        assert code == 2, line
        assert "exists" in line or "--force" in line, line
        assert (demos.read_bytes(), sorted(run.rglob("*"))) == before


def test_a_checkpoint_that_was_cut_short_is_one_line(fails, run, tmp_path):
    broken = tmp_path / "run"
    shutil.copytree(run, broken)
    weights = broken / "best" / "policy.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    code, line = fails("evaluate", broken)
    assert code == 1
    assert "policy.safetensors" in line


def test_a_policy_with_other_observations_is_refused(fails, run, tmp_path):
    other = tmp_path / "run"
    shutil.copytree(run, other)
    for checkpoint in (other / "best", other / "last"):
        facts = json.loads((checkpoint / "policy.json").read_text())
        facts["spec"]["observations"]["sonar"] = facts["spec"]["observations"].pop("ee_lag")
        (checkpoint / "policy.json").write_text(json.dumps(facts))
    code, line = fails("replay", other, "--out", tmp_path / "x.html")
    assert code == 1
    assert "'sonar' is missing" in line
