"""LeRobot folders that others made, versions 3.0 and 2.1: Parquet, JSON and MP4.

v3.0   meta/{info.json, tasks.parquet, episodes/chunk-*/file-*.parquet}
data/chunk-000/file-000.parquet, videos/KEY/chunk-000/file-000.mp4: many episodes each
v2.1   meta/{info.json, tasks.jsonl, episodes.jsonl}
data/chunk-000/episode_000000.parquet, videos/chunk-000/KEY/episode_000000.mp4
"""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vand_demos.interop.columns import decode_images, decode_vectors, require_small_table
from vand_demos.interop.source import SourceEpisode, SourceFacts
from vand_demos.interop.video import decode_frames
from vand_demos.system.files import library_errors, read_regular
from vand_demos.system.json_record import JsonRecord, parse_json
from vand_demos.system.limits import require_room
from vand_envs.errors import VandError

VERSIONS = ("v3.0", "v2.1")
"""Versions that are read."""

_PATHS = {
    "v3.0": (
        "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
    ),
    "v2.1": (
        "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
    ),
}
"""Version -> where frames and videos are. A folder that says otherwise is refused: its templates
would be paths of its own making."""

_LIBRARIES = ("pyarrow", "av", "imageio", "PIL")
_ROW_BYTES = 1000
_VECTOR_TYPES = (
    "float16",
    "float32",
    "float64",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "bool",
)
_OBSERVATION = "observation"
_LATE_STEPS = 0.25
"""Share of a step that a frame's time may be off."""


@dataclass(frozen=True)
class _Place:
    """Where an episode is."""

    index: int
    length: int
    tasks: tuple[str, ...]
    data: Path
    videos: Mapping[str, tuple[Path, float]] = field(default_factory=dict)
    """Image observation -> its video, and where in it the episode begins [s]."""


