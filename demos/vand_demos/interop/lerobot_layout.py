"""LeRobot's columns, files and descriptions of a data set (format version 3.0)."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vand_demos.episode import ACTION_MODES, Episode
from vand_demos.interop.columns import decode_images, decode_vectors, encode_images, encode_vectors
from vand_demos.interop.extras import Extras
from vand_demos.native import NATIVE
from vand_demos.storage.compatibility import require_fits
from vand_demos.storage.reader import DemoDataset
from vand_envs import ROBOT_KEYS, get_task, task_ids
from vand_envs.errors import VandError

VERSION = "v3.0"

FILE_BYTES = 100 << 20
"""A file of frames that has grown beyond this is followed by another [bytes]."""

CHUNK_FILES = 1000
"""Files in one folder of frames."""

DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
TASKS = "meta/tasks.parquet"

STATE = "observation.state"
OBJECTS = "observation.environment_state"
"""The vectors that tell of objects, once more, for policies that ask for them by this name."""
IMAGES = "observation.images."

Columns = Mapping[str, NDArray[Any]]


class FrameFiles:
    """Writes the frames of episodes, one row group each, to files of a bounded size."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> "FrameFiles":
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def write(self, table: pa.Table) -> dict[str, int]:
        """Write an episode, and tell where it is."""
        chunk, file = divmod(self._count, CHUNK_FILES)
        path = self._folder / DATA.format(chunk_index=chunk, file_index=file)
        if self._writer is None:
            path.parent.mkdir(exist_ok=True)
            self._writer = pq.ParquetWriter(path, table.schema)
        self._writer.write_table(table, row_group_size=len(table))
        if path.stat().st_size > FILE_BYTES:
            self._writer.close()
            self._writer = None
            self._count += 1
        return {"data/chunk_index": chunk, "data/file_index": file}


def frames_per_second(dataset: DemoDataset) -> int:
    """Frames a second, which LeRobot counts in whole numbers.

    Raises:
        VandError: The control rate is none.
    """
    rate_hz = 1 / float(dataset.env_args["env_kwargs"]["control_dt_s"])
    if abs(rate_hz - round(rate_hz)) > 1e-6:
        raise VandError(
            f"{dataset.path}: LeRobot counts whole frames a second, got {rate_hz:g} control steps"
        )
    return round(rate_hz)


def columns_of(
    episode: Episode, extras: Extras, index: int, start: int, tasks: Sequence[int], fps: int
) -> dict[str, NDArray[Any]]:
    """An episode in LeRobot's columns: feature -> (N, ...), or (N,) of single numbers."""
    frame = np.arange(len(episode), dtype=np.int64)
    native = episode.action_mode == NATIVE
    return {
        **observed(episode.observations, extras),
        "action": episode.native_actions if native else episode.actions,
        **({} if episode.rewards is None else {"next.reward": episode.rewards}),
        "next.done": episode.dones.astype(bool),
        "timestamp": (frame / fps).astype(np.float32),
        "frame_index": frame,
        "episode_index": np.full_like(frame, index),
        "index": start + frame,
        "task_index": np.array(tasks, np.int64),
    }


def observed(observations: Columns, extras: Extras) -> dict[str, NDArray[Any]]:
    """Observations under LeRobot's names: vectors side by side, all and of objects; images."""
    keys = {STATE: list(extras.vectors), OBJECTS: object_keys(extras)}
    vectors = {
        name: [observations[k] for k in of if k in observations] for name, of in keys.items()
    }
    joined = {
        name: np.concatenate([x.reshape(len(x), -1) for x in rows], 1)
        for name, rows in vectors.items()
        if rows
    }
    images = (key for key in extras.images if key in observations)
    return {**joined, **{IMAGES + key: observations[key] for key in images}}


def object_keys(extras: Extras) -> list[str]:
    """Vectors that tell of objects: in our worlds all but the robot's own and the instruction.

    In data of others they are known by the names that robosuite and LeRobot give them.
    """
    if set(ROBOT_KEYS) <= extras.vectors.keys():
        return [key for key in extras.vectors if key not in (*ROBOT_KEYS, "instruction")]
    return [key for key in extras.vectors if key in ("object", OBJECTS)]


def unobserved(table: pa.Table, extras: Extras) -> dict[str, NDArray[Any]]:
    """Observations under our names, the inverse of `observed`; columns of nulls are passed over."""
    found: dict[str, NDArray[Any]] = {
        key: decode_images(table[IMAGES + key], extras.observations[key])
        for key in extras.images
        if not table[IMAGES + key].null_count
    }
    if extras.vectors and not table[STATE].null_count:
        joined = decode_vectors(table[STATE], (extras.vector_size,))  # (N, D)
        ends = np.cumsum([math.prod(shape) for shape in extras.vectors.values()])
        parts = np.split(joined, ends[:-1], axis=1)
        shapes = extras.vectors.items()
        found |= {k: x.reshape(-1, *s) for (k, s), x in zip(shapes, parts, strict=True)}
    return found


def table_of(columns: Columns) -> pa.Table:
    """Columns as an Arrow table; arrays of bytes are images."""
    return pa.table(
        {
            name: encode_images(rows) if rows.dtype == np.uint8 else encode_vectors(rows)
            for name, rows in columns.items()
        }
    )


