"""A Gymnasium environment that lives in another process, possibly of another interpreter."""

import queue
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from vand_demos.system.json_record import JsonRecord
from vand_demos.system.limits import limit_bytes, require_room
from vand_envs.errors import UsageError, VandError
from vand_robot.foreign.worker import read_frame, write_frame

START_S = 120.0
"""How long the other process may take to make its environment [s]."""

PATIENCE_S = 60.0
"""How long it may take over one step [s]."""

SCHEME = "gymnasium:"
"""Begins the name of an environment on the command line: `gymnasium:[MODULE:]ID`."""

_WORKER = Path(__file__).with_name("worker.py")

_NO_MESSAGE = (
    *(ValueError, TypeError, OverflowError, RecursionError, SyntaxError, AttributeError),
    *(OSError, MemoryError),
)
"""What `read_frame` raises where bytes are no message: no JSON, too deep, other types or shapes."""

_Frame = tuple[dict[str, Any], dict[str, NDArray[Any]]]
_Observation = dict[str, NDArray[Any]]


class RemoteEnv(gymnasium.Env[_Observation, NDArray[Any]]):
    """An environment of Gymnasium's in another process; a context manager.

    The other interpreter needs numpy and gymnasium, and what the environment itself needs; see
    `vand_robot.foreign.worker` for what goes over the pipes. The observation is a flat dictionary,
    `{"observation": ...}` where the environment has one array; actions are flat vectors.

    Args:
        env_id: `[MODULE:]ID` as `gymnasium.make` takes it, with or without `gymnasium:` before it.
        env_args: Keyword arguments of the environment, of what JSON can hold.
        policy: `module:factory` of a callable, observation -> action, made beside the environment;
            the factory may take the environment. None: `act` is not to be called.
        python: The interpreter; this one by default.
        path: Folders in which modules are looked for first.
        patience_s: How long one step may take [s].

    Raises:
        UsageError: There is no such interpreter, or the name is of another kind.
        VandError: The process, the environment or the policy cannot be made; the line says why.
    """

    def __init__(
        self,
        env_id: str,
        *,
        env_args: Mapping[str, Any] | None = None,
        policy: str | None = None,
        python: str | Path | None = None,
        path: Sequence[str | Path] = (),
        patience_s: float = PATIENCE_S,
    ) -> None:
        self.env_id = require_env_id(env_id)
        self.env_args = dict(env_args or {})
        self._patience_s = patience_s
        self._process = _start(Path(python) if python else Path(sys.executable))
        self._answers: queue.SimpleQueue[_Frame | str] = queue.SimpleQueue()
        self._last_words: list[str] = []
        threading.Thread(target=self._listen, daemon=True).start()
        threading.Thread(target=self._overhear, daemon=True).start()
        try:
            head, _ = self._ask(
                {
                    "op": "make",
                    "id": self.env_id,
                    "kwargs": self.env_args,
                    "policy": policy,
                    "path": [str(Path(folder).absolute()) for folder in path],
                },
                timeout_s=START_S,
            )
            about = JsonRecord(self.env_id, head)
            self.observation_space = cast("Any", _dict_space(about.record("observation")))
            self.action_space = _space(about.record("action"))
            self.control_dt_s = about.optional_number("control_dt_s")
            self.versions = about.texts("versions")
        except BaseException:
            self.close()
            raise

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[_Observation, dict[str, Any]]:
        """Begin an episode: the observation and the plain numbers of `info`."""
        head, arrays = self._ask({"op": "reset", "seed": seed, "options": options})
        return arrays, dict(JsonRecord(self.env_id, head).record("info").values)

    def step(self, action: NDArray[Any]) -> tuple[_Observation, float, bool, bool, dict[str, Any]]:
        """Execute an action, as Gymnasium does; of `info` its plain numbers."""
        head, arrays = self._ask({"op": "step"}, {"action": np.asarray(action)})
        told = JsonRecord(self.env_id, head)
        info = dict(told.record("info").values)
        return arrays, told.number("reward"), told.flag("terminated"), told.flag("truncated"), info

    def act(self, _observation: object = None) -> NDArray[Any]:
        """The action of the policy beside the environment, for the latest observation there."""
        arrays = self._ask({"op": "act"})[1]
        if "action" not in arrays:
            raise VandError(f"{self.env_id}: the answer holds no action")
        return arrays["action"]

    def close(self) -> None:
        """End the other process."""
        process = self._process
        if process.stdin is not None and not process.stdin.closed:
            try:
                process.stdin.close()
                process.wait(1.0)
            except (OSError, subprocess.TimeoutExpired):
                process.kill()
        process.wait()

    def _ask(
        self,
        head: dict[str, Any],
        arrays: dict[str, NDArray[Any]] | None = None,
        timeout_s: float | None = None,
    ) -> _Frame:
        """Send a message and wait for the answer.

        Raises:
            VandError: The other side says what went wrong, is silent for too long, or has gone.
        """
        patience_s = self._patience_s if timeout_s is None else timeout_s
        with suppress(OSError, ValueError):  # the pipe is closed: the listener knows why
            write_frame(cast("BinaryIO", self._process.stdin), head, arrays or {})
        try:
            answer = self._answers.get(timeout=patience_s)
        except queue.Empty:
            self._process.kill()
            raise VandError(f"{self.env_id}: no answer within {patience_s:g} s") from None
        if isinstance(answer, str):
            self._answers.put(answer)  # for whoever asks again
            words = f" ({self._last_words[-1]})" if self._last_words else ""
            raise VandError(f"{self.env_id}: {answer}{words}")
        if answer[0].get("ok") is not True:
            raise VandError(f"{self.env_id}: {answer[0].get('error', 'no reason given')!s:.400}")
        return answer

    def _listen(self) -> None:
        """Puts answers into the queue; what is no answer ends it, and is the last one."""
        stream = cast("BinaryIO", self._process.stdout)
        try:
            while True:
                self._answers.put(read_frame(stream, limit_bytes()))
        except EOFError:
            self._process.wait()
            self._answers.put("its process has gone")
        except _NO_MESSAGE as error:
            self._answers.put(f"not a message of the worker: {error}")

    def _overhear(self) -> None:
        """Keeps the last line of what the other process prints."""
        for line in cast("BinaryIO", self._process.stderr):
            text = " ".join(line.decode("utf-8", "replace").split())
            self._last_words[:] = [text[:200]] if text else self._last_words


