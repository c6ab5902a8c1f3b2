"""Describes the content of a data set in plain numbers and text."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vand_demos.episode import ACTION_MODES
from vand_demos.storage.layout import BOUNDS
from vand_demos.storage.reader import DemoDataset
from vand_demos.system.json_record import JsonRecord, parse_json
from vand_envs.errors import VandError

UNKNOWN = "unknown"
"""Stands for what others did not record."""


def describe(path: str | Path) -> dict[str, Any]:
    """Describe a data set with what JSON can hold.

    Returns:
        `path`; `size_bytes`; `episodes`; `steps`; `robot`, `action_mode`, `control_dt_s`;
        `instructions` (task ids that the environment knows); `tasks` (task -> instruction,
        episodes, success share of those whose outcome is known, the number of the others, and
        steps as min, median, max); `changes` (tasks that are told one after the other -> episodes,
        where that changes on the way); `devices` (device -> episodes);
        `observations` (key -> shape of one step); `actions` (part -> min and max of each number,
        over all episodes); `bounds` of native actions in their own units; `source` of the first
        episode, empty where it was recorded here; `rewards`, `world`, `states` and
        `next_observations` (whether they are stored); `splits`
        (split -> episodes); `unassigned` (episodes in neither `train` nor `valid`, where there
        are both); `pending_parts` (recorded episodes that are not packed yet).

    Raises:
        UsageError: There is no such file.
        VandError: It is no data set, or is damaged.
    """
    with DemoDataset.open(path, guarded=True) as dataset:
        arrays = dataset.arrays(dataset.names[0]) if dataset.names else {}
        kwargs = dataset.env_args["env_kwargs"]
        return {
            "path": str(dataset.path),
            "size_bytes": dataset.path.stat().st_size,
            "episodes": len(dataset),
            "steps": dataset.total,
            **{key: kwargs[key] for key in ("robot", "action_mode", "control_dt_s")},
            "instructions": list(kwargs["instructions"]),
            "tasks": {task: _describe_task(dataset, task) for task in dataset.tasks},
            "changes": _changes(dataset),
            "devices": dict(
                Counter(dataset.attribute(name, "device") or UNKNOWN for name in dataset.names)
            ),
            "observations": {
                key: list(shape)
                for path, shape in arrays.items()
                if (key := path.removeprefix("obs/")) != path
            },
            "actions": _ranges(dataset, arrays),
            "bounds": {key: list(kwargs[key]) for key in BOUNDS if key in kwargs},
            "source": _source(dataset),
            "rewards": "rewards" in arrays,
            "world": any(dataset.attribute(name, "model_file") for name in dataset.names[:1]),
            "states": "states" in arrays,
            "next_observations": any(path.startswith("next_obs/") for path in arrays),
            "splits": {split: len(dataset.split(split)) for split in dataset.splits},
            "unassigned": len(dataset.unassigned),
            "pending_parts": dataset.pending_parts,
        }


def _changes(dataset: DemoDataset) -> list[dict[str, Any]]:
    """Which tasks are told one after the other, in how many episodes."""
    told = Counter(dataset.told(name) for name in dataset.names)
    return [
        {"tasks": list(tasks), "episodes": count}
        for tasks, count in sorted(told.items())
        if len(tasks) > 1
    ]


def _source(dataset: DemoDataset) -> dict[str, str]:
    """Where the first episode was imported from; empty where it was recorded here."""
    if not dataset.names:
        return {}
    text = dataset.attribute(dataset.names[0], "source")
    what = f"{dataset.path}: {dataset.names[0]}: source"
    return (
        {}
        if text is None
        else JsonRecord.of(what, {"source": parse_json(text, what)}).texts("source")
    )


def _describe_task(dataset: DemoDataset, task: str) -> dict[str, Any]:
    names = [name for name in dataset.names if dataset.attribute(name, "task") == task]
    return {
        "instruction": dataset.attribute(names[0], "instruction"),
        "episodes": len(names),
        **_outcomes([dataset.attribute(name, "success") for name in names]),
        "steps": _spread([dataset.attribute(name, "num_samples") for name in names]),
    }


def _outcomes(known: Sequence[bool | None]) -> dict[str, Any]:
    """The share of successes among the episodes whose outcome is known, and how many are not."""
    outcomes = [success for success in known if success is not None]
    share = float(np.mean(outcomes)) if outcomes else None
    return {"success": share, "outcome_unknown": len(known) - len(outcomes)}


def _spread(values: Sequence[int]) -> dict[str, float]:
    return {"min": min(values), "median": float(np.median(values)), "max": max(values)}


def _ranges(
    dataset: DemoDataset, arrays: Mapping[str, tuple[int, ...]]
) -> dict[str, dict[str, list[float]]]:
    """Actions and their parts -> least and largest value of each number, over all episodes.

    Args:
        dataset: The open data set.
        arrays: Arrays of the first episode -> shape of one step.
    """
    stored = [path for path in arrays if path == "actions" or path.startswith("action_dict/")]
    mode = ACTION_MODES[dataset.env_args["env_kwargs"]["action_mode"]]
    joined = [f"action_dict/{part}" for part in mode if f"action_dict/{part}" in arrays]
    ends = np.cumsum([sum(arrays[path]) for path in joined], dtype=int).tolist()
    if ends[-1:] != list(arrays.get("actions", ())):
        joined, ends = [], []
    read = [path for path in stored if path not in joined]  # the others are columns of the actions
    shapes = {path: arrays[path] for path in read}
    each = [_ends(dataset, name, shapes) for name in dataset.names]
    ranges: dict[str, tuple[Any, Any]] = {}
    for path, pairs in zip(read, zip(*each, strict=True), strict=True):
        lows, highs = (np.stack(side) for side in zip(*pairs, strict=True))
        ranges[path] = lows.min(0), highs.max(0)
    for path, end in zip(joined, ends, strict=True):
        low, high = ranges["actions"]
        columns = slice(end - arrays[path][0], end)
        ranges[path] = low[columns], high[columns]
    return {
        path.removeprefix("action_dict/"): {
            "min": ranges[path][0].tolist(),
            "max": ranges[path][1].tolist(),
        }
        for path in stored
    }


def _ends(
    dataset: DemoDataset, name: str, shapes: Mapping[str, tuple[int, ...]]
) -> list[tuple[Any, Any]]:
    """Least and largest value of each number of some arrays of an episode.

    Raises:
        VandError: The episode lacks one, or its steps are of another shape than those of the first.
    """
    ends = []
    arrays = dataset.read_arrays(name, list(shapes))
    for (path, shape), array in zip(shapes.items(), arrays, strict=True):
        if not array.size or array.shape[1:] != shape:
            raise VandError(
                f"{dataset.path}: {name}: {path}: expected {shape} a step, got {array.shape[1:]}"
            )
        ends.append((array.min(0), array.max(0)))
    return ends
