"""The report of an evaluation: one HTML file that needs nothing but itself.

Everything that comes from outside (names, instructions, configuration) is escaped.
"""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from matplotlib.figure import Figure

from vand_demos.files import write_bytes
from vand_robot.figures import png_bytes


def write_report(
    path: str | Path,
    results: Mapping[str, Any],
    figures: Sequence[tuple[str, Figure]] = (),
    *,
    links: Mapping[str, str] | None = None,
    title: str = "Evaluation",
) -> None:
    """Write an evaluation as a page to read.

    Args:
        path: The file; it appears when it is whole.
        results: The content of `results.json`.
        figures: Title and figure of each, in order; embedded as PNG.
        links: Pages beside the report (replays...): title -> address.
        title: Heading of the page.

    Raises:
        ValueError: A link leads elsewhere than to a file beside the report.
        VandError: The disk is full or fails.
    """
    write_bytes(Path(path), report_html(results, figures, links=links, title=title).encode())


def report_html(
    results: Mapping[str, Any],
    figures: Sequence[tuple[str, Figure]] = (),
    *,
    links: Mapping[str, str] | None = None,
    title: str = "Evaluation",
) -> str:
    """The text of the page that `write_report` writes."""
    policy = results.get("policy", {})
    name = str(policy.get("run", "") or policy.get("name", ""))
    sections = [
        _summary(results["tasks"]),
        _links(links or {}),
        _figures(figures),
        *(_task(task_id, task) for task_id, task in results["tasks"].items()),
        _configuration(results, policy),
    ]
    return _PAGE.substitute(
        title=escape(f"{title}: {name}" if name else title),
        heading=escape(title),
        name=escape(name),
        lead=_lead(results, policy),
        sections="\n".join(filter(None, sections)),
        style=_STYLE,
    )


def _lead(results: Mapping[str, Any], policy: Mapping[str, Any]) -> str:
    tasks = results["tasks"].values()
    successes, episodes = (sum(task[key] for task in tasks) for key in ("successes", "episodes"))
    parts = [f"{successes} of {episodes} episodes succeeded"]
    if policy.get("checkpoint_update") is not None:
        parts.append(f"checkpoint of update {policy['checkpoint_update']}")
    if results.get("conditions"):
        parts.append(f"conditions: {', '.join(map(str, results['conditions']))}")
    return escape(" · ".join(parts))


def _summary(tasks: Mapping[str, Any]) -> str:
    rows = []
    for task_id, task in tasks.items():
        low, high = task["wilson_95"]
        interval = f"<b style='left:{low:.1%};width:{high - low:.1%}'></b>"
        rows.append(
            f'<tr><th><a href="#{_anchor(task_id)}">{escape(task_id)}</a>'
            f"<small>{escape(task['instruction'])}</small></th>"
            f"<td class='wide'>{_bar(task['success_rate'], interval)}</td>"
            f"<td class='number'><strong>{task['successes']}/{task['episodes']}</strong></td>"
            f"<td class='number'>{task['success_rate']:.0%}"
            f"<small>{low:.0%} to {high:.0%}</small></td></tr>"
        )
    return (
        '<section><table class="summary"><thead><tr><th>Task</th><th>Success rate, with 95 % '
        "Wilson interval</th><th class='number'>Episodes</th><th class='number'>Rate</th></tr>"
        f"</thead><tbody>{''.join(rows)}</tbody></table></section>"
    )


def _links(links: Mapping[str, str]) -> str:
    if not links:
        return ""
    for address in links.values():
        if ":" in address.split("/")[0] or address.startswith("/"):
            raise ValueError(f"a report links to files beside it, not to {address!r}")
    items = "".join(
        f'<li><a href="{escape(address)}">{escape(text)}</a></li>'
        for text, address in links.items()
    )
    return f"<section><h2>Watch</h2><ul class='links'>{items}</ul></section>"


def _figures(figures: Sequence[tuple[str, Figure]]) -> str:
    return "".join(
        f"<section><h2>{escape(title)}</h2><figure><img alt={_quoted(title)} "
        f'style="width:{figure.get_size_inches()[0] * 1.05:.2f}in" '
        f'src="data:image/png;base64,{base64.b64encode(png_bytes(figure)).decode()}"></figure>'
        "</section>"
        for title, figure in figures
    )


