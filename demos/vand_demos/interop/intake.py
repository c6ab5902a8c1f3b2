"""Takes in a data set that others made: chosen, renamed, resampled, with native actions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vand_demos.episode import Episode
from vand_demos.interop.resample import METHOD, resampled
from vand_demos.interop.source import (
    ImportOptions,
    SourceEpisode,
    SourceFacts,
    SourceSet,
    action_bounds,
    chosen_keys,
    task_id,
)
from vand_demos.native import NATIVE, to_unit
from vand_demos.storage.compatibility import require_env_args, require_fits, signature
from vand_demos.storage.layout import DEMO_NAME, require_new
from vand_demos.storage.splits import TRAIN, VALID
from vand_demos.storage.writer import (
    StoredEpisode,
    append,
    create,
    encode_episode,
    rewriting,
    write_splits,
)
from vand_envs.errors import UsageError, VandError, unknown_name

INSTRUCTION = "instruction"
"""Observation with the one-hot code of the task, added where there are several."""


@dataclass(frozen=True, eq=False)
class _Plan:
    """All that is the same for every episode of an import."""

    facts: SourceFacts
    options: ImportOptions
    vectors: Mapping[str, str]
    images: Sequence[str]
    tasks: tuple[str, ...]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    rate_hz: float
    notes: tuple[str, ...]

    @property
    def new_rate_hz(self) -> float:
        """The control rate here [Hz]."""
        return self.options.rate_hz or self.rate_hz

    @property
    def env_args(self) -> dict[str, Any]:
        """As a data set stores them."""
        return {
            "env_name": str(self.facts.environment.get("env_name") or self.facts.name),
            "env_version": str(self.facts.environment.get("env_version") or self.facts.version),
            "type": 2,
            "env_kwargs": {
                "robot": self.facts.robot,
                "action_mode": NATIVE,
                "control_dt_s": 1 / self.new_rate_hz,
                "instructions": list(self.tasks),
                "action_low": self.low.tolist(),
                "action_high": self.high.tolist(),
                "source_env": dict(self.facts.environment),
            },
        }


def take_in(
    source: SourceSet, out: Path, options: ImportOptions, *, overwrite: bool
) -> tuple[int, int, list[str]]:
    """Write a data set of ours from one of others, whole or not at all.

    Args:
        source: The data set of others.
        out: The data set to write.
        options: What is chosen.
        overwrite: Whether to replace a data set that exists.

    Returns:
        Episodes, steps, and notes on what was left out or understood how.

    Raises:
        UsageError: A name that is not there, a rate that is not known, or `out` exists.
        VandError: The source is damaged, or the disk is full; an old file stays as it was.
    """
    with rewriting(out) as temporary:
        require_new(out, overwrite=overwrite)
        plan, told = _planned(source, options)
        require_env_args(source.facts.name, plan.env_args)
        create(temporary, plan.env_args)
        steps: list[int] = []
        names = append(temporary, _stored(source, plan, told, steps))
        masks = _masks(source, dict(zip(told, names, strict=True)))
        if masks:
            write_splits(temporary, masks)
    return len(names), sum(steps), list(plan.notes)


def _planned(source: SourceSet, options: ImportOptions) -> tuple[_Plan, dict[str, tuple[str, str]]]:
    """What is the same for all, and name -> (task id, instruction) of the episodes to take."""
    facts = source.facts
    rate = facts.rate_hz or options.source_rate_hz
    if rate is None:
        raise UsageError(f"{facts.name} does not tell its control rate: give --source-rate HZ")
    if facts.rate_hz and options.source_rate_hz and facts.rate_hz != options.source_rate_hz:
        raise UsageError(f"{facts.name} says that its control rate is {facts.rate_hz:g} Hz")
    vectors, images = chosen_keys(facts, options)
    told, notes = _instructions(source, options)
    low, high, bound_notes = action_bounds(source, list(told), options.bounds)
    notes = [*facts.notes, *notes, *bound_notes]
    if left := [key for key in facts.images if key not in images]:
        notes.append(f"images left out: {', '.join(left)} (--images {left[0]} takes one in)")
    if options.rate_hz and options.rate_hz != rate:
        notes.append(
            f"resampled from {rate:g} to {options.rate_hz:g} Hz by {METHOD!r}: each step takes the"
            " source's latest; right for targets and velocities, not for displacements"
        )
    tasks = tuple(sorted({task for task, _ in told.values()}))
    if len(tasks) > 1 and INSTRUCTION in vectors.values():
        raise UsageError(f"keys: {INSTRUCTION!r} is taken by the code of the task; rename it")
    plan = _Plan(facts, options, vectors, images, tasks, low, high, rate, tuple(notes))
    return plan, told


def _instructions(
    source: SourceSet, options: ImportOptions
) -> tuple[dict[str, tuple[str, str]], list[str]]:
    """Name -> (task id, instruction) of the episodes to take, and notes.

    Raises:
        UsageError: A task is named that is not there.
        VandError: There is no episode.
    """
    facts, notes = source.facts, []
    if not source.names:
        raise VandError(f"{facts.name}: there are no episodes")
    told: dict[str, tuple[str, str]] = {}
    for name in source.names:
        text = options.instruction or source.instruction(name)
        if not text:
            text = str(facts.environment.get("env_name") or facts.name)
            note = (
                f"the source has no instructions: {text!r} stands for one (--instruction sets it)"
            )
            notes += [] if note in notes else [note]
        told[name] = options.phrasings.get(text) or task_id(text), text
    for text in options.phrasings:
        if text not in {source.instruction(name) for name in source.names}:
            raise unknown_name("instruction", text, sorted({text for _, text in told.values()}))
    known = {word for pair in told.values() for word in pair}
    for task in options.tasks:
        if task not in known:
            raise unknown_name("task", task, sorted({task for task, _ in told.values()}))
    if options.tasks:
        told = {name: pair for name, pair in told.items() if set(pair) & set(options.tasks)}
    return told, notes


def _stored(
    source: SourceSet, plan: _Plan, told: Mapping[str, tuple[str, str]], steps: list[int]
) -> Iterator[StoredEpisode]:
    """Episodes to be added to a data set; the length of each is noted."""
    first: dict[str, str] = {}
    names = _names_here(list(told))
    for name, (task, text) in told.items():
        taken = source.episode(name, list(plan.vectors), plan.images)
        episode = _episode(name, resampled(taken, plan.rate_hz, plan.new_rate_hz), plan, task, text)
        require_fits(episode, plan.env_args, first)
        first = first or signature(episode)
        steps.append(len(episode))
        image = encode_episode(episode, plan.env_args)
        yield replace(StoredEpisode.of_bytes(image), new_name=names[name])


def _names_here(names: Sequence[str]) -> dict[str, str]:
    """Names that episodes get: their own where all are `demo_<int>`."""
    if all(DEMO_NAME.fullmatch(name) for name in names):
        return {name: name for name in names}
    return {name: f"demo_{number}" for number, name in enumerate(names)}


def _episode(name: str, taken: SourceEpisode, plan: _Plan, task: str, text: str) -> Episode:
    """An episode of ours.

    Raises:
        VandError: It breaks a rule of the format: unequal lengths, numbers that are not finite.
    """
    steps = len(taken.actions)
    known = {**plan.vectors, **{key: plan.options.keys.get(key, key) for key in plan.images}}
    seen = {known[key]: _as_stored(rows) for key, rows in taken.observations.items()}
    after = {
        known[key]: _as_stored(rows)
        for key, rows in taken.next_observations.items()
        if key not in plan.images
    }
    if len(plan.tasks) > 1:
        code = np.tile(np.array([task == other for other in plan.tasks], np.float32), (steps, 1))
        seen[INSTRUCTION] = code
        after |= {INSTRUCTION: code} if after else {}
    last = np.arange(steps) == steps - 1
    about = {"format": plan.facts.format_name, "name": plan.facts.name, "episode": name}
    about |= {"version": plan.facts.version} if plan.facts.version else {}
    about |= {"notes": "; ".join(plan.notes)} if plan.notes else {}
    dones = last if taken.dones is None else np.asarray(taken.dones) != 0
    try:
        return Episode(
            task=task,
            instruction=text,
            seed=taken.seed,
            success=taken.success,
            control_dt_s=1 / plan.new_rate_hz,
            action_mode=NATIVE,
            observations=seen,
            next_observations=after,
            actions=to_unit(taken.actions, plan.low, plan.high),
            action_parts={},
            rewards=None if taken.rewards is None else np.asarray(taken.rewards, np.float32),
            dones=dones.astype(np.int64),
            states=None if taken.states is None else np.asarray(taken.states, np.float64),
            model_file=taken.model_file,
            versions={},
            uid=_identity(plan.facts, name, taken),
            action_low=plan.low,
            action_high=plan.high,
            source=about,
        )
    except VandError as error:
        fault = str(error).partition(": ")[2]
        raise VandError(f"{plan.facts.name}: {name}: {fault}") from None


def _as_stored(rows: NDArray[Any]) -> NDArray[Any]:
    """Images as they are, all else as float32 vectors."""
    if rows.dtype == np.uint8 and rows.ndim == 4:
        return rows
    with np.errstate(over="ignore"):
        return rows.reshape(len(rows), -1).astype(np.float32)


def _identity(facts: SourceFacts, name: str, taken: SourceEpisode) -> str:
    """The identity of a recording: the same whenever it is imported."""
    digest = sha256(f"{facts.format_name} {facts.name} {name}".encode())
    digest.update(np.ascontiguousarray(taken.actions).tobytes())
    return digest.hexdigest()[:32]


def _masks(source: SourceSet, names: Mapping[str, str]) -> dict[str, list[str]]:
    """The source's splits under the names of here.

    Raises:
        VandError: An episode is in both train and valid.
    """
    masks = {
        split: [names[name] for name in listed if name in names]
        for split, listed in source.facts.masks.items()
    }
    both = set(masks.get(TRAIN, ())) & set(masks.get(VALID, ()))
    if both:
        raise VandError(f"{source.facts.name}: mask: {min(both)!r} is in both train and valid")
    return {split: listed for split, listed in masks.items() if listed}
