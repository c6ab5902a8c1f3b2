"""The comparison on periodic sequences: its signals, its fairness, and that it can be resumed."""

import json
import os
import signal
from dataclasses import asdict, replace

import numpy as np
import pytest

from tests.helpers.results import with_value
from vand_robot.evaluation.runner import ThisProcess
from vand_robot.experiments.comparison.methods import MAIN_METHODS, METHODS, VAND
from vand_robot.experiments.comparison.plan import chosen_plan
from vand_robot.experiments.comparison.trial import Trial
from vand_robot.experiments.comparison.trials import Trials
from vand_robot.experiments.sequences import study
from vand_robot.experiments.sequences.plan import VARIATIONS, Plan
from vand_robot.experiments.sequences.signals import DT_S, SIGNALS, draw, reference, walk
from vand_robot.experiments.sequences.summary import WORST, figure, summarize
from vand_robot.experiments.sequences.trial import SCORES, check_result, run_trial
from vand_robot.metrics.periodic import score_periodic
from vand_robot.nn import Vand, make_regularizer

TINY = Plan(
    updates=1,
    seeds=(0, 1),
    tuning_seeds=(9,),
    signals={"elman": ("figure-of-eight",)},
    methods=("none", "VAND"),
)


def one(value):
    return np.array([value])


@pytest.mark.parametrize("signal", SIGNALS)
def test_tempo_and_size_are_what_the_metrics_measure(signal):
    plain, other = reference(signal, 1.0, 1.0), reference(signal, 1.1, 0.9)
    assert plain.frequency_hz == pytest.approx(1.0, rel=0.01)
    assert other.frequency_hz == pytest.approx(1.1, rel=0.01)
    assert other.amplitude == pytest.approx(0.9 * plain.amplitude, rel=0.01)


@pytest.mark.parametrize("signal", SIGNALS)
def test_a_true_sequence_is_perfect_and_a_backward_one_is_not(signal):
    path = walk(signal, 300, one(0.7), one(-1.05), one(1.05))[:, 0]
    right, wrong = (
        score_periodic(path, DT_S, reference(signal, tempo, 1.05)) for tempo in (-1.05, 1.05)
    )
    assert right.success
    assert right.frequency_error < 0.01
    assert right.in_tolerance > 0.99
    assert wrong.in_tolerance < 0.1


def test_a_point_does_not_tell_the_direction():
    sequences = draw("van-der-pol", 5, 400, np.random.default_rng(0))
    forward = sequences.tempo > 0
    assert 0.4 < forward.mean() < 0.6
    first = sequences.points[0]
    np.testing.assert_allclose(first[forward].mean(0), first[~forward].mean(0), atol=0.3)


def test_a_trial_repeats_bit_for_bit():
    trial = Trial("sum-of-sines", "elman", 3, 2, {"name": "vand", "beta": 1e-3})
    first, second = (run_trial(trial) for _ in range(2))
    del first["seconds"], second["seconds"]
    assert first == second
    assert json.loads(json.dumps(first))["trial"] == asdict(trial)
    assert all(set(score) == set(SCORES) for score in first["scores"])


def test_training_brings_a_network_nearer_to_the_truth():
    losses = [
        run_trial(Trial("figure-of-eight", "gru", 0, updates))["training"]["nll"]
        for updates in (1, 60)
    ]
    assert losses[1] < losses[0] - 1


def test_a_motion_that_stopped_counts_as_the_worst():
    stopped = dict.fromkeys(SCORES)
    near = {
        "success": True,
        "in_tolerance": 1.0,
        "frequency_error": 0.1,
        "amplitude_error": 7.0,
        "phase_drift_rad": -0.2,
    }
    outcome = {"trial": {"signal": "x"}, "scores": [stopped, near]}
    assert figure(outcome, "frequency_error") == pytest.approx((1 + 0.2 / (2 * np.pi)) / 2)
    assert figure(outcome, "amplitude_error") == 1  # cut off
    assert figure(outcome, "phase_drift_rad") == pytest.approx((2 * np.pi + 0.2) / 2)
    assert summarize([outcome])["in_tolerance"] == {"iqm": 0.5, "low": 0.5, "high": 0.5}
    assert set(WORST) <= set(summarize([outcome]))


