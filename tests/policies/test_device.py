"""Devices: their names, where tensors are made, and a GPU against the CPU where there is one."""

import signal
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from tests.helpers.runs import override, small_config, write_random
from vand_envs.errors import UsageError
from vand_robot.config.loading import load_config
from vand_robot.config.schema import TrainConfig
from vand_robot.data.loading import load_data
from vand_robot.evaluation.target import load_target
from vand_robot.layout import RunFolder
from vand_robot.nn.kernel import gpu_scan
from vand_robot.policies import device as module
from vand_robot.policies.checkpoint import load_checkpoint
from vand_robot.policies.device import choose_device, find_device
from vand_robot.training.loop import TrainingInterruptedError
from vand_robot.training.threads import torch_settings
from vand_robot.training.trainer import _new_trainer, train

GPU = torch.cuda.is_available()
needs_gpu = pytest.mark.skipif(not GPU, reason="there is no GPU")

REGULARIZERS = {
    "none": "{name: none}",
    "vand": "{name: vand, budget: 5.0}",
    "vand sequence": "{name: vand, mask: sequence, estimator: trapezoid}",
    "gaussian": "{name: gaussian_noise}",
    "dropout": "{name: dropout}",
    "zoneout": "{name: zoneout}",
    "noisin": "{name: noisin}",
    "input noise": "{name: input_noise}",
}
OPTIONS = ("input_noise_std=0.1", "policy.future_actions.horizons_s=[0.1]", "ema_decay=0.9")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_random(tmp_path_factory.mktemp("data") / "d.hdf5")


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "CPU", "cpu:0", ""])
def test_what_is_no_device_is_refused(name: str):
    with pytest.raises(UsageError, match=r"device: expected auto, cpu, cuda, cuda:N or mps, got"):
        TrainConfig(device=name)


