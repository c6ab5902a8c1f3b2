"""An evaluation in shards: what one process would have written, or a line that says what is not."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.foreign.test_evaluation import ENV, make_run
from vand_envs.errors import UsageError, VandError
from vand_robot.sweeps import evaluation as over_machines
from vand_robot.sweeps.backends import LocalBackend
from vand_robot.sweeps.evaluation import Place, evaluate_on
from vand_robot.workflows.request import EvaluationRequest
from vand_robot.workflows.shards import (
    Shard,
    ShardRecord,
    collect_shards,
    run_shard,
    shard_facts,
)

NUMBERS = ("results.json", "episodes.csv")


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """Four jobs of five short episodes."""
    run = make_run(tmp_path_factory.mktemp("runs") / "reach-0")
    return EvaluationRequest(str(run), env=ENV, episodes=20)


@pytest.fixture(scope="module")
def whole(asked, tmp_path_factory):
    """What one process writes, and the shards of an evaluation whose third is missing."""
    out, parts = (tmp_path_factory.mktemp("evaluation") / name for name in ("whole", "parts"))
    run_shard(asked.plan(), out, Shard(1, 1))
    collect_shards(asked.plan(), out)
    for number in (1, 2):
        run_shard(asked.plan(), parts, Shard(number, 3))
    return out, parts


@pytest.fixture
def parts(whole, tmp_path):
    return shutil.copytree(whole[1], tmp_path / "parts")


@pytest.fixture(scope="module")
def on_our_tasks(run):
    return EvaluationRequest(str(run), perturbations=("sensor", "push"), episodes=1)


def written(out):
    return {name: (out / name).read_bytes() for name in NUMBERS}


def test_every_job_is_in_one_shard_and_the_long_ones_are_dealt_out(on_our_tasks):
    jobs = on_our_tasks.plan().jobs
    for of in (1, 2, 3, 7):
        dealt = [Shard(number, of).part(jobs) for number in range(1, of + 1)]
        assert sorted(str(job) for part in dealt for job in part) == sorted(map(str, jobs))
        assert max(map(len, dealt)) - min(map(len, dealt)) <= 1
    longest = max(job.steps for job in jobs)
    assert [Shard(number, 2).part(jobs)[0].steps for number in (1, 2)] == [longest, longest]


@pytest.mark.parametrize(
    "text", ["", "3", "0/3", "4/3", "3/", "/3", "a/3", "-1/3", "1/3/5", "1.0/3", "1/999999"]
)
def test_a_shard_that_cannot_be_is_one_line(text):
    with pytest.raises(UsageError, match="--shard: expected"):
        Shard.parse(text)


def test_shards_by_the_command_equal_one_process(asked, whole, parts, command):
    words = ["evaluate", asked.source, "--env", ENV, "--episodes", 20, "--out", parts]
    code, text, err = command(*words, "--shard", "3/3", "--jobs", 1)
    assert code == 0, err
    assert "shard 3/3: its 1 job is done; --collect reads all shards" in text
    code, text, err = command(*words, "--collect", "--json")
    assert (code, err) == (0, "")
    assert written(parts) == written(whole[0])
    assert json.loads(text) == json.loads((parts / "results.json").read_text())
    assert {path.name for path in parts.iterdir()} == {path.name for path in whole[0].iterdir()}
    with pytest.raises(UsageError, match="there is an evaluation already"):
        run_shard(asked.plan(), parts, Shard(1, 3))


def test_shards_that_are_missing_are_named(asked, parts, tmp_path, fails):
    plan = asked.plan()
    with pytest.raises(VandError, match=r"shard 3 of 3 missing \(1 of 4 jobs\); --shard 3/3 does"):
        collect_shards(plan, parts)
    for file in parts.glob("jobs/*.job"):
        file.unlink()
    with pytest.raises(VandError, match="shard 3 of 3 missing, shards 1, 2 of 3 not finished"):
        collect_shards(plan, parts)
    with pytest.raises(UsageError, match="no shard is there"):
        collect_shards(plan, tmp_path / "nothing")
    code, line = fails("evaluate", asked.source, "--out", parts, "--shard", "3/3", "--force")
    assert (code, "--force would remove what other shards did" in line) == (2, True)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"episodes": 2}, "episodes: it has 1, expected 2"),
        ({"tasks": ("wipe",)}, "tasks: it has stow-cube, wipe, expected wipe"),
        ({"perturbations": ("push",)}, "perturbations: it has sensor, push, expected push"),
        ({"first_seed": 5}, "first seed: it has 20000000, expected 5"),
        ({"expert": True}, "policy: it has [0-9a-f]+, expected expert 0.1"),
    ],
)
def test_a_shard_of_another_evaluation_is_refused(changes, words, on_our_tasks, tmp_path):
    folder = Shard(2, 3).folder(tmp_path)
    folder.mkdir(parents=True)
    facts = shard_facts(on_our_tasks.plan(), 3)
    ShardRecord(Shard(2, 3), facts, {}).write(folder / "shard.json")
    other = dataclasses.replace(on_our_tasks, **changes).plan()
    with pytest.raises(UsageError, match=f"shard 2/3 there is of another evaluation: {words}"):
        run_shard(other, tmp_path, Shard(3, 3))
    with pytest.raises(UsageError, match=f"shard 2/3 there is of another evaluation: {words}"):
        collect_shards(other, tmp_path)


def test_shards_of_another_number_version_or_environment_are_refused(asked, parts):
    with pytest.raises(UsageError, match="shards: it has 3, expected 4"):
        run_shard(asked.plan(), parts, Shard(4, 4))
    nearer = dataclasses.replace(asked, env_args={"near": 0.1})
    with pytest.raises(UsageError, match="digest of all of it: it has"):
        collect_shards(nearer.plan(), parts)
    file = parts / "jobs/shards/2-of-3/shard.json"
    text = file.read_text()
    torch = json.loads(text)["facts"]["torch"]
    file.write_text(text.replace(f'"torch": "{torch}"', '"torch": "1.0"'))
    with pytest.raises(UsageError, match=r"2/3 there is of another evaluation: torch: it has 1.0"):
        collect_shards(asked.plan(), parts)
    for damaged in ("{}", "nothing", "[" * 10**5, text.replace('"of": 3', '"of": 999999999')):
        file.write_text(damaged)
        with pytest.raises(VandError, match=r"shard.json"):
            collect_shards(asked.plan(), parts)


def test_a_shard_that_was_killed_goes_on_with_what_it_has(asked, whole, parts):
    """A job that was damaged meanwhile is done again; another kind of machine is noted."""
    jobs = sorted(parts.glob("jobs/*.job"))
    before = {path: path.stat().st_mtime_ns for path in jobs}
    jobs[0].write_bytes(jobs[0].read_bytes()[:-1])
    for number in (1, 2, 3):
        run_shard(asked.plan(), parts, Shard(number, 3))
    assert [path for path in jobs if path.stat().st_mtime_ns != before[path]] == jobs[:1]
    file = parts / "jobs/shards/2-of-3/shard.json"
    record = json.loads(file.read_text())
    record["machine"]["cpu"] = "an older one"
    file.write_text(json.dumps(record))
    notes = []
    collect_shards(asked.plan(), parts, notes.append)
    (note,) = notes
    assert note.startswith("note: shard 2 ran on another kind of machine (cpu differs ('an older")
    assert written(parts) == written(whole[0])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--shard", "1/2", "--collect"], "give one of them"),
        (["--shard", "1/2", "--on", "ray"], "run here: without --on"),
        (["--on", "slurm"], "--jobs: expected the number of shards with --on slurm"),
        (["--on", "rai", "--jobs", "1"], "did you mean 'ray'"),
        (["--slurm", "x=1"], "--slurm is for --on slurm"),
        (["--address", "here:1", "--jobs", "1"], "--address is for --on ray"),
    ],
)
def test_options_that_exclude_each_other_are_one_line(words, expected, run, tmp_path, fails):
    code, line = fails("evaluate", run, "--episodes", 1, "--out", tmp_path / "out", *words)
    assert (code, expected in line) == (2, True), line


@pytest.mark.parametrize("place", [Place("rai", 1), Place("slurm", 1)])
def test_where_a_place_is_not_there_nothing_is_removed_or_left(asked, whole, tmp_path, place):
    if place.name == "slurm" and shutil.which("srun"):
        pytest.skip("Slurm is here")
    out = shutil.copytree(whole[0], tmp_path / "out")
    with pytest.raises(VandError, match="--on"):
        evaluate_on(asked, out, place, force=True)
    assert written(out) == written(whole[0])
    with pytest.raises(VandError, match="--on"):
        evaluate_on(asked, tmp_path / "new", place)
    assert not (tmp_path / "new").exists()


def test_shards_in_processes_of_their_own_equal_one_process(asked, whole, tmp_path):
    out, told = tmp_path / "out", []
    evaluate_on(asked, out, Place("local", 2), progress=lambda *steps: told.append(steps))
    assert written(out) == written(whole[0])
    assert not (out / "jobs").exists()
    assert told[-1] == (20, 20)


def dying_once(name, slots, **_):
    """The back end of processes, whose first one is killed as soon as it has finished a job."""
    backend, started = LocalBackend(slots), []
    start = backend.start

    def start_and_kill(folder):
        running = start(folder)
        if not started:
            started.append(folder)
            while not list(folder.parents[1].glob("*.job")):
                time.sleep(0.02)
            os.kill(running.process.pid, signal.SIGKILL)
        return running

    backend.start = start_and_kill
    return backend


@pytest.mark.slow
def test_a_shard_whose_process_dies_is_started_again(asked, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(over_machines, "open_backend", dying_once)
    notes, out = [], tmp_path / "out"
    evaluate_on(asked, out, Place("local", 2), note=notes.append)
    assert notes == ["shard 1/2: its process died; it is started again"]
    assert written(out) == written(whole[0])


@pytest.mark.slow
@pytest.mark.parametrize("place", ["ray", "slurm"])
def test_every_back_end_writes_what_one_process_writes(place, asked, whole, tmp_path):
    slurm = {"cluster": "local"} if place == "slurm" else {}
    evaluate_on(asked, tmp_path / "out", Place(place, 2, slurm=slurm))
    assert written(tmp_path / "out") == written(whole[0])


@pytest.mark.slow
def test_shards_on_our_tasks_equal_one_process(on_our_tasks, run, tmp_path, command):
    """Three shards, each a command of its own."""
    words = ["evaluate", run, "--perturbations", "sensor,push", "--episodes", 1]
    assert command(*words, "--jobs", 1, "--out", tmp_path / "whole")[0] == 0
    call = "from vand_robot.cli.main import main; main()"
    for number in (1, 2, 3):
        shard = [*map(str, words), "--out", str(tmp_path / "parts"), "--shard", f"{number}/3"]
        subprocess.run([sys.executable, "-c", call, *shard], check=True, capture_output=True)
    assert command(*words, "--collect", "--out", tmp_path / "parts")[0] == 0
    assert written(tmp_path / "parts") == written(tmp_path / "whole")
    names = [{path.name for path in (tmp_path / n).iterdir()} for n in ("whole", "parts")]
    assert names[0] == names[1]
