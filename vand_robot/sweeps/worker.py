"""What a process of a back end does: the trial of a sweep, or the shard of an evaluation.

`python -m vand_robot.sweeps.worker FOLDER` does what the folder says, or goes on with it.
"""

import os
import signal
import sys
import threading
from pathlib import Path

from vand_demos.system.interrupt import EXIT_CODE
from vand_robot.sweeps.evaluation import REQUEST_FILE, run_requested_shard
from vand_robot.sweeps.trial import run_trial


def work_in(folder: Path) -> str:
    """Do what a folder says.

    Returns:
        Why nothing came out, in a line; empty where all went well.

    Raises:
        KeyboardInterrupt: Ctrl-C; the next call goes on.
    """
    if (folder / REQUEST_FILE).exists():
        return run_requested_shard(folder)
    return run_trial(folder).error


def _stop_with_parent() -> None:
    """Stop this process as Ctrl-C does when the one that began it is gone: its pipe ends then."""

    def wait() -> None:
        while os.read(sys.stdin.fileno(), 1024):
            pass
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=wait, daemon=True).start()


def main() -> None:
    """Do what the folder says that the first argument names."""
    _stop_with_parent()
    try:
        error = work_in(Path(sys.argv[1]))
    except KeyboardInterrupt:
        sys.exit(EXIT_CODE)
    sys.exit(1 if error else 0)


if __name__ == "__main__":
    main()
