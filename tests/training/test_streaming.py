"""Runs whose demonstrations stay on the disk."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers.large import write_copies
from tests.helpers.runs import make_episode, override, small_config, write, write_random
from vand_demos import DemoDataset
from vand_envs.errors import VandError
from vand_robot.data.loading import load_data
from vand_robot.data.numbers import EpisodeCache
from vand_robot.policies.checkpoint import load_checkpoint
from vand_robot.training.trainer import train


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(run / "last").policy.state_dict()


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def test_a_streamed_run_equals_one_in_memory_and_either_goes_on_as_the_other(tmp_path: Path):
    data = write_random(tmp_path / "d.hdf5", per_task=6)
    config = small_config(data, "policy.regularizer={name: vand}", "updates=6")
    for name, stream in (("memory", "false"), ("streamed", "true")):
        train(override(config, [f"stream={stream}"]), tmp_path / name)
        half = override(config, [f"stream={stream}", "updates=4", "optimizer.warmup_updates=0"])
        train(half, tmp_path / f"{name}-half")
    assert_same(weights(tmp_path / "memory"), weights(tmp_path / "streamed"))
    files = [tmp_path / name / "metrics.jsonl" for name in ("memory", "streamed")]
    assert files[0].read_text() == files[1].read_text()
    for name, stream in (("memory", "true"), ("streamed", "false")):
        longer = override(config, [f"stream={stream}", "optimizer.warmup_updates=0"])
        train(longer, tmp_path / f"{name}-half", resume=True)
    assert_same(weights(tmp_path / "memory-half"), weights(tmp_path / "streamed-half"))


def test_batches_statistics_and_fingerprints_are_the_same(tmp_path: Path):
    config = small_config(write_random(tmp_path / "d.hdf5", per_task=6))
    memory, streamed = (
        load_data(override(config, [f"stream={stream}"])).train for stream in ("false", "true")
    )
    assert streamed.on_disk
    assert not memory.on_disk
    assert memory.fingerprint == streamed.fingerprint
    assert torch.equal(memory.moments.mean, streamed.moments.mean)
    assert torch.equal(memory.moments.std, streamed.moments.std)
    for update in range(3):
        one, other = (b.sample(5, np.random.default_rng(update)) for b in (memory, streamed))
        assert torch.equal(one.observations, other.observations)
        assert torch.equal(one.actions, other.actions)
        assert torch.equal(one.lengths, other.lengths)


def test_statistics_are_those_of_all_steps_together(tmp_path: Path):
    rng = np.random.default_rng(0)
    seen = [rng.normal(100, 0.1, (steps, 3)).astype(np.float32) for steps in (4, 9, 30)]
    episodes = [make_episode({"x": x}, rng.uniform(-1, 1, (len(x), 10))) for x in seen]
    data = write(tmp_path / "d.hdf5", episodes)
    config = small_config(data, "policy.observations=[x]", "valid_fraction=0")
    moments = load_data(config).train.moments
    together = np.concatenate(seen).astype(np.float64)
    np.testing.assert_allclose(moments.mean, together.mean(0), rtol=1e-14)
    np.testing.assert_allclose(moments.std, together.std(0), rtol=1e-12)


def test_a_set_larger_than_the_limit_is_streamed_unless_that_is_forbidden(
    tmp_path: Path, monkeypatch
):
    config = small_config(write_random(tmp_path / "d.hdf5", per_task=20))
    assert not load_data(config).train.on_disk
    monkeypatch.setenv("VAND_MAX_BYTES", "4000")
    assert load_data(config).train.on_disk
    with pytest.raises(VandError, match=r"the demonstrations: expected at most 4 kB in memory"):
        load_data(override(config, ["stream=false"]))
    with pytest.raises(VandError, match="a batch of 60 demonstrations: expected at most"):
        load_data(override(config, ["batch_size=60"]))


def test_the_cache_holds_no_more_than_its_room():
    read: list[int] = []

    def reader(episode: int) -> tuple[np.ndarray, np.ndarray]:
        read.append(episode)
        return np.full((10, 3), episode, np.float32), np.full((10, 1), episode, np.float32)

    cache = EpisodeCache(reader, room_bytes=2 * 160)
    for episode in (0, 1, 0, 2, 0, 1):
        assert cache.get(episode)[0][0, 0] == episode
    assert read == [0, 1, 2, 1]  # 1 had to go when 2 came, 0 had been used since
    small = EpisodeCache(reader, room_bytes=10)
    assert small.get(7)[0][0, 0] == 7  # too large to be kept, and handed out all the same


def test_what_streaming_meets_in_a_file_is_one_line(tmp_path: Path):
    """The numbers are checked when training starts, whether they are streamed or not."""
    import h5py  # noqa: PLC0415

    data = write_random(tmp_path / "d.hdf5")
    with h5py.File(data, "r+") as file:
        file["data/demo_3/obs/ee_pos"][2, 1] = np.nan
    for stream in ("true", "false"):
        with pytest.raises(VandError, match=r"demo_3: obs/ee_pos\[2, 1\] = nan is not finite"):
            load_data(small_config(data, f"stream={stream}"))


STEPS, WIDTH, COUNT = 2000, 256, 1600
"""Of the large set: 2000 steps of 256 + 10 numbers in each of 1600 episodes are 3.2 GiB."""

LIMITED_RUN = """
import resource, sys
from vand_robot.config.loading import load_config
from vand_robot.training.trainer import train
train(load_config(None, sys.argv[2:]), sys.argv[1])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_three_gibibytes_are_trained_on_with_one_in_memory(tmp_path: Path):
    rng = np.random.default_rng(0)
    seen = rng.integers(-9, 9, (4, STEPS, WIDTH)).astype(np.float32)
    episodes = [make_episode({"x": x}, rng.integers(-1, 2, (STEPS, 10))) for x in seen]
    write(tmp_path / "few.hdf5", episodes)
    data = tmp_path / "many.hdf5"
    write_copies(data, tmp_path / "few.hdf5", COUNT)
    with DemoDataset.open(data) as dataset:
        assert dataset.total * (WIDTH + 10) * 4 > 3 * 2**30
    small = ("batch_size=2", "updates=3", "policy.encoder.sizes=[4]", "policy.hidden_size=4")
    run = subprocess.run(
        [
            *(sys.executable, "-c", LIMITED_RUN, str(tmp_path / "run"), f"data=[{data}]"),
            *("policy.observations=[x]", "valid_fraction=0.01", "trackers=[]", *small),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    peak_bytes = 1024 * int(run.stdout.split()[-1])
    assert peak_bytes < 2**30
