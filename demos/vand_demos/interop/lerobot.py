"""LeRobot's data set format, version 3.0: Parquet and JSON in a folder.

The layout follows LeRobot's `datasets/dataset_writer.py` and `dataset_metadata.py`:

    meta/info.json                            features, counts, frames a second, path templates
    meta/stats.json                           min, max, mean, std, count of every feature
    meta/tasks.parquet                        instruction -> task_index
    meta/episodes/chunk-000/file-000.parquet  length, task and place of every episode
    data/chunk-000/file-000.parquet           one row a frame, one row group an episode
    vand_robot/                               ours, which LeRobot's reader passes by

In `vand_robot/` lies what the format has no place for: `dataset.json` (environment, masks),
`episodes.parquet` (seed, device, embedded world, ...; the observation after the last action) and
`frames.parquet` (simulator states, parts of actions, which steps are disturbed, and the task of
each step where it changes: LeRobot sees that as `task_index`).
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vand_demos.episode import Episode
from vand_demos.interop.columns import (
    IMAGE,
    decode_vectors,
    encode_vectors,
    require_small_table,
    vector,
)
from vand_demos.interop.extras import Extras, build_episode, describe_episode
from vand_demos.interop.lerobot_layout import (
    DATA,
    EPISODES,
    IMAGES,
    STATE,
    TASKS,
    FrameFiles,
    columns_of,
    features_of,
    frames_per_second,
    info_of,
    merged,
    observed,
    place_of,
    statistics,
    table_of,
    told_words,
    unobserved,
    write_json,
    write_places,
    write_tasks,
)
from vand_demos.interop.lerobot_source import open_source
from vand_demos.storage.reader import DemoDataset
from vand_demos.system.files import library_errors, read_regular
from vand_demos.system.limits import require_room
from vand_envs.errors import VandError

__all__ = ["NOTE", "is_ours", "open_source", "read", "read_extras", "write"]

NOTE = (
    "LeRobot sees observation.state (all vectors in one), observation.environment_state (those of"
    " objects once more), observation.images.*, action,"
    " next.reward, next.done and the instruction as task; states and parts of actions are in"
    " vand_robot/"
)

_ROW_BYTES = 1000
"""About what the place of an episode takes as a Python dictionary [bytes]."""

_LIBRARIES = ("pyarrow", "imageio", "PIL")
"""Packages that read the files."""

_PLACE = ("episode_index", "length", "data/chunk_index", "data/file_index")
"""Columns of numbers that tell where an episode is."""

_EXTRAS = "vand_robot/dataset.json"
_EXTRA_EPISODES = "vand_robot/episodes.parquet"
_EXTRA_FRAMES = "vand_robot/frames.parquet"

_DISTURBED, _STEP_TASKS = "disturbed", "step_tasks"
_LATER_COLUMNS = {_DISTURBED: pa.bool_(), _STEP_TASKS: pa.int64()}
"""Columns of `_EXTRA_FRAMES` that exports of earlier versions lack."""


def write(dataset: DemoDataset, folder: Path, _name: str) -> None:
    """Write a data set that has episodes into an empty folder.

    Raises:
        VandError: It is damaged, or its control rate is no whole number of frames a second.
    """
    extras = Extras.of(dataset)
    fps = frames_per_second(dataset)
    for path in (DATA.format(chunk_index=0, file_index=0), EPISODES, _EXTRAS):
        (folder / path).parent.mkdir(parents=True)
    tasks: dict[str, int] = {}
    places: list[dict[str, Any]] = []
    stats: list[dict[str, dict[str, Any]]] = []
    features: dict[str, Any] = {}
    with ExitStack() as stack:
        frames = stack.enter_context(FrameFiles(folder))
        ours = stack.enter_context(
            pq.ParquetWriter(folder / _EXTRA_FRAMES, _extra_frames_schema(extras))
        )
        about = stack.enter_context(
            pq.ParquetWriter(folder / _EXTRA_EPISODES, _extra_episodes_schema(extras))
        )
        for index, episode in enumerate(dataset):
            start = places[-1]["dataset_to_index"] if places else 0
            told = told_words(episode, extras)
            for words in told:
                tasks.setdefault(words, len(tasks))
            columns = columns_of(episode, extras, index, start, [tasks[w] for w in told], fps)
            features = features or features_of(columns, extras, episode.action_mode)
            places.append({**place_of(told, index, start), **frames.write(table_of(columns))})
            stats.append({name: statistics(rows) for name, rows in columns.items()})
            ours.write_table(_extra_frames(episode, extras, index))
            about.write_table(_extra_episode(episode, extras, index))
    write_tasks(folder / TASKS, tasks)
    write_places(folder / EPISODES, places, stats)
    total = {name: merged([one[name] for one in stats]) for name in features}
    write_json(folder / "meta/stats.json", total)
    write_json(folder / "meta/info.json", info_of(dataset, features, fps, len(tasks)))
    (folder / _EXTRAS).write_text(extras.to_json(), "utf-8")


def _extra_frames_schema(extras: Extras) -> pa.Schema:
    parts = {f"action_dict.{k}": vector(np.float32, n) for k, n in extras.action_parts.items()}
    states = {"states": vector(np.float64, extras.states)} if extras.states else {}
    return pa.schema({"episode_index": pa.int64(), **parts, **states, **_LATER_COLUMNS})


def _extra_frames(episode: Episode, extras: Extras, index: int) -> pa.Table:
    """States, parts of actions and what is known of each step; nulls where there is nothing."""
    arrays: dict[str, NDArray[Any]] = {
        f"action_dict.{part}": rows for part, rows in episode.action_parts.items()
    }
    if episode.states is not None:
        arrays["states"] = episode.states
    if episode.disturbed is not None:
        arrays[_DISTURBED] = episode.disturbed
    if episode.step_tasks is not None:
        arrays[_STEP_TASKS] = episode.step_tasks
    arrays["episode_index"] = np.full(len(episode), index)
    schema = _extra_frames_schema(extras)
    columns = [
        encode_vectors(arrays[field.name])
        if field.name in arrays
        else pa.nulls(len(episode), field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def _extra_episodes_schema(extras: Extras) -> pa.Schema:
    last = {STATE: vector(np.float32, extras.vector_size)} if extras.vectors else {}
    images = {IMAGES + key: IMAGE for key in extras.images}
    return pa.schema({"episode_index": pa.int64(), "about": pa.string(), **last, **images})


def _extra_episode(episode: Episode, extras: Extras, index: int) -> pa.Table:
    """Facts about an episode besides its steps, and the observation after its last action."""
    schema = _extra_episodes_schema(extras)
    last = {key: rows[-1:] for key, rows in episode.next_observations.items()}
    seen = table_of(observed(last, extras))
    columns = [
        pa.array([index]),
        pa.array([describe_episode(episode)]),
        *(
            seen[field.name].combine_chunks()
            if field.name in seen.column_names
            else pa.nulls(1, field.type)
            for field in list(schema)[2:]
        ),
    ]
    return pa.table(columns, schema=schema)


def is_ours(folder: Path) -> bool:
    """Whether a folder is one that we wrote."""
    return (folder / _EXTRAS).exists()


def read_extras(folder: Path) -> Extras:
    """Read our own part of a folder.

    Raises:
        VandError: It is none that we wrote, or is damaged.
    """
    path = folder / _EXTRAS
    if not path.exists():
        raise VandError(
            f"{folder}: expected {_EXTRAS}, as `demos export` writes it; data sets of other"
            f" robots have no place in this format"
        )
    return Extras.from_json(read_regular(path), path)


def read(folder: Path, extras: Extras) -> Iterator[Episode]:
    """Every episode, one at a time.

    Raises:
        VandError: The folder is damaged, or LeRobot's part of it was changed and does not fit ours.
    """
    with library_errors("read", folder, *_LIBRARIES):
        places = _read_places(folder / EPISODES)
        about = _read_table(folder / _EXTRA_EPISODES, _extra_episodes_schema(extras).names)
        if len(places) != len(about):
            raise VandError(f"{folder}: expected {len(about)} episodes, got {len(places)}")
        for row, place in enumerate(sorted(places, key=lambda p: p["episode_index"])):
            yield _read_episode(folder, extras, place, about.slice(row, 1))


def _read_table(path: Path, columns: Iterable[str], **options: Any) -> pa.Table:
    """Columns of a Parquet file.

    Raises:
        VandError: One is missing.
    """
    require_small_table(path)
    table = pq.read_table(path, **options)
    _require_columns(path, table, columns)
    return table


def _require_columns(path: Path, table: pa.Table, columns: Iterable[str]) -> None:
    """Raises VandError where a table lacks a column."""
    for column in columns:
        if column not in table.column_names:
            raise VandError(f"{path}: expected a column {column!r}")


def _read_places(path: Path) -> list[dict[str, Any]]:
    """Where each episode is, see `place_of`.

    Raises:
        VandError: A column is missing or holds something else.
    """
    table = _read_table(path, (*_PLACE, "tasks"))
    require_room(str(path), _ROW_BYTES * len(table))
    places: list[dict[str, Any]] = table.select([*_PLACE, "tasks"]).to_pylist()
    for row, place in enumerate(places):
        for column in _PLACE:
            if not isinstance(place[column], int):
                raise VandError(f"{path}: {column}[{row}]: expected a number, got {place[column]}")
    return places


def _read_episode(
    folder: Path, extras: Extras, place: Mapping[str, Any], about: pa.Table
) -> Episode:
    index = place["episode_index"]
    here = [("episode_index", "==", index)]
    data = DATA.format(chunk_index=place["data/chunk_index"], file_index=place["data/file_index"])
    seen = [STATE] if extras.vectors else []
    seen += [IMAGES + key for key in extras.images]
    seen += ["action", "next.done"]
    frames = _read_table(folder / data, seen, filters=here)
    ours = pq.read_table(folder / _EXTRA_FRAMES, filters=here)
    _require_columns(
        folder / _EXTRA_FRAMES,
        ours,
        set(_extra_frames_schema(extras).names) - set(_LATER_COLUMNS),
    )
    if not len(frames) == len(ours) == place["length"]:
        raise VandError(
            f"{folder}: episode {index}: expected {len(ours)} steps as in {_EXTRA_FRAMES},"
            f" got {len(frames)}"
        )
    episode = build_episode(
        f"{folder}: episode {index}",
        about["about"][0].as_py(),
        unobserved(frames, extras),
        unobserved(about, extras),
        actions=decode_vectors(frames["action"], (-1,)),
        action_parts={
            part: decode_vectors(ours[f"action_dict.{part}"], (size,))
            for part, size in extras.action_parts.items()
        },
        rewards=_rewards(frames),
        dones=decode_vectors(frames["next.done"], ()).astype(np.int64),
        states=_states(ours, extras),
        disturbed=_column(ours, _DISTURBED),
        step_tasks=_column(ours, _STEP_TASKS),
    )
    if place["tasks"] != (told := list(dict.fromkeys(told_words(episode, extras)))):
        raise VandError(
            f"{folder}: episode {index}: expected task {', '.join(told)!r}, got"
            f" {place['tasks']!r:.80}"
        )
    return episode


def _rewards(frames: pa.Table) -> NDArray[np.float32] | None:
    """The rewards (N,), or None where none are known."""
    if "next.reward" not in frames.column_names:
        return None
    return decode_vectors(frames["next.reward"], ())


def _states(ours: pa.Table, extras: Extras) -> NDArray[np.float64] | None:
    """The states (N, S), or None where the episode has none."""
    if not extras.states or ours["states"].null_count:
        return None
    return decode_vectors(ours["states"], (extras.states,))


def _column(ours: pa.Table, name: str) -> NDArray[Any] | None:
    """One of `_LATER_COLUMNS` (N,), or None where it is not known."""
    if name not in ours.column_names or ours[name].null_count:
        return None
    return decode_vectors(ours[name], ())
