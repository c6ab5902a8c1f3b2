"""Trackers: the same run in every one of them, without a network."""

import sqlite3

import pytest

from tests.helpers.browser import until
from tests.helpers.runs import small_config, write_random
from vand_envs.errors import UsageError, VandError
from vand_robot.tracking import TRACKERS, Tracker, register_tracker, require_trackers
from vand_robot.training.trainer import train


@pytest.fixture
def data(tmp_path):
    return write_random(tmp_path / "demos.hdf5")


class Notebook(Tracker):
    """Keeps what it is told."""

    package = module = "json"
    told: list = []  # noqa: RUF012  (one for all, as a service is)

    def __init__(self, run):
        self.told.append(("begin", run.id, run.config["policy.hidden_size"], run.update))

    def log(self, update, metrics):
        self.told.append(("log", update, dict(metrics)))

    def figure(self, name, file):
        self.told.append(("figure", name, file.read_bytes()[:4]))

    def checkpoint(self, folder):
        self.told.append(("checkpoint", sorted(path.name for path in folder.iterdir())))

    def close(self, *, finished):
        self.told.append(("close", finished))


@pytest.fixture
def notebook():
    Notebook.told.clear()
    register_tracker("notebook", Notebook)
    yield Notebook.told
    del TRACKERS["notebook"]


def test_a_tracker_hears_configuration_metrics_figure_and_checkpoint(data, tmp_path, notebook):
    train(small_config(data, "trackers=[notebook]"), tmp_path / "run")
    kinds = [entry[0] for entry in notebook]
    assert kinds[0] == "begin"
    assert notebook[0][2:] == (8, 0)
    assert [e[1] for e in notebook if e[0] == "log"] == [2, 4]
    assert "valid/nll" in notebook[1][2]
    assert ("figure", "training-curve", b"\x89PNG") in notebook
    assert notebook[-2] == ("checkpoint", ["policy.json", "policy.safetensors"])
    assert notebook[-1] == ("close", True)
    assert not (tmp_path / "run/tensorboard").exists()


def test_a_resumed_run_keeps_its_identifier(data, tmp_path, notebook):
    train(small_config(data, "trackers=notebook", "updates=2"), tmp_path / "run")
    train(small_config(data, "trackers=notebook"), tmp_path / "run", resume=True)
    begins = [entry for entry in notebook if entry[0] == "begin"]
    assert begins[0][1] == begins[1][1]
    assert [entry[3] for entry in begins] == [0, 2]


def test_a_run_that_stops_says_so(data, tmp_path, notebook):
    def stop(update, _):
        if update == 3:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError):
        train(small_config(data, "trackers=notebook"), tmp_path / "run", on_update=stop)
    assert notebook[-1] == ("close", False)


def test_a_tracker_that_fails_is_one_line(data, tmp_path, notebook, monkeypatch):
    def fail(self, update, metrics):
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(Notebook, "log", fail)
    with pytest.raises(VandError, match="tracker notebook: no route to host; --resume goes on"):
        train(small_config(data, "trackers=notebook"), tmp_path / "run")


def test_an_unknown_or_missing_tracker_is_found_before_training(
    data, tmp_path, notebook, monkeypatch
):
    with pytest.raises(UsageError, match="did you mean 'wandb'"):
        train(small_config(data, "trackers=wandbb"), tmp_path / "run")
    monkeypatch.setattr(Notebook, "module", "no_such_module_here")
    with pytest.raises(VandError, match="notebook is not installed; pip install json"):
        require_trackers(["notebook"])
    assert not (tmp_path / "run").exists()


def test_mlflow_keeps_a_run_on_disk(data, tmp_path, monkeypatch):
    pytest.importorskip("mlflow", reason="MLflow is not installed")
    from mlflow import MlflowClient  # noqa: PLC0415  (not everywhere)

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    out = tmp_path / "run"
    train(small_config(data, "trackers=mlflow", "updates=2"), out)
    train(small_config(data, "trackers=mlflow"), out, resume=True)
    client = MlflowClient(f"sqlite:///{out / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("vand-robot").experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["policy.hidden_size"] == "8"
    history = client.get_metric_history(run.info.run_id, "valid/nll")
    assert [metric.step for metric in history] == [2, 4]
    names = {item.path for item in client.list_artifacts(run.info.run_id, "policy")}
    assert "policy/policy.safetensors" in names


def test_wandb_keeps_a_run_on_disk(data, tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="Weights & Biases is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    out = tmp_path / "run"
    train(small_config(data, "trackers=wandb"), out)
    (run,) = (out / "wandb").glob("offline-run-*")
    (log,) = run.glob("*.wandb")
    told = (b"valid/nll", b"policy.hidden_size", b"training-curve")
    until(lambda: all(text in log.read_bytes() for text in told))  # a process of its own writes


def test_trackio_keeps_a_run_on_disk(data, tmp_path, monkeypatch):
    pytest.importorskip("trackio", reason="Trackio is not installed")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    train(small_config(data, "trackers=trackio"), tmp_path / "run")
    (file,) = (tmp_path / "trackio").glob("*.db")
    with sqlite3.connect(file) as base:
        assert base.execute("SELECT COUNT(*) FROM metrics").fetchone()[0] >= 2
