"""A function that is killed in the middle, in a process of its own."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path


def killed_before_rename(number: int, function: Callable[[], object]) -> bool:
    """Runs a function in a forked process, killed before it renames its so-many-th file.

    Returns:
        Whether it was killed; otherwise it renamed fewer, and is done.
    """
    pid = os.fork()
    if not pid:
        count = 0

        def hook(event: str, _: object) -> None:
            nonlocal count
            if event == "os.rename":
                if count == number:
                    os.kill(os.getpid(), signal.SIGKILL)
                count += 1

        sys.addaudithook(hook)
        code = 1
        try:
            function()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, -signal.SIGKILL)
    return code != 0


def left_behind(folder: Path) -> list[str]:
    """Names in a folder of files and folders that were not finished."""
    ends = (".tmp", ".new", ".old")
    return sorted(path.name for path in folder.iterdir() if path.name.endswith(ends))
