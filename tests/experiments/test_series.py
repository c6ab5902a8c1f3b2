"""The comparison on recordings: its ruler, its doors, its split by people, and that it goes on."""

import io
import json
import os
import pickle
import zipfile
from dataclasses import asdict, replace
from functools import partial

import numpy as np
import pytest

from tests.helpers.results import with_value
from vand_envs.errors import VandError
from vand_robot.evaluation.runner import ThisProcess
from vand_robot.experiments.comparison.trials import Trials
from vand_robot.experiments.series.object_array import read_objects
from vand_robot.experiments.series.plan import Plan
from vand_robot.experiments.series.recordings import (
    EXERCISES,
    SIGNALS,
    SPLITS,
    Recording,
    read_recordings,
    signal_data,
    write_recordings,
)
from vand_robot.experiments.series.rhythm import Rhythm, period_of
from vand_robot.experiments.series.sources import PACKAGES, exercises_of, find_recordings, pulses
from vand_robot.experiments.series.study import run_study
from vand_robot.experiments.series.summary import WORST
from vand_robot.experiments.series.trial import SeriesTrial, check_result, rhythms, ruler, run_trial

DT_S = 0.06
TINY = Plan(
    updates=1,
    seeds=(0, 1),
    signals={"elman": ("abduction", "upright-row")},
    methods=("none", "VAND"),
)


def motion(steps, period=25.0, size=1.0, phase=0.0):
    """A motion of known rhythm: three channels, the second of which is mostly a harmonic."""
    turn = 2 * np.pi * np.arange(steps) / period + phase
    channels = [np.sin(turn), 0.3 * np.cos(turn) + 0.8 * np.sin(2 * turn), 0.5 * np.cos(turn + 0.4)]
    return size * np.stack(channels, axis=-1) + np.array([0.5, -1.0, 2.0])


def people(signals=("abduction", "upright-row"), steps=320):
    """Recordings of ten people, each with a tempo of their own."""
    rng = np.random.default_rng(0)
    return [
        Recording(
            signal,
            person,
            DT_S,
            motion(steps, 12 + person, phase=person) + 0.05 * rng.normal(size=(steps, 3)),
        )
        for signal in signals
        for person in range(1, 11)
    ]


@pytest.fixture
def recordings(tmp_path):
    folder = tmp_path / "recordings"
    folder.mkdir()
    write_recordings(folder / "recordings.npz", people())
    return folder


@pytest.fixture
def file(recordings):
    return recordings / "recordings.npz"


@pytest.mark.parametrize(("tempo", "size"), [(1.0, 1.0), (1.04, 1.0), (0.95, 1.3), (1.0, 0.7)])
def test_errors_of_a_known_motion_are_what_it_is_off(tempo, size):
    rhythm = Rhythm.of(motion(610), DT_S)
    assert rhythm.reference.frequency_hz == pytest.approx(1 / (25 * DT_S), rel=2e-3)
    score = rhythm.score(motion(610, 25 / tempo, size, phase=1.0))
    assert score["frequency_error"] == pytest.approx(abs(tempo - 1), abs=4e-3)
    assert score["phase_drift_rad"] == pytest.approx(2 * np.pi * (tempo - 1), abs=0.02)
    assert score["amplitude_error"] == pytest.approx(abs(size - 1), abs=0.01)
    assert score["in_tolerance"] == pytest.approx(0.0 if size in (0.7, 1.3) else 1.0, abs=0.35)


def test_a_motion_that_stands_still_has_no_frequency_and_is_never_in_tolerance():
    score = Rhythm.of(motion(600), DT_S).score(np.zeros((400, 3)))
    assert score["in_tolerance"] == 0
    assert score["frequency_error"] is None
    assert score["amplitude_error"] == pytest.approx(1)


def test_a_period_is_found_beside_a_strong_harmonic_and_none_in_noise():
    assert period_of(motion(600, 31.0)) == 31
    assert period_of(np.ones((600, 2))) is None
    with pytest.raises(VandError, match="no cycle found in a recording of 60 steps"):
        Rhythm.of(motion(60), DT_S)


