"""YAML by its version 1.2, the core schema, as data alone.

`010` is ten, and `1:30` and `yes` are text; version 1.1, which PyYAML reads, has eight, ninety and
true. Tags are refused, and so is what would take the parser or the program too much: deep nesting,
anchors that repeat themselves, integers of more than 20 digits.
"""

import re
from collections.abc import Mapping
from typing import Any, ClassVar, cast

import yaml  # type: ignore[import-untyped]  # it ships no type information

from vand_demos.system.json_record import MAX_DEPTH, clean_text

_TAG = "tag:yaml.org,2002:"
_FLOAT = r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
_PLAIN_SCALARS = {
    "null": (r"~|null|Null|NULL|", "~nN"),
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    "float": (_FLOAT, "-+.0123456789"),
    "merge": (r"<<", "<"),
}
"""Tag -> which plain scalars have it, and the characters that these begin with. The first that fits
counts; everything else is text."""

MAX_DIGITS = 20
"""Of an integer: more than any 64-bit number has."""
MAX_TEXT = 1_000_000
"""Characters of a text; PyYAML takes a second or two for so many."""
MAX_REFERENCES = 20
"""Of a value to others, `${key}`: OmegaConf takes long for nested ones."""
MAX_ITEMS = 100_000
"""Values of a text, those of an anchor counted wherever it is referred to."""


def parse_yaml(text: str) -> Any:
    """The content of a YAML text.

    Raises:
        yaml.YAMLError: It is malformed, has a tag, is nested too deep, or a mapping has a key
            twice.
        ValueError: It is too long, or a number has too many digits.
    """
    if len(text) > MAX_TEXT:
        raise ValueError(f"expected at most {MAX_TEXT} characters, got {len(text)}")
    _require_plain(text)
    node = yaml.compose(text, _Loader)
    if node is not None:
        _count(node, {})
    return yaml.load(text, _Loader)  # noqa: S506  (a safe loader)


def _require_plain(text: str) -> None:
    """Reads the events of a text, which takes no recursion, and refuses tags and deep nesting."""
    depth = 0
    for event in yaml.parse(text, _Loader):
        if getattr(event, "tag", None) not in (None, "!"):
            raise _refused(f"a tag, {event.tag!r:.60}: a value is what it looks like", event)
        if isinstance(event, yaml.ScalarEvent) and event.value.count("${") > MAX_REFERENCES:
            raise _refused(f"more than {MAX_REFERENCES} times '${{' in one value", event)
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise _refused(f"nested deeper than {MAX_DEPTH}", event)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _count(node: Any, known: dict[int, int]) -> int:
    """The number of values in a node, anchors written out."""
    if known.get(id(node)) == 0:
        raise _refused("an anchor that holds itself", node)
    if id(node) not in known:
        known[id(node)] = 0
        pairs = node.value if isinstance(node, yaml.CollectionNode) else ()
        items = [x for pair in pairs for x in (pair if isinstance(pair, tuple) else (pair,))]
        known[id(node)] = 1 + sum(_count(item, known) for item in items)
        if known[id(node)] > MAX_ITEMS:
            raise _refused(f"more than {MAX_ITEMS} values", node)
    return known[id(node)]


def _refused(problem: str, where: Any) -> Exception:
    error: Exception = yaml.constructor.ConstructorError(None, None, problem, where.start_mark)
    return error


def dump_yaml(values: Mapping[str, Any]) -> str:
    """YAML text of nested mappings and lists, which every version of YAML reads alike."""
    text = yaml.dump(
        values, Dumper=_Dumper, default_flow_style=False, allow_unicode=True, sort_keys=False
    )
    return cast("str", text)


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # its base is untyped
    """PyYAML's safe loader with the core schema; a key that comes twice is an error."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Make a mapping of a node."""
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != f"{_TAG}merge":
                if key.value in seen:
                    raise _refused(f"key {key.value!r:.60} comes twice", key)
                seen.add(key.value)
        return cast("dict[Any, Any]", super().construct_mapping(node, deep=deep))


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]  # its base is untyped
    """PyYAML's safe dumper; it quotes text that either version would take for something else."""


def _construct_text(_: Any, node: Any) -> str:
    return clean_text(str(node.value))


def _construct_int(_: Any, node: Any) -> int:
    text = str(node.value)
    if len(text.lstrip("+-")) > MAX_DIGITS:
        raise ValueError(f"an integer of at most {MAX_DIGITS} digits, got {len(text)} characters")
    return int(text, 0) if text[:2] in ("0o", "0x") else int(text)


_Loader.add_constructor(f"{_TAG}str", _construct_text)
_Loader.add_constructor(f"{_TAG}int", _construct_int)
for _name, (_pattern, _first) in _PLAIN_SCALARS.items():
    _characters = [*_first, ""] if _name == "null" else list(_first)
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(f"{_TAG}{_name}", re.compile(f"^(?:{_pattern})$"), _characters)
