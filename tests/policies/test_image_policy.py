"""Policies that see images: the encoder, batches read from disk, training, acting."""

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.helpers.runs import TASKS, make_episode, override, small_config, write, write_random
from vand_envs import TaskBatch, task_ids
from vand_envs.errors import UsageError, VandError
from vand_robot.config import validation
from vand_robot.config.schema import PolicyConfig
from vand_robot.data.batches import Batch, BatchStream
from vand_robot.data.loading import load_data
from vand_robot.evaluation.rollout import rollout
from vand_robot.interface import PolicySpec
from vand_robot.policies import encoders
from vand_robot.policies.checkpoint import load_checkpoint, load_policy
from vand_robot.policies.encoders import ImageEncoder, SpatialSoftArgmax, shift
from vand_robot.policies.recurrent import RecurrentPolicy
from vand_robot.training.loop import TrainingInterruptedError
from vand_robot.training.trainer import train

SPEC = PolicySpec(
    "vander", "ee_twist", 10, 0.1, TASKS, {"id": 1}, {"head_rgb": (10, 12), "wrist_rgb": (8, 8)}
)
SEEING = (
    "policy.observations=[id]",
    "policy.images={keys: [head_rgb, wrist_rgb], channels: [2, 3]}",
)


def make_policy(**images: object) -> RecurrentPolicy:
    torch.manual_seed(0)
    values = {"hidden_size": 7, "encoder": {"sizes": [5]}, "images": {"channels": [4, 3], **images}}
    return RecurrentPolicy(validation.build(PolicyConfig, values), SPEC).eval()


def make_batch(lengths: list[int]) -> Batch:
    """A batch whose images are noise."""
    torch.manual_seed(1)
    size = max(lengths), len(lengths)
    images = {
        key: torch.randint(0, 256, (sum(lengths), *hw, 3), dtype=torch.uint8)
        for key, hw in SPEC.images.items()
    }
    return Batch(torch.randn(*size, 1), torch.rand(*size, 10), torch.tensor(lengths), images)