def test_a_device_that_is_not_there_is_refused_with_those_that_are(data: Path, tmp_path: Path):
    with pytest.raises(UsageError, match=r"device 'cuda:99' is not there; there are: cpu"):
        train(small_config(data, "device=cuda:99"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_auto_takes_a_gpu_only_where_the_scan_has_kernels(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device()[0] == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "a GPU")
    monkeypatch.setattr(gpu_scan, "missing", lambda _: "Triton is broken")
    assert choose_device() == ("cpu", "there is a GPU, but Triton is broken")
    monkeypatch.setattr(gpu_scan, "missing", lambda _: None)
    assert choose_device() == ("cuda:0", "a GPU")
    assert find_device("auto") == find_device("cuda:0") == torch.device("cuda:0")


def test_auto_is_said_and_the_run_says_what_it_took(data: Path, tmp_path: Path):
    said = StringIO()
    config = small_config(data, "device=auto")
    train(config, tmp_path / "run", console=Console(file=said, width=200))
    took = choose_device()[0]
    assert f"device: auto took {took} (" in said.getvalue()
    assert load_config(tmp_path / "run/config.yaml").device == took
    assert load_checkpoint(tmp_path / "run").config.device == took


def test_a_run_goes_on_on_another_device(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A checkpoint of a GPU is read where there is none, and `auto` then takes the CPU."""
    config = small_config(data, "updates=2")
    real = module.find_device
    for owner in ("vand_robot.training.trainer", "vand_robot.policies.device"):
        monkeypatch.setattr(
            f"{owner}.find_device", lambda name: real(name.replace("cuda:7", "cpu"))
        )
    train(override(config, ["device=cuda:7"]), tmp_path / "run")
    monkeypatch.undo()
    assert load_checkpoint(tmp_path / "run").config.device == "cuda:7"
    train(override(config, ["updates=4", "device=auto"]), tmp_path / "run", resume=True)
    assert load_checkpoint(tmp_path / "run/last").config.device == choose_device()[0]
    if not GPU:
        train(override(config, ["updates=4"]), tmp_path / "straight")
        there, here = (
            load_file(tmp_path / x / "last/policy.safetensors") for x in ("straight", "run")
        )
        assert all(torch.equal(there[key], here[key]) for key in there)


def test_an_evaluation_says_where_the_policy_acts(fails, run, monkeypatch: pytest.MonkeyPatch):
    code, line = fails("evaluate", run, "--device", "cuda:99")
    assert code == 2
    assert "device 'cuda:99' is not there; there are: cpu" in line
    assert load_target(run).digest == load_target(run, device="cpu").digest
    monkeypatch.setattr("vand_robot.evaluation.target.find_device", torch.device)
    target = load_target(run, device="meta")
    assert target.digest != load_target(run).digest  # its finished jobs are of other last bits
    assert target.make_policy().device == torch.device("meta")


@pytest.mark.parametrize("cell", ["elman", "gru", "lstm"])
@pytest.mark.parametrize("name", REGULARIZERS)
def test_an_update_makes_no_tensor_without_a_device(
    data: Path, tmp_path: Path, name: str, cell: str
):
    """Tensors that are made without a device come to be on `meta`, and then meet the others."""
    config = small_config(
        data, *OPTIONS, f"policy.regularizer={REGULARIZERS[name]}", f"policy.cell={cell}"
    )
    loaded = load_data(config)
    trainer = _new_trainer(config, loaded)
    with torch.device("meta"):
        for _ in range(2):
            rng = np.random.default_rng(0)
            batch = loaded.train.sample(4, rng)
            assert np.isfinite(trainer.step(batch, RunFolder(tmp_path)).loss)
        observation = {
            key: np.zeros((2, size), np.float32) for key, size in loaded.spec.observations.items()
        }
        _, state = trainer.averaged.act(observation)
        trainer.averaged.act(observation, state)


@pytest.mark.parametrize("options", [("truncate_steps=3",), ("policy.reset_every=4",)])
def test_pieces_of_a_batch_are_made_on_its_device(
    data: Path, tmp_path: Path, options: tuple[str, ...]
):
    config = small_config(data, *OPTIONS, *options)
    loaded = load_data(config)
    trainer = _new_trainer(config, loaded)
    with torch.device("meta"):
        batch = loaded.train.sample(4, np.random.default_rng(0))
        assert np.isfinite(trainer.step(batch, RunFolder(tmp_path)).loss)


def test_half_precision_is_close_and_keeps_weights_and_state_in_float32(data: Path):
    config = small_config(data)
    loaded = load_data(config)
    policy = _new_trainer(config, loaded).policy.eval()
    batch = loaded.train.batch(torch.arange(4))
    exact, half = (policy.loss(batch, precision=p) for p in ("float32", "bfloat16"))
    assert half.total.dtype == half.output.dtype == torch.float32
    assert not torch.equal(half.nll, exact.nll)
    assert half.nll.item() == pytest.approx(exact.nll.item(), rel=2e-2)
    half.total.backward()
    assert all(p.grad is None or p.grad.dtype == torch.float32 for p in policy.parameters())


def test_a_run_in_half_precision_is_resumed_in_it_alone(data: Path, tmp_path: Path):
    config = small_config(data, "precision=bfloat16")
    result = train(config, tmp_path / "run")
    assert np.isfinite(result.best["valid/nll"])
    with pytest.raises(UsageError, match="precision was 'bfloat16', now it is 'float32'"):
        train(override(config, ["precision=float32"]), tmp_path / "run", resume=True)


def updates(data: Path, tmp_path: Path, device: str, count: int, *options: str):
    """Losses of updates, the first with equal weights, and the policy afterwards; no noise."""
    config = small_config(data, f"device={device}", *options)
    place = find_device(device)
    with torch_settings(1, place):
        loaded = load_data(config)
        trainer = _new_trainer(config, loaded.to(place))
        batches = trainer.data.train
        losses = [
            trainer.step(batches.sample(4, np.random.default_rng(i)), RunFolder(tmp_path)).loss
            for i in range(count)
        ]
    return losses, trainer.policy


@needs_gpu
@pytest.mark.parametrize("cell", ["elman", "gru", "lstm"])
@pytest.mark.parametrize(
    "options",
    [(), ("policy.reset_every=4",), ("truncate_steps=3",), ("policy.num_layers=2",)],
)
def test_a_gpu_agrees_with_the_cpu(data: Path, tmp_path: Path, cell: str, options: tuple[str, ...]):
    settings = ("policy.regularizer.name=none", f"policy.cell={cell}", *options)
    cpu, one = updates(data, tmp_path, "cpu", 5, *settings)
    gpu, two = updates(data, tmp_path, "cuda", 5, *settings)
    assert gpu == pytest.approx(cpu, rel=1e-4, abs=1e-4)
    observation = {
        key: np.full((3, size), 0.1, np.float32) for key, size in one.spec.observations.items()
    }
    assert two.act(observation)[0] == pytest.approx(one.act(observation)[0], abs=1e-3)


@needs_gpu
@pytest.mark.parametrize("name", REGULARIZERS)
def test_every_regularizer_trains_on_a_gpu_and_resumes_exactly(
    data: Path, tmp_path: Path, name: str
):
    regularizer = f"policy.regularizer={REGULARIZERS[name]}"
    config = small_config(data, "device=cuda", *OPTIONS, regularizer, "policy.cell=lstm")
    train(config, tmp_path / "straight", score=lambda _: {"score": 0.0})

    def interrupt(_):
        signal.raise_signal(signal.SIGINT)
        return {"score": 0.0}

    with pytest.raises(TrainingInterruptedError, match="update 2 of 4"):
        train(config, tmp_path / "stopped", score=interrupt)
    train(config, tmp_path / "stopped", score=lambda _: {"score": 0.0}, resume=True)
    for file in ("last/policy.safetensors", "last/optimizer.safetensors"):
        straight, stopped = (load_file(tmp_path / run / file) for run in ("straight", "stopped"))
        assert straight.keys() == stopped.keys()
        assert all(torch.equal(tensor, stopped[key]) for key, tensor in straight.items())


@needs_gpu
def test_an_update_waits_for_the_gpu_once(data: Path, tmp_path: Path):
    config = small_config(data, "device=cuda", "policy.regularizer={name: vand, budget: 5.0}")
    with torch_settings(1, torch.device("cuda")):
        loaded = load_data(config).to(torch.device("cuda"))
        trainer = _new_trainer(config, loaded)
        batch = loaded.train.sample(4, np.random.default_rng(0))
        trainer.step(batch, RunFolder(tmp_path))  # compiles
        with torch.profiler.profile() as profile:
            trainer.step(batch, RunFolder(tmp_path))
    assert sum("DtoH" in event.name for event in profile.events()) == 1