class LeRobotSource:
    """A LeRobot folder of others; see `SourceSet`.

    Args:
        folder: The folder.

    Raises:
        VandError: It is damaged, or of another version.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        info = JsonRecord.read(self._inside("meta/info.json"))
        version = info.text("codebase_version")
        if version not in VERSIONS:
            raise VandError(
                f"{folder}: codebase_version: expected {' or '.join(VERSIONS)}, got"
                f" {version!r:.40}; LeRobot's own scripts convert older ones"
            )
        self._rate_hz = info.number("fps", 1.0, 1000.0)
        features = info.records("features")
        self._shapes = {key: about.integer_list("shape", 1) for key, about in features.items()}
        self._kinds = {key: about.text("dtype") for key, about in features.items()}
        images = {key: _image_size(about) for key, about in features.items() if self._is_image(key)}
        self._require_paths(info, version, videos="video" in self._kinds.values())
        with library_errors("read", folder, *_LIBRARIES):
            places = self._places_v3(images) if version == "v3.0" else self._places_v2(info, images)
        self._places = {f"episode_{place.index}": place for place in places}
        self.names = tuple(self._places)
        self._table: tuple[Path, pa.Table] | None = None
        vectors, left = self._vectors()
        self.facts = SourceFacts(
            format_name="lerobot",
            name=folder.resolve().name,
            version=version,
            rate_hz=self._rate_hz,
            robot=info.optional_text("robot_type") or "unknown"
            if "robot_type" in info.values
            else "unknown",
            environment={},
            bounds=None,
            vectors=vectors,
            images=images,
            masks=self._masks(info),
            notes=[f"left out, no observations: {', '.join(left)}"] if left else [],
        )

    def instruction(self, name: str) -> str | None:
        """The task of an episode.

        Raises:
            VandError: It has several.
        """
        tasks = self._places[name].tasks
        if len(tasks) > 1:
            raise VandError(
                f"{self._folder}: {name}: its task changes on the way ({', '.join(tasks)!s:.80});"
                " --instruction gives it one"
            )
        return " ".join(tasks[0].split()) if tasks and tasks[0].strip() else None

    def actions(self, name: str) -> NDArray[Any]:
        """The actions (N, A) of an episode."""
        with library_errors("read", self._folder, *_LIBRARIES):
            return self._vector(name, self._rows(name), "action")

    def episode(self, name: str, vectors: Sequence[str], images: Sequence[str]) -> SourceEpisode:
        """Read an episode with these observations.

        Raises:
            VandError: It is damaged, or a video does not decode.
        """
        with library_errors("read", self._folder, *_LIBRARIES):
            rows = self._rows(name)
            self._require_times(name, rows)
            has = rows.column_names
            seen = {key: self._vector(name, rows, key) for key in vectors}
            seen |= {key: self._images(name, rows, key) for key in images}
            optional: dict[str, Any] = {
                key: self._vector(name, rows, f"next.{key[:-1]}")[:, 0]
                for key in ("rewards", "dones")
                if f"next.{key[:-1]}" in has
            }
            success = None
            if "next.success" in has:
                success = bool(np.any(self._vector(name, rows, "next.success")))
            return SourceEpisode(
                actions=self._vector(name, rows, "action"),
                observations=seen,
                success=success,
                **optional,
            )

    def _is_image(self, key: str) -> bool:
        return self._kinds[key] in ("image", "video")

    def _vectors(self) -> tuple[dict[str, int], list[str]]:
        """Vector observations and their sizes, and the features that are taken for nothing."""
        known = {"action", "timestamp", "frame_index", "episode_index", "index", "task_index"}
        vectors: dict[str, int] = {}
        left: list[str] = []
        for key, kind in self._kinds.items():
            if key.partition(".")[0] == _OBSERVATION and kind in _VECTOR_TYPES:
                vectors[key] = math.prod(self._shapes[key])
            elif key not in known and not key.startswith("next.") and not self._is_image(key):
                left.append(key)
        for key, size in vectors.items():
            require_room(f"{self._folder}: {key}", size)
        return vectors, left

    def _require_paths(self, info: JsonRecord, version: str, *, videos: bool) -> None:
        for key, expected in zip(("data_path", "video_path"), _PATHS[version], strict=True):
            if key == "video_path" and not videos:
                continue
            if info.text(key) != expected:
                raise info.mistake(key, repr(expected))

    def _inside(self, path: str) -> Path:
        """A path in the folder.

        Raises:
            VandError: It leads out of the folder.
        """
        found = self._folder / path
        # `Path.resolve` raises where links lead in a circle; opening that file says so
        if not Path(os.path.realpath(found)).is_relative_to(os.path.realpath(self._folder)):
            raise VandError(f"{found} leads out of its folder; cp -rL makes a copy without links")
        return found

    def _places_v3(self, images: Mapping[str, Any]) -> list[_Place]:
        data, video = _PATHS["v3.0"]
        videos = [key for key in images if self._kinds[key] == "video"]
        places: list[_Place] = []
        for path in sorted((self._folder / "meta/episodes").glob("chunk-*/file-*.parquet")):
            for row in self._records(path, videos):
                at = {"chunk_index": row.integer("data/chunk_index", 0)}
                at["file_index"] = row.integer("data/file_index", 0)
                where = {key: _video_place(row, key) for key in videos}
                places.append(
                    _Place(
                        row.integer("episode_index", 0),
                        row.integer("length", 1),
                        row.text_list("tasks"),
                        self._inside(data.format(**at)),
                        {
                            key: (self._inside(video.format(video_key=key, **file)), start_s)
                            for key, (file, start_s) in where.items()
                        },
                    )
                )
        return places

    def _records(self, path: Path, videos: Sequence[str]) -> list[JsonRecord]:
        """The rows of a table of episodes."""
        self._inside(str(path.relative_to(self._folder)))
        require_small_table(path)
        columns = ["episode_index", "length", "tasks", "data/chunk_index", "data/file_index"]
        for key in videos:
            parts = ("chunk_index", "file_index", "from_timestamp")
            columns += [f"videos/{key}/{part}" for part in parts]
        held = pq.read_schema(path).names
        for column in columns:
            if column not in held:
                raise VandError(f"{path}: expected a column {column!r}")
        table = pq.read_table(path, columns=columns)
        require_room(str(path), _ROW_BYTES * len(table))
        return [JsonRecord(f"{path}: row {i}", row) for i, row in enumerate(table.to_pylist())]

    def _places_v2(self, info: JsonRecord, images: Mapping[str, Any]) -> list[_Place]:
        data, video = _PATHS["v2.1"]
        videos = [key for key in images if self._kinds[key] == "video"]
        path, size = self._inside("meta/episodes.jsonl"), info.integer("chunks_size", 1)
        places: list[_Place] = []
        lines = read_regular(path).splitlines()
        require_room(str(path), _ROW_BYTES * len(lines))
        for number, line in enumerate(lines, 1):
            what = f"{path}, line {number}"
            row = JsonRecord.of(what, parse_json(line, what))
            index = row.integer("episode_index", 0)
            at = {"episode_chunk": index // size, "episode_index": index}
            places.append(
                _Place(
                    index,
                    row.integer("length", 1),
                    row.text_list("tasks"),
                    self._inside(data.format(**at)),
                    {key: (self._inside(video.format(video_key=key, **at)), 0.0) for key in videos},
                )
            )
        return places

    def _masks(self, info: JsonRecord) -> dict[str, list[str]]:
        """The splits `"0:80"` as names; none where all is one split."""
        masks: dict[str, list[str]] = {}
        for split, text in info.texts("splits").items() if "splits" in info.values else ():
            first, _, last = text.partition(":")
            if not (first.isdecimal() and last.isdecimal()):
                raise info.record("splits").mistake(split, "FIRST:LAST")
            listed = [n for n, p in self._places.items() if int(first) <= p.index < int(last)]
            if len(listed) < len(self._places):
                masks[split] = listed
        return masks

    def _rows(self, name: str) -> pa.Table:
        """The frames of an episode; the file that they are in is kept for the next one."""
        place = self._places[name]
        if self._table is None or self._table[0] != place.data:
            require_small_table(place.data)
            self._table = place.data, pq.read_table(place.data)
        table = self._table[1]
        for column in ("episode_index", "frame_index", "timestamp", "action"):
            if column not in table.column_names:
                raise VandError(f"{place.data}: expected a column {column!r}")
        rows = table.filter(pc.equal(table["episode_index"], place.index))
        if len(rows) != place.length:
            raise VandError(
                f"{self._folder}: {name}: expected {place.length} frames, got {len(rows)}"
            )
        return rows

    def _vector(self, name: str, rows: pa.Table, key: str) -> NDArray[Any]:
        if key not in rows.column_names:
            raise VandError(f"{self._folder}: {name}: {key} is missing")
        size = math.prod(self._shapes[key]) if key in self._shapes else -1
        try:
            return decode_vectors(rows[key], (size,))
        except VandError as error:
            raise VandError(f"{self._folder}: {name}: {key}: {error}") from None

    def _images(self, name: str, rows: pa.Table, key: str) -> NDArray[np.uint8]:
        size = self.facts.images[key]
        place = self._places[name]
        if self._kinds[key] == "video":
            path, start_s = place.videos[key]
            return decode_frames(path, start_s, place.length, self._rate_hz, size)
        if key not in rows.column_names:
            raise VandError(f"{self._folder}: {name}: {key} is missing")
        return decode_images(rows[key], (*size, 3))

    def _require_times(self, name: str, rows: pa.Table) -> None:
        """Checks that frames follow each other at the rate that the set declares.

        Raises:
            VandError: They do not; the line names the first that is off.
        """
        times = decode_vectors(rows["timestamp"], ()).astype(np.float64)
        expected = np.arange(len(times)) / self._rate_hz
        off = np.flatnonzero(~(np.abs(times - expected) <= _LATE_STEPS / self._rate_hz))
        if len(off):
            i = int(off[0])
            raise VandError(
                f"{self._folder}: {name}: timestamp[{i}] = {times[i]:g} s: expected"
                f" {expected[i]:g} s, at {self._rate_hz:g} frames a second"
            )


@contextmanager
def open_source(folder: Path) -> Iterator[LeRobotSource]:
    """Open a LeRobot folder of others.

    Raises:
        VandError: It is none, is damaged, or is of another version.
    """
    if not (folder / "meta/info.json").is_file():
        raise VandError(f"{folder}: expected meta/info.json, as LeRobot writes it")
    yield LeRobotSource(folder)


def _robot(info: JsonRecord) -> str:
    told = info.optional_text("robot_type") if "robot_type" in info.values else None
    return told or "unknown"


def _image_size(about: JsonRecord) -> tuple[int, int]:
    """Height and width of an image feature, whichever axis holds the channels."""
    shape = about.integer_list("shape", 1)
    names = about.text_list("names") if isinstance(about.values.get("names"), list) else ()
    first = len(names) == 3 and names[0].startswith("channel")
    channels, *size = shape if first else (*shape[-1:], *shape[:-1])
    if len(size) != 2 or channels != 3:
        raise about.mistake("shape", "height, width and three channels of an image")
    require_room(f"{about.source}: {about.path}", 3 * size[0] * size[1])
    return size[0], size[1]


def _video_place(row: JsonRecord, key: str) -> tuple[dict[str, int], float]:
    """Which file of a camera holds an episode, and from when on [s]."""
    at = {part: row.integer(f"videos/{key}/{part}", 0) for part in ("chunk_index", "file_index")}
    return at, row.number(f"videos/{key}/from_timestamp", 0.0)