def features_of(columns: Columns, extras: Extras, action_mode: str) -> dict[str, Any]:
    """The description of every column in `info.json`."""
    names = {
        STATE: _numbered({key: math.prod(shape) for key, shape in extras.vectors.items()}),
        OBJECTS: _numbered({k: math.prod(extras.vectors[k]) for k in object_keys(extras)}),
        "action": _numbered(
            {
                part: extras.action_parts[part]
                for part in ACTION_MODES[action_mode]
                if part in extras.action_parts
            }
            if extras.action_parts
            else {"action": columns["action"].shape[1]}
        ),
        **{IMAGES + key: ["height", "width", "channels"] for key in extras.images},
    }
    return {
        name: {
            "dtype": "image" if rows.dtype == np.uint8 else str(rows.dtype),
            "shape": list(rows.shape[1:]) or [1],
            "names": names.get(name),
        }
        for name, rows in columns.items()
    }


def _numbered(sizes: Mapping[str, int]) -> list[str]:
    """`["ee_pos.0", "ee_pos.1", ...]`: a name for each number."""
    return [f"{name}.{i}" for name, size in sizes.items() for i in range(size)]


def told_words(episode: Episode, extras: Extras) -> list[str]:
    """The instruction in words at each step, N.

    Raises:
        VandError: The task of a step is none of the data set's instructions.
    """
    if episode.step_tasks is None:
        return [episode.instruction] * len(episode)
    require_fits(episode, extras.env_args, {})
    known = extras.env_args["env_kwargs"]["instructions"]
    words = {episode.task: episode.instruction}
    for name in known:
        words.setdefault(name, get_task(name).instruction if name in task_ids() else name)
    return [words[known[index]] for index in episode.step_tasks]


def place_of(told: Sequence[str], index: int, start: int) -> dict[str, Any]:
    """The row of `meta/episodes` of an episode, apart from its file and its statistics.

    Args:
        told: See `told_words`.
        index: Number of the episode.
        start: Frames of the episodes before it.
    """
    return {
        "episode_index": index,
        "tasks": list(dict.fromkeys(told)),
        "length": len(told),
        "dataset_from_index": start,
        "dataset_to_index": start + len(told),
        "meta/episodes/chunk_index": 0,
        "meta/episodes/file_index": 0,
    }


def statistics(rows: NDArray[Any]) -> dict[str, Any]:
    """Min, max, mean and std over time, and the count; of images by channel (3, 1, 1), over 255."""
    x = rows.astype(np.float64).reshape(len(rows), -1)
    if rows.dtype == np.uint8:
        x = x.reshape(-1, rows.shape[-1]) / 255.0
    shape = (-1, 1, 1) if rows.dtype == np.uint8 else (-1,)
    values = {"min": x.min(0), "max": x.max(0), "mean": x.mean(0), "std": x.std(0)}
    count = np.array([len(rows)])
    return {**{name: value.reshape(shape) for name, value in values.items()}, "count": count}


def merged(parts: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The statistics of all episodes together, from those of each."""
    count = np.array([part["count"][0] for part in parts], np.float64)  # (E,)
    weight = count / count.sum()
    mean, std = (np.stack([part[name] for part in parts]) for name in ("mean", "std"))
    center = np.tensordot(weight, mean, 1)
    variance = np.tensordot(weight, std**2 + (mean - center) ** 2, 1)
    return {
        "min": np.min([part["min"] for part in parts], 0).tolist(),
        "max": np.max([part["max"] for part in parts], 0).tolist(),
        "mean": center.tolist(),
        "std": np.sqrt(variance).tolist(),
        "count": [int(count.sum())],
    }


def info_of(
    dataset: DemoDataset, features: Mapping[str, Any], fps: int, tasks: int
) -> dict[str, Any]:
    """The content of `info.json`."""
    return {
        "codebase_version": VERSION,
        "robot_type": dataset.env_args["env_kwargs"]["robot"],
        "total_episodes": len(dataset),
        "total_frames": dataset.total,
        "total_tasks": tasks,
        "chunks_size": CHUNK_FILES,
        "data_files_size_in_mb": FILE_BYTES >> 20,
        "video_files_size_in_mb": 200,
        "fps": fps,
        "splits": {"train": f"0:{len(dataset)}"},
        "data_path": DATA,
        "video_path": None,
        "features": features,
    }


def write_tasks(path: Path, tasks: Mapping[str, int]) -> None:
    """Write the tasks as pandas would write a frame whose index is the instruction."""
    table = pa.table({"task_index": list(tasks.values()), "task": list(tasks)})
    about = [
        {
            "name": name,
            "field_name": name,
            "pandas_type": kind,
            "numpy_type": numpy,
            "metadata": None,
        }
        for name, kind, numpy in (("task_index", "int64", "int64"), ("task", "unicode", "object"))
    ]
    pandas = {"index_columns": ["task"], "column_indexes": [], "columns": about}
    pq.write_table(table.replace_schema_metadata({"pandas": json.dumps(pandas)}), path)


def write_places(
    path: Path, places: Sequence[Mapping[str, Any]], stats: Sequence[Mapping[str, Any]]
) -> None:
    """Write a row for each episode: its place, and its statistics."""
    rows = [
        {
            **place,
            **{
                f"stats/{feature}/{name}": value.tolist()
                for feature, values in numbers.items()
                for name, value in values.items()
            },
        }
        for place, numbers in zip(places, stats, strict=True)
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)


def write_json(path: Path, content: Any) -> None:
    """Write JSON as LeRobot does."""
    path.write_text(json.dumps(content, indent=4, ensure_ascii=False), "utf-8")
