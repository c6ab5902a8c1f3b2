"""The evaluation: its plan, its units on disk, and that nothing but policy and seed matters."""

import dataclasses
import json
from functools import partial

import numpy as np
import pytest

from vand_envs import task_ids
from vand_envs.errors import UsageError, VandError
from vand_robot import suite
from vand_robot.checkpoint import load_policy
from vand_robot.conditions import CONDITIONS, NOMINAL
from vand_robot.evaluation import ValidationScore, evaluate
from vand_robot.experiment import run_evaluation
from vand_robot.expert_policy import ExpertPolicy
from vand_robot.results import NONE, confusion, summarise, worst
from vand_robot.rollout import POLICY_ROWS, TEST_SEED, rollout
from vand_robot.scoring import score, shown
from vand_robot.standard import standards_of
from vand_robot.suite import UnitFolder, find_suite, run_units
from vand_robot.units import plan, run_unit

TASKS = ("stow-cube", "wipe")
DT = 0.1


@pytest.fixture(scope="module")
def standards(demos):
    return standards_of([demos])


def units_of(standards, conditions, **options):
    chosen = [CONDITIONS[name] for name in conditions]
    planned = plan(TASKS, chosen, standards, **{"episodes": 2, "control_dt_s": DT, **options})
    return [
        dataclasses.replace(unit, steps=12, before=unit.before and (unit.before[0], 5))
        for unit in planned
    ]


def test_plan_gives_every_task_its_conditions(standards):
    units = plan(TASKS, CONDITIONS.values(), standards, episodes=2, control_dt_s=DT)
    cells = [(unit.condition.name, unit.task) for unit in units]
    assert ("long", "wipe") in cells
    assert ("long", "stow-cube") not in cells
    steps = {cell: unit.steps for cell, unit in zip(cells, units, strict=True)}
    assert steps["long", "wipe"] == 5 * standards["wipe"].median_steps
    assert steps["nominal", "stow-cube"] == 300
    switched = next(unit for unit in units if unit.condition.name == "switch")
    assert switched.task == "stow-cube"
    assert switched.before == ("wipe", round(0.5 * steps["nominal", "wipe"]))
    assert switched.steps == switched.before[1] + 300


def test_units_are_as_large_as_a_policy_acts_for_at_once(standards):
    units = plan(["wipe"], [NOMINAL], standards, episodes=POLICY_ROWS + 2, control_dt_s=DT)
    assert [len(unit.seeds) for unit in units] == [POLICY_ROWS, 2]
    assert units[1].seeds[0] == TEST_SEED + POLICY_ROWS


def test_plan_refuses_what_cannot_be_evaluated(standards):
    with pytest.raises(UsageError, match="did you mean 'wipe'"):
        plan(["wip"], [NOMINAL], standards, episodes=1, control_dt_s=DT)
    with pytest.raises(VandError, match="was not trained on it"):
        plan(["stir"], [NOMINAL], standards, episodes=1, control_dt_s=DT)
    with pytest.raises(UsageError, match="conditions long: none applies to stow-cube"):
        plan(["stow-cube"], [CONDITIONS["long"]], standards, episodes=1, control_dt_s=DT)


def test_an_episode_is_a_function_of_condition_and_seed(run, standards):
    """Not of how many others there are, nor of their order."""
    policy = load_policy(run)
    for unit in units_of(standards, ["sensor", "slip", "push", "switch"]):
        if unit.task == "wipe":
            both = run_unit(policy, unit, standards)
            second = dataclasses.replace(unit, seeds=unit.seeds[1:])
            (row,) = run_unit(policy, second, standards).rows
            assert row == both.rows[1]


@pytest.mark.parametrize("name", ["sensor", "slip", "push"])
def test_every_condition_interferes(run, name):
    policy = load_policy(run)
    plain = rollout(policy, "wipe", [TEST_SEED], 80)
    other = rollout(policy, "wipe", [TEST_SEED], 80, condition=CONDITIONS[name])
    assert np.array_equal(plain.qpos[0], other.qpos[0])
    assert not np.array_equal(plain.qpos[-1], other.qpos[-1])


