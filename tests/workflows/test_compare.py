"""A comparison: runs grouped by method, compared over seeds and episode by episode."""

import csv
import itertools
import json
import shutil

import pytest

from tests.helpers.kills import killed_before_rename, left_behind
from tests.helpers.results import evaluation_result, perturbation_result, task_result
from vand_envs.errors import UsageError, VandError
from vand_robot.evaluation.results import PolicyFacts
from vand_robot.workflows.compare import compare, find_runs, run_comparison

EPISODES = 8


def evaluated(folder, name, seed, successes, version="2"):
    """Writes what an evaluation of two tasks leaves behind; `successes` of the first task's."""
    out = folder / name / "evaluation"
    out.mkdir(parents=True)
    counts = {"wipe": successes, "stir": EPISODES}
    rows = [
        {"task": task, "perturbation": "nominal", "seed": 100 + k, "success": k < count}
        for task, count in counts.items()
        for k in range(EPISODES)
    ]
    with (out / "episodes.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    tasks = {
        task: task_result({"nominal": perturbation_result(count, EPISODES)})
        for task, count in counts.items()
    }
    policy = PolicyFacts(name, config={"seed": seed})
    result = evaluation_result(tasks, suite_version=version, policy=policy)
    (out / "results.json").write_text(result.json_text())


@pytest.fixture
def folder(tmp_path):
    for seed, successes in enumerate((8, 8, 6)):
        evaluated(tmp_path / "runs", f"gru-vand-{seed}", seed, successes)
    for seed, successes in enumerate((2, 0, 0)):
        evaluated(tmp_path / "runs", f"gru-plain-seed{seed}", seed, successes)
    return tmp_path / "runs"


def test_runs_are_grouped_by_method_and_seed(folder):
    assert [(run.method, run.seed) for run in find_runs([folder])] == [
        (method, seed) for method in ("gru-plain", "gru-vand") for seed in range(3)
    ]


def test_methods_come_in_the_order_of_the_folders(folder):
    given = [folder / f"gru-{name}" for name in ("vand-1", "plain-seed0", "vand-0")]
    runs = [(run.method, run.seed) for run in find_runs(given)]
    assert runs == [("gru-vand", 0), ("gru-vand", 1), ("gru-plain", 0)]


def test_methods_are_scored_over_tasks_and_seeds(folder):
    methods = compare(find_runs([folder])).methods
    vand = methods["gru-vand"].perturbations["nominal"]
    assert vand.iqm == pytest.approx(1.0)  # the middle half of 0.75, 1, 1, 1, 1, 1
    assert vand.mean == pytest.approx(5.75 / 6)
    assert vand.tasks == {"wipe": pytest.approx(2.75 / 3), "stir": 1.0}
    low, high = methods["gru-plain"].perturbations["nominal"].interval
    assert low < 0.6 < high


def test_fewer_than_three_seeds_have_no_interval(folder):
    method = compare(find_runs([folder / "gru-vand-0", folder / "gru-vand-1"])).methods["gru-vand"]
    assert method.perturbations["nominal"].interval is None
    assert method.interval_text("nominal") == "2 seeds: no interval"
    method = compare(find_runs([folder / "gru-vand-0"])).methods["gru-vand"]
    assert method.interval_text("nominal") == "1 seed: no interval"


def test_methods_are_compared_episode_by_episode(folder):
    (pair,) = compare(find_runs([folder])).pairs
    assert (pair.first, pair.second) == ("gru-plain", "gru-vand")
    assert pair.episodes == 3 * 2 * EPISODES
    assert (pair.result.only_first, pair.result.only_second) == (0, 20)
    assert pair.result.p_value == pytest.approx(2 / 2**20)


def test_a_comparison_is_written_and_not_overwritten(folder, tmp_path):
    out = tmp_path / "comparison"
    comparison = run_comparison([folder], out)
    assert json.loads((out / "comparison.json").read_text()) == comparison.to_json()
    page = (out / "comparison.html").read_text()
    assert "gru-vand has the highest interquartile mean of success under nominal: 100 %" in page
    assert "3 training seeds each · 2 tasks · suite version 2" in page
    assert page.count("data:image/png") == 2
    assert "Left out" not in page
    with pytest.raises(UsageError, match="--force replaces it"):
        run_comparison([folder], out)


def test_a_comparison_that_was_killed_is_made_anew_without_force(folder, tmp_path):
    out = tmp_path / "comparison"
    for number in itertools.count():
        shutil.rmtree(out, ignore_errors=True)
        if not killed_before_rename(number, lambda: run_comparison([folder], out)):
            break
        assert left_behind(out)
        run_comparison([folder], out)
        assert not left_behind(out)
    assert number == 4  # the numbers, two pictures, the page
    with pytest.raises(UsageError, match="--force replaces it"):
        run_comparison([folder], out)


