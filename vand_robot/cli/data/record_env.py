"""`vand-robot record --env`: an environment of Gymnasium, driven by a policy of somebody's own."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import typer

from vand_demos.record_env import EnvOptions, record_env
from vand_demos.recording_options import SessionReport
from vand_envs.errors import UsageError
from vand_envs.seeds import SEEDS_PER_SESSION
from vand_robot.cli import console

Env = Annotated[
    str | None,
    typer.Option("--env", help="Environment instead of a task: gymnasium:[MODULE:]ID."),
]
EnvPolicy = Annotated[
    str | None,
    typer.Option("--policy", help="With --env: MODULE:FACTORY of observation -> action."),
]
EnvArgs = Annotated[
    list[str] | None,
    typer.Option(
        "--env-arg",
        help="With --env: KEY=VALUE for the environment; KEY={seed}: the seed of each episode.",
    ),
]
Python = Annotated[
    Path | None,
    typer.Option("--python", help="With --env: interpreter that has the environment's packages."),
]
StopAtSuccess = Annotated[
    bool, typer.Option("--stop-at-success", help="With --env: an episode ends when it is done.")
]
Instruction = Annotated[
    str | None,
    typer.Option("--instruction", help="With --env, --world: what is demonstrated, in words."),
]


@dataclass(frozen=True)
class EnvRequest:
    """The environment to record, and who acts in it, as they were asked for.

    Raises:
        UsageError: At construction: no policy, or an option that is for an environment without one.
    """

    env: str | None
    policy: str | None
    env_args: Sequence[str]
    python: Path | None
    stop_at_success: bool
    instruction: str | None

    def __post_init__(self) -> None:
        if self.env is None:
            for item in fields(self):
                if getattr(self, item.name):
                    option = "env-arg" if item.name == "env_args" else item.name.replace("_", "-")
                    raise UsageError(f"--{option} is for --env alone")
        elif self.policy is None or ":" not in self.policy:
            raise UsageError(f"--env needs --policy MODULE:FACTORY, got {self.policy!r}")

    def require_alone(self, **given: object) -> None:
        """Check that nothing is asked for that is for tasks of our own.

        Raises:
            UsageError: Something is; the line names it.
        """
        for option, value in given.items():
            if value:
                raise UsageError(f"--env records its environment: without {option}, got {value!r}")

    def record(
        self,
        out: Path,
        *,
        episodes: int,
        session: int,
        rate: float | None,
        keep_failures: bool,
        resume: bool,
        force: bool,
    ) -> SessionReport:
        """Record episodes in another process.

        Raises:
            UsageError: An argument of the environment that is none.
            VandError: See `record_env`; or the environment or the policy cannot be made.
        """
        from vand_robot.foreign.remote_env import RemoteEnv  # noqa: PLC0415
        from vand_robot.runtime.words import keyword_arguments  # noqa: PLC0415

        options = EnvOptions(
            instruction=self.instruction or "",
            control_dt_s=None if rate is None else 1 / rate,
            first_seed=session * SEEDS_PER_SESSION,
            keep_failures=keep_failures,
            stop_at_success=self.stop_at_success,
        )
        made = RemoteEnv(
            str(self.env),
            env_args=keyword_arguments("--env-arg", self.env_args),
            policy=self.policy,
            python=self.python,
            path=[Path.cwd()],
        )
        with closing(made), console.progress_bar(f"recording {made.env_id}") as progress:
            return record_env(
                made,
                made.act,
                episodes,
                out,
                options,
                resume=resume,
                overwrite=force,
                progress=progress,
            )
