"""The evaluation: what it judges, its folder on disk, and that it can be resumed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.jobs import DT
from vand_demos.recording import record
from vand_envs import task_ids
from vand_envs.errors import UsageError, VandError
from vand_envs.seeds import TEST_SEED
from vand_robot.evaluation import jobs as evaluation_jobs
from vand_robot.evaluation.episodes import EpisodeMetrics
from vand_robot.evaluation.evaluate import ValidationScore, evaluate
from vand_robot.evaluation.jobs import plan_jobs, run_job
from vand_robot.evaluation.perturbations import NOMINAL, PERTURBATIONS
from vand_robot.evaluation.rollout import rollout
from vand_robot.evaluation.scoring import achieved_tasks, score
from vand_robot.evaluation.suites import find_suite
from vand_robot.evaluation.summary import NONE, closeness, confusion, summarize, worst
from vand_robot.evaluation.target import load_target
from vand_robot.policies.checkpoint import load_policy
from vand_robot.policies.expert import ExpertPolicy
from vand_robot.workflows import evaluate as evaluation_workflow
from vand_robot.workflows.evaluate import evaluation_folder, run_evaluation


def test_duplicate_tasks_and_perturbations_are_ignored(references):
    planned = plan_jobs(
        ["wipe", "wipe"], [NOMINAL, NOMINAL], references, episodes=2, control_dt_s=DT
    )
    assert [(job.perturbation, job.task) for job in planned] == [(NOMINAL, "wipe")]
    done = evaluate(
        ExpertPolicy(),
        ["stow-cube", "stow-cube"],
        references=references,
        perturbations=[NOMINAL, NOMINAL],
        episodes=1,
    )
    assert len(done.tasks["stow-cube"].nominal.episodes) == 1


@pytest.mark.parametrize("name", ["sensor", "slip", "push"])
def test_every_perturbation_interferes(run, name):
    policy = load_policy(run)
    plain = rollout(policy, "wipe", [TEST_SEED], 80)
    other = rollout(policy, "wipe", [TEST_SEED], 80, perturbation=PERTURBATIONS[name])
    assert np.array_equal(plain.qpos[0], other.qpos[0])
    assert not np.array_equal(plain.qpos[-1], other.qpos[-1])


def test_evaluation_counts_what_its_rows_say_and_repeats(run, references):
    policy = load_policy(run)
    first = evaluate(policy, ["stow-cube"], references=references, episodes=2)
    again = evaluate(policy, ["stow-cube"], references=references, episodes=2)
    assert first == again
    assert first.json_text() == again.json_text()
    assert first.csv_text() == again.csv_text()
    entry = first.tasks["stow-cube"].perturbations["nominal"]
    assert entry.success.successes == sum(episode.success for episode in first.episodes)
    low, high = entry.success.interval
    assert low <= entry.success_rate <= high
    assert len(first.csv_text().splitlines()) == 1 + 2


def test_validation_score_is_of_the_given_tasks_alone(run, references):
    only = {"stow-cube": references["stow-cube"]}
    told = ValidationScore(only, episodes=1)(load_policy(run))
    assert set(told) == {"score", "success/stow-cube"}
    assert 0 <= told["score"] <= 1


def test_a_switch_of_the_instruction_leaves_the_world_and_judges_anew(references):
    first = rollout(ExpertPolicy(), "wipe", [TEST_SEED], 90)
    both = rollout(ExpertPolicy(), "wipe", [TEST_SEED], 390, switch=(90, "stow-cube"))
    assert np.array_equal(first.qpos, both.qpos[:91])
    assert both.task.id == "stow-cube"
    told = both.observations["instruction"][:, 0].argmax(axis=1)
    assert set(told[:90]) == {task_ids().index("wipe")}
    assert set(told[90:]) == {task_ids().index("stow-cube")}
    (row,) = score(both, references["stow-cube"])
    assert row["success"]
    assert row["time_s"] == pytest.approx(both.success_s[0])
    assert both.success_s[0] < 30.0


def test_achieved_tasks_are_found_by_every_tasks_criterion(references):
    """A policy that stows the cube when told to wipe has achieved stowing."""
    judged = rollout(ExpertPolicy(), "stow-cube", [TEST_SEED], also_track=["wipe", "press-abac"])
    rows = score(judged, references["stow-cube"])
    assert achieved_tasks(judged, references, rows) == [["stow-cube"]]
    failed = tuple({**row, "success": False} for row in rows)
    assert achieved_tasks(judged, references, failed) == [[]]
    mistaken = rollout(Disobeys("stow-cube"), "wipe", [TEST_SEED], 300, also_track=["stow-cube"])
    assert achieved_tasks(mistaken, references, score(mistaken, references["wipe"])) == [
        ["stow-cube"]
    ]


class Disobeys:
    """Does one task, whatever it is told."""

    def __init__(self, task):
        self._expert, self._task = ExpertPolicy(), task
        self.spec = self._expert.spec

    def act(self, observation, state=None):
        told = np.zeros_like(observation["instruction"])
        told[:, task_ids().index(self._task)] = 1.0
        return self._expert.act({**observation, "instruction": told}, state)


def test_pushes_are_followed_by_a_recovery(references):
    pushed = rollout(
        ExpertPolicy(), "wipe", [TEST_SEED, TEST_SEED + 1], 400, perturbation=PERTURBATIONS["push"]
    )
    assert all(np.diff(times).min() > 4 for times in pushed.pushes_s)
    for row in score(pushed, references["wipe"]):
        assert 0 <= row["recovered"] <= 1
        assert row["recovery_s"] is None or row["recovery_s"] >= 0


def test_confusion_counts_each_behavior_and_none():
    episodes = {
        "a": [achieving("a"), achieving("a", "b"), achieving()],
        "b": [achieving("a"), achieving("b"), achieving("b")],
    }
    assert confusion(episodes, ["a", "b"]) == {
        "a": {"a": 2, "b": 1, NONE: 1},
        "b": {"a": 1, "b": 2, NONE: 0},
    }
    alone = EpisodeMetrics("a", "nominal", 0, success=True)
    assert confusion({"a": [alone]}, ["a"]) == {}


def achieving(*tasks):
    return EpisodeMetrics("a", "nominal", 0, success=False, achieved=tasks)


def test_of_two_rhythms_that_are_kept_the_nearer_one_scores_higher():
    def rhythm(**metrics: float | None) -> EpisodeMetrics:
        near = {"frequency_error": 0.02, "amplitude_error": 0.02, "orbit_error": 0.05}
        found = {"in_tolerance": 1.0, **near, **metrics}
        return EpisodeMetrics("wipe", "nominal", 0, success=True, metrics=found)

    assert closeness(rhythm()) == pytest.approx((0.8 + 0.9 + 0.8) / 3)
    assert closeness(rhythm(frequency_error=0.04)) == pytest.approx((0.6 + 0.9 + 0.8) / 3)
    assert closeness(rhythm(frequency_error=3.0)) == pytest.approx((0 + 0.9 + 0.8) / 3)
    assert closeness(rhythm(orbit_error=None)) < closeness(rhythm())  # it cannot be told
    assert closeness(rhythm(in_tolerance=0.5)) == pytest.approx(closeness(rhythm()) / 2)
    done = EpisodeMetrics("stow-cube", "nominal", 0, success=True, metrics={"stage_fraction": 0.75})
    assert closeness(done) == 0.75


def test_summary_has_stages_shares_and_the_worst_episodes():
    episodes = [
        EpisodeMetrics(
            "stow-cube",
            "nominal",
            k,
            success=done == 2,
            metrics={"stages_done": done, "stage_fraction": done / 2}
            | {"still": done > 0, "time_s": 3.0 if done == 2 else None},
        )
        for k, done in enumerate([2, 0, 1, 2])
    ]
    summary = summarize(episodes, ["reach", "grasp"], horizon_s=30.0)
    assert [stage.completed for stage in summary.stages] == [3, 2]
    assert summary.shares["still"].successes == 3
    assert summary.metrics["time_s"].to_json() == {"median": 3.0, "iqr": [3.0, 3.0], "n": 2}
    assert [episode.seed for episode in worst(episodes)] == [1, 2]


def test_names_of_suites_and_perturbations_are_checked():
    assert len(find_suite("robustness").perturbations) == 6
    chosen = find_suite("robustness", ["push"], 3)
    assert (chosen.perturbations, chosen.episodes) == ((PERTURBATIONS["push"],), 3)
    with pytest.raises(UsageError, match="did you mean 'robustness'"):
        find_suite("robustnes")
    with pytest.raises(UsageError, match="did you mean 'push'"):
        find_suite("robustness", ["psh"])


@pytest.mark.usefixtures("short_episodes")
def test_an_evaluation_is_written_and_not_overwritten(run, tmp_path):
    out = tmp_path / "evaluation"
    options = {"perturbations": ["nominal", "sensor"], "tasks": ["stow-cube"], "episodes": 1}
    result = run_evaluation(run, out, replays=1, **options)
    assert json.loads((out / "results.json").read_text()) == result.to_json()
    assert not (out / "jobs").exists()
    pages = list(out.glob("replay-*.html"))
    assert len(pages) == 1
    assert f'href="{pages[0].name}"' in (out / "report.html").read_text()
    assert {path.name for path in out.glob("*.png")} >= {"success.png", "confusion-sensor.png"}
    with pytest.raises(UsageError, match="--force replaces it"):
        run_evaluation(run, out, **options)
    (out / "results.json").unlink()
    (out / "jobs").mkdir()
    with pytest.raises(UsageError, match="--resume goes on"):
        run_evaluation(run, out, **options)


def test_experts_are_evaluated_on_a_data_set(demos, tmp_path):
    with pytest.raises(UsageError, match="with --expert"):
        run_evaluation(demos, tmp_path / "out")
    result = run_evaluation(demos, tmp_path / "out", expert=True, tasks=["stow-cube"], episodes=2)
    assert result.tasks["stow-cube"].perturbations["nominal"].success.successes == 2
    assert result.confusion["nominal"]["stow-cube"]["stow-cube"] == 2


def test_experts_act_at_the_rate_of_the_data_set(tmp_path):
    path = tmp_path / "fast.hdf5"
    record("stow-cube", path, episodes=1, session=3, disturbance=None, control_dt_s=0.05)
    target = load_target(path, expert=True)
    assert target.control_dt_s == 0.05
    assert target.make_policy().spec.control_dt_s == 0.05


def stopped_before(monkeypatch, stop):
    """Makes an evaluation stop with Ctrl-C before that job, counted from 1."""
    begun = []

    def run_job_or_stop(*arguments, **options):
        begun.append(arguments)
        if len(begun) == stop:
            raise KeyboardInterrupt
        return run_job(*arguments, **options)

    monkeypatch.setattr(evaluation_jobs, "run_job", run_job_or_stop)


@pytest.mark.usefixtures("short_episodes")
def test_a_replacement_that_was_interrupted_can_be_resumed(run, tmp_path, monkeypatch):
    out = tmp_path / "evaluation"
    first = run_evaluation(run, out, episodes=1)
    with monkeypatch.context() as patch:
        stopped_before(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            run_evaluation(run, out, episodes=1, force=True)
    assert len(list((out / "jobs").iterdir())) == 1
    assert not (out / "results.json").exists()
    with pytest.raises(UsageError, match="--resume goes on"):
        run_evaluation(run, out, episodes=1)
    with monkeypatch.context() as patch:
        stopped_before(patch, 2)  # of two jobs one is left
        assert run_evaluation(run, out, episodes=1, resume=True) == first


def test_resume_and_force_exclude_each_other(run, fails, tmp_path):
    code, line = fails("evaluate", run, "--out", tmp_path / "out", "--resume", "--force")
    assert code == 2
    assert line.endswith("resume an evaluation or replace it by force, not both")


@pytest.mark.usefixtures("short_episodes")
def test_a_replay_that_fails_costs_nothing_but_itself(run, tmp_path, monkeypatch):

    def fail(*_, **__):
        raise VandError("no replay")

    monkeypatch.setattr("vand_robot.viewer.replay.write_motion", fail)
    with pytest.raises(VandError, match="no replay"):
        run_evaluation(run, tmp_path, tasks=["stow-cube"], episodes=1, replays=1)
    for name in ("results.json", "episodes.csv", "report.html"):
        assert (tmp_path / name).stat().st_size > 100
    assert "replay-" not in (tmp_path / "report.html").read_text()


@pytest.mark.usefixtures("short_episodes")
def test_results_that_could_not_all_be_written_are_written_on_resume(run, tmp_path, monkeypatch):

    def fail(*_, **__):
        raise VandError("the disk is full")

    options = {"tasks": ["stow-cube"], "episodes": 1}
    with monkeypatch.context() as patch:
        patch.setattr(evaluation_workflow, "write_report", fail)
        with pytest.raises(VandError, match="the disk is full"):
            run_evaluation(run, tmp_path, **options)
    with monkeypatch.context() as patch:
        stopped_before(patch, 1)  # nothing is left to run
        run_evaluation(run, tmp_path, resume=True, **options)
    assert (tmp_path / "report.html").exists()
    assert not (tmp_path / "jobs").exists()
    with pytest.raises(UsageError, match="--force replaces it"):
        run_evaluation(run, tmp_path, resume=True, **options)


def children(pid):
    """Processes that a process began, those that only watch over resources apart."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            command = (stat.parent / "cmdline").read_text()
        except OSError:  # it has just ended
            continue
        if parent == pid and "spawn_main" in command:
            found.append(int(stat.parent.name))
    return found


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(perturbation, seconds=60.0):
    end = time.monotonic() + seconds
    while not (found := perturbation()) and time.monotonic() < end:
        time.sleep(0.1)
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc")
def test_workers_end_with_the_evaluation_that_began_them(run, tmp_path):
    call = "from vand_robot.cli.main import main; main()"
    options = ["--jobs", "2", "--episodes", "500", "--out", str(tmp_path / "out")]
    parent = subprocess.Popen(
        [sys.executable, "-c", call, "evaluate", str(run), *options], stderr=subprocess.DEVNULL
    )
    workers = []
    try:
        assert wait_for(lambda: len(children(parent.pid)) == 2)
        workers = children(parent.pid)
        parent.send_signal(signal.SIGTERM)
        parent.wait()
        assert wait_for(lambda: not any(map(alive, workers)))
    finally:
        for pid in [parent.pid] * (parent.poll() is None) + [w for w in workers if alive(w)]:
            os.kill(pid, signal.SIGKILL)
        parent.wait()


