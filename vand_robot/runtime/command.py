"""`python -m vand_robot.runtime`: a policy drives a robot, with numpy and ONNX Runtime alone."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from vand_robot.runtime.driver import SHIPPED, make_driver
from vand_robot.runtime.errors import PolicyError, PolicyUsageError
from vand_robot.runtime.limits import Limits
from vand_robot.runtime.loop import LoopReport, OnLate, run_loop
from vand_robot.runtime.policy import Actor, Policy
from vand_robot.runtime.recording import Recording


def deploy(
    policy: Actor,
    driver_name: str,
    *,
    driver_args: Sequence[str] = (),
    instruction: str | None = None,
    rate_hz: float | None = None,
    steps: int | None = None,
    on_late: OnLate = "stop",
    limit: float = 1.0,
    slew_per_s: float | None = None,
    record: Path | None = None,
    say: Callable[[str], object] | None = None,
) -> LoopReport:
    """Let a policy drive a robot, and keep what happens.

    Args:
        policy: The policy.
        driver_name: See `make_driver`, as for `driver_args`.
        driver_args: Arguments of the driver.
        instruction: See `run_loop`, as for rate, steps and `on_late`.
        rate_hz: The rate that is asked for.
        steps: Actions after which it ends.
        on_late: Answer to late ticks.
        limit: See `Limits.of`, as for `slew_per_s`.
        slew_per_s: Largest change in a second.
        record: File for the recording, numpy's `.npz`.
        say: Called with a line when the robot begins to move: how fast, and how it is stopped.

    Raises:
        PolicyUsageError: No such driver or instruction, a number out of range, another rate, or a
            recording that is there.
        PolicyError: The driver cannot be imported, or the recording cannot be written.
    """
    if record is not None:
        _require_new(record)
    limits = Limits.of(policy.interface, scale=limit, slew_per_s=slew_per_s)
    if instruction is not None:
        policy.interface.code(instruction)
    driver = make_driver(driver_name, driver_args)
    recording = None if record is None else Recording(policy.interface, instruction, driver_name)
    told = (
        f"driving at {1 / policy.interface.control_dt_s:g} Hz; a key, Ctrl-C or SIGTERM stops it\n"
    )
    report = run_loop(
        policy,
        driver,
        instruction=instruction,
        rate_hz=rate_hz,
        steps=steps,
        on_late=on_late,
        limits=limits,
        recording=recording,
        on_begin=None if say is None else lambda: say(told),
    )
    if record is not None and recording is not None and len(recording):
        extras: Mapping[str, Any] = getattr(driver, "extras", dict)()
        recording.save(record, success=getattr(driver, "success", None), extras=extras or None)
    return report


def _require_new(record: Path) -> None:
    if record.exists():
        raise PolicyUsageError(f"{record} exists")
    if not record.parent.is_dir():
        raise PolicyUsageError(f"record: there is no folder {record.parent}")


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command; every failure is one line on standard error and an exit code."""
    options = _parser().parse_args(arguments)
    try:
        report = deploy(
            Policy.load(options.policy),
            options.driver,
            driver_args=options.driver_arg,
            instruction=options.instruction,
            rate_hz=options.rate,
            steps=options.steps,
            on_late=options.on_late,
            limit=options.limit,
            slew_per_s=options.slew,
            record=options.record,
            say=sys.stderr.write,
        )
    except PolicyError as error:
        line = " ".join(str(error).split())[:1000]
        line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
        sys.stderr.write(f"error: {line}\n")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.stderr.write("error: interrupted\n")
        sys.exit(130)
    if options.json:
        sys.stdout.write(json.dumps(report.to_json(), indent=2) + "\n")
    if report.failed:
        sys.stderr.write(f"error: {report.line()}\n")
        sys.exit(1)
    if not options.json:
        sys.stdout.write(report.line() + "\n")
        if options.record is not None and report.steps:
            sys.stdout.write(f"recorded to {options.record}\n")
    sys.exit(0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m vand_robot.runtime", description="Let an exported policy drive a robot."
    )
    parser.add_argument("policy", metavar="POLICY", help="policy.onnx")
    parser.add_argument(
        "--driver",
        required=True,
        help=f"{', '.join(SHIPPED)} (:ARGUMENT behind it), FILE.py, or MODULE:CLASS",
    )
    parser.add_argument("--driver-arg", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--instruction", help="name of the instruction")
    parser.add_argument("--rate", type=float, help="the policy's own [Hz]; another is refused")
    parser.add_argument("--steps", type=int, help="actions after which it ends")
    parser.add_argument("--on-late", choices=("stop", "hold"), default="stop")
    parser.add_argument("--limit", type=float, default=1.0, help="share of each bound, 0 to 1")
    parser.add_argument("--slew", type=float, help="largest change, share of the range in a second")
    parser.add_argument("--record", type=Path, metavar="FILE.npz", help="keep what happens")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    return parser