def require_env_id(name: str) -> str:
    """The id of an environment without its scheme.

    Raises:
        UsageError: It is of another scheme, or empty.
    """
    env_id = name.removeprefix(SCHEME)
    if not env_id or "://" in env_id:
        raise UsageError(f"environment: expected {SCHEME}[MODULE:]ID, got {name!r}")
    return env_id


def _start(python: Path) -> "subprocess.Popen[bytes]":
    try:
        # the interpreter is the user's own choice, the script is ours
        return subprocess.Popen(  # noqa: S603
            [str(python.expanduser()), str(_WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except OSError as error:
        raise UsageError(f"python: cannot start {python}: {error.strerror}") from None


def _dict_space(record: JsonRecord) -> spaces.Dict:
    """The space of flat observations; of one array, under `observation`."""
    if record.text("kind") != "dict":
        return spaces.Dict({"observation": _space(record)})
    return spaces.Dict({key: _space(inner) for key, inner in record.records("spaces").items()})


def _space(record: JsonRecord) -> spaces.Space[Any]:
    """A space that the worker described."""
    kind = record.text("kind")
    if kind == "discrete":
        n, start = record.integer("n", 1, 2**31), record.integer("start", -(2**31), 2**31)
        return spaces.Discrete(n, start=start)
    if kind != "box":
        raise record.mistake("kind", "a box or a discrete space")
    shape = record.integer_list("shape", 0)
    require_room(record.source, 16 * int(np.prod(shape, dtype=object)))
    try:
        dtype = np.dtype(record.text("dtype"))
    except (TypeError, ValueError, SyntaxError):
        raise record.mistake("dtype", "a type of numbers") from None
    if dtype.kind not in "biuf":
        raise record.mistake("dtype", "a type of numbers")
    try:
        if dtype.kind == "b":
            return spaces.MultiBinary(list(shape))
        low, high = (_bound(record, key, shape, dtype) for key in ("low", "high"))
        return spaces.Box(low, high, shape, cast("Any", dtype))
    except (ValueError, AssertionError, OverflowError) as error:  # bounds, or too many axes
        raise VandError(f"{record.source}: {record.path}: no space: {error}") from None


def _bound(
    record: JsonRecord, key: str, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> NDArray[Any]:
    """A bound of a box, infinite (or as wide as its type) where none is told."""
    if record.values.get(key) is None:
        ends = np.iinfo(dtype) if dtype.kind in "iu" else None
        infinite = -np.inf if key == "low" else np.inf
        number = infinite if ends is None else (ends.min if key == "low" else ends.max)
        return np.full(shape, number, dtype)
    numbers = record.number_list(key)
    if len(numbers) != int(np.prod(shape)):
        raise record.mistake(key, f"{int(np.prod(shape))} numbers")
    return np.array(numbers).reshape(shape).astype(dtype)
