"""The `demos` commands: what they print, and that every mistake is one line and an exit code."""

import json
import shutil

import pytest

from vand_demos import DemoDataset, Recorder
from vand_demos.experts.demonstrate import demonstrate


def names_in(path):
    with DemoDataset.open(path) as dataset:
        return dataset.names


def test_filter_delete_and_merge(command, demos, tmp_path):
    wipe, stow, both = (tmp_path / f"{name}.hdf5" for name in ("wipe", "stow", "both"))
    code, out, err = command("demos", "filter", demos, "--task", "wipe", "--out", wipe, "--json")
    assert code == 0, err
    kept = json.loads(out)["episodes"]
    assert names_in(wipe) == tuple(kept)
    assert (
        command("demos", "filter", demos, "--task", "stow-cube", "--success", "--out", stow)[0] == 0
    )
    code, out, err = command("demos", "delete", wipe, kept[0], kept[2])
    assert (code, names_in(wipe)) == (0, (kept[1], kept[3])), err
    assert "2 episodes" in out
    code, out, err = command("demos", "merge", wipe, stow, "--out", both, "--json")
    assert code == 0, err
    assert len(json.loads(out)["episodes"]) == len(names_in(both)) == 6
    assert command("demos", "check", both)[0] == 0


def test_verify_says_how_exactly_a_demonstration_agrees(command, demos):
    code, out, err = command("demos", "verify", demos, "--episode", "demo_1")
    assert code == 0, err
    assert "observation keys agree, bit for bit" in out
    code, out, err = command("demos", "verify", demos, "--from", "actions", "--json")
    assert code == 0, err
    result = json.loads(out)
    assert result["divergence"][-1]["hand_m"] == 0.0
    assert result["other_steps"] == 0
    assert "Divergence" in command("demos", "verify", demos, "--from", "controls")[1]


def test_plot_lists_its_pictures(command, demos, tmp_path):
    code, out, err = command("demos", "plot", demos, "--out", tmp_path / "figures", "--json")
    assert code == 0, err
    assert len(json.loads(out)["figures"]) == len(list((tmp_path / "figures").iterdir())) == 4


@pytest.mark.parametrize("format_name", ["lerobot", "minari"])
def test_export_and_import(command, demos, tmp_path, format_name):
    pytest.importorskip({"lerobot": "pyarrow"}.get(format_name, format_name))
    folder, path = tmp_path / "wipe-v0", tmp_path / "back.hdf5"
    code, out, err = command("demos", "export", demos, "--format", format_name, "--out", folder)
    assert code == 0, err
    assert "8 episodes" in out
    code, out, err = command(
        "demos", "import", folder, "--format", format_name, "--out", path, "--json"
    )
    assert code == 0, err
    assert json.loads(out)["episodes"] == 8
    assert names_in(path) == names_in(demos)


def test_episodes_that_are_not_packed_or_in_no_split_are_reported(command, demos, tmp_path):
    path = tmp_path / "mine.hdf5"
    shutil.copy(demos, path)
    code, _, err = command("demos", "split", path)
    assert (code, err) == (0, "")
    with DemoDataset.open(path) as dataset:
        env_args = dataset.env_args
    later = next(demonstrate("stow-cube", [77], parallel=1))
    with Recorder(path, env_args, resume=True) as recorder:
        recorder.save(later)
        code, _, err = command("demos", "check", path)
        assert code == 0
        assert "note: 1 recorded episodes wait beside" in err
    _, out, err = command("demos", "info", path)
    assert "in neither, so not trained on (1)" in out
    assert err == ""
    _, _, err = command("train", "gru-vand", f"data=[{path}]", "tasks=[nothing]", "--out", tmp_path)
    assert f"note: 1 of 9 demonstrations of {path}, such as demo_8, are in neither" in err
    assert f"vand-robot demos split {path}" in err


def test_mistakes_are_one_line(fails, demos, tmp_path):
    out, before = tmp_path / "out.hdf5", demos.read_bytes()
    for arguments, code, words in (
        (("merge", demos, demos, "--out", out), 1, "is the same recording as"),
        (("filter", demos, "--task", "wip", "--out", out), 2, "did you mean 'wipe'"),
        (("filter", demos, "--device", "webb", "--out", out), 2, "did you mean 'web'"),
        (("filter", demos, "--failure", "--out", out), 1, "no episode would be left"),
        (
            ("filter", demos, "--min-seconds", "3", "--max-seconds", "2", "--out", out),
            2,
            "3 s to 2",
        ),
        (("delete", demos, "demo_99"), 2, "unknown episode 'demo_99'"),
        (("delete", demos, *names_in(demos)), 1, "no episode would be left"),
        (("verify", demos, "--from", "action"), 2, "did you mean 'actions'"),
        (("export", demos, "--format", "lerobt", "--out", out), 2, "did you mean 'lerobot'"),
        (("export", demos, "--format", "robomimic", "--out", demos), 2, "exists already"),
        (("import", tmp_path, "--format", "lerobot", "--out", out), 1, "meta/info.json"),
        (("import", tmp_path, "--format", "robomimic", "--out", out), 2, "is a folder"),
        (("plot", tmp_path / "none.hdf5", "--out", tmp_path), 2, "there is no data set"),
    ):
        exit_code, line = fails("demos", *arguments)
        assert (exit_code, words in line) == (code, True), line
    assert not out.exists()
    assert demos.read_bytes() == before
