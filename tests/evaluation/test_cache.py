"""Finished jobs on disk: in several processes, after an interruption, and when damaged."""

import dataclasses
import io
import json
import shutil
from functools import partial
from hashlib import sha256

import numpy as np
import pytest
import torch

from tests.helpers.jobs import jobs_of, run_jobs
from vand_envs.errors import VandError
from vand_robot.evaluation import jobs as evaluation_jobs
from vand_robot.evaluation.cache import JobFolder
from vand_robot.evaluation.jobs import run_job
from vand_robot.evaluation.target import load_target
from vand_robot.policies.checkpoint import load_checkpoint, load_policy, save_checkpoint


def test_processes_do_not_change_a_bit(run, references, tmp_path):
    jobs = jobs_of(references, ["nominal", "push"])
    files = {}
    for processes in (1, 2):
        folder = JobFolder(tmp_path / str(processes), "policy", references)
        run_jobs(partial(load_policy, run), jobs, folder, processes=processes)
        files[processes] = [folder.load(job) for job in jobs]
    for one, two in zip(files[1], files[2], strict=True):
        assert one.rows == two.rows
        assert np.array_equal(one.stage_times_s, two.stage_times_s, equal_nan=True)


def test_an_interrupted_evaluation_goes_on_with_what_it_has(run, references, tmp_path, monkeypatch):
    jobs = jobs_of(references, ["nominal"])
    folder = JobFolder(tmp_path, "policy", references)
    asked = []

    def stops_after_one(policy, job, *arguments, **options):
        if asked:
            raise KeyboardInterrupt
        asked.append(job)
        return run_job(policy, job, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(evaluation_jobs, "run_job", stops_after_one)
        with pytest.raises(KeyboardInterrupt):
            run_jobs(partial(load_policy, run), jobs, folder)
    assert [folder.load(job) is not None for job in jobs] == [job in asked for job in jobs]
    told = []
    outcomes = run_jobs(
        partial(load_policy, run), jobs, folder, progress=lambda *steps: told.append(steps)
    )
    assert told[0] == (12, 24)
    assert told[-1] == (24, 24)
    assert [outcome.rows[0]["task"] for outcome in outcomes] == ["stow-cube", "wipe"]
    # nothing of another policy or of other perturbations is taken for it
    assert JobFolder(tmp_path, "other", references).load(jobs[0]) is None
    longer = dataclasses.replace(jobs[0], steps=13)
    assert folder.load(longer) is None


def test_a_damaged_job_is_run_again(run, references, tmp_path):
    (job,) = jobs_of(references, ["nominal"])[1:]
    folder = JobFolder(tmp_path, "policy", references)
    (outcome,) = run_jobs(partial(load_policy, run), [job], folder)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    kept = json.dumps(outcome.rows)
    for damaged in [b"", b"nonsense", *(whole[:n] for n in range(1, len(whole), 97))]:
        file.write_bytes(damaged)
        assert folder.load(job) is None
    for at in range(0, len(whole), 13):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 0x5A]) + whole[at + 1 :])
        loaded = folder.load(job)
        assert loaded is None or json.dumps(loaded.rows) == kept
    file.write_bytes(whole)
    assert json.dumps(folder.load(job).rows) == kept
    file.write_bytes(whole[:-40])
    again = run_jobs(partial(load_policy, run), [job], folder)
    assert json.dumps(again[0].rows) == kept


ROW = {"task": "wipe", "perturbation": "nominal", "success": True}


def archive(**arrays):
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    return content.getvalue()


@pytest.mark.parametrize(
    "make",
    {
        "nothing": lambda kept: b"",
        "a text": lambda kept: b"hello",
        "no arrays": lambda kept: archive(),
        "pickled objects": lambda kept: archive(**{**kept, "rows": np.array([{}], object)}),
        "rows no list": lambda kept: archive(**{**kept, "rows": np.array("3")}),
        "rows deep": lambda kept: archive(**{**kept, "rows": np.array("[" * 10**5)}),
        "rows empty": lambda kept: archive(**{**kept, "rows": np.array("[]")}),
        "rows of other episodes": lambda kept: archive(
            **{**kept, "rows": np.array(json.dumps([{**ROW, "seed": 1}, {**ROW, "seed": 2}]))}
        ),
        "times of another shape": lambda kept: archive(**{**kept, "stage_times_s": np.zeros(3)}),
        "texts for times": lambda kept: archive(**{**kept, "stage_times_s": np.array(["x"] * 2)}),
        "a signal of another shape": lambda kept: archive(**{**kept, "signal": np.zeros((2, 2))}),
        "gigabytes of zeros": lambda kept: archive(**{**kept, "more": np.zeros(2**30, np.int8)}),
    }.items(),
    ids=lambda item: item[0],
)
def test_a_job_that_was_written_by_hand_is_run_again(make, run, references, tmp_path, monkeypatch):
    monkeypatch.setenv("VAND_MAX_BYTES", str(2**29))
    (job,) = jobs_of(references, ["nominal"])[1:]
    folder = JobFolder(tmp_path, "policy", references)
    run_jobs(partial(load_policy, run), [job], folder)
    (file,) = tmp_path.iterdir()
    with np.load(io.BytesIO(file.read_bytes()[32:])) as arrays:
        kept = dict(arrays)
    packed = archive(**kept)
    file.write_bytes(sha256(packed).digest() + packed)
    assert folder.load(job) is not None
    packed = make[1](kept)
    file.write_bytes(sha256(packed).digest() + packed)
    assert folder.load(job) is None


def test_a_bug_in_unpacking_is_not_taken_for_damage(run, references, tmp_path, monkeypatch):
    (job,) = jobs_of(references, ["nominal"])[1:]
    folder = JobFolder(tmp_path, "policy", references)
    run_jobs(partial(load_policy, run), [job], folder)

    def fail(*_, **__):
        raise RuntimeError("a bug")

    monkeypatch.setattr(np, "load", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        folder.load(job)


def test_a_policy_that_changes_meanwhile_is_noticed(run, references, tmp_path):
    changing = tmp_path / "run"
    shutil.copytree(run, changing)
    target = load_target(changing)
    target.make_policy()
    saved = load_checkpoint(changing)
    with torch.no_grad():
        next(saved.policy.parameters()).add_(1.0)
    save_checkpoint(changing / "best", saved, None)
    jobs = jobs_of(references, ["nominal"])
    for processes in (1, 2):
        folder = JobFolder(tmp_path / str(processes), target.digest, references)
        with pytest.raises(VandError, match="run: the policy changed while it was evaluated"):
            run_jobs(target.make_policy, jobs, folder, processes=processes)