def _task(task_id: str, task: Mapping[str, Any]) -> str:
    facts = f"{task['kind']} · {task['episodes']} episodes"
    if task.get("horizon_s") is not None:
        facts += f" of {_number(task['horizon_s'])} s"
    tables = []
    if task.get("stages"):
        rows = "".join(
            f"<tr><td class='number'>{k}</td><th>{escape(stage['name'])}</th>"
            f"<td class='wide'>{_bar(stage['share'])}</td>"
            f"<td class='number'>{stage['completed']}/{task['episodes']}</td></tr>"
            for k, stage in enumerate(task["stages"], start=1)
        )
        tables.append(
            "<table><thead><tr><th></th><th>Stage, completed in order</th><th></th>"
            f"<th class='number'>Episodes</th></tr></thead><tbody>{rows}</tbody></table>"
        )
    if task.get("metrics"):
        rows = "".join(_metric(name, spread) for name, spread in task["metrics"].items())
        tables.append(
            "<table><thead><tr><th>Metric</th><th class='number'>Median</th>"
            "<th class='number'>Middle half of the episodes</th></tr></thead>"
            f"<tbody>{rows}</tbody></table>"
        )
    return (
        f'<section id="{_anchor(task_id)}"><h2>{escape(task_id)}</h2>'
        f"<p>“{escape(task['instruction'])}” <span class='faint'>{escape(facts)}</span></p>"
        f"<div class='tables'>{''.join(tables)}</div></section>"
    )


_UNITS = {
    "time_s": ("time to success", "s"),
    "relative_time": ("time to success / the demonstrations' median", ""),
    "stages_done": ("stages completed in order", ""),
    "stage_fraction": ("stages completed in order / all stages", ""),
    "out_of_order": ("stages out of order", ""),
    "path_distance": ("path distance to the nearest demonstration", "m"),
    "jerk": ("jerk of the hand", "m/s³"),
    "onset_s": ("onset of the first cycle", "s"),
    "scored_s": ("time scored", "s"),
    "frequency_hz": ("frequency (peak of the spectrum)", "Hz"),
    "mean_frequency_hz": ("frequency (mean, pauses included)", "Hz"),
    "frequency_error": ("frequency error", ""),
    "amplitude": ("amplitude", "m"),
    "amplitude_error": ("amplitude error", ""),
    "cycles": ("cycles completed", ""),
    "phase_drift_rad": ("phase drift per cycle", "rad"),
    "jitter": ("jitter of the cycles' durations", ""),
    "orbit_distance": ("distance from the demonstrations' cycle", "m"),
    "orbit_error": ("distance from the demonstrations' cycle / its amplitude", ""),
    "persistence_s": ("persistence within tolerance", "s"),
    "in_tolerance": ("share of the time within tolerance", ""),
    "longest_loss_s": ("longest time out of tolerance", "s"),
    "valid": ("share of the time in contact", ""),
    "floquet_multiplier": ("largest Floquet multiplier", ""),
}
"""Metric -> what it is called in a report, and its unit."""


def _metric(name: str, spread: Mapping[str, Any]) -> str:
    label, unit = _UNITS.get(name, (name.replace("_", " "), ""))
    unit = f" {unit}" if unit else ""
    low, high = spread["iqr"]
    if spread["median"] is None:
        middle, half = "not known", ""
    else:
        middle = _number(spread["median"]) + unit
        half = f"{_number(low)} to {_number(high)}{unit}"
    return (
        f"<tr title={_quoted(name)}><th>{escape(label)}</th>"
        f"<td class='number'>{escape(middle)}</td>"
        f"<td class='number faint'>{escape(half)}</td></tr>"
    )


def _configuration(results: Mapping[str, Any], policy: Mapping[str, Any]) -> str:
    config, versions = policy.get("config") or {}, policy.get("versions") or {}
    others = {
        key: value
        for key, value in policy.items()
        if key not in ("config", "versions", "run", "name")
    }
    facts = {"suite version": results.get("suite_version"), **others}
    facts |= {
        f"condition {name}": ", ".join(f"{key} {value}" for key, value in condition.items())
        for name, condition in results.get("conditions", {}).items()
        if isinstance(condition, Mapping)
    }
    blocks = [
        _block("How it was evaluated", facts, opened=True),
        _block("Versions", versions, opened=False),
        _block("Configuration of the run", dict(_flattened(config)), opened=False),
    ]
    return f"<section><h2>Configuration</h2>{''.join(blocks)}</section>"


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


