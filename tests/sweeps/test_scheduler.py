"""The scheduler with real processes: retries, failures, interruption, and what a kill leaves."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from vand_demos.system.json_record import JsonRecord
from vand_robot.config.schema import TrainConfig
from vand_robot.sweeps.board import Board
from vand_robot.sweeps.outcomes import Outcome, OutcomeFile
from vand_robot.sweeps.scheduler import Scheduler, SweepInterruptedError
from vand_robot.sweeps.schema import TrialEvaluation
from vand_robot.sweeps.source import FixedTrials
from vand_robot.sweeps.trial import Trial, TrialResult, read_update

PROGRAM = """
import json, os, pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[1])
starts = folder / "starts"
number = len(starts.read_text()) if starts.exists() else 0
starts.write_text("x" * (number + 1))
plan = json.loads((folder / "trial.json").read_text())["setting"]
if number < plan.get("deaths", 0):
    os.kill(os.getpid(), signal.SIGKILL)
time.sleep(plan.get("seconds", 0))
done = {"error": plan.get("error", ""), "update": 1, "valid_nll": None, "success": 0.5}
(folder / "done.json").write_text(json.dumps(done))
"""


class Started:
    """A process that stands for a trial."""

    def __init__(self, folder):
        self.process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(folder)])

    def poll(self):
        return self.process.poll() is None

    def stop(self):
        self.process.terminate()

    def wait(self, deadline):
        self.process.wait(max(deadline - time.monotonic(), 0))


class Place:
    """A back end whose trials do what their setting says, and train nothing."""

    def __init__(self, slots):
        self.slots, self.started = slots, []

    def start(self, folder):
        self.started.append(folder.name)
        return Started(folder)

    def close(self):
        pass


def trial(name, **setting):
    return Trial(name, setting, None, 0, TrainConfig(), TrialEvaluation())


def scheduler(folder, trials, place, retries=2):
    folder.mkdir(exist_ok=True)
    file = OutcomeFile(folder)
    source = FixedTrials(trials)
    return Scheduler(source, place, folder / "trials", file, retries=retries, board=Board(None))


def test_a_trial_whose_process_dies_is_started_again_and_then_reported(tmp_path):
    trials = [trial("sound"), trial("dies-twice", deaths=2), trial("dies-always", deaths=99)]
    ended = scheduler(tmp_path, trials, Place(2)).run()
    outcomes = {t.method: outcome for t, outcome in ended}
    assert outcomes["sound"].attempts == 1
    assert outcomes["dies-twice"].attempts == 3
    assert outcomes["dies-twice"].result == TrialResult("", 1, None, 0.5)
    assert "its process died 3 times" in outcomes["dies-always"].result.error
    assert {o.key for o in OutcomeFile(tmp_path).read().values()} == {t.key for t in trials}


def test_a_trial_that_fails_does_not_stop_the_others_and_is_run_again_on_resume(tmp_path):
    trials = [trial("wrong", error="no data"), trial("sound")]
    place = Place(1)
    ended = scheduler(tmp_path, trials, place).run()
    assert [(t.method, o.result.error) for t, o in ended] == [("wrong", "no data"), ("sound", "")]
    again = Place(1)
    scheduler(tmp_path, trials, again).run()
    assert again.started == [trials[0].name]


def test_a_result_that_was_not_written_down_before_a_kill_is_found(tmp_path):
    trials = [trial("sound")]
    scheduler(tmp_path, trials, Place(1)).run()
    (tmp_path / "outcomes.jsonl").unlink()
    again = Place(1)
    ((_, outcome),) = scheduler(tmp_path, trials, again).run()
    assert again.started == []
    assert outcome.result.success == 0.5
    assert trials[0].key in OutcomeFile(tmp_path).read()


def test_ctrl_c_stops_what_runs_and_keeps_what_is_finished(tmp_path):
    trials = [trial("quick"), trial("slow", seconds=60)]
    place = Place(1)
    interrupted = threading.Event()

    def interrupt():
        while not (tmp_path / "trials" / trials[1].name / "starts").exists():
            time.sleep(0.02)
        interrupted.set()
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(SweepInterruptedError, match=r"1 of 2 trials have ended.*--resume"):
        scheduler(tmp_path, trials, place).run()
    assert interrupted.is_set()
    assert list(OutcomeFile(tmp_path).read()) == [trials[0].key]


def test_a_line_that_a_kill_cut_off_does_not_count_and_is_written_over(tmp_path):
    file = OutcomeFile(tmp_path)
    one, two = trial("one"), trial("two")
    file.append(Outcome(one.key, one.name, 1, 2.0, TrialResult(success=0.25)), one)
    whole = file.path.read_bytes()
    file.path.write_bytes(whole + whole[: len(whole) // 2])
    assert list(file.read()) == [one.key]
    file.append(Outcome(two.key, two.name, 1, 2.0, TrialResult(success=0.75)), two)
    assert [o.result.success for o in file.read().values()] == [0.25, 0.75]
    assert len(file.path.read_text().splitlines()) == 2


def test_an_outcome_is_read_as_it_was_written(tmp_path):
    one = trial("one", rate=0.5)
    outcome = Outcome(one.key, one.name, 2, 1.5, TrialResult("", 7, -1.25, 0.5))
    written = json.loads(json.dumps(outcome.to_json(one)))
    assert Outcome.from_json(JsonRecord.of("file", written)) == outcome
    assert written["setting"] == {"rate": 0.5}


def test_a_folder_stands_for_its_trial_alone(tmp_path):
    one, other = trial("one", rate=0.5), trial("one", rate=0.25)
    assert one.name != other.name
    assert Path(one.name).name == one.name


@pytest.mark.parametrize(
    ("line", "update"),
    [
        (b'{"update": 7}', 7),
        (b'{"update": 7', 0),
        (b'{"update": 1e999}', 0),
        (b'{"update": "7"}', 0),
        (b"[7]", 0),
        (b"[" * 8000, 0),
        (b"\xff", 0),
        (b"", 0),
    ],
)
def test_the_update_of_a_run_is_read_from_whole_lines_alone(tmp_path, line, update):
    (tmp_path / "metrics.jsonl").write_bytes(line)
    assert read_update(tmp_path) == update
