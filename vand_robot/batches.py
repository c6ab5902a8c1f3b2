"""Demonstrations as tensors: read, split, and drawn in batches balanced over tasks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from numpy.random import Generator, default_rng
from torch import Tensor

from vand_demos import DemoDataset, Episode, require_compatible
from vand_envs.errors import UsageError, VandError, unknown_name
from vand_robot.config import TrainConfig
from vand_robot.policy import Batch, PolicySpec

SPLIT_STREAM = 0x5917
"""Keeps the random numbers of the split apart from those of the updates."""


@dataclass(frozen=True, eq=False)
class Demonstrations:
    """Episodes end to end, so that a batch is one gather."""

    observations: Tensor
    """(M, D) float32, the steps of all episodes."""
    actions: Tensor
    """(M, A) float32."""
    starts: Tensor
    """(E,) first step of each episode."""
    lengths: Tensor
    """(E,) number of steps of each episode."""
    groups: Mapping[str, Tensor]
    """Task id -> indices of its episodes."""

    @classmethod
    def of(cls, episodes: Sequence[Episode], observations: Sequence[str]) -> "Demonstrations":
        """Packs episodes, of which only the named observations are kept."""
        rows = [np.concatenate([e.observations[k] for k in observations], 1) for e in episodes]
        lengths = torch.tensor([len(e) for e in episodes])
        tasks = np.array([e.task for e in episodes])
        return cls(
            observations=torch.from_numpy(np.concatenate(rows)),
            actions=torch.from_numpy(np.concatenate([e.actions for e in episodes])),
            starts=lengths.cumsum(0) - lengths,
            lengths=lengths,
            groups={t: torch.from_numpy(np.flatnonzero(tasks == t)) for t in np.unique(tasks)},
        )

    def __len__(self) -> int:
        """Number of episodes E."""
        return len(self.lengths)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of everything a policy can learn from here."""
        digest = sha256()
        for tensor in (self.observations, self.actions, self.lengths):
            digest.update(tensor.numpy().tobytes())
        return digest.hexdigest()

    def batch(self, episodes: Tensor) -> Batch:
        """Gathers episodes (B,) into a padded batch, the longest first.

        Padding repeats the last step of its episode: finite numbers that no loss looks at.
        """
        lengths, order = self.lengths[episodes].sort(descending=True, stable=True)  # (B,)
        steps = torch.arange(int(lengths[0]))[:, None].minimum(lengths - 1)  # (T, B)
        rows = self.starts[episodes[order]] + steps  # (T, B)
        return Batch(self.observations[rows], self.actions[rows], lengths)

    def sample(self, size: int, rng: Generator) -> Batch:
        """Draws `size` episodes, as many of each task as possible, none twice if it can be."""
        order = rng.permutation(len(self.groups))
        groups = list(self.groups.values())
        drawn = []
        for place, task in enumerate(order):
            count = size // len(order) + (place < size % len(order))
            group = groups[task].numpy()
            drawn.append(rng.choice(group, count, replace=count > len(group)))
        return self.batch(torch.from_numpy(np.concatenate(drawn)))

    def per_task(self, size: int) -> Iterator[tuple[str, Batch]]:
        """Every episode once, in batches of one task, at most `size` in each."""
        for task, group in self.groups.items():
            by_length = group[self.lengths[group].argsort(descending=True, stable=True)]
            yield from ((task, self.batch(part)) for part in by_length.split(size))


@dataclass(frozen=True, eq=False)
class TrainingData:
    """What one run learns from."""

    spec: PolicySpec
    """What the policy will see and say."""
    train: Demonstrations
    """What gradients come from."""
    valid: Demonstrations | None
    """What is held back; None where nothing is."""