def numbered(steps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Images (N, H, W, 3) whose every pixel is the number of its step."""
    return np.broadcast_to(steps.astype(np.uint8)[:, None, None, None], (len(steps), *size, 3))


def write_numbered(path: Path, lengths: list[int], add: int = 0) -> Path:
    """Episodes whose steps are numbered through, in an observation and in every image."""
    first = np.cumsum([0, *lengths])
    episodes = []
    for i, n in enumerate(lengths):
        steps = np.arange(first[i], first[i] + n)
        seen = {key: numbered(steps + add, hw) for key, hw in SPEC.images.items()}
        seen["id"] = steps[:, None].astype(np.float32)
        episodes.append(make_episode(seen, np.zeros((n, 10)), task=TASKS[i % 2], seed=i))
    return write(path, episodes)


def assert_images_belong_to_their_steps(batch: Batch) -> None:
    steps = batch.observations[batch.mask][:, 0]
    for key, image in batch.images.items():
        assert image.shape[1:3] == SPEC.images[key]
        assert torch.equal(image.float(), steps[:, None, None, None].expand(image.shape))


# ---------------------------------------------------------------------------------- encoder


def test_soft_argmax_finds_where_a_channel_is_active():
    maps = torch.zeros(1, 3, 5, 9)
    maps[0, 0, 0, 0] = maps[0, 1, 4, 8] = maps[0, 2, 2, 2] = 50.0
    x0, y0, x1, y1, x2, y2 = SpatialSoftArgmax()(maps)[0].tolist()
    assert (x0, y0) == pytest.approx((-8 / 9, -4 / 5))
    assert (x1, y1) == pytest.approx((8 / 9, 4 / 5))
    assert (x2, y2) == pytest.approx((-4 / 9, 0), abs=1e-6)


def test_soft_argmax_lies_between_two_activities():
    maps = torch.zeros(1, 1, 1, 8)
    maps[..., 1] = maps[..., 2] = 50.0
    assert SpatialSoftArgmax()(maps)[0, 0].item() == pytest.approx((-5 / 8 - 3 / 8) / 2)


def test_chunks_change_neither_features_nor_gradients(monkeypatch: pytest.MonkeyPatch):
    encoder = ImageEncoder((4, 3))
    images = torch.randint(0, 256, (11, 9, 14, 3), dtype=torch.uint8)
    results = []
    for chunk in (100, 4):
        monkeypatch.setattr(encoders, "CHUNK", chunk)
        encoder.zero_grad()
        features = encoder(images)
        features.square().sum().backward()
        with torch.no_grad():
            torch.testing.assert_close(encoder(images), features)
        results.append([features.detach(), *(p.grad.clone() for p in encoder.parameters())])
    assert all(gradient.abs().sum() > 0 for gradient in results[0])
    torch.testing.assert_close(results[0], results[1])


def test_shifted_images_move_by_a_few_pixels_and_repeat_their_edge():
    images = torch.zeros(200, 9, 9, 3, dtype=torch.uint8)
    images[:, 4, 4] = 1
    images[:, :, 0] = 7
    moved = shift(images, 2)
    places = (moved[..., 0] == 1).nonzero()[:, 1:]  # (M, 2)
    assert len(places) == len(images)
    assert set(map(tuple, (places - 4).tolist())) == {
        (y, x) for y in range(-2, 3) for x in range(-2, 3)
    }
    assert (moved[places[:, 1] == 6][:, :, :3] == 7).all()


# ---------------------------------------------------------------------------------- policy


def test_acting_step_by_step_equals_the_forward_pass_of_training():
    policy, batch = make_policy(), make_batch([6, 4, 4])
    seen = policy.loss(batch).output  # (T, B, H)
    rows = torch.zeros(batch.mask.shape, dtype=torch.long)
    rows[batch.mask] = torch.arange(batch.steps)
    state = None
    for t in range(4):
        observation = {key: image[rows[t]].numpy() for key, image in batch.images.items()}
        actions, state = policy.act({"id": batch.observations[t].numpy(), **observation}, state)
        expected = policy.head.mean(seen[t]).detach().clamp(-1, 1).numpy()
        np.testing.assert_allclose(actions, expected, atol=2e-6)
    dark = {key: np.zeros_like(image) for key, image in observation.items()}
    blinded, _ = policy.act({"id": batch.observations[3].numpy(), **dark}, state)
    assert not np.allclose(blinded, actions, atol=1e-4)


@pytest.mark.parametrize("truncate", [1, 3, 50])
def test_truncation_and_resets_keep_images_with_their_steps(truncate: int):
    policy, batch = make_policy(), make_batch([8, 5, 2])
    whole, cut = policy.loss(batch), policy.loss(batch, truncate_steps=truncate)
    torch.testing.assert_close(cut.output, whole.output)
    steps = torch.arange(24.0).reshape(8, 3, 1)
    ids = steps[batch.mask][:, :, None, None].expand(-1, 10, 12, 3)
    numbers = Batch(steps, batch.actions, batch.lengths, {"head_rgb": ids.byte()})
    for part in (*numbers.split_time(truncate), numbers.cut_windows(truncate)):
        assert_images_belong_to_their_steps(part)


def test_images_are_shifted_in_training_only():
    policy, batch = make_policy(shift_px=2), make_batch([6, 4])
    assert torch.equal(policy.loss(batch).nll, make_policy().loss(batch).nll)
    policy.train()
    assert not torch.equal(policy.loss(batch).nll, make_policy().train().loss(batch).nll)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (None, "'wrist_rgb' is missing"),
        (np.zeros((1, 8, 9, 3), np.uint8), r"'wrist_rgb': .*\(1, 8, 8, 3\) uint8, got \(1, 8, 9"),
        (np.zeros((1, 8, 8, 3), np.float32), "'wrist_rgb'.*got .* float32"),
        (np.zeros((2, 8, 8, 3), np.uint8), r"'wrist_rgb'.*got \(2, 8, 8, 3\)"),
    ],
)
def test_images_that_do_not_fit_are_named(image: np.ndarray | None, expected: str):
    observation = {
        "id": np.zeros((1, 1), np.float32),
        "head_rgb": np.zeros((1, 10, 12, 3), np.uint8),
        "wrist_rgb": image,
    }
    with pytest.raises(VandError, match=expected):
        make_policy().act({k: v for k, v in observation.items() if v is not None})


def test_a_rollout_passes_images_to_the_policy_and_stores_none():
    spec = replace(SPEC, instructions=task_ids(), observations={"ee_pos": 3})
    torch.manual_seed(0)
    policy = RecurrentPolicy(PolicyConfig(), spec).eval()
    run = rollout(policy, "wipe", [3, 4], 2)
    batch = TaskBatch("wipe", 2, cameras=spec.images)
    expected, _ = policy.act(batch.reset([3, 4]))
    batch.close()
    np.testing.assert_allclose(run.actions[0], expected, atol=1e-6)
    assert set(run.observations) == set(batch.observation_sizes)


def test_a_policy_with_different_images_is_refused():
    make_policy().spec.require_compatible(
        replace(SPEC, images={k: list(v) for k, v in SPEC.images.items()})
    )
    with pytest.raises(VandError, match="images"):
        make_policy().spec.require_compatible(replace(SPEC, images={}))


# ---------------------------------------------------------------------------------- data


def test_batches_read_from_disk_hold_the_images_of_their_steps(tmp_path: Path):
    data = write_numbered(tmp_path / "d.hdf5", [5, 9, 3, 7, 4])
    loaded = load_data(small_config(data, *SEEING, "valid_fraction=0.3"))
    assert loaded.spec.images == SPEC.images
    for update in range(3):
        batch = loaded.train.sample(3, np.random.default_rng(update))
        assert set(batch.images) == set(SPEC.images)
        assert_images_belong_to_their_steps(batch)
    assert_images_belong_to_their_steps(next(loaded.valid.per_task(2))[1])
    loaded.close()


def test_files_that_are_closed_for_others_hold_the_same_images(tmp_path: Path, monkeypatch):
    files = [write_numbered(tmp_path / f"{i}.hdf5", [5, 9], add=20 * i) for i in range(4)]
    config = override(small_config(files[0], *SEEING), [f"data=[{','.join(map(str, files))}]"])
    loaded = load_data(config)
    expected = loaded.train.sample(4, np.random.default_rng(0))
    monkeypatch.setattr("vand_robot.data.files.MOST_OPEN", 1)
    few = load_data(config)
    batch = few.train.sample(4, np.random.default_rng(0))
    assert all(torch.equal(batch.images[k], expected.images[k]) for k in SPEC.images)
    assert few.train.fingerprint == loaded.train.fingerprint
    few.close()
    loaded.close()


def test_reading_ahead_changes_no_batch(tmp_path: Path):
    data = write_numbered(tmp_path / "d.hdf5", [5, 9, 3, 7])
    loaded = load_data(small_config(data, *SEEING))
    stream = BatchStream(loaded.train, 2, seed=3, updates=4)
    for update in (1, 2, 4, 3):  # also out of order
        ahead = stream.batch(update)
        expected = loaded.train.sample(2, np.random.default_rng([3, update]))
        assert torch.equal(ahead.observations, expected.observations)
        assert all(torch.equal(ahead.images[k], expected.images[k]) for k in SPEC.images)
    stream.close()
    loaded.close()


def test_data_without_the_images_are_refused(tmp_path: Path):
    blind = write_random(tmp_path / "blind.hdf5")
    with pytest.raises(UsageError, match=r"has no images.*'head_rgb'; vand-robot demos augment"):
        load_data(small_config(blind, "policy.images.keys=[head_rgb]"))
    data = write_numbered(tmp_path / "d.hdf5", [5, 9, 3])
    with pytest.raises(UsageError, match="did you mean 'head_rgb'"):
        load_data(small_config(data, "policy.images.keys=[head_rbg]"))


def test_a_policy_sees_no_images_unless_told_to(tmp_path: Path):
    loaded = load_data(small_config(write_numbered(tmp_path / "d.hdf5", [5, 9, 3])))
    assert loaded.spec.images == {}
    assert list(loaded.spec.observations) == ["id", "instruction"]
    assert loaded.train.images is None


# ---------------------------------------------------------------------------------- training


def test_a_resumed_run_equals_one_that_never_stopped(tmp_path: Path):
    data = write_numbered(tmp_path / "d.hdf5", [5, 9, 3, 7, 4])
    config = small_config(data, *SEEING, "policy.images.shift_px=1", "ema_decay=0.9")

    def interrupt(policy: RecurrentPolicy) -> dict[str, float]:
        signal.raise_signal(signal.SIGINT)
        return {"score": 0.0}

    train(config, tmp_path / "straight", score=lambda _: {"score": 0.0})
    with pytest.raises(TrainingInterruptedError, match="update 2 of 4"):
        train(config, tmp_path / "stopped", score=interrupt)
    train(config, tmp_path / "stopped", score=lambda _: {"score": 0.0}, resume=True)
    for name in ("last/policy.safetensors", "last/optimizer.safetensors"):
        straight, stopped = (load_file(tmp_path / run / name) for run in ("straight", "stopped"))
        assert straight.keys() == stopped.keys()
        for key, tensor in straight.items():
            assert tensor.numpy().tobytes() == stopped[key].numpy().tobytes(), (name, key)


def test_resuming_with_other_images_is_refused(tmp_path: Path):
    data = write_numbered(tmp_path / "d.hdf5", [5, 9, 3])
    config = small_config(data, *SEEING)
    train(config, tmp_path / "run")
    data.unlink()
    write_numbered(data, [5, 9, 3], add=1)
    with pytest.raises(UsageError, match="the demonstrations are not those of the run"):
        train(override(config, ["updates=6"]), tmp_path / "run", resume=True)


def test_a_policy_learns_what_only_an_image_shows(tmp_path: Path):
    rng = np.random.default_rng(0)

    def shown(steps: int = 10) -> tuple[np.ndarray, np.ndarray]:
        """A bright square somewhere; the actions say how far to the right it is."""
        images = rng.integers(0, 40, (steps, 16, 16, 3), dtype=np.uint8)
        at = rng.integers(2, 14, (steps, 2))
        for image, (row, column) in zip(images, at, strict=True):
            image[row - 2 : row + 2, column - 2 : column + 2] = 255
        return images, np.tile((at[:, 1:] - 8) / 8, 10)

    demos = [shown() for _ in range(40)]
    data = write(
        tmp_path / "d.hdf5",
        [
            make_episode({"head_rgb": images, "id": np.zeros((10, 1), np.float32)}, actions, seed=i)
            for i, (images, actions) in enumerate(demos)
        ],
    )
    images, actions = shown(50)
    errors = {}
    for name, keys in (("seeing", "[head_rgb]"), ("blind", "[]")):
        config = small_config(
            data,
            "policy.observations=[id]",
            f"policy.images={{keys: {keys}, channels: [8, 8]}}",
            "updates=150",
            "validation_interval=150",
            "batch_size=8",
            "optimizer.learning_rate=0.01",
        )
        train(config, tmp_path / name)
        policy = load_policy(tmp_path / name)
        observation = {"head_rgb": images, "id": np.zeros((50, 1), np.float32)}
        errors[name] = np.abs(policy.act(observation)[0] - actions).mean()
    assert errors["seeing"] < 0.1
    assert errors["blind"] > 0.3


def test_a_checkpoint_stores_its_images(tmp_path: Path):
    data = write_numbered(tmp_path / "d.hdf5", [5, 9, 3])
    train(small_config(data, *SEEING), tmp_path / "run")
    policy = load_policy(tmp_path / "run")
    assert {key: tuple(size) for key, size in policy.spec.images.items()} == SPEC.images
    batch = make_batch([1])
    observation = {key: image.numpy() for key, image in batch.images.items()}
    actions, _ = policy.act({"id": batch.observations[0].numpy(), **observation})
    assert np.isfinite(actions).all()


def test_checkpoints_from_before_there_were_images_load(tmp_path: Path):
    train(small_config(write_random(tmp_path / "d.hdf5")), tmp_path / "run")
    file = tmp_path / "run" / "best" / "policy.json"
    facts = json.loads(file.read_text())
    del facts["spec"]["images"]
    del facts["config"]["policy"]["images"]
    now = load_checkpoint(tmp_path / "run").policy
    file.write_text(json.dumps(facts))
    before = load_checkpoint(tmp_path / "run").policy
    assert before.spec.images == {}
    assert all(
        torch.equal(a, b) for a, b in zip(now.parameters(), before.parameters(), strict=True)
    )


MEMORY_PROGRAM = """
import resource, sys
from tests.helpers.runs import small_config
from vand_robot.training.trainer import train

def run(data, name):
    options = ("policy.images={keys: [head_rgb], channels: [2, 2]}", "policy.observations=[id]",
               "batch_size=3", "updates=12", "validation_interval=12", "valid_fraction=0.25")
    train(small_config(data, *options), f"{sys.argv[3]}/{name}")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

before = run(sys.argv[1], "small")
print(run(sys.argv[2], "large") - before)
"""


def test_training_takes_memory_for_batches_and_not_for_the_data_set(tmp_path: Path):
    steps, episodes = 20, 96
    pattern = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    images = np.tile(pattern.repeat(8, 0).repeat(8, 1), (steps, 1, 1, 1))  # (20, 128, 128, 3)
    paths = []
    for name, count in (("small", 4), ("large", episodes)):
        seen = {"head_rgb": images, "id": np.zeros((steps, 1), np.float32)}
        demos = [make_episode(seen, np.zeros((steps, 10)), seed=i) for i in range(count)]
        paths.append(str(write(tmp_path / f"{name}.hdf5", demos)))
    done = subprocess.run(
        [sys.executable, "-c", MEMORY_PROGRAM, *paths, str(tmp_path)],
        env={"PYTHONPATH": ":".join(sys.path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    # It reads more than half of the episodes; a batch of three, and the next, are in memory.
    assert int(done.stdout) < 0.25 * images.nbytes * episodes