def test_processes_do_not_change_a_bit(run, standards, tmp_path):
    units = units_of(standards, ["nominal", "push"])
    files = {}
    for jobs in (1, 2):
        folder = UnitFolder(tmp_path / str(jobs), "policy", standards)
        run_units(partial(load_policy, run), units, folder, jobs=jobs)
        files[jobs] = [folder.load(unit) for unit in units]
    for one, two in zip(files[1], files[2], strict=True):
        assert one.rows == two.rows
        assert np.array_equal(one.stage_times_s, two.stage_times_s, equal_nan=True)


def test_an_interrupted_evaluation_goes_on_with_what_it_has(run, standards, tmp_path, monkeypatch):
    units = units_of(standards, ["nominal"])
    folder = UnitFolder(tmp_path, "policy", standards)
    asked = []

    def stops_after_one(policy, unit, *arguments, **options):
        if asked:
            raise KeyboardInterrupt
        asked.append(unit)
        return run_unit(policy, unit, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(suite, "run_unit", stops_after_one)
        with pytest.raises(KeyboardInterrupt):
            run_units(partial(load_policy, run), units, folder)
    assert [folder.load(unit) is not None for unit in units] == [unit in asked for unit in units]
    told = []
    outcomes = run_units(
        partial(load_policy, run), units, folder, progress=lambda *it: told.append(it)
    )
    assert told[0] == (12, 24)
    assert told[-1] == (24, 24)
    assert [outcome.rows[0]["task"] for outcome in outcomes] == ["stow-cube", "wipe"]
    # nothing of another policy or of other conditions is taken for it
    assert UnitFolder(tmp_path, "other", standards).load(units[0]) is None
    longer = dataclasses.replace(units[0], steps=13)
    assert folder.load(longer) is None


def test_evaluation_counts_what_its_rows_say_and_repeats(run, standards):
    policy = load_policy(run)
    first = evaluate(policy, standards, ["stow-cube"], episodes=2)
    again = evaluate(policy, standards, ["stow-cube"], episodes=2)
    assert first.results_json() == again.results_json()
    assert first.episodes_csv() == again.episodes_csv()
    entry = first.results()["tasks"]["stow-cube"]["conditions"]["nominal"]
    assert entry["successes"] == first.outcomes["nominal", "stow-cube"].successes
    low, high = entry["wilson_95"]
    assert low <= entry["success_rate"] <= high
    assert len(first.episodes_csv().splitlines()) == 1 + 2


def test_validation_score_judges_nothing_beside(run, standards):
    only = {"stow-cube": standards["stow-cube"]}
    told = ValidationScore(only, episodes=1)(load_policy(run))
    assert set(told) == {"score", "success/stow-cube"}
    assert 0 <= told["score"] <= 1


def test_switching_leaves_the_world_and_judges_anew(standards):
    first = rollout(ExpertPolicy(), "wipe", [TEST_SEED], 90)
    both = rollout(ExpertPolicy(), "wipe", [TEST_SEED], 390, switch=(90, "stow-cube"))
    assert np.array_equal(first.qpos, both.qpos[:91])
    assert both.task.id == "stow-cube"
    told = both.observations["instruction"][:, 0].argmax(axis=1)
    assert set(told[:90]) == {task_ids().index("wipe")}
    assert set(told[90:]) == {task_ids().index("stow-cube")}
    (row,) = score(both, standards["stow-cube"])
    assert row["success"]
    assert row["time_s"] == pytest.approx(both.success_s[0])
    assert both.success_s[0] < 30.0


def test_behaviours_are_told_by_every_tasks_criterion(standards):
    """Whoever stows the cube when told to wipe has shown stowing."""
    judged = rollout(ExpertPolicy(), "stow-cube", [TEST_SEED], judges=["wipe", "press-abac"])
    rows = score(judged, standards["stow-cube"])
    assert shown(judged, standards, rows) == [["stow-cube"]]
    failed = tuple({**row, "success": False} for row in rows)
    assert shown(judged, standards, failed) == [[]]
    mistaken = rollout(Disobeys("stow-cube"), "wipe", [TEST_SEED], 300, judges=["stow-cube"])
    assert shown(mistaken, standards, score(mistaken, standards["wipe"])) == [["stow-cube"]]


class Disobeys:
    """Does one task, whatever it is told."""

    def __init__(self, task):
        self._expert, self._task = ExpertPolicy(), task
        self.spec = self._expert.spec

    def act(self, observation, state=None):
        told = np.zeros_like(observation["instruction"])
        told[:, task_ids().index(self._task)] = 1.0
        return self._expert.act({**observation, "instruction": told}, state)


def test_pushes_are_followed_by_a_recovery(standards):
    pushed = rollout(
        ExpertPolicy(), "wipe", [TEST_SEED, TEST_SEED + 1], 400, condition=CONDITIONS["push"]
    )
    assert all(np.diff(times).min() > 4 for times in pushed.pushes_s)
    for row in score(pushed, standards["wipe"]):
        assert 0 <= row["recovered"] <= 1
        assert row["recovery_s"] is None or row["recovery_s"] >= 0


def test_confusion_counts_each_behaviour_and_none():
    rows = {
        "a": [{"shown": "a"}, {"shown": "a b"}, {"shown": ""}],
        "b": [{"shown": "a"}, {"shown": "b"}, {"shown": "b"}],
    }
    assert confusion(rows, ["a", "b"]) == {
        "a": {"a": 2, "b": 1, NONE: 1},
        "b": {"a": 1, "b": 2, NONE: 0},
    }
    assert confusion({"a": [{"success": True}]}, ["a"]) == {}


def test_summary_tells_stages_shares_and_the_worst():
    rows = [
        {"seed": k, "success": done == 2, "stages_done": done, "stage_fraction": done / 2}
        | {"still": done > 0, "time_s": 3.0 if done == 2 else None}
        for k, done in enumerate([2, 0, 1, 2])
    ]
    summary = summarise(rows, ["reach", "grasp"])
    assert [stage["completed"] for stage in summary["stages"]] == [3, 2]
    assert summary["shares"]["still"]["successes"] == 3
    assert summary["metrics"]["time_s"] == {"median": 3.0, "iqr": [3.0, 3.0], "n": 2}
    assert [entry["seed"] for entry in worst(rows)] == [1, 2]


def test_names_of_suites_and_conditions_are_checked():
    assert len(find_suite("standard").conditions) == 6
    chosen = find_suite("standard", ["push"], 3)
    assert (chosen.conditions, chosen.episodes) == ((CONDITIONS["push"],), 3)
    with pytest.raises(UsageError, match="did you mean 'standard'"):
        find_suite("standart")
    with pytest.raises(UsageError, match="did you mean 'push'"):
        find_suite("standard", ["psh"])


def test_an_evaluation_is_written_and_not_overwritten(run, tmp_path):
    out = tmp_path / "evaluation"
    options = {"conditions": ["nominal", "sensor"], "tasks": ["stow-cube"], "episodes": 1}
    results = run_evaluation(run, out, replays=1, **options)
    assert json.loads((out / "results.json").read_text()) == results
    assert not (out / "units").exists()
    pages = list(out.glob("replay-*.html"))
    assert len(pages) == 1
    assert f'href="{pages[0].name}"' in (out / "report.html").read_text()
    assert {path.name for path in out.glob("*.png")} >= {"success.png", "confusion-sensor.png"}
    with pytest.raises(UsageError, match="--force replaces it"):
        run_evaluation(run, out, **options)
    (out / "results.json").unlink()
    (out / "units").mkdir()
    with pytest.raises(UsageError, match="--resume goes on"):
        run_evaluation(run, out, **options)


def test_experts_are_evaluated_on_a_data_set(demos, tmp_path):
    with pytest.raises(UsageError, match="with --expert"):
        run_evaluation(demos, tmp_path / "out")
    results = run_evaluation(demos, tmp_path / "out", expert=True, tasks=["stow-cube"], episodes=2)
    assert results["tasks"]["stow-cube"]["conditions"]["nominal"]["successes"] == 2
    assert results["confusion"]["nominal"]["stow-cube"]["stow-cube"] == 2