def test_a_checkpoint_is_named_after_its_run_and_evaluated_beside_it(run, tmp_path, monkeypatch):
    assert evaluation_folder(run) == run / "evaluation"
    assert evaluation_folder(run / "best") == run / "evaluation-best"
    assert evaluation_folder(run / "last") == run / "evaluation-last"
    assert evaluation_folder(run / "best", expert=True) == run / "expert-evaluation"
    assert load_target(run / "best").facts.run == "tiny"
    assert load_target(run / "last", expert=True).facts.run == "experts on tiny"
    alone = tmp_path / "best"  # a copy that belongs to no run, and a run that is called so
    shutil.copytree(run / "best", alone)
    assert evaluation_folder(alone) == alone / "evaluation"
    shutil.copytree(run, tmp_path / "runs" / "best")
    assert load_target(tmp_path / "runs" / "best").facts.run == "best"
    for folder, given, name in (
        (run, ".", "tiny"),
        (run, "best", "tiny"),
        (run / "best", "..", "tiny"),
    ):
        monkeypatch.chdir(folder)
        target = load_target(Path(given))
        assert target.facts.run == name
        assert target.make_policy().spec.control_dt_s == DT
    monkeypatch.chdir(run)
    assert evaluation_folder(Path()) == run / "evaluation"
    assert evaluation_folder(Path("best")).resolve() == run / "evaluation-best"


@pytest.mark.usefixtures("short_episodes")
@pytest.mark.parametrize(
    "content", ['{"update": 1, "train/nll": 3.0}\n{"upd', "\x00\xff", '{"update": 1}\n']
)
def test_a_damaged_training_curve_stops_no_evaluation(content, run, tmp_path):
    broken = tmp_path / "run"
    shutil.copytree(run, broken)
    (broken / "metrics.jsonl").write_text(content, "latin-1")
    run_evaluation(broken, tmp_path / "out", tasks=["stow-cube"], episodes=1)
    assert (tmp_path / "out" / "training.png").exists() == ("nll" in content)
