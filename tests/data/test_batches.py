import numpy as np

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