def load_data(config: TrainConfig) -> TrainingData:
    """Reads the demonstrations of a run and splits them.

    A file's own `train` and `valid` masks are obeyed (without a `valid` mask, what is not in
    `train` validates). Files without masks are split task by task, seeded.

    Raises:
        UsageError: No file, no such file, task or observation key.
        VandError: An empty or damaged file, files that do not belong together, or a task without
            a usable demonstration.
    """
    if not config.data:
        raise UsageError("no data: name at least one demonstration file, for instance data=[PATH]")
    rng = default_rng([config.seed, SPLIT_STREAM])
    train: list[Episode] = []
    valid: list[Episode] = []
    env_args: Mapping[str, Any] = {}
    keys: tuple[str, ...] = ()
    for path in config.data:
        with DemoDataset.open(path) as dataset:
            if not dataset.names:
                raise VandError(f"{path}: the data set is empty")
            what = f"{path}, beside {config.data[0]},"
            require_compatible(env_args or dataset.env_args, dataset.env_args, what)
            env_args = dataset.env_args
            keys = keys or _observation_keys(config, dataset)
            for side, names in zip((train, valid), _split(config, dataset, rng), strict=True):
                side += [_read(dataset, name, keys) for name in names]
    return _assemble(config, env_args, keys, train, valid)


def _assemble(
    config: TrainConfig,
    env_args: Mapping[str, Any],
    keys: tuple[str, ...],
    train: Sequence[Episode],
    valid: Sequence[Episode],
) -> TrainingData:
    kind = "successful demonstration" if config.only_successful else "demonstration"
    found = sorted({episode.task for episode in train})
    if not train:
        raise VandError(f"{', '.join(config.data)}: no {kind} to train on")
    for task in config.tasks:
        if task not in found:
            known = f"{kind}s to train on are of: {', '.join(found)}"
            raise VandError(f"{', '.join(config.data)}: no {kind} of task {task!r}; {known}")
    sizes = {key: train[0].observations[key].shape[1] for key in keys}
    for episode in (*train, *valid):
        came = {key: episode.observations[key].shape[1] for key in keys}
        if came != sizes:
            raise VandError(f"observations of unlike sizes in one run: {sizes} and {came}")
    kwargs = env_args["env_kwargs"]
    spec = PolicySpec(
        robot=str(kwargs["robot"]),
        action_mode=str(kwargs["action_mode"]),
        action_size=train[0].actions.shape[1],
        control_dt_s=float(kwargs["control_dt_s"]),
        instructions=tuple(kwargs["instructions"]),
        observations=sizes,
    )
    held_back = Demonstrations.of(valid, keys) if valid else None
    return TrainingData(spec, Demonstrations.of(train, keys), held_back)


def _observation_keys(config: TrainConfig, dataset: DemoDataset) -> tuple[str, ...]:
    """The keys that the policy sees, in the order in which it sees them."""
    first = dataset.episode(dataset.names[0], states=False, next_observations=False)
    vectors = tuple(sorted(key for key, rows in first.observations.items() if rows.ndim == 2))
    for key in config.policy.observations:
        if key not in vectors:
            raise unknown_name("observation key", key, vectors)
    return config.policy.observations or vectors


def _read(dataset: DemoDataset, name: str, keys: Sequence[str]) -> Episode:
    return dataset.episode(name, keys, states=False, next_observations=False)


def _split(
    config: TrainConfig, dataset: DemoDataset, rng: Generator
) -> tuple[Sequence[str], Sequence[str]]:
    """Names to train on and names to validate on."""
    task_of = {name: str(dataset.attribute(name, "task")) for name in dataset.names}
    usable = [
        name
        for name in dataset.names
        if (not config.tasks or task_of[name] in config.tasks)
        and (not config.only_successful or dataset.attribute(name, "success"))
    ]
    masks = {key: set(dataset.mask(key)) for key in dataset.filter_keys if key in ("train", "valid")}
    if masks:
        valid = masks.get("valid", set(dataset.names) - masks.get("train", set()))
        train = masks.get("train", set(dataset.names) - valid) - valid
        return [n for n in usable if n in train], [n for n in usable if n in valid]
    held_back: set[str] = set()
    for task in sorted({task_of[name] for name in usable}):
        group = [name for name in usable if task_of[name] == task]
        # one demonstration at least is trained on, and one held back where that leaves any
        count = min(max(1, round(config.valid_fraction * len(group))), len(group) - 1)
        held_back |= set(rng.permutation(group)[: count if config.valid_fraction else 0].tolist())
    return [n for n in usable if n not in held_back], [n for n in usable if n in held_back]
