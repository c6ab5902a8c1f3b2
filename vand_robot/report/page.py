"""The pieces of a page: sections, tables, bars, pictures, and what they look like."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from string import Template
from typing import Any

from matplotlib.figure import Figure

from vand_robot.figures.style import png_bytes


@dataclass(frozen=True, eq=False)
class Picture:
    """A figure with its place in a report."""

    name: str
    """Stem of its file."""
    title: str
    """What it shows."""
    figure: Figure
    """The figure."""
    task: str = ""
    """The task it belongs to, if it does."""
    perturbation: str = ""
    """The perturbation it belongs to, if it does."""


def page(title: str, name: str, lead: str, sections: Sequence[str]) -> str:
    """The whole page; `lead` and the sections are HTML, and empty ones are left out."""
    return _PAGE.substitute(
        title=escape(f"{title}: {name}" if name else title),
        heading=escape(title),
        name=escape(name),
        lead=lead,
        sections="\n".join(filter(None, sections)),
        style=_STYLE,
    )


def section(title: str, content: str, *, anchor: str = "", kind: str = "") -> str:
    """A box with a heading; the content is HTML."""
    place = f' id="{anchor}"' if anchor else ""
    style = f' class="{kind}"' if kind else ""
    return f"<section{place}{style}><h2>{escape(title)}</h2>{content}</section>"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], kind: str = "") -> str:
    """A table of HTML cells. A column whose head begins with `>` is aligned to the right."""
    right = [head.startswith(">") for head in heads]
    head = "".join(
        f"<th{_number_class(r)}>{h.removeprefix('>')}</th>"
        for h, r in zip(heads, right, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f"<{tag}{_number_class(r)}>{cell}</{tag}>"
            for tag, cell, r in zip(["th", *["td"] * len(row)], row, right, strict=False)
        )
        + "</tr>"
        for row in rows
    )
    style = f' class="{kind}"' if kind else ""
    return f"<table{style}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _number_class(right: bool) -> str:
    return " class='number'" if right else ""


def bar(share: float, interval: Sequence[float] | None = None) -> str:
    """A bar for a share, with its interval if there is one."""
    whisker = ""
    if interval is not None:
        low, high = interval
        whisker = f"<b style='left:{low:.1%};width:{high - low:.1%}'></b>"
    return f"<div class='bar'><i style='width:{share:.1%}'></i>{whisker}</div>"


def rate(entry: Mapping[str, Any]) -> str:
    """A rate with its interval: bar, successes of episodes, bounds."""
    low, high = entry["wilson_95"]
    return (
        f"<div class='rate'>{bar(entry['success_rate'], (low, high))}"
        f"<strong>{entry['successes']}/{entry['episodes']}</strong>"
        f"<small>{100 * low:.0f} to {100 * high:.0f} %</small></div>"
    )


def image(picture: Picture) -> str:
    """A figure as an embedded PNG."""
    content = base64.b64encode(png_bytes(picture.figure)).decode()
    width = picture.figure.get_size_inches()[0] * 1.05
    return (
        f'<figure><img alt="{escape(picture.title)}" style="width:{width:.2f}in"'
        f' src="data:image/png;base64,{content}"></figure>'
    )


def links(addresses: Mapping[str, str]) -> str:
    """A list of links to files beside the page: title -> address.

    Raises:
        ValueError: An address leads elsewhere.
    """
    for address in addresses.values():
        if ":" in address.split("/")[0] or address.startswith("/"):
            raise ValueError(f"a report links to files beside it, not to {address!r}")
    items = "".join(
        f'<li><a href="{escape(address)}">{escape(text)}</a></li>'
        for text, address in addresses.items()
    )
    return f"<ul class='links'>{items}</ul>"


def number(value: float) -> str:
    """Three significant digits, without a power of ten where a person would not write one."""
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e3:
        text = f"{value:.3g}"
        return f"{value:.0f}" if "e" in text else text
    return f"{value:,.0f}" if 1e3 <= abs(value) < 1e6 else f"{value:.1e}"


def anchor(task_id: str) -> str:
    """Where a task's section is found."""
    return escape(f"task-{task_id}")


