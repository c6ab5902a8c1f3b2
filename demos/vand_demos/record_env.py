"""Records any Gymnasium environment that any callable acts in."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from vand_demos.episode import Episode, utc_now
from vand_demos.interop.source import task_id
from vand_demos.native import NATIVE, to_unit
from vand_demos.recording_options import Progress, SessionReport
from vand_demos.storage.reader import DemoDataset
from vand_demos.storage.recorder import Recorder
from vand_demos.system.files import file_path
from vand_demos.system.version import software_version
from vand_envs.errors import UsageError, VandError

Act = Callable[[Any], Any]
"""Any demonstrator: an observation, as the environment gives it, to an action."""

OBSERVATION = "observation"
"""Key of what an environment sees where it has no names for it."""

SUCCESS_KEYS = ("success", "is_success")
"""Entries of `info` that tell whether a task was done."""


@dataclass(frozen=True, kw_only=True)
class EnvOptions:
    """Options of a recording of an environment; what is left out is taken from it.

    Raises:
        UsageError: At construction, where a number is out of range.
    """

    instruction: str = ""
    """Instruction in words; by default the environment's id."""
    control_dt_s: float | None = None
    """Time between two actions [s]; None: `env.unwrapped.dt`, or one over its `render_fps`."""
    first_seed: int = 0
    """Seed of the first episode; the others follow."""
    max_steps: int = 10_000
    """Steps after which an episode is cut."""
    stop_at_success: bool = False
    """Whether an episode ends as soon as `info` says that the task is done."""
    keep_failures: bool = False
    """Whether episodes that the environment calls failed are kept too; those of which it says
    nothing always are."""
    give_up: int = 5
    """Attempts per wanted episode after which the recording has failed."""

    def __post_init__(self) -> None:
        for name, low in (("first_seed", 0), ("max_steps", 1), ("give_up", 1)):
            if getattr(self, name) < low:
                raise UsageError(f"{name}: expected {low} or more, got {getattr(self, name)}")


def record_env(
    env: gymnasium.Env[Any, Any],
    policy: Act,
    episodes: int,
    out: str | Path,
    options: EnvOptions | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> SessionReport:
    """Record episodes of a Gymnasium environment into a data set.

    Each finished episode is on the disk at once, as in every recording. Actions are native, with
    the bounds of the action space; an observation that is one array is called `observation`, those
    inside others `outer.inner`. Success is what `info` says under `success` or `is_success` at the
    end, and unknown where it says nothing.

    Args:
        env: The environment; its actions are a `Box` with bounds, or `Discrete`.
        policy: Observation -> action. Its `reset`, if it has one, is called before each episode.
        episodes: Episodes to add.
        out: The data set; a new file, or with `resume` one to add to.
        options: What is not left to the environment.
        resume: Add to the data set if there is one. Seeds that it holds are skipped.
        overwrite: Remove the data set if there is one.
        progress: Called after each episode that is kept.

    Returns:
        What was recorded; finished episodes are safe also where Ctrl-C ended it.

    Raises:
        UsageError: A file that exists, no episodes asked for, or a control step that is not known.
        VandError: Actions without bounds, numbers that are not finite, too many failures, or a full
            disk. Finished episodes are safe.
    """
    if episodes < 1:
        raise UsageError(f"episodes: expected at least 1, got {episodes}")
    how = options or EnvOptions()
    setting = _Setting.of(env, how)
    path = file_path(out)
    attempts, interrupted = 0, False
    with Recorder(path, setting.env_args, resume=resume, overwrite=overwrite) as recorder:
        seed = max(how.first_seed, _next_seed(path) if resume else 0)
        try:
            for episode in _episodes(env, policy, setting, how, seed):
                attempts += 1
                if episode.success is not False or how.keep_failures:
                    recorder.save(episode)
                    if progress is not None:
                        progress(recorder.saved, episodes)
                if recorder.saved == episodes:
                    break
                if attempts >= how.give_up * episodes:
                    counts = f"only {recorder.saved} of {attempts} episodes succeeded"
                    raise VandError(f"{path}: {counts}; those are kept")
        except KeyboardInterrupt:
            interrupted = True
    return SessionReport(path, recorder.saved, attempts, len(recorder), recorder.steps, interrupted)


@dataclass(frozen=True, eq=False)
class _Setting:
    """All that is the same for every episode."""

    name: str
    task: str
    instruction: str
    control_dt_s: float
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    space: spaces.Space[Any]
    kwargs: Mapping[str, Any]
    versions: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, env: gymnasium.Env[Any, Any], options: EnvOptions) -> "_Setting":
        name, kwargs = _identity(env)
        low, high = _bounds(env.action_space)
        text = options.instruction or name
        told = getattr(env, "versions", None)
        own = {k: software_version(k) for k in ("vand-robot", "gymnasium", "numpy")}
        dt = options.control_dt_s or control_step(env)
        if dt is None:
            raise UsageError(f"{name} does not tell its control step: give control_dt_s")
        return cls(
            name,
            task_id(text),
            text,
            dt,
            low,
            high,
            env.action_space,
            kwargs,
            {**own, **told} if isinstance(told, Mapping) else own,
        )

    @property
    def env_args(self) -> dict[str, Any]:
        """As a data set stores them."""
        return {
            "env_name": self.name,
            "env_version": "",
            "type": 2,
            "env_kwargs": {
                "robot": "unknown",
                "action_mode": NATIVE,
                "control_dt_s": self.control_dt_s,
                "instructions": [self.task],
                "action_low": self.low.tolist(),
                "action_high": self.high.tolist(),
                "source_env": {"env_name": self.name, "type": 2, "env_kwargs": dict(self.kwargs)},
            },
        }


