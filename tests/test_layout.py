"""The folders of runs and evaluations: what may be written where, and what is removed."""

from contextlib import nullcontext
from pathlib import Path

import pytest

from vand_envs.errors import UsageError
from vand_robot.layout import CONFIG_HEADER, EvaluationFolder, RunFolder, claim_folder


def make_run(path: Path) -> RunFolder:
    run = RunFolder(path)
    for folder in (run.best, run.last, run.tensorboard):
        folder.mkdir(parents=True)
    (run.last / "policy.json").touch()
    run.config.write_text(f"{CONFIG_HEADER}\n")
    run.metrics.touch()
    return run


def test_a_folder_is_a_run_by_the_first_line_of_its_configuration(tmp_path: Path):
    run = make_run(tmp_path / "run")
    assert run.is_run
    run.config.write_text("chapter: 1\n")
    assert not run.is_run
    assert not RunFolder(tmp_path / "absent").is_run


def test_a_run_is_claimed_anew_resumed_or_by_force(tmp_path: Path):
    RunFolder(tmp_path / "absent").claim(resume=False, force=False)
    run = make_run(tmp_path / "run")
    run.claim(resume=True, force=False)
    run.claim(resume=False, force=True)
    with pytest.raises(UsageError, match="--resume, replace it with --force"):
        run.claim(resume=False, force=False)
    with pytest.raises(UsageError, match="not both"):
        run.claim(resume=True, force=True)


def test_the_lock_that_a_killed_process_left_does_not_block_a_folder(tmp_path: Path):
    (tmp_path / "lock").touch()
    RunFolder(tmp_path).claim(resume=False, force=False)


def test_clearing_a_run_removes_halves_of_checkpoints_and_leaves_other_files(tmp_path: Path):
    run = make_run(tmp_path / "run")
    for half in (".last.old", ".best.new"):
        (run.path / half).mkdir()
    (run.path / "notes.txt").write_text("mine")
    run.clear(keep_config=True)
    assert sorted(path.name for path in run.path.iterdir()) == ["config.yaml", "notes.txt"]
    run.clear()
    assert [path.name for path in run.path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("there", "resume", "force", "line"),
    [
        ("nothing", False, False, ""),
        ("nothing", True, False, "nothing to resume: .* does not exist"),
        ("a file", False, True, "is not a folder"),
        ("a lock", False, False, ""),
        ("a sweep", False, False, "exists: go on with --resume, replace it with --force"),
        ("a sweep", True, False, ""),
        ("a sweep", False, True, ""),
        ("a sweep", True, True, "resume a sweep or replace it by force, not both"),
        ("notes", False, False, r"is not a sweep's folder \(no sweep.yaml\): not replaced"),
        ("notes", False, True, r"is not a sweep's folder \(no sweep.yaml\): not replaced"),
        ("notes", True, False, "nothing to resume: no sweep.yaml in"),
    ],
)
def test_a_folder_is_claimed_if_nothing_is_overwritten_unasked(
    tmp_path: Path, there: str, resume: bool, force: bool, line: str
):
    out, known = tmp_path / "out", there == "a sweep"
    if there == "a file":
        out.write_text("")
    elif there != "nothing":
        out.mkdir()
        (out / {"a lock": "lock"}.get(there, "notes.txt")).touch()
    with pytest.raises(UsageError, match=line) if line else nullcontext():
        claim_folder(out, "sweep", "sweep.yaml", known=known, resume=resume, force=force)


def test_an_evaluation_is_claimed_anew_resumed_or_by_force(tmp_path: Path):
    evaluation = EvaluationFolder(tmp_path)
    evaluation.claim(resume=True, force=False)
    evaluation.jobs.mkdir()
    with pytest.raises(UsageError, match="--resume goes on"):
        evaluation.claim(resume=False, force=False)
    evaluation.claim(resume=True, force=False)
    evaluation.results.touch()
    evaluation.claim(resume=True, force=False)  # interrupted while its replays were written
    evaluation.jobs.rmdir()
    for resume in (True, False):
        with pytest.raises(UsageError, match="--force replaces it"):
            evaluation.claim(resume=resume, force=False)
    (tmp_path / "notes.txt").touch()
    evaluation.claim(resume=False, force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_unfinished_files_of_an_evaluation_that_was_killed_are_removed(tmp_path: Path):
    for name in ("results.json.tmp", "wipe-phase.png.tmp", "replay-push-wipe-0.html.tmp"):
        (tmp_path / name).touch()
    (tmp_path / "notes.txt.tmp").touch()
    EvaluationFolder(tmp_path).claim(resume=False, force=False)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt.tmp"]
