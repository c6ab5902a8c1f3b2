"""Quickstart from end to end, small."""

import json

import pytest
from conftest import TINY

from vand_envs.errors import UsageError
from vand_robot.quickstart import quickstart


def test_quickstart_records_trains_evaluates_replays_and_can_go_on(tmp_path):
    out = tmp_path / "quick"
    small = {"demonstrations": 3, "episodes": 2, "overrides": TINY, "replay_s": 3.0}
    results = quickstart(out, **small)
    entries = {task: it["conditions"]["nominal"] for task, it in results["tasks"].items()}
    assert {task: it["episodes"] for task, it in entries.items()} == {"stow-cube": 2, "wipe": 2}
    report = (out / "report.html").read_text()
    for name in ("replay-stow-cube.html", "replay-wipe.html", "replay-stow-cube.mp4"):
        assert (out / name).stat().st_size > 20_000
        assert f'href="{name}"' in report
    weights = (out / "run" / "best" / "policy.safetensors").read_bytes()

    with pytest.raises(UsageError, match="--resume goes on with it"):
        quickstart(out, **small)
    again = quickstart(out, resume=True, **small)
    assert (out / "run" / "best" / "policy.safetensors").read_bytes() == weights
    assert again == results == json.loads((out / "results.json").read_text())


def test_quickstart_leaves_a_folder_alone_that_it_did_not_make(tmp_path):
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    with pytest.raises(UsageError, match="is no quickstart folder"):
        quickstart(tmp_path, force=True)
    assert mine.read_text() == "mine"
