"""The interface of an exported policy, as it stands in the model's metadata."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self, TypeVar

from vand_robot.runtime.errors import PolicyError, unknown_name

METADATA_KEY = "vand_robot"
"""Key of the interface in the model's metadata."""
REFERENCES_KEY = "vand_robot_references"
"""Key of what the demonstrations showed, by which the suite judges; absent where nothing did."""
FORMAT = "vand-robot-export"
FORMAT_VERSION = 1
INSTRUCTION = "instruction"
"""Observation that holds the instruction's code; its other name in a served observation is
`prompt`."""
LARGEST = 10**9
"""Bound of every size in an interface."""

_T = TypeVar("_T")
_TYPES: Mapping[type, str] = {str: "a text", int: "an integer", float: "a number", list: "a list"}


@dataclass(frozen=True)
class Interface:
    """Observations, actions, rate and instructions of an exported policy."""

    observations: Mapping[str, int]
    """Observation key -> size, in the order in which they make up `obs`."""
    images: Mapping[str, tuple[int, int]]
    """Image observation -> height and width [pixel], uint8 RGB; each an input of its own."""
    instructions: tuple[str, ...]
    """Names of the instructions; the code of instruction i is one-hot at i."""
    control_dt_s: float
    """Time between two actions [s]: the memory knows no other."""
    robot: str
    """Name of the robot."""
    action_mode: str
    """Meaning of the numbers of an action."""
    action_size: int
    """Numbers in an action, A."""
    action_low: tuple[float, ...]
    """Smallest value of each number of an action, in the units of `actions`."""
    action_high: tuple[float, ...]
    """Largest value of each."""
    state: Mapping[str, tuple[int, int]]
    """State, `h` and for an LSTM `c` -> layers and size: input `h_in` and output `h_out` are
    (layers, n, size)."""
    reset_every: int | None = None
    """Steps after which the state is set to zero again; None: never."""
    worst_latency_ms: float = 0.0
    """Longest of the actions that the export timed, on one core of the machine that exported."""
    median_latency_ms: float = 0.0
    """Their median."""
    name: str = ""
    """Name of the run."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Software -> version that made it."""

    @property
    def observation_size(self) -> int:
        """Numbers in an observation, D."""
        return sum(self.observations.values())

    @property
    def buffer_bytes(self) -> int:
        """Memory that an episode's observation, images, action and two states take [bytes]."""
        state = sum(layers * size for layers, size in self.state.values())
        images = sum(3 * height * width for height, width in self.images.values())
        return 4 * (self.observation_size + self.action_size + 2 * state) + images

    @property
    def rate_hz(self) -> float:
        """Actions in a second [Hz]."""
        return 1 / self.control_dt_s

    @property
    def instructed(self) -> bool:
        """Whether the policy sees an instruction."""
        return INSTRUCTION in self.observations

    def code(self, instruction: str) -> int:
        """Place of an instruction in its one-hot code.

        Raises:
            PolicyUsageError: There is no such instruction.
        """
        if instruction not in self.instructions:
            raise unknown_name("instruction", instruction, self.instructions)
        return self.instructions.index(instruction)

    def to_json(self) -> str:
        """The text in the metadata; the codes stand beside the instructions' names."""
        known = len(self.instructions)
        facts = asdict(self)
        facts["observations"] = [[key, size] for key, size in self.observations.items()]
        facts["instructions"] = {
            name: [int(i == k) for k in range(known)] for i, name in enumerate(self.instructions)
        }
        head = {"format": FORMAT, "format_version": FORMAT_VERSION, "rate_hz": self.rate_hz}
        return json.dumps({**head, **facts}, allow_nan=False)

    @classmethod
    def from_json(cls, text: str, source: str) -> Self:
        """The interface that `to_json` wrote.

        Args:
            text: The text.
            source: Where it is from, for the message.

        Raises:
            PolicyError: It is none, or something in it is missing or of another type.
        """
        try:
            content = _cleaned(json.loads(text))
        except (ValueError, RecursionError):
            raise PolicyError(f"{source}: its metadata is no JSON") from None
        record = _Record(source, content)
        came = record.get("format", str), record.get("format_version", int)
        if came != (FORMAT, FORMAT_VERSION):
            raise PolicyError(
                f"{source}: expected metadata of format {FORMAT} {FORMAT_VERSION}, got"
                f" {came[0]:.40} {came[1]}"
            )
        return cls._of(record)

    @classmethod
    def _of(cls, record: "_Record") -> Self:
        observations = dict(record.pair(entry) for entry in record.get("observations", list))
        instructions = record.mapping("instructions")
        size = record.size("action_size", record.get("action_size", int))
        reset_every = record.values.get("reset_every")
        return cls(
            observations=observations,
            images={key: record.two(key, v) for key, v in record.mapping("images").items()},
            instructions=tuple(instructions),
            control_dt_s=record.positive("control_dt_s"),
            robot=record.get("robot", str),
            action_mode=record.get("action_mode", str),
            action_size=size,
            action_low=record.numbers("action_low", size),
            action_high=record.numbers("action_high", size),
            state={key: record.two(key, v) for key, v in record.mapping("state").items()},
            reset_every=None if reset_every is None else record.size("reset_every", reset_every),
            worst_latency_ms=record.get("worst_latency_ms", float),
            median_latency_ms=record.get("median_latency_ms", float),
            name=record.get("name", str),
            versions={key: str(value) for key, value in record.mapping("versions").items()},
        )


