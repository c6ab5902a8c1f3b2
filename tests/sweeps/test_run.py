"""A whole sweep: real training and evaluation, the same numbers in every back end."""

import json
import shutil

import pytest

from vand_envs.errors import UsageError, VandError
from vand_robot.cli.console import regret_table
from vand_robot.sweeps import SweepOptions, load_sweep, run_sweep
from vand_robot.sweeps.backends import open_backend
from vand_robot.sweeps.trial import run_trial

SMALL = """
base: single-task
overrides:
  updates: 4
  validation_interval: 2
  rollouts: {interval: 0, episodes: 1}
  policy.hidden_size: 8
  policy.encoder.sizes: [8]
methods:
  none: {policy.regularizer: {name: none}}
  vand: {policy.regularizer: {name: vand}}
seeds: [0]
evaluation: {episodes: 1}
slurm: {cluster: local}
"""

ONE_METHOD = SMALL.replace("  none: {policy.regularizer: {name: none}}\n", "")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


def sweep(file, out, *overrides, **options):
    return run_sweep(load_sweep(file, overrides), file, out, SweepOptions(**options))


def numbers(out):
    """What training and evaluation gave, to the bit, by trial."""
    return {
        trial.name: (
            next(trial.glob("*/best/policy.safetensors")).read_bytes(),
            (trial / "evaluation/episodes.csv").read_text(),
        )
        for trial in (out / "trials").iterdir()
    }


class Here:
    """A back end that runs each trial in this process, as soon as it is started."""

    slots = 1

    def start(self, folder):
        run_trial(folder)
        return self

    def poll(self):
        return False

    def stop(self): ...

    def wait(self, deadline): ...

    def close(self): ...


@pytest.mark.usefixtures("short_episodes")
def test_a_sweep_trains_evaluates_compares_and_goes_on(file, tmp_path, monkeypatch):
    monkeypatch.setattr("vand_robot.sweeps.run.open_backend", lambda *_, **__: Here())
    out = tmp_path / "sweep"
    file.write_text(ONE_METHOD)
    result = sweep(file, out, "demonstrations=[1,2]")
    assert result.failed == 0
    assert list(result.comparison.methods) == ["vand, 1 demonstrations", "vand, 2 demonstrations"]
    assert (out / "axis-demonstrations.png").stat().st_size > 0
    assert "Success over demonstrations" in (out / "report.html").read_text()
    trial = next((out / "trials").iterdir())
    assert (trial / "evaluation/results.json").exists()
    assert "10000000" in (trial / "evaluation/episodes.csv").read_text()  # a validation seed
    with pytest.raises(UsageError, match="go on with --resume"):
        sweep(file, out)
    before = {path: path.stat().st_mtime_ns for path in out.glob("trials/*/*/best/*")}
    again = sweep(file, out, "demonstrations=[1,2]", resume=True)
    assert again.comparison == result.comparison
    assert before == {path: path.stat().st_mtime_ns for path in out.glob("trials/*/*/best/*")}


@pytest.mark.usefixtures("short_episodes")
def test_a_sweep_over_regimes_compares_in_each_and_reports_regrets(file, tmp_path, monkeypatch):
    monkeypatch.setattr("vand_robot.sweeps.run.open_backend", lambda *_, **__: Here())
    out = tmp_path / "sweep"
    regimes = (
        "regimes={one: {}, other: {overrides: {tasks: [stow-cube]}}, mine: {development: true}}"
    )
    result = sweep(file, out, regimes)
    assert result.failed == 0
    written = json.loads((out / "regret.json").read_text())
    assert written["regimes"] == ["one", "other", "mine"]
    assert set(written["success_by_seed"]["vand"]) == {"one", "other", "mine"}
    assert set(written["regret"]["vand"]["regimes"]) == {"one", "other"}
    assert written == json.loads(json.dumps(result.comparison.to_json()))
    tasks = [
        json.loads((out / "regimes" / name / "comparison.json").read_text())["tasks"]
        for name in written["regimes"]
    ]
    assert tasks == [["wipe"], ["stow-cube"], ["wipe"]]
    page = (out / "report.html").read_text()
    assert 'href="regimes/other/report.html"' in page
    assert "lowest mean regret" in page
    columns, rows = regret_table(result.comparison)
    assert columns == ("setting", ">mean regret", ">worst", ">one", ">other", ">mine")
    assert sorted(row[0] for row in rows) == ["none", "vand"]


def test_a_trial_that_cannot_be_trained_is_reported(file, tmp_path):
    out = tmp_path / "sweep"
    file.write_text(ONE_METHOD)
    result = sweep(file, out, "demonstrations=[500]")
    assert result.comparison is None
    ((_, outcome),) = result.ended
    assert "expected 500 of task 'wipe'" in outcome.result.error
    line = json.loads((out / "outcomes.jsonl").read_text())
    assert line["result"]["error"] == outcome.result.error


def test_force_replaces_a_sweep_and_nothing_else(file, tmp_path):
    out = tmp_path / "sweep"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="not a sweep's folder"):
        sweep(file, out, force=True)
    with pytest.raises(UsageError, match="nothing to resume"):
        sweep(file, out, resume=True)


def test_force_removes_nothing_where_the_place_is_not_there(file, tmp_path):
    out = tmp_path / "sweep"
    (out / "trials" / "a").mkdir(parents=True)
    (out / "sweep.yaml").touch()
    (out / "outcomes.jsonl").touch()
    before = sorted(out.rglob("*"))
    options = SweepOptions(place="lokal", force=True)
    with pytest.raises(UsageError, match="did you mean 'local'"):
        run_sweep(load_sweep(file), file, out, options)
    assert sorted(out.rglob("*")) == before


@pytest.mark.parametrize(
    ("place", "options", "words"),
    [
        ("lokal", {}, "did you mean 'local'"),
        ("local", {"address": "ray://here:1"}, "--address is for --on ray"),
        ("slurm", {"slurm": {"cluster": "slrm"}}, "did you mean 'slurm'"),
    ],
)
def test_a_back_end_that_cannot_be_used_is_one_line(place, options, words, tmp_path):
    given = {"address": None, "folder": tmp_path, "slurm": {}, **options}
    with pytest.raises(UsageError, match=words):
        open_backend(place, 1, **given)


@pytest.mark.skipif(shutil.which("sbatch") is not None, reason="there is a Slurm here")
def test_slurm_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(VandError, match=r"--on slurm: .*(sbatch|slurm)"):
        open_backend("slurm", 1, address=None, folder=tmp_path, slurm={})


@pytest.mark.slow
def test_every_back_end_gives_the_same_numbers(file, tmp_path):
    outs = {place: tmp_path / place for place in ("local", "ray", "slurm")}
    for place, out in outs.items():
        assert sweep(file, out, "seeds=[0,1]", place=place, slots=2).failed == 0
    local, *others = (numbers(out) for out in outs.values())
    assert len(local) == 4
    assert all(other == local for other in others)