def _flattened(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested settings as `outer.inner` names."""
    flat: list[tuple[str, Any]] = []
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat += _flattened(value, f"{prefix}{key}.")
        else:
            flat.append((f"{prefix}{key}", value))
    return flat


def _bar(share: float, interval: str = "") -> str:
    return f"<div class='bar'><i style='width:{share:.1%}'></i>{interval}</div>"


def _number(value: float) -> str:
    """Three significant digits, without a power of ten where a person would not write one."""
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e3:
        text = f"{value:.3g}"
        return f"{value:.0f}" if "e" in text else text
    return f"{value:,.0f}" if 1e3 <= abs(value) < 1e6 else f"{value:.1e}"


def _anchor(task_id: str) -> str:
    return escape(f"task-{task_id}")


def _quoted(text: str) -> str:
    return f'"{escape(text)}"'


_STYLE = """
:root { --ink: #1c2733; --faint: #66727f; --line: #e3e7eb; --bar: #2483bd; --paper: #fff; }
* { box-sizing: border-box; }
body { margin: 0; background: #f4f6f8; color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 940px; margin: 0 auto; padding: 40px 20px 80px; }
header { margin-bottom: 26px; }
h1 { margin: 0; font-size: 30px; letter-spacing: -.02em; }
h1 span { color: var(--faint); font-weight: 400; }
header p { margin: 6px 0 0; color: var(--faint); }
section { background: var(--paper); border: 1px solid var(--line); border-radius: 10px;
  padding: 20px 26px; margin-bottom: 18px; }
h2 { margin: 0 0 12px; font-size: 18px; }
p { margin: 0 0 14px; }
a { color: #0b6aa8; text-decoration: none; }
a:hover { text-decoration: underline; }
small { display: block; color: var(--faint); font-size: 13px; font-weight: 400; }
.faint { color: var(--faint); }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th, td { text-align: left; padding: 7px 14px 7px 0; border-bottom: 1px solid var(--line);
  vertical-align: middle; font-weight: 400; }
tr > :last-child { padding-right: 0; }
tbody tr:last-child > * { border-bottom: 0; }
thead th { color: var(--faint); font-size: 12.5px; }
.summary th a { font-weight: 600; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.wide { width: 40%; }
.bar { position: relative; height: 14px; background: #eef1f4; border-radius: 3px; }
.bar i { position: absolute; inset: 0 auto 0 0; background: var(--bar); border-radius: 3px; }
.bar b { position: absolute; top: 6px; height: 2px; background: var(--ink); }
.bar b::before, .bar b::after { content: ""; position: absolute; top: -3px; width: 2px;
  height: 8px; background: var(--ink); }
.bar b::after { right: 0; }
.tables { display: grid; gap: 22px; }
.links { margin: 0; padding: 0; list-style: none; display: flex; flex-wrap: wrap; gap: 10px; }
.links a { display: block; padding: 7px 14px; border: 1px solid #cfe0ec; border-radius: 7px;
  background: #f2f8fc; }
.links a::before { content: "\\25B6"; font-size: 10px; margin-right: 8px; vertical-align: 1px; }
figure { margin: 0; }
img { max-width: 100%; height: auto; display: block; }
details { margin-bottom: 8px; }
summary { cursor: pointer; color: var(--faint); padding: 4px 0; }
.facts th { color: var(--faint); width: 36%; vertical-align: top; }
code { font: 13px/1.5 ui-monospace, SFMono-Regular, Menlo, "DejaVu Sans Mono", monospace;
  overflow-wrap: anywhere; }
@media (max-width: 640px) { section { padding: 16px; } .wide { width: 26%; } }
@media print { body { background: none; } section { break-inside: avoid; } }
"""

_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>$style</style>
</head>
<body>
<main>
<header><h1>$heading <span>$name</span></h1><p>$lead</p></header>
$sections
</main>
</body>
</html>
""")
