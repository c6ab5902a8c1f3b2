"""Evaluation of a policy in an environment of others: episodes, scored by what it says itself."""

import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces

from vand_envs.errors import FOREIGN_ERRORS, UsageError, VandError, in_words
from vand_envs.seeds import TEST_SEED
from vand_robot.evaluation.episodes import EpisodeMetrics
from vand_robot.evaluation.jobs import JobResult, PolicyMaker, RolloutJob
from vand_robot.evaluation.perturbations import NOMINAL
from vand_robot.evaluation.results import FOREIGN, EvaluationResult, PolicyFacts, TaskResult
from vand_robot.evaluation.runner import Progress, Work
from vand_robot.evaluation.summary import summarize
from vand_robot.foreign.remote_env import RemoteEnv, require_env_id
from vand_robot.interface import Policy, PolicySpec
from vand_robot.metrics.evaluation_metrics import STAGE_FRACTION

EPISODES_IN_A_JOB = 5
"""Episodes that are run one after the other before they are kept."""
SUCCESS_KEYS = ("success", "is_success")
"""What of `info` says whether an episode succeeded, unless a function does."""
RATE_TOLERANCE = 0.01
"""Relative difference of rates that are taken for equal."""


@dataclass(frozen=True)
class ForeignTask:
    """An environment of Gymnasium's as a task."""

    env_id: str
    """`[MODULE:]ID`, with or without `gymnasium:` before it."""
    env_args: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of the environment; `{seed}` stands for the seed of an episode."""
    python: str = ""
    """Interpreter that plays it; empty for this one."""
    success: str = ""
    """`module:function` of the `info` of a step that tells whether it succeeded; empty: `success`
    or `is_success` in it."""
    instruction: str = ""
    """The instruction that the policy is told; empty where it knows a single one, or none."""
    max_steps: int = 1000
    """Steps after which an episode ends that the environment does not end."""

    @property
    def name(self) -> str:
        """Its name in results: that of the environment, safe in names of files."""
        own = require_env_id(self.env_id).rpartition(":")[2]
        kept = (c if c.isalnum() or c in "-_." else "-" for c in own)
        return "".join(kept)

    @property
    def digest(self) -> str:
        """Digest of all that an episode depends on, but policy and seed."""
        facts = [self.env_id, dict(self.env_args), self.python, self.success, self.instruction]
        return sha256(json.dumps(facts, default=str).encode()).hexdigest()

    def jobs(self, episodes: int) -> list[RolloutJob]:
        """The jobs of an evaluation of so many episodes, from the first test seed on."""
        seeds = range(TEST_SEED, TEST_SEED + episodes)
        return [
            RolloutJob(self.name, NOMINAL, tuple(seeds[i : i + EPISODES_IN_A_JOB]), self.max_steps)
            for i in range(0, episodes, EPISODES_IN_A_JOB)
        ]


@dataclass(frozen=True)
class ForeignWork(Work[RolloutJob, JobResult]):
    """Episodes of a policy in an environment in a process of its own."""

    make_policy: PolicyMaker
    """Makes the policy."""
    task: ForeignTask
    """The environment."""
    to_go_on: ClassVar[str] = "--resume goes on"

    def prepare(self) -> Callable[[RolloutJob, Progress | None], JobResult]:
        """As `Work.prepare`."""
        policy, task = self.make_policy(), self.task
        succeeded = success_function(task.success)
        code = _code(policy.spec, task.instruction)

        def run(job: RolloutJob, progress: Progress | None) -> JobResult:
            rows = []
            # anew for each job, so that an episode does not depend on those before it
            with_env = RemoteEnv(task.env_id, env_args=task.env_args, python=task.python or None)
            try:
                require_fits(policy.spec, with_env)
                for done, seed in enumerate(job.seeds):
                    rows.append(_episode(policy, with_env, seed, job.steps, code, succeeded))
                    if progress is not None:
                        progress(done + 1, len(job.seeds))
            finally:
                with_env.close()
            labels = {"task": job.task, "perturbation": NOMINAL.name}
            return JobResult(tuple({**labels, **row} for row in rows), np.zeros((len(rows), 0)))

        return run

    def size(self, job: RolloutJob) -> int:
        """As `Work.size`: its episodes."""
        return len(job.seeds)


def follows_seeds(task: ForeignTask) -> bool:
    """Whether an environment begins an episode anew in the same way where it is given its seed.

    Otherwise an evaluation cannot be repeated, or plays few starts again and again.

    Raises:
        VandError: The environment cannot be made.
    """
    env = RemoteEnv(task.env_id, env_args=task.env_args, python=task.python or None)
    try:
        first, again = (env.reset(seed=TEST_SEED)[0] for _ in range(2))
    finally:
        env.close()
    return first.keys() == again.keys() and all(np.array_equal(first[k], again[k]) for k in first)


def success_function(name: str) -> Callable[[Mapping[str, Any]], bool]:
    """The function that tells from the `info` of a step whether an episode succeeded.

    Args:
        name: `module:function`; empty for `info["success"]`, or else `info["is_success"]`.

    Raises:
        UsageError: There is no such function.
    """
    if not name:
        return _told_success
    module, _, attribute = name.partition(":")
    try:
        function = getattr(importlib.import_module(module), attribute)
    except FOREIGN_ERRORS as error:
        raise UsageError(f"success: no function {name!r}: {in_words(error)}") from error

    def told(info: Mapping[str, Any]) -> bool:
        try:
            return bool(function(info))
        except FOREIGN_ERRORS as error:
            raise VandError(f"success: {name} failed: {in_words(error)}") from error

    return told


def _told_success(info: Mapping[str, Any]) -> bool:
    for key in SUCCESS_KEYS:
        if key in info:
            return bool(info[key])
    raise VandError(
        f"the environment does not say whether an episode succeeded: expected"
        f" {' or '.join(SUCCESS_KEYS)} in info, got {', '.join(info) or 'nothing'};"
        " --success MODULE:FUNCTION does"
    )


def require_fits(spec: PolicySpec, env: RemoteEnv) -> None:
    """Check that a policy can act in an environment.

    Raises:
        VandError: Observations, actions or the rate are others; the line names them.
    """
    space: Any = env.observation_space
    known = dict(space.spaces)
    for key, size in spec.observations.items():
        if key == "instruction" and key not in known:
            continue
        if key not in known:
            raise VandError(
                f"{env.env_id}: observation {key!r} is missing; there are: {', '.join(known)}"
            )
        shape = known[key].shape or ()
        if int(np.prod(shape)) != size:
            raise VandError(
                f"{env.env_id}: observation {key!r}: the policy expects {size} numbers, got {shape}"
            )
    shape = env.action_space.shape or ()
    if int(np.prod(shape)) != spec.action_size or not isinstance(env.action_space, spaces.Box):
        raise VandError(
            f"{env.env_id}: the policy acts with {spec.action_size} numbers, the environment takes"
            f" {env.action_space}"
        )
    came, own = env.control_dt_s, spec.control_dt_s
    if came is not None and abs(came - own) > RATE_TOLERANCE * own:
        raise VandError(
            f"{env.env_id}: its rate is {1 / came:g} Hz, the policy acts at {1 / own:g} Hz, the"
            " only rate that its memory knows"
        )


def _code(spec: PolicySpec, instruction: str) -> np.ndarray[Any, Any] | None:
    """The code of the instruction (1, C); None for a policy that sees none."""
    if "instruction" not in spec.observations:
        return None
    known = spec.instructions
    told = instruction or (known[0] if len(known) == 1 else "")
    if told not in known:
        raise UsageError(
            f"--task: expected the instruction to give, one of {', '.join(known)}, got {told!r}"
        )
    return np.array([[told == name for name in known]], np.float32)


def _episode(
    policy: Policy[Any],
    env: RemoteEnv,
    seed: int,
    max_steps: int,
    code: np.ndarray[Any, Any] | None,
    succeeded: Callable[[Mapping[str, Any]], bool],
) -> dict[str, Any]:
    """One episode: a row of `episodes.csv`, but for its task."""
    spec = policy.spec
    observation, _ = env.reset(seed=seed)
    state, total, steps, once, now = None, 0.0, 0, False, False
    while steps < max_steps:
        seen: dict[str, Any] = {
            key: np.asarray(observation[key], np.float32).reshape(1, -1)
            for key in spec.observations
            if key in observation
        }
        seen |= {key: np.asarray(observation[key])[None] for key in spec.images}
        if code is not None and "instruction" not in seen:
            seen["instruction"] = code
        actions, state = policy.act(seen, state)
        action = actions[0].reshape(env.action_space.shape or (-1,))
        observation, reward, terminated, truncated, info = env.step(action)
        total, steps = total + reward, steps + 1
        now = succeeded(info)
        once = once or now
        if terminated or truncated:
            break
    return {
        "seed": seed,
        "success": once,
        STAGE_FRACTION: float(once),
        "success_at_end": now,
        "return": total,
        "length_steps": steps,
    }


def collect_foreign(
    task: ForeignTask,
    results: Sequence[JobResult],
    control_dt_s: float,
    facts: PolicyFacts,
) -> EvaluationResult:
    """The result of an evaluation in an environment of others."""
    episodes = [EpisodeMetrics.from_row(row) for result in results for row in result.rows]
    longest = max(int(episode.metrics["length_steps"] or 0) for episode in episodes)
    summary = summarize(episodes, (), horizon_s=round(longest * control_dt_s, 3))
    words = " ".join(f"{key}={value}" for key, value in task.env_args.items())
    instruction = f"{require_env_id(task.env_id)} {words}".strip()
    return EvaluationResult(
        suite="environment",
        suite_version="1",
        first_seed=TEST_SEED,
        policy=facts,
        perturbations={NOMINAL.name: NOMINAL.to_json()},
        tasks={task.name: TaskResult(instruction, FOREIGN, None, {NOMINAL.name: summary})},
        confusion={},
        episodes=tuple(episodes),
    )
