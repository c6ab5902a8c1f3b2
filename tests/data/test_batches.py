from dataclasses import replace

import numpy as np
import torch

from vand_robot.data.batches import EpisodeBuffer


def make_demonstrations() -> EpisodeBuffer:
    rng = np.random.default_rng(0)
    lengths = [3, 7, 5, 4, 6, 2]
    return EpisodeBuffer.of(
        [np.full((n, 7), i, np.float32) for i, n in enumerate(lengths)],
        [rng.uniform(-1, 1, (n, 10)).astype(np.float32) for n in lengths],
        ["wipe", "wipe", "wipe", "wipe", "wipe", "stow-cube"],
    )


def test_batches_are_balanced_over_tasks_and_sorted_by_length():
    demonstrations = make_demonstrations()
    for seed in range(5):
        batch = demonstrations.sample(4, np.random.default_rng(seed))
        episodes = batch.observations[0, :, 0].int().tolist()
        assert episodes.count(5) == 2
        assert len(set(episodes)) == 3
        assert batch.lengths.tolist() == sorted(batch.lengths.tolist(), reverse=True)
        assert len(batch.observations) == batch.lengths[0]


def test_every_episode_is_validated_once():
    demonstrations = make_demonstrations()
    batches = list(demonstrations.per_task(2))
    assert sum(batch.steps for _, batch in batches) == int(demonstrations.lengths.sum())
    assert {task for task, _ in batches} == {"wipe", "stow-cube"}


def test_valid_steps_are_picked_and_put_back_in_the_order_of_the_mask():
    batch = make_demonstrations().batch(torch.arange(4))
    valid = batch.valid(batch.actions)
    assert torch.equal(valid, batch.actions[batch.mask])
    blank = torch.zeros_like(batch.actions).index_put((batch.mask,), valid)
    assert torch.equal(batch.padded(valid), blank)


def test_demonstrations_that_do_not_fit_a_gpu_stay_where_they_are(monkeypatch):
    free = [10**9]
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free[0], free[0]))
    demonstrations = make_demonstrations()
    numbers = demonstrations.numbers
    size = numbers.all_observations.nbytes + numbers.all_actions.nbytes
    free[0] = 2 * size - 1
    streamed = demonstrations.to(torch.device("cuda"))
    assert streamed.numbers.all_observations.device.type == "cpu"
    assert streamed.device.type == "cuda"
    assert streamed.fingerprint == demonstrations.fingerprint


def test_a_batch_is_made_where_the_policy_is_and_its_lengths_are_not():
    demonstrations = make_demonstrations()
    expected = demonstrations.batch(torch.arange(4))
    for buffer in (
        demonstrations.to(torch.device("meta")),
        replace(demonstrations, device=torch.device("meta")),
    ):
        batch = buffer.batch(torch.arange(4))
        assert batch.observations.device == batch.actions.device == torch.device("meta")
        assert batch.observations.shape == expected.observations.shape
        assert torch.equal(batch.lengths, expected.lengths)
        assert batch.valid(batch.observations).device == torch.device("meta")
        for piece in batch.with_future_actions([1, 2]).cut_windows(2).split_time(1):
            assert piece.actions.device == torch.device("meta")
            assert piece.lengths.device.type == "cpu"