def test_every_method_has_the_same_tuning_budget_on_seeds_that_are_not_reported():
    plan = Plan()
    assert not set(plan.seeds) & set(plan.tuning_seeds)
    assert {len(settings) for settings in METHODS.values()} == {3}
    trials = [
        trial
        for settings in METHODS.values()
        for setting in settings
        for trial in plan.tuning("lstm", setting)
    ]
    assert len({trial.key for trial in trials}) == len(trials)
    for trial in trials:
        make_regularizer(trial.regularizer)


def test_every_row_of_variations_holds_what_it_varies_from():
    defaults = asdict(make_regularizer(VAND))
    for option, values in VARIATIONS.items():
        assert defaults[option] in values
        for value in values:
            assert isinstance(make_regularizer({**VAND, option: value}), Vand)


def test_a_study_reports_every_trial_and_does_nothing_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "VARIATIONS", {"mask": ("step", "sequence")})
    seen = []
    results = study.run_study(tmp_path, TINY, jobs=1, progress=lambda *now: seen.append(now))
    assert [entry["method"] for entry in results["methods"]] == list(TINY.methods)
    assert seen[-1] == (14, 14)  # 2 x 3 to tune, 2 x 2 to compare, 2 x 2 variations
    assert len(results["trials"]) in (12, 14)  # two are the same where the middle beta is best
    assert json.loads((tmp_path / "results.json").read_text()) == json.loads(json.dumps(results))
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/png") == 4
    assert "http" not in page.replace("http://www.w3.org", "")

    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "trials").iterdir()}
    again = study.run_study(tmp_path, TINY, jobs=1, progress=lambda *_: None)
    assert again == results
    assert files == {path: path.stat().st_mtime_ns for path in (tmp_path / "trials").iterdir()}


def test_a_chosen_study_runs_its_cells_on_its_signals_with_learning_rates_of_their_own(tmp_path):
    plan = chosen_plan(
        Plan(updates=1, tuning_seeds=(9,)),
        "mingru,lru",
        "van-der-pol, sum-of-sines",
        "gradient clipping",
        "3",
        own_rates=True,
    )
    seen = []
    results = study.run_study(tmp_path, plan, jobs=1, progress=lambda *now: seen.append(now))
    assert seen[-1] == (14, 14)  # 2 cells x (3 + 2) settings to tune, x 2 signals to compare
    assert len(results["tuning"]) == 10
    assert [(e["cell"], e["signals"], e["method"]) for e in results["methods"]] == [
        (cell, "all", "gradient clipping") for cell in ("mingru", "lru")
    ]
    assert {entry["n"] for entry in results["methods"]} == {2}
    assert results["variations"] == []
    for cell in ("mingru", "lru"):
        tried = [e["setting"] for e in results["tuning"] if e["cell"] == cell]
        assert len({setting["clip"] for setting in tried[3:]}) == 1  # that was chosen first
        assert {setting["learning_rate"] for setting in tried[3:]} == {0.003, 0.02}
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/png") == 1
    assert "mingru van-der-pol, sum-of-sines; lru" in page


def test_a_schedule_acts_in_a_trial_and_trials_without_one_keep_their_names():
    plain = Trial("sum-of-sines", "elman", 0, 4, {"name": "gaussian_noise", "scale": 0.5})
    assert plain.key == "8979f9dbc56ded714ac1"
    falling = replace(plain, schedule={"option": "scale", "start": 0.5, "end": 0.0})
    steady = replace(plain, schedule={"option": "scale", "start": 0.5, "end": 0.5})
    assert len({trial.key for trial in (plain, falling, steady)}) == 3
    losses = [run_trial(trial)["training"]["nll"] for trial in (plain, falling, steady)]
    assert losses[0] == losses[2] != losses[1]