def test_nobody_who_is_judged_is_trained_on_or_decides_a_setting():
    assert set(SPLITS) == set(SIGNALS)
    for split in SPLITS.values():
        assert not set(split.train) & (set(split.tuning) | set(split.test))
        assert not set(split.tuning) & set(split.test)
    exercise = SPLITS["abduction"]
    assert sorted((*exercise.train, *exercise.tuning, *exercise.test)) == list(range(1, 11))
    plan = Plan()
    tuned = plan.tuning("elman", {})
    compared = plan.comparison("elman", {})
    assert {trial.people for trial in tuned} == {"tuning"}
    assert {trial.people for trial in compared} == {"test"}
    assert not {trial.key for trial in tuned} & {trial.key for trial in compared}


def test_channels_have_the_deviation_of_those_who_are_trained_on(file):
    data = signal_data(file, "abduction")
    joined = np.concatenate(data.train)
    np.testing.assert_allclose(joined.mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(joined.std(0), 1)
    assert [len(data.of(part)) for part in ("train", "tuning", "test")] == [5, 2, 3]


def test_what_is_judged_is_the_recording_that_goes_on(file):
    (points, rhythm), *others = rhythms(file, "abduction", "test")
    assert len(others) == 2
    assert rhythm.reference.frequency_hz == pytest.approx(1 / (20 * DT_S), rel=0.01)
    scores = ruler(file, "abduction", "test")
    for motion_, score in ((m, s) for m, some in scores.items() for s in some):
        assert score["frequency_error"] < 0.02, motion_
        assert score["in_tolerance"] > 0.9, motion_
    assert len(points) == 320


def test_a_trial_repeats_bit_for_bit_and_noise_acts_in_training_alone(file):
    trial = SeriesTrial("abduction", "gru", 3, 3, {"name": "vand", "beta": 1e-3})
    first, second = (run_trial(file, trial) for _ in range(2))
    del first["seconds"], second["seconds"]
    assert first == second
    assert json.loads(json.dumps(first))["trial"] == asdict(trial)
    assert len(first["scores"]) == 3


def test_the_likelihood_falls_with_training_and_is_that_of_people_not_seen(file):
    nlls = [
        run_trial(file, SeriesTrial("abduction", "elman", 0, updates))["nll"] for updates in (1, 80)
    ]
    assert nlls[1] < nlls[0] - 1
    other = run_trial(file, SeriesTrial("abduction", "elman", 0, 1, people="tuning"))
    assert other["nll"] != nlls[0]


def test_a_study_reports_every_trial_and_does_nothing_twice(recordings, tmp_path):
    seen = []
    out = tmp_path / "out"
    results = run_study(out, TINY, recordings, jobs=1, progress=lambda *now: seen.append(now))
    assert seen[-1] == (20, 20)  # 2 x 3 settings on 2 signals, 2 methods x 2 signals x 2 seeds
    assert {entry["n"] for entry in results["methods"]} == {4}
    assert {entry["signals"] for entry in results["methods"]} == {"exercises"}
    assert len(results["by_signal"]) == 4
    assert results["ruler"][0]["n"] == 6
    assert json.loads((out / "results.json").read_text()) == json.loads(json.dumps(results))
    page = (out / "report.html").read_text()
    assert page.count("data:image/png") == 3
    assert "seglearn-1.2.5" in page

    files = {path: path.stat().st_mtime_ns for path in (out / "trials").iterdir()}
    again = run_study(out, TINY, recordings, jobs=1, progress=lambda *_: None)
    assert again == results
    assert files == {path: path.stat().st_mtime_ns for path in (out / "trials").iterdir()}


def test_an_interrupted_study_keeps_what_was_running_and_starts_no_more(file, tmp_path):
    def interrupted(trial):
        os.kill(os.getpid(), 2)
        return run_trial(file, trial)

    done = []
    kept = Trials(tmp_path, interrupted, check_result, ThisProcess(), done.append)
    wanted = [SeriesTrial("abduction", "elman", seed, 1) for seed in range(5)]
    with pytest.raises(KeyboardInterrupt):
        kept.run(wanted)
    assert 1 <= len(done) < len(wanted)
    finished = len(done)
    Trials(tmp_path, partial(run_trial, file), check_result, ThisProcess(), done.append).run(wanted)
    assert len(list(tmp_path.glob("*.json"))) == 5
    assert done[finished:] == list(range(1, 6))


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("nll",), "low"),
        (("scores", 0, "frequency_error"), []),
        (("first", "dt_s"), 0.0),
        (("first", "true"), [[1.0]]),
        (("first", "generated"), [1.0, 2.0]),
        (("trial", "recordings"), "others"),
    ],
)
def test_a_trial_that_is_json_but_no_result_is_none(tmp_path, keys, value):
    trial = SeriesTrial("abduction", "elman", 0, 1)
    path = [[0.1, 0.2], [0.3, 0.4]]
    result = {
        "trial": asdict(trial),
        "scores": [dict.fromkeys(WORST)],
        "nll": None,
        "first": {"dt_s": 0.06, "true": path, "generated": path},
    }
    trials = Trials(tmp_path, run_trial, check_result, ThisProcess(), lambda _: None)
    file = tmp_path / f"{trial.key}.json"
    damaged = with_value(result, keys, value)
    file.write_text(json.dumps(damaged))
    assert trials.load(trial) is None
    file.write_text(json.dumps(result))
    assert trials.load(trial) == result


