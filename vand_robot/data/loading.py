"""The demonstrations of a run: read from files, checked against each other, and split."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from numpy.random import Generator, default_rng
from rich.console import Console

from vand_demos import DemoDataset, require_compatible
from vand_demos.storage.compatibility import Recordings
from vand_demos.storage.guard import require_all_readable
from vand_demos.storage.layout import file_names, require_file
from vand_demos.storage.splits import TRAIN, VALID, held_out
from vand_demos.system.files import file_path
from vand_demos.system.limits import available_bytes, limit_bytes, require_room
from vand_envs.errors import UsageError, VandError, unknown_name
from vand_robot.config.library import RECORDED, recording_command
from vand_robot.config.schema import AUTO, TrainConfig
from vand_robot.data.batches import EpisodeBuffer
from vand_robot.data.files import DataFiles
from vand_robot.data.images import ImageStore, image_sizes
from vand_robot.data.numbers import EpisodeReader
from vand_robot.interface import PolicySpec
from vand_robot.progress import counting

SPLIT_STREAM = 0x5917
"""Keeps the random numbers of the split apart from those of the updates."""

MEMORY_SHARE = 0.5
"""Share of the free memory that demonstrations may take; larger sets are streamed."""

CACHE_SHARE = 0.25
"""Share of `VAND_MAX_BYTES` that the episodes of a streamed set may take, those used last."""

INSTRUCTION = "instruction"
"""Observation that tells the task."""

_FLOAT_BYTES = 4
"""Size of a number [bytes]."""


@dataclass(frozen=True, eq=False)
class TrainingData:
    """The demonstrations of one run; to be closed, because images stay in their files."""

    spec: PolicySpec
    """Observations and actions of the policy to be trained."""
    train: EpisodeBuffer
    """Demonstrations that are trained on."""
    valid: EpisodeBuffer | None
    """Demonstrations held back for validation; None where none are."""
    files: DataFiles = field(default_factory=DataFiles)
    """The files, from which images and streamed numbers are read."""

    def to(self, device: torch.device) -> "TrainingData":
        """The same with batches on a device; files stay with the original."""
        valid = None if self.valid is None else self.valid.to(device)
        return TrainingData(self.spec, self.train.to(device), valid)

    def close(self) -> None:
        """Close the files."""
        self.files.close()


@dataclass(frozen=True)
class _Demonstration:
    """An episode that is in one of the splits; its arrays are not read yet."""

    path: str
    name: str
    task: str
    steps: int


def require_readable_files(paths: Sequence[str], console: Console | None = None) -> None:
    """Check that HDF5 can read what describes files of demonstrations, once for each.

    Args:
        paths: The files.
        console: Where to show how that gets on, if there are many.

    Raises:
        UsageError: One does not exist.
        VandError: HDF5 would crash or hang on one, or refuses to read it.
    """
    files = [file_path(path) for path in paths]
    for file in files:
        require_file(file)
    with counting(console, "checking files", len(files)) as progress:
        require_all_readable(files, progress=progress)


def load_data(config: TrainConfig, console: Console | None = None) -> TrainingData:
    """Read the demonstrations of a run and split them.

    A file's own `train` and `valid` masks are obeyed (without a `valid` mask, what is not in
    `train` validates; what is in neither of both is not used). Files without masks are split task
    by task, seeded.

    Args:
        config: The run.
        console: Where to show how it gets on, if there are many files.

    Raises:
        UsageError: No file, no such file, task or observation key.
        VandError: An empty or damaged file, files that do not belong together or hold the same
            recording, or a task without a usable demonstration.
    """
    if not config.data:
        raise UsageError(
            f"no data: name a demonstration file, data={RECORDED}; to record it:"
            f" {recording_command(config)}"
        )
    require_readable_files(config.data, console)
    with ExitStack() as stack:
        files = DataFiles()
        stack.callback(files.close)
        data = _read_files(config, files, console)
        if data.train.on_disk or (data.valid is not None and data.valid.on_disk):
            stack.pop_all()
            return replace(data, files=files)
    return data


def _read_files(config: TrainConfig, files: DataFiles, console: Console | None) -> TrainingData:
    rng = default_rng([config.seed, SPLIT_STREAM])
    train: list[_Demonstration] = []
    valid: list[_Demonstration] = []
    env_args: Mapping[str, Any] = {}
    keys: tuple[str, ...] = ()
    tasks: set[str] = set()
    recordings = Recordings()
    with counting(console, "reading demonstrations", len(config.data)) as progress:
        for number, path in enumerate(config.data, 1):
            with files.use(path) as dataset:
                if not dataset.names:
                    raise VandError(f"{path}: the data set is empty")
                what = f"{path}, beside {config.data[0]},"
                require_compatible(env_args or dataset.env_args, dataset.env_args, what)
                env_args = dataset.env_args
                for name, uid in dataset.uids.items():
                    # twice the same recording: training would see what it is validated on
                    recordings.add(uid, f"{dataset.path}: {name}")
                keys = keys or _observation_keys(config, dataset)
                _require_told(dataset, keys)
                tasks |= set(dataset.tasks)
                for side, names in zip((train, valid), _split(config, dataset, rng), strict=True):
                    side += [_demonstration(path, dataset, name) for name in names]
            progress(number, len(config.data))
    for task in config.tasks:
        if task not in tasks:
            raise unknown_name("task", task, sorted(tasks))
    train = _first_of_each_task(train, config)
    return _assemble(config, files, env_args, keys, train, valid)


def _assemble(
    config: TrainConfig,
    files: DataFiles,
    env_args: Mapping[str, Any],
    keys: tuple[str, ...],
    train: Sequence[_Demonstration],
    valid: Sequence[_Demonstration],
) -> TrainingData:
    kind = "successful demonstration" if config.only_successful else "demonstration"
    found = sorted({demo.task for demo in train})
    if not train:
        raise VandError(f"{file_names(config.data)}: no {kind} to train on")
    for task in config.tasks:
        if task not in found:
            known = f"{kind}s to train on are of: {', '.join(found)}"
            raise VandError(f"{file_names(config.data)}: no {kind} of task {task!r}; {known}")
    with files.use(train[0].path) as dataset:
        shapes = dataset.arrays(train[0].name)
        images = image_sizes(dataset, train[0].name, config.policy.images.keys)
    widths = {key: shapes.get(f"obs/{key}", ()) for key in keys}
    action_size = (shapes.get("actions") or (1,))[0]  # what is no array is refused when it is read
    sizes = {key: shape[0] if shape else 1 for key, shape in widths.items()}
    spec = PolicySpec.of(env_args, sizes, action_size, images)
    streamed = _is_streamed(config, (*train, *valid), sum(sizes.values()) + action_size)
    return TrainingData(
        spec,
        _pack(train, files, spec, streamed=streamed),
        _pack(valid, files, spec, streamed=streamed) if valid else None,
    )


def _is_streamed(config: TrainConfig, demos: Sequence[_Demonstration], numbers: int) -> bool:
    """Whether demonstrations of so many numbers a step are left on the disk.

    Raises:
        VandError: They, or of a streamed set one batch, take more memory than is allowed.
    """
    size_bytes = sum(demo.steps for demo in demos) * numbers * _FLOAT_BYTES
    free = available_bytes()
    room = limit_bytes() if free is None else min(limit_bytes(), int(MEMORY_SHARE * free))
    if not (size_bytes > room if config.stream == AUTO else config.stream):
        require_room("the demonstrations", size_bytes)
        return False
    longest = max(demo.steps for demo in demos)
    batch_bytes = config.batch_size * longest * numbers * _FLOAT_BYTES
    require_room(f"a batch of {config.batch_size} demonstrations", batch_bytes)
    return True


def _first_of_each_task(
    demos: Sequence[_Demonstration], config: TrainConfig
) -> list[_Demonstration]:
    """The first demonstrations of each task, as many as the run is to learn from.

    Raises:
        VandError: There are fewer.
    """
    wanted = config.demonstrations
    if wanted is None:
        return list(demos)
    counts: Counter[str] = Counter()
    kept = []
    for demo in demos:
        counts[demo.task] += 1
        if counts[demo.task] <= wanted:
            kept.append(demo)
    for task, count in counts.items():
        if count < wanted:
            raise VandError(
                f"{file_names(config.data)}: demonstrations: expected {wanted} of task {task!r} to"
                f" train on, got {count}"
            )
    return kept


def _pack(
    demos: Sequence[_Demonstration], files: DataFiles, spec: PolicySpec, *, streamed: bool
) -> EpisodeBuffer:
    places = [(demo.path, demo.name) for demo in demos]
    tasks, lengths = [demo.task for demo in demos], [demo.steps for demo in demos]
    images = ImageStore(files, places, spec.images) if spec.images else None
    sizes = tuple(spec.observations.values())
    reader = EpisodeReader(files, places, tuple(spec.observations), sizes, lengths)
    if streamed:
        return EpisodeBuffer.streamed(reader, int(CACHE_SHARE * limit_bytes()), tasks, images)
    episodes = (reader.read(index) for index in range(len(places)))
    return EpisodeBuffer.packed(episodes, lengths, tasks, images)


def _observation_keys(config: TrainConfig, dataset: DemoDataset) -> tuple[str, ...]:
    """The keys that the policy sees, in the order in which it sees them."""
    shapes = dataset.observation_shapes(dataset.names[0])
    vectors = tuple(sorted(key for key, shape in shapes.items() if len(shape) == 1))
    for key in config.policy.observations:
        if key not in vectors:
            raise unknown_name("observation key", key, vectors)
    return config.policy.observations or vectors


def _require_told(dataset: DemoDataset, keys: Sequence[str]) -> None:
    """Raise UsageError where the instruction changes on the way and the policy does not see it."""
    if INSTRUCTION in keys:
        return
    for name in dataset.names:
        if len(told := dataset.told(name)) > 1:
            raise UsageError(
                f"{dataset.path}: {name}: the instruction changes ({' then '.join(told)}):"
                f" expected {INSTRUCTION!r} among policy.observations, got {', '.join(keys)}"
            )


def _demonstration(path: str, dataset: DemoDataset, name: str) -> _Demonstration:
    task, steps = str(dataset.attribute(name, "task")), dataset.attribute(name, "num_samples")
    if steps < 1:
        raise VandError(f"{dataset.path}: {name}: num_samples: expected 1 or more, got {steps}")
    return _Demonstration(path, name, task, int(steps))


def _split(
    config: TrainConfig, dataset: DemoDataset, rng: Generator
) -> tuple[Sequence[str], Sequence[str]]:
    """Names to train on and names to validate on."""
    usable = [
        name
        for name in dataset.names
        if (not config.tasks or set(dataset.told(name)) <= set(config.tasks))
        and not (config.only_successful and dataset.attribute(name, "success") is False)
        and not (config.only_known and dataset.attribute(name, "success") is None)
    ]
    splits = {
        split: set(dataset.split(split)) for split in dataset.splits if split in (TRAIN, VALID)
    }
    if splits:
        valid = splits.get(VALID, set(dataset.names) - splits.get(TRAIN, set()))
        train = splits.get(TRAIN, set(dataset.names) - valid) - valid
        return [n for n in usable if n in train], [n for n in usable if n in valid]
    held = held_out(dataset, usable, config.valid_fraction, rng)
    return [n for n in usable if n not in held], [n for n in usable if n in held]
