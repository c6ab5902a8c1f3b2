"""An evaluation that is made again says where it differs, and why."""

import json

import pytest

from tests.helpers.jobs import brief
from vand_robot.evaluation.repeated import EarlierEvaluation
from vand_robot.workflows.evaluate import run_evaluation


@pytest.fixture(scope="module")
def evaluated(run, tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluated") / "out"
    with brief():
        run_evaluation(run, out, tasks=["stow-cube"], episodes=2)
    return out


def again(run, out):
    said = []
    with brief():
        run_evaluation(run, out, tasks=["stow-cube"], episodes=2, force=True, note=said.append)
    return said


def test_the_same_numbers_need_no_word_and_others_are_named_with_the_reason(run, evaluated):
    assert again(run, evaluated) == []
    results, episodes = evaluated / "results.json", evaluated / "episodes.csv"
    content = json.loads(results.read_text())
    content["policy"]["machine"]["blas"] = "openblas Zen"
    results.write_text(json.dumps(content))
    lines = episodes.read_text().splitlines()
    lines[1] = lines[1].replace("False", "True", 1)
    episodes.write_text("\n".join(lines) + "\n")
    (line,) = again(run, evaluated)
    assert line.startswith(
        "note: 1 of 2 episodes differ from those of the evaluation that was here"
    )
    assert "likely reason: blas differs ('openblas Zen'; " in line


def test_another_policy_is_not_compared(run, evaluated):
    results = evaluated / "results.json"
    content = json.loads(results.read_text())
    content["policy"]["digest"] = "another"
    results.write_text(json.dumps(content))
    (evaluated / "episodes.csv").write_text("task,perturbation,seed,success\nx,y,1,True\n")
    assert again(run, evaluated) == []


def test_what_is_damaged_or_of_an_earlier_version_is_passed_over(evaluated):
    results = evaluated / "results.json"
    content = json.loads(results.read_text())
    for name in ("machine", "digest"):
        del content["policy"][name]
    results.write_text(json.dumps(content))
    earlier = EarlierEvaluation.read(evaluated)
    assert earlier is not None
    assert (earlier.result.policy.machine, earlier.result.policy.digest) == ({}, "")
    results.write_text("{")
    assert EarlierEvaluation.read(evaluated) is None
    results.unlink()
    assert EarlierEvaluation.read(evaluated) is None