def test_tasks_that_only_some_runs_have_are_named_as_left_out(folder, command, tmp_path):
    change(folder, "gru-vand-2", lambda found: found["tasks"].pop("stir"))
    code, out, _ = command("compare", folder, "--out", tmp_path / "out")
    assert code == 0
    assert "left out: stir (nominal): not in gru-vand-2" in out
    page = (tmp_path / "out" / "comparison.html").read_text()
    assert "<li>stir (nominal): not in gru-vand-2</li>" in page
    assert "1 task ·" in page
    (part,) = json.loads((tmp_path / "out" / "comparison.json").read_text())["left_out"]
    assert part == {"task": "stir", "perturbations": ["nominal"], "runs": ["gru-vand-2"]}


def test_what_cannot_be_compared_is_refused(folder, tmp_path):
    with pytest.raises(UsageError, match="no folder"):
        find_runs([tmp_path / "nowhere"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"no results\.json in it"):
        find_runs([tmp_path / "empty"])
    evaluated(tmp_path / "twice", "gru-vand-0", 0, 1)
    with pytest.raises(UsageError, match="both are method 'gru-vand' with training seed 0"):
        find_runs([folder, tmp_path / "twice"])
    evaluated(tmp_path / "old", "gru-vand-9", 9, 1, version="1")
    with pytest.raises(VandError, match="suite versions"):
        find_runs([folder, tmp_path / "old"])


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("gru-vand-0", "gru-vand"),
        ("gru-vand_12", "gru-vand"),
        ("gru-vand-seed3", "gru-vand"),
        ("vand64", "vand64"),
        ("vand128-1", "vand128"),
        ("noisin-0.1", "noisin-0.1"),
        ("noisin-0.2-2", "noisin-0.2"),
        ("noise-1e-3", "noise-1e-3"),
        ("noise-1e-3-0", "noise-1e-3"),
        ("7", "7"),
    ],
)
def test_a_method_is_a_run_s_name_without_its_seed(tmp_path, name, method):
    evaluated(tmp_path, name, 0, 1)
    (run,) = find_runs([tmp_path])
    assert run.method == method


def change(folder, name, edit):
    file = folder / name / "evaluation" / "results.json"
    results = json.loads(file.read_text())
    edit(results)
    file.write_text(json.dumps(results))


def mark_expert(results):
    results["policy"]["expert"] = True


def test_experts_are_no_method(folder):
    for seed in range(2):
        evaluated(folder, f"experts on gru-vand-{seed}", 0, EPISODES)
        change(folder, f"experts on gru-vand-{seed}", mark_expert)
    assert {run.method for run in find_runs([folder])} == {"gru-plain", "gru-vand"}
    with pytest.raises(UsageError, match="only the scripted experts were evaluated"):
        find_runs([folder / "experts on gru-vand-0"])


def test_episodes_are_compared_where_all_methods_are(folder):
    """A task that one run lacks is in neither the scores nor the tests."""
    before = compare(find_runs([folder]))
    change(folder, "gru-vand-2", lambda found: found["tasks"].pop("stir"))
    after = compare(find_runs([folder]))
    assert after.tasks == ("wipe",)
    assert before.pairs[0].episodes == 2 * after.pairs[0].episodes == 48


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda found: found.pop("policy"), "policy is missing"),
        (lambda found: found["policy"].pop("run"), "policy.run is missing"),
        (lambda found: found.update(policy=3), "policy: expected a mapping, got 3"),
        (lambda found: found.pop("suite_version"), "suite_version is missing"),
        (lambda found: found.pop("perturbations"), "perturbations is missing"),
        (lambda found: found.pop("tasks"), "tasks is missing"),
        (
            lambda found: found["tasks"]["wipe"].pop("perturbations"),
            "tasks.wipe.perturbations is missing",
        ),
        (
            lambda found: found["tasks"]["wipe"]["perturbations"]["nominal"].pop("success_rate"),
            "tasks.wipe.perturbations.nominal.success_rate is missing",
        ),
        (lambda found: found.update(tasks=3), "tasks: expected a mapping, got 3"),
        (
            lambda found: found["policy"].update(config={"a": 1}),
            "policy.config.seed is missing",
        ),
        (
            lambda found: found["policy"].update(config={"seed": "x"}),
            "policy.config.seed: expected an integer, got 'x'",
        ),
    ],
)
def test_what_an_evaluation_lacks_is_named(folder, edit, words):
    change(folder, "gru-vand-1", edit)
    with pytest.raises(VandError) as error:
        find_runs([folder])
    assert words in str(error.value)
    assert str(folder / "gru-vand-1" / "evaluation" / "results.json") in str(error.value)


def test_incomplete_evaluations_are_one_line(folder, fails, tmp_path):
    results = folder / "gru-vand-1" / "evaluation" / "results.json"
    for content in ('{"policy": {"run": "a-0"}}', "[]", "{", "null"):
        results.write_text(content)
        code, line = fails("compare", folder, "--out", tmp_path / "out")
        assert code == 1
        assert str(results) in line
    evaluated(tmp_path / "runs2", "gru-vand-1", 1, 3)
    episodes = tmp_path / "runs2" / "gru-vand-1" / "evaluation" / "episodes.csv"
    episodes.write_text("task,perturbation\n")
    code, line = fails("compare", tmp_path / "runs2", "--out", tmp_path / "out")
    assert code == 1
    assert line.endswith(f"{episodes}: column seed is missing")
