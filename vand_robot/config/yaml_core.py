"""YAML by its version 1.2, the core schema.

`010` is ten, and `1:30` and `yes` are text; version 1.1, which PyYAML reads, has eight, ninety and
true.
"""

import re
from collections.abc import Mapping
from typing import Any, ClassVar, cast

import yaml  # type: ignore[import-untyped]  # it ships no type information

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


def parse_yaml(text: str) -> Any:
    """The content of a YAML text.

    Raises:
        yaml.YAMLError: It is malformed, or a mapping has a key twice.
        ValueError: A number has too many digits.
        RecursionError: It is nested too deep.
    """
    return yaml.load(text, _Loader)  # noqa: S506  (a safe loader)


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
                    problem = f"key {key.value!r} comes twice"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                seen.add(key.value)
        return cast("dict[Any, Any]", super().construct_mapping(node, deep=deep))


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]  # its base is untyped
    """PyYAML's safe dumper; it quotes text that either version would take for something else."""


def _construct_int(_: Any, node: Any) -> int:
    text = str(node.value)
    return int(text, 0) if text[:2] in ("0o", "0x") else int(text)


_Loader.add_constructor(f"{_TAG}int", _construct_int)
for _name, (_pattern, _first) in _PLAIN_SCALARS.items():
    _characters = [*_first, ""] if _name == "null" else list(_first)
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(f"{_TAG}{_name}", re.compile(f"^(?:{_pattern})$"), _characters)