def _cleaned(value: Any) -> Any:
    """A value of JSON whose texts can be written anywhere: half characters are question marks."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_cleaned(key): _cleaned(item) for key, item in value.items()}
    return [_cleaned(item) for item in value] if isinstance(value, list) else value


class _Record:
    """Reads the fields of the metadata, each with its type."""

    def __init__(self, source: str, content: object) -> None:
        if not isinstance(content, dict):
            raise PolicyError(f"{source}: expected metadata that is a mapping")
        self.source = source
        self.values: dict[str, Any] = content

    def get(self, key: str, kind: type[_T]) -> _T:
        """A value of a type."""
        value = self.values.get(key)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise self.mistake(key, _TYPES[kind], value)
        if isinstance(value, float) and not math.isfinite(value):
            raise self.mistake(key, "a finite number", value)
        return value

    def positive(self, key: str) -> float:
        """A number above zero."""
        value = self.get(key, float)
        if value <= 0:
            raise self.mistake(key, "a number above zero", value)
        return value

    def mapping(self, key: str) -> dict[str, Any]:
        """An object."""
        value = self.values.get(key)
        if not isinstance(value, dict):
            raise self.mistake(key, "a mapping", value)
        return value

    def size(self, key: str, value: object) -> int:
        """An integer from 1 on."""
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= LARGEST:
            raise self.mistake(key, "a positive integer", value)
        return value

    def pair(self, entry: object) -> tuple[str, int]:
        """A key and its size."""
        if not isinstance(entry, list) or len(entry) != 2 or not isinstance(entry[0], str):
            raise self.mistake("observations", "pairs of key and size", entry)
        return entry[0], self.size(f"observations.{entry[0]}", entry[1])

    def two(self, key: str, entry: object) -> tuple[int, int]:
        """Two sizes."""
        if not isinstance(entry, list) or len(entry) != 2:
            raise self.mistake(key, "two sizes", entry)
        return self.size(key, entry[0]), self.size(key, entry[1])

    def numbers(self, key: str, count: int) -> tuple[float, ...]:
        """So many finite numbers."""
        values = self.get(key, list)
        fits = all(isinstance(v, int | float) and math.isfinite(v) for v in values)
        if len(values) != count or not fits:
            raise self.mistake(key, f"{count} numbers", values)
        return tuple(float(value) for value in values)

    def mistake(self, key: str, expected: str, came: object) -> PolicyError:
        """The error for a field that is not what was expected."""
        return PolicyError(f"{self.source}: {key}: expected {expected}, got {came!r:.60}")
