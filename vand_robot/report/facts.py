"""What stands at the foot: perturbations, configuration, definitions."""

from collections.abc import Mapping
from html import escape
from typing import Any

from vand_robot.metrics.info import METRICS
from vand_robot.report.page import number, section, table


def perturbations(results: Mapping[str, Any]) -> str:
    """What each perturbation does, and how strongly."""
    rows = []
    for name, perturbation in results["perturbations"].items():
        magnitudes = [
            f"{key} {_value(value)}"
            for key, value in perturbation.items()
            if key != "about" and value
        ]
        rows.append(
            [
                escape(name),
                escape(perturbation.get("about", "")),
                f"<code>{escape(', '.join(magnitudes))}</code>",
            ]
        )
    return section("Perturbations", table(["Perturbation", "What it is", "Magnitudes"], rows))


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " to ".join(_value(item) for item in value)
    return number(value) if isinstance(value, int | float) else str(value)


def configuration(results: Mapping[str, Any], policy: Mapping[str, Any]) -> str:
    """What was evaluated, and with what."""
    others = {
        key: value
        for key, value in policy.items()
        if key not in ("config", "versions", "run", "name") and value is not None
    }
    facts = {
        "suite": f"{results.get('suite') or 'of its own'}, version {results.get('suite_version')}",
        "seeds": f"from {results['first_seed']} on" if "first_seed" in results else "",
        **others,
    }
    blocks = [
        _block("How it was evaluated", facts, opened=True),
        _block("Versions", policy.get("versions") or {}, opened=False),
        _block("Configuration of the run", _flattened(policy.get("config") or {}), opened=False),
    ]
    return section("Configuration", "".join(blocks))


def _block(title: str, values: Mapping[str, Any], *, opened: bool) -> str:
    if not values:
        return ""
    rows = "".join(
        f"<tr><th>{escape(str(key).replace('_', ' ') if opened else str(key))}</th>"
        f"<td><code>{escape(str(value))}</code></td></tr>"
        for key, value in values.items()
    )
    return (
        f"<details{' open' if opened else ''}><summary>{escape(title)}</summary>"
        f'<table class="facts">{rows}</table></details>'
    )


def _flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as `outer.inner` names."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= _flattened(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def definitions(results: Mapping[str, Any]) -> str:
    """What the numbers on this page mean."""
    used = {
        name
        for task in results["tasks"].values()
        for entry in task["perturbations"].values()
        for name in (*entry["metrics"], *entry.get("shares", {}))
    }
    items = "".join(
        f"<div><dt>{escape(it.label)}</dt><dd>{escape(it.meaning)}</dd></div>"
        for name, it in METRICS.items()
        if name in used
    )
    success = (
        "<p>A sequential task succeeds when all its stages were completed in order within the"
        " horizon; one that counts, when the count is right and the goal holds at the end. A"
        " periodic task succeeds when frequency, amplitude, orbit and contact stay within"
        " tolerance of the demonstrations over the whole horizon after its first two"
        " cycles.</p>"
    )
    return section("Definitions", f"{success}<dl>{items}</dl>")