def _episodes(
    env: gymnasium.Env[Any, Any], policy: Act, setting: _Setting, options: EnvOptions, seed: int
) -> Iterator[Episode]:
    """Episodes of seeds that follow each other, without end."""
    while True:
        yield _episode(env, policy, setting, options, seed)
        seed += 1


def _episode(
    env: gymnasium.Env[Any, Any], policy: Act, setting: _Setting, options: EnvOptions, seed: int
) -> Episode:
    """One episode, until it ends or is cut."""
    seen, info = env.reset(seed=seed)
    if callable(reset := getattr(policy, "reset", None)):
        reset()
    views, rewards = [flat(seen)], list[float]()
    actions: list[NDArray[np.float64]] = []
    over = False
    while not over and len(actions) < options.max_steps:
        action = np.asarray(policy(seen))
        actions.append(_checked(action, setting, len(actions), seed))
        seen, reward, terminated, truncated, info = env.step(
            _executed(actions[-1], setting, action)
        )
        views.append(flat(seen))
        rewards.append(float(reward))
        done = options.stop_at_success and _success(info)
        over = bool(terminated or truncated or done)
    stacked = {key: np.stack([view[key] for view in views]) for key in views[0]}
    steps = len(actions)
    return Episode(
        task=setting.task,
        instruction=setting.instruction,
        seed=seed,
        success=_success(info),
        control_dt_s=setting.control_dt_s,
        action_mode=NATIVE,
        observations={key: rows[:-1] for key, rows in stacked.items()},
        next_observations={k: x[1:] for k, x in stacked.items() if x.dtype != np.uint8},
        actions=to_unit(np.stack(actions), setting.low, setting.high),
        action_parts={},
        rewards=np.array(rewards, np.float32),
        dones=(np.arange(steps) == steps - 1).astype(np.int64),
        recorded_at=utc_now(),
        versions=setting.versions,
        action_low=setting.low,
        action_high=setting.high,
        source={"format": "gymnasium", "name": setting.name},
    )


def flat(seen: Any, prefix: str = "") -> dict[str, NDArray[Any]]:
    """An observation by key: images as they are, all else as float32 vectors."""
    if isinstance(seen, Mapping):
        found: dict[str, NDArray[Any]] = {}
        for key, value in seen.items():
            found |= flat(value, f"{prefix}{key}.")
        return found
    rows = np.asarray(seen)
    key = prefix[:-1] or OBSERVATION
    if rows.dtype == np.uint8 and rows.ndim == 3 and rows.shape[-1] == 3:
        return {key: rows}
    if rows.dtype.kind not in "biuf":
        raise VandError(f"observation {key!r}: expected numbers, got {rows.dtype}")
    return {key: rows.ravel().astype(np.float32)}


def control_step(env: gymnasium.Env[Any, Any]) -> float | None:
    """The time between two actions, where the environment tells it [s]."""
    for owner, name in ((env, "control_dt_s"), (env.unwrapped, "dt")):
        step = getattr(owner, name, None)
        if isinstance(step, int | float) and step > 0:
            return float(step)
    rate = (env.unwrapped.metadata or {}).get("render_fps")
    return 1.0 / float(rate) if isinstance(rate, int | float) and rate > 0 else None


def _identity(env: gymnasium.Env[Any, Any]) -> tuple[str, dict[str, Any]]:
    """Id and keyword arguments of an environment; the name of its class where it has no id."""
    name = getattr(env, "env_id", None)
    if isinstance(name, str):
        return name, dict(getattr(env, "env_args", {}))
    if env.spec is not None:
        plain = {
            k: v for k, v in env.spec.kwargs.items() if isinstance(v, str | int | float | bool)
        }
        return env.spec.id, plain
    return type(env.unwrapped).__name__, {}


def _bounds(space: spaces.Space[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Least and greatest value of each number of an action."""
    if isinstance(space, spaces.Discrete):
        start = float(space.start)
        return np.array([start]), np.array([start + max(1.0, float(space.n) - 1)])
    if isinstance(space, spaces.Box):
        low, high = (np.asarray(end, np.float64).ravel() for end in (space.low, space.high))
        if np.isfinite([low, high]).all() and (low < high).all():
            return low, high
    raise VandError(f"actions: expected a Discrete space, or a Box with bounds, got {space!r:.80}")


def _checked(action: NDArray[Any], setting: _Setting, step: int, seed: int) -> NDArray[np.float64]:
    """An action as a vector within its bounds, as most environments would clip it."""
    flat_action = np.asarray(action, np.float64).ravel()
    place = f"{setting.name}: episode of seed {seed}: action {step}"
    if flat_action.shape != setting.low.shape:
        raise VandError(f"{place}: expected {len(setting.low)} numbers, got {flat_action.size}")
    if not np.isfinite(flat_action).all():
        raise VandError(f"{place}: {flat_action.tolist()} is not finite")
    return np.clip(flat_action, setting.low, setting.high)


def _executed(recorded: NDArray[np.float64], setting: _Setting, given: NDArray[Any]) -> Any:
    """What the environment is handed: the recorded action, in the form of its space."""
    if isinstance(setting.space, spaces.Discrete):
        return int(recorded[0])
    dtype = setting.space.dtype or given.dtype
    return recorded.reshape(setting.space.shape or recorded.shape).astype(dtype)


def _success(info: Mapping[str, Any]) -> bool | None:
    for key in SUCCESS_KEYS:
        if key in info:
            return bool(np.asarray(info[key]).ravel()[-1])
    return None


def _next_seed(path: Path) -> int:
    """The seed after the largest of a data set; 0 where there is none."""
    if not path.exists():
        return 0
    with DemoDataset.open(path, guarded=True) as dataset:
        seeds = [dataset.attribute(name, "seed") for name in dataset.names]
    return max((seed for seed in seeds if seed is not None), default=-1) + 1
