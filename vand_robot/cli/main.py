"""The entry point of `vand-robot`: every failure becomes one line and an exit code."""

import contextlib
import errno
import io
import os
import signal
import sys
from types import FrameType
from typing import Any

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""
LONGEST_LINE = 1000
"""An error's line is cut off after so many characters."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command; every failure is one line on standard error and an exit code.

    1 is a failure of data or machine, 2 a mistake in what was asked for, 130 Ctrl-C.

    Args:
        arguments: Words after the program's name; those of this process by default.
    """
    if arguments is None:
        _end_at_signals()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files need not be text
        sys.stdout.reconfigure(errors="backslashreplace")
    own_process = arguments is None
    sys.exit(_run(sys.argv[1:] if arguments is None else arguments, own_process=own_process))


def _end_at_signals() -> None:
    """End the process at once when it is asked to stop, unless the signal is ignored.

    Before the command there is nothing to put away, and after it nothing is left.
    """
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _end)


def _end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  (given by signal)
    with contextlib.suppress(OSError, ValueError):  # the terminal may be closed
        sys.stderr.write("error: interrupted\n")
        sys.stderr.flush()
        sys.stdout.flush()
    os._exit(INTERRUPTED)


def _run(arguments: list[str], *, own_process: bool) -> int:
    try:
        # Here and not above: the import itself raises where MUJOCO_GL cannot be used.
        from vand_demos.system.interrupt import end_in_time, interruptible  # noqa: PLC0415
        from vand_robot.cli.app import run_app  # noqa: PLC0415

        if own_process:
            end_in_time()
        with interruptible():
            return run_app(arguments)
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)
    except OSError as error:
        return _fail_system(error)
    except Exception as error:
        code = _exit_code(error)
        if code is None:
            raise
        return _fail(str(error), code)


def _exit_code(error: Any) -> int | None:
    """The exit code of a `VandError`, or None for a fault of the program.

    Told by its attribute: where importing `vand_envs` fails, its class cannot be imported either.
    """
    code = getattr(error, "exit_code", None)
    return code if isinstance(code, int) else None


def _fail_system(error: OSError) -> int:
    if error.errno == errno.EPIPE:
        # nobody reads on: let the interpreter's last flush go nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    where = f"{error.filename}: " if error.filename else ""
    return _fail(f"{where}{error.strerror or error}", 1)


def _fail(message: str, code: int) -> int:
    line = " ".join(message.split())
    if not line:  # another process of the same command has said it
        return code
    # what would move the cursor or turn the text is written out, as `\x1b`
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
    short = line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE - 3]}..."
    sys.stderr.write(f"error: {short}\n")
    return code


if __name__ == "__main__":
    main()
