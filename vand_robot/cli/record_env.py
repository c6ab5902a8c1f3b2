"""`vand-robot record --env`: an environment of Gymnasium, driven by a policy of somebody's own."""

from collections.abc import Sequence
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
    typer.Option("--env-arg", help="With --env: KEY=VALUE for the environment; may be repeated."),
]
Python = Annotated[
    Path | None,
    typer.Option("--python", help="With --env: interpreter that has the environment's packages."),
]
StopAtSuccess = Annotated[
    bool, typer.Option("--stop-at-success", help="With --env: an episode ends when it is done.")
]
Instruction = Annotated[
    str | None, typer.Option("--instruction", help="With --env or --world: what is demonstrated.")
]


def record_from_env(
    env: str,
    policy: str | None,
    out: Path,
    *,
    env_args: Sequence[str],
    python: Path | None,
    instruction: str | None,
    episodes: int,
    session: int,
    rate: float | None,
    stop_at_success: bool,
    keep_failures: bool,
    resume: bool,
    force: bool,
) -> SessionReport:
    """Record episodes of an environment in another process.

    Raises:
        UsageError: No policy, or an argument that is none.
        VandError: See `record_env`; or the environment or the policy cannot be made.
    """
    from vand_robot.config.yaml_core import parse_yaml  # noqa: PLC0415
    from vand_robot.foreign.remote_env import RemoteEnv  # noqa: PLC0415

    if policy is None or ":" not in policy:
        raise UsageError(f"--env needs --policy MODULE:FACTORY, got {policy!r}")
    arguments = {}
    for text in env_args:
        key, mark, value = text.partition("=")
        if not mark or not key.strip():
            raise UsageError(f"--env-arg: expected KEY=VALUE, got {text!r}")
        arguments[key.strip()] = parse_yaml(value)
    options = EnvOptions(
        instruction=instruction or "",
        control_dt_s=None if rate is None else 1 / rate,
        first_seed=session * SEEDS_PER_SESSION,
        keep_failures=keep_failures,
        stop_at_success=stop_at_success,
    )
    made = RemoteEnv(env, env_args=arguments, policy=policy, python=python, path=[Path.cwd()])
    with made as there, console.progress_bar(f"recording {made.env_id}") as progress:
        report = record_env(
            there,
            made.act,
            episodes,
            out,
            options,
            resume=resume,
            overwrite=force,
            progress=progress,
        )
    return report  # noqa: RET504  (as a return within, it is none to mypy: the block may swallow)