_STYLE = """
:root { --ink: #1c2733; --faint: #66727f; --line: #e3e7eb; --bar: #2483bd; --paper: #fff; }
* { box-sizing: border-box; }
html { scroll-behavior: smooth; }
body { margin: 0; background: #f4f6f8; color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 40px 20px 80px; }
header { margin-bottom: 26px; }
h1 { margin: 0; font-size: 30px; letter-spacing: -.02em; }
h1 span { color: var(--faint); font-weight: 400; }
header p { margin: 6px 0 0; color: var(--faint); }
section { background: var(--paper); border: 1px solid var(--line); border-radius: 10px;
  padding: 20px 26px; margin-bottom: 18px; overflow-x: auto; }
h2 { margin: 0 0 12px; font-size: 18px; }
p { margin: 0 0 14px; }
a { color: #0b6aa8; text-decoration: none; }
a:hover { text-decoration: underline; }
small { display: block; color: var(--faint); font-size: 12px; font-weight: 400; }
.faint { color: var(--faint); }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th, td { text-align: left; padding: 6px 14px 6px 0; border-bottom: 1px solid var(--line);
  vertical-align: middle; font-weight: 400; }
tr > :last-child { padding-right: 0; }
tbody tr:last-child > * { border-bottom: 0; }
thead th { color: var(--faint); font-size: 12.5px; }
.summary th a { font-weight: 600; white-space: nowrap; }
.summary td { min-width: 84px; width: 11.5%; }
.summary:not(.single) .rate { display: block; }
.summary:not(.single) .rate small { text-align: left; }
.summary tbody th { min-width: 190px; }
.single td { width: 58%; }
.worst th { white-space: nowrap; }
.stages td:nth-child(2) { width: 38%; }
.numbers { margin-top: 14px; font-size: 13px; }
.numbers th, .numbers td { padding: 4px 14px 4px 0; }
.side .numbers small { display: inline; margin-left: 6px; }
table + table, .side + table { margin-top: 14px; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.rate { display: grid; grid-template-columns: 1fr auto; column-gap: 8px; align-items: center;
  font-variant-numeric: tabular-nums; white-space: nowrap; }
.rate .bar { grid-column: 1 / -1; margin: 2px 0; }
.rate small { text-align: right; }
.bar { position: relative; height: 12px; min-width: 60px; background: #eef1f4;
  border-radius: 3px; }
.bar i { position: absolute; inset: 0 auto 0 0; background: var(--bar); border-radius: 3px; }
.bar b { position: absolute; top: 5px; height: 2px; background: var(--ink); }
.bar b::before, .bar b::after { content: ""; position: absolute; top: -3px; width: 2px;
  height: 8px; background: var(--ink); }
.bar b::after { right: 0; }
.side { display: grid; grid-template-columns: minmax(0, 5fr) minmax(0, 4fr); gap: 30px;
  align-items: start; }
.links { margin: 0; padding: 0; list-style: none; display: flex; flex-wrap: wrap; gap: 10px; }
.links a { display: block; padding: 7px 14px; border: 1px solid #cfe0ec; border-radius: 7px;
  background: #f2f8fc; }
.links a::before { content: "\\25B6"; font-size: 10px; margin-right: 8px; vertical-align: 1px; }
figure { margin: 0; }
img { max-width: 100%; height: auto; display: block; }
details { margin-bottom: 8px; }
summary { cursor: pointer; color: var(--faint); padding: 4px 0; }
.facts th { color: var(--faint); width: 30%; vertical-align: top; }
dl { margin: 0; columns: 2; column-gap: 34px; font-size: 13px; }
dl div { break-inside: avoid; margin-bottom: 7px; }
dt { font-weight: 600; display: inline; }
dt::after { content: ": "; }
dd { display: inline; margin: 0; color: var(--faint); }
code { font: 12.5px/1.5 ui-monospace, SFMono-Regular, Menlo, "DejaVu Sans Mono", monospace;
  overflow-wrap: anywhere; }
@media (max-width: 760px) { section { padding: 16px; } .side { grid-template-columns: 1fr; }
  dl { columns: 1; } }
@media print { body { background: none; font-size: 12px; } main { max-width: none; padding: 0; }
  section { border: 0; padding: 0 0 10px; overflow: visible; } h2 { break-after: avoid; }
  figure, tr, .rate, dl div { break-inside: avoid; } img { max-height: 11cm; width: auto; }
  .bar, .bar i, .bar b { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  .links, .command { display: none; } }
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