def test_what_is_asked_for_by_name():
    assert Plan().methods == MAIN_METHODS == tuple(METHODS)[: len(MAIN_METHODS)]
    plan = chosen_plan(Plan(), None, "all", "all", "7,8,7", own_rates=False)
    assert plan.signals == {cell: tuple(SIGNALS) for cell in ("elman", "gru", "lstm")}
    assert plan.methods == tuple(METHODS)
    assert plan.seeds == (7, 8)
    ablation = {
        make_regularizer(s["regularizer"]) for m in METHODS if "VAND" in m for s in METHODS[m]
    }
    assert {(r.noise, r.dropout, r.adaptive) for r in ablation} == {
        (True, True, True),
        (True, False, True),
        (False, True, True),
        (True, True, False),
        (False, True, False),
    }


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--cells", "gruu"), "unknown cell 'gruu' (did you mean 'gru'?)"),
        (("--signals", "van-der-poll"), "did you mean 'van-der-pol'?"),
        (("--methods", "none;VANDD"), "did you mean 'VAND'?"),
        (("--methods", " "), "expected at least one method, got none"),
        (("--seeds", "0,x"), "--seeds: expected numbers with commas between them, got 'x'"),
        (("--seeds", "9" * 30), "--seeds: expected numbers with commas between them, got '999"),
        (("--seeds", str(2**62 + 1)), "seeds: expected numbers from 0 to 4611686018427387904"),
        (("--seeds", "100"), "seeds: 100 is one that settings are chosen on"),
    ],
)
def test_what_is_not_there_is_one_line(fails, tmp_path, words, expected):
    code, line = fails("experiments", "sequences", *words, "--out", tmp_path)
    assert code == 2
    assert expected in line


def test_an_interrupted_study_keeps_what_was_running_and_starts_no_more(tmp_path):
    def interrupted(trial):
        os.kill(os.getpid(), signal.SIGINT)
        return run_trial(trial)

    done = []
    kept = Trials(tmp_path, interrupted, check_result, ThisProcess(), done.append)
    wanted = [Trial("sum-of-sines", "elman", seed, 1) for seed in range(5)]
    with pytest.raises(KeyboardInterrupt):
        kept.run(wanted)
    assert 1 <= len(list(tmp_path.iterdir())) == len(done) < len(wanted)


def test_a_damaged_trial_is_run_again(tmp_path):
    trial = Trial("sum-of-sines", "elman", 0, 1)

    def run():
        return Trials(tmp_path, run_trial, check_result, ThisProcess(), lambda _: None).run([trial])

    (first,) = run()
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:-5])
    assert run()[0]["scores"] == first["scores"]
    assert json.loads(file.read_bytes())["scores"] == first["scores"]
    file.write_bytes(whole)
    assert run() == [first]  # the sound one is taken as it is, with the time that it took


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("trial", "seed"), 1),
        (("trial",), {}),
        (("scores",), []),
        (("scores",), [{}]),
        (("scores", 0, "in_tolerance"), "high"),
        (("scores", 3, "phase_drift_rad"), True),
        (("scores", 0), None),
        (("first",), None),
        (("first", "tempo"), 1e-9),
        (("first", "tempo"), float("nan")),
        (("first", "path"), []),
        (("first", "path"), [[0.0, 1.0], [2.0]]),
        (("first", "path"), [["0", "1"]]),
        (("first", "path", 0, 0), float("inf")),
        (("first", "path", 0, 0), 10**400),
    ],
)
def test_a_trial_that_is_json_but_no_result_is_none(tmp_path, keys, value):
    result = {
        "trial": asdict(Trial("sum-of-sines", "elman", 0, 1)),
        "scores": [dict.fromkeys(SCORES, 0.5) for _ in range(4)],
        "first": {"tempo": -1.0, "size": 1.0, "path": [[0.0, 1.0]] * 3},
    }
    trials = Trials(tmp_path, run_trial, check_result, ThisProcess(), lambda _: None)
    trial = Trial("sum-of-sines", "elman", 0, 1)
    file = tmp_path / f"{trial.key}.json"
    damaged = with_value(result, keys, value)
    file.write_text(json.dumps(damaged))
    assert trials.load(trial) is None
    file.write_text(json.dumps(result))
    assert trials.load(trial) == result


def test_the_command_has_an_example_and_one_line_for_a_mistake(command, fails, tmp_path):
    code, out, _ = command("experiments", "sequences", "--help")
    assert code == 0
    assert "Example: vand-robot experiments sequences" in " ".join(out.split())
    code, line = fails("experiments", "sequences", "--jobs", 0, "--out", tmp_path)
    assert code == 2
    assert "--jobs: expected 1 or more, got 0" in line
    code, line = fails("experiments", "sequence")
    assert code == 2
    assert "did you mean 'sequences'?" in line