def test_other_recordings_are_other_trials(file):
    trial = SeriesTrial("abduction", "elman", 0, 1, recordings="a")
    assert trial.key != replace(trial, recordings="b").key


def written(value):
    """A numpy file of one object, as numpy writes it."""
    target = io.BytesIO()
    np.lib.format.write_array(target, np.array(value, dtype=object), allow_pickle=True)
    return target.getvalue()


def test_a_numpy_file_of_objects_is_read_without_unpickling():
    fortran = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    value = {
        "X": [np.ones((2, 3)), fortran],
        "y": np.array([0, 1], np.int64),
        "labels": ["a", "b"],
        "n": 3,
    }
    found = read_objects(written(value), "file")
    assert found["labels"] == ["a", "b"]
    assert found["n"] == 3
    np.testing.assert_array_equal(found["X"][0], value["X"][0])
    np.testing.assert_array_equal(found["X"][1], fortran)
    np.testing.assert_array_equal(found["y"], value["y"])


class Harmful:
    def __init__(self, call):
        self.call = call

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ((os.system, ("touch harmed",)), "it calls 'posix system', which is not done"),
        ((eval, ("1",)), "eval', which is not done"),
        ((bytearray, (9,)), "bytearray', which is not done"),
    ],
)
def test_a_numpy_file_that_would_run_something_is_refused(tmp_path, monkeypatch, call, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(VandError, match=words):
        read_objects(written({"X": Harmful(call)}), "file")
    assert not (tmp_path / "harmed").exists()


def test_damaged_numpy_files_are_one_line():
    whole = written({"X": [np.ones((2, 3))], "y": "text"})
    start = whole.index(b"\n") + 1
    bad = [whole[:length] for length in range(0, len(whole) - 1, 7)]
    bad += [b"", whole[:start] + b"\x80\x02}q\x00", whole[:start] + b"(" * 5000]
    bad += [whole[:start] + pickle.dumps({"x": 2**70}), whole[:start] + pickle.dumps([1, 2], 0)]
    for content in bad:
        with pytest.raises(VandError, match=r"^file: expected a numpy file of one object"):
            read_objects(content, "file")


def test_exercises_are_taken_with_their_labels_and_people():
    content = {
        "X": [np.arange(36.0).reshape(6, 6), np.ones((8, 6))],
        "y": np.array([1, 6]),
        "subject": np.array([7, 2]),
        "y_labels": list(EXERCISES),
    }
    first, second = exercises_of(content, "file")
    assert (first.signal, first.person, first.points.shape) == ("abduction", 7, (2, 6))
    np.testing.assert_allclose(first.points[0], np.arange(36.0).reshape(6, 6)[:3].mean(0))
    assert (second.signal, second.person, len(second.points)) == ("upright-row", 2, 2)
    with pytest.raises(VandError, match="expected recordings with labels and people"):
        exercises_of({**content, "y_labels": ["PEN", "jump"]}, "file")


def test_pulses_are_brought_to_one_rate(tmp_path):
    def beat(time_s):
        return np.sin(2 * np.pi * 1.2 * time_s) + 0.2 * time_s

    times = (np.arange(3000) / 100, np.arange(3600) / 117, np.arange(3000) / 100)
    dates = [f"2016-11-24 13:58:{s:09.6f}" for s in times[2]]
    tables = {
        "data.csv": [f"{v:.6f}" for v in beat(times[0])],
        "data2.csv": ["timer,hr", *(f"{1000 * s},{beat(s)}" for s in times[1])],
        "data3.csv": [
            "datetime,hr",
            *(f"{d},{beat(s)}" for d, s in zip(dates, times[2], strict=True)),
        ],
    }
    with zipfile.ZipFile(tmp_path / "wheel", "w") as archive:
        for name, lines in tables.items():
            archive.writestr(f"heartpy/data/{name}", "\n".join(lines))
    with zipfile.ZipFile(tmp_path / "wheel") as archive:
        found = pulses(archive)
    assert [(recording.person, len(recording.points)) for recording in found] == [
        (1, 600),
        (2, 600),
        (3, 750),
    ]
    for recording in found:
        assert period_of(recording.points) == pytest.approx(25 / 1.2, abs=0.6)
        assert abs(recording.points.mean()) < 0.1  # the level is gone


def test_recordings_are_read_back_and_damage_is_one_line(file, tmp_path):
    found = read_recordings(file)
    assert [(r.signal, r.person) for r in found] == [(r.signal, r.person) for r in people()]
    np.testing.assert_array_equal(found[7].points, people()[7].points)
    bad = tmp_path / "bad.npz"
    for content in (b"", b"PK", file.read_bytes()[:2000]):
        bad.write_bytes(content)
        with pytest.raises(VandError, match=r"bad\.npz"):
            read_recordings(bad)
    for arrays, words in (
        ({"signal": np.array(["abduction"])}, "person"),
        ({"signal": np.array([1]), "person": np.array([1]), "dt_s": np.array([0.1])}, "points_0"),
    ):
        np.savez(bad, **arrays)
        with pytest.raises(VandError, match=words):
            read_recordings(bad)
    np.savez(bad, signal=np.array([{"a": 1}], object), person=np.array([1]))
    with pytest.raises(VandError, match=r"bad\.npz"):
        read_recordings(bad)
    with pytest.raises(VandError, match="expected finite numbers"):
        Recording("pulse", 1, 0.1, np.full((5, 1), np.nan))


def test_a_wheel_beside_the_recordings_must_be_the_one_that_is_meant(tmp_path):
    (tmp_path / PACKAGES[0].wheel).write_bytes(b"another")
    with pytest.raises(VandError, match="expected sha256 ec6b952c"):
        find_recordings(tmp_path)
    assert not (tmp_path / "recordings.npz").exists()


def test_the_command_goes_from_recordings_to_a_report(command, fails, recordings, tmp_path):
    words = ("experiments", "series", "--recordings", recordings, "--out", tmp_path / "out")
    code, _, err = command(*words, "--quick", "--methods", "none", "--seeds", 0)
    assert code == 0, err
    assert (tmp_path / "out/report.html").stat().st_size > 10_000
    code, line = fails(*words, "--signals", "puls")
    assert code == 2
    assert "unknown signal 'puls' (did you mean 'pulse'?)" in line
    code, line = fails(*words, "--quick", "--signals", "pulse", "--methods", "none")
    assert code == 1
    assert "no recording of pulse by those of" in line
