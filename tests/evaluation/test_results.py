"""Typed results: what Python gives, what is written, and what is refused on reading back."""

import json

import pytest

from tests.helpers.jobs import brief
from vand_envs.errors import UsageError, VandError
from vand_robot.evaluation.episodes import read_successes
from vand_robot.evaluation.evaluate import evaluate
from vand_robot.evaluation.results import EvaluationResult
from vand_robot.policies.expert import ExpertPolicy
from vand_robot.workflows.evaluate import run_evaluation


@pytest.mark.usefixtures("short_episodes")
def test_evaluate_takes_the_folder_of_a_run_and_gives_the_numbers_of_the_command(run, tmp_path):
    options = {"tasks": ["wipe", "stow-cube"], "episodes": 1}
    names = ["push", "nominal"]
    result = evaluate(str(run), perturbations=names, **options)
    written = run_evaluation(run, tmp_path / "out", perturbations=names, **options)
    assert result.tasks == written.tasks
    assert result.confusion == written.confusion
    assert result.csv_text() == (tmp_path / "out" / "episodes.csv").read_text()
    assert result.policy.run == "tiny"
    wipe = result.tasks["wipe"]
    assert wipe.success_rate == wipe.perturbations["nominal"].success_rate
    assert wipe.nominal is wipe.perturbations["nominal"]
    pushed = evaluate(run, ["wipe"], perturbations=["push"], episodes=1)
    assert pushed.tasks["wipe"].nominal == wipe.perturbations["push"]


def test_evaluate_refuses_what_it_cannot_judge(run):
    with pytest.raises(UsageError, match="references: needed"):
        evaluate(ExpertPolicy(), ["wipe"])
    with pytest.raises(UsageError, match="episodes: expected at least 1, got 0"):
        evaluate(run, ["wipe"], episodes=0)
    with pytest.raises(UsageError, match="did you mean 'push'"):
        evaluate(run, ["wipe"], perturbations=["psh"])
    with pytest.raises(UsageError, match="no run nowhere"):
        evaluate("nowhere", ["wipe"])


@pytest.fixture(scope="module")
def evaluated(run, tmp_path_factory):
    """An evaluation on disk, and its result."""
    out = tmp_path_factory.mktemp("evaluated")
    with brief():
        return out, run_evaluation(run, out, perturbations=["nominal", "switch"], episodes=1)


def test_results_are_read_back_as_they_were_written(evaluated):
    out, result = evaluated
    assert EvaluationResult.read(out / "results.json") == result
    assert EvaluationResult.from_json(result.to_json()) == result
    assert result.tasks["wipe"].perturbations["switch"].after == "stow-cube"
    assert read_successes(out) == {
        (episode.perturbation, episode.task, episode.seed): episode.success
        for episode in result.episodes
    }


def change_at(content, path, value):
    """Sets a value in nested JSON; takes it out where the new value is ...."""
    *outer, last = path
    for key in outer:
        content = content[key]
    if value is ...:
        del content[last]
    else:
        content[last] = value


WIPE = ["tasks", "wipe", "perturbations", "nominal"]


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (["suite"], ..., "suite is missing"),
        (["first_seed"], 1.5, "first_seed: expected an integer, got 1.5"),
        (["first_seed"], True, "first_seed: expected an integer, got True"),
        (["policy", "expert"], 0, "policy.expert: expected true or false, got 0"),
        (["perturbations", "nominal"], [], "perturbations.nominal: expected a mapping, got []"),
        (["tasks", "wipe", "perturbations"], {}, "tasks.wipe.perturbations: expected at least one"),
        ([*WIPE, "wilson_95"], [0.1], "nominal.wilson_95: expected two numbers, got [0.1]"),
        (
            ["tasks", "stow-cube", "perturbations", "nominal", "stages", 0, "share"],
            float("nan"),
            "nominal.stages[0].share: expected a finite number, got nan",
        ),
        (
            [*WIPE, "worst", 0, "failures"],
            None,
            "tasks.wipe.perturbations.nominal.worst[0].failures: expected a text, got None",
        ),
        (["confusion", "nominal", "wipe", "none"], "1", "wipe.none: expected an integer, got '1'"),
    ],
)
def test_a_wrong_value_in_results_is_named_with_file_and_key(evaluated, path, value, words):
    content = json.loads(evaluated[1].json_text())
    change_at(content, path, value)
    with pytest.raises(VandError) as error:
        EvaluationResult.from_json(content, "here/results.json")
    assert str(error.value).startswith("here/results.json: ")
    assert words in str(error.value)


def test_unreadable_results_are_one_line(tmp_path):
    file = tmp_path / "results.json"
    for content in (b"{", b"[]", b"\xff", b"[" * 100_000):
        file.write_bytes(content)
        with pytest.raises(VandError, match=r"results\.json: expected "):
            EvaluationResult.read(file)
    with pytest.raises(VandError, match="cannot read"):
        EvaluationResult.read(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("nominal,wipe,x,True", "line 2: seed: expected an integer, got 'x'"),
        ("nominal,wipe,1,yes", "line 2: success: expected True or False, got 'yes'"),
        ("nominal,wipe", "line 2: seed: expected an integer, got ''"),
    ],
)
def test_a_wrong_value_in_the_table_of_episodes_is_named_with_its_line(tmp_path, row, words):
    (tmp_path / "episodes.csv").write_text(f"perturbation,task,seed,success\n{row}\n")
    with pytest.raises(VandError) as error:
        read_successes(tmp_path)
    assert str(error.value) == f"{tmp_path / 'episodes.csv'}: {words}"
