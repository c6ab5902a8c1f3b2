"""Runs that are repeated, and what is kept about how they came about."""

import json
import shutil

import pytest
import torch

from tests.conftest import TINY
from vand_envs.errors import UsageError, VandError
from vand_robot.config.library import find_config
from vand_robot.layout import RunFolder
from vand_robot.policies.provenance import note_start, read_provenance
from vand_robot.workflows.reproduce import reproduce
from vand_robot.workflows.train import first_weights, run_training

pytestmark = pytest.mark.usefixtures("short_episodes")  # as the run was trained


@pytest.fixture
def copy(run, tmp_path):
    return shutil.copytree(run, tmp_path / "run")


def rewrite(file, change):
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def test_a_run_on_the_same_machine_is_repeated_to_the_last_bit(command, copy, tmp_path):
    code, out, _ = command("reproduce", copy, "--out", tmp_path / "again", "--json")
    assert code == 0
    assert json.loads(out)["same"]
    assert json.loads(out)["updates"] == len((copy / "metrics.jsonl").read_text().splitlines())


@pytest.mark.slow
def test_what_differs_is_said_with_its_size_and_the_likely_reason(command, copy, demos, tmp_path):
    lines = (copy / "metrics.jsonl").read_text().splitlines()
    first = json.loads(lines[0])
    (copy / "metrics.jsonl").write_text(json.dumps({**first, "valid/nll": 0.5}) + "\n")
    rewrite(
        copy / "provenance.json",
        lambda content: content["sessions"][0]["machine"].update(cpu="Another", threads="7"),
    )
    moved = shutil.copyfile(demos, tmp_path / "moved.hdf5")
    again = tmp_path / "again"
    code, out, _ = command("reproduce", copy, "--out", again, "--data", moved)
    assert code == 1
    metrics, reason = out.splitlines()
    assert metrics.startswith(f"metrics: from update {first['update']} on: valid/nll 0.5 and ")
    assert reason.startswith("likely reason: cpu differs ('Another'; ")
    assert "threads differs ('7'; '1')" in reason


@pytest.mark.slow
def test_other_weights_are_found(run, demos, tmp_path):
    other = tmp_path / "other"
    run_training(find_config("quickstart"), [f"data=[{demos}]", *TINY, "seed=7"], other)
    shutil.copyfile(run / "config.yaml", other / "config.yaml")
    result = reproduce(other, tmp_path / "again")
    assert any("tensors differ" in words for words in result.differences)
    assert result.reason.startswith("no likely reason")


def test_a_run_that_began_with_anothers_weights_is_repeated_with_them(run, copy, demos, tmp_path):
    tuned, config = tmp_path / "tuned", find_config("quickstart")
    settings = [f"data=[{demos}]", *TINY, "updates=2", "seed=5"]
    run_training(config, settings, tuned, init=copy)
    assert reproduce(tuned, tmp_path / "again").differences == ()
    run_training(config, [*settings, "updates=3"], tuned, resume=True)
    assert first_weights(RunFolder(tuned)) == copy  # still known
    other = shutil.copytree(run / "last", tmp_path / "best")
    shutil.rmtree(copy)
    with pytest.raises(VandError, match=r"tuned began with .*: no checkpoint: .*does not exist"):
        reproduce(tuned, tmp_path / "later")
    copy.mkdir()
    shutil.move(other, copy / "best")
    weights = copy / "best/policy.safetensors"
    weights.write_bytes(weights.read_bytes() + b"x")
    with pytest.raises(VandError, match=r"began with .*: expected SHA-256 .*has changed"):
        reproduce(tuned, tmp_path / "later")
    assert not (tmp_path / "later").exists()


def test_demonstrations_that_are_others_are_refused(copy, demos, tmp_path):
    other = tmp_path / "other.hdf5"
    other.write_bytes(demos.read_bytes() + b"x")
    with pytest.raises(VandError, match=r"other.hdf5: expected the demonstrations of the run"):
        reproduce(copy, tmp_path / "again", data=[str(other)])
    with pytest.raises(UsageError, match=r"--data: expected 1 files"):
        reproduce(copy, tmp_path / "again", data=[str(other)] * 2)
    with pytest.raises(UsageError, match=r"expected another folder"):
        reproduce(copy, copy)
    with pytest.raises(UsageError, match=r"expected the folder of a run"):
        reproduce(demos, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_a_resumed_run_keeps_what_produced_each_part(copy, demos):
    overrides = [f"data=[{demos}]", *TINY, "updates=5"]
    run_training(find_config("quickstart"), overrides, copy, resume=True)
    first, second = read_provenance(RunFolder(copy))
    assert (first.from_update, second.from_update) == (0, 4)
    assert first.data == second.data
    assert second.machine["threads"] == "1"
    assert {"numpy", "torch", "code"} <= second.software.keys()


def test_a_run_of_an_earlier_version_says_that_nothing_is_known(copy):
    folder = RunFolder(copy)
    folder.provenance.unlink()
    assert read_provenance(folder) == ()
    note_start(folder, [], torch.device("cpu"), from_update=3)
    assert [one.from_update for one in read_provenance(folder)] == [3]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda c: c.update(sessions=None), "sessions: expected a list, got None"),
        (lambda c: c["sessions"][0].update(machine={"cpu": 3}), "cpu: expected a text, got 3"),
        (lambda c: c["sessions"][0].update(data=[{}]), "path is missing"),
    ],
)
def test_a_damaged_file_is_named_with_the_key(change, expected, copy):
    rewrite(copy / "provenance.json", change)
    with pytest.raises(VandError, match=r"provenance\.json") as failure:
        read_provenance(RunFolder(copy))
    assert expected in str(failure.value)
