"""Pages of HTML that need nothing but themselves, from templates.

Whatever comes from outside (names, instructions, configuration) is escaped by the templates.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from vand_robot.figures.style import png_bytes

_PACKAGE = "vand_robot.report"


@dataclass(frozen=True, eq=False)
class Picture:
    """A figure with its place in a report."""

    name: str
    """Stem of its file."""
    title: str
    """Title in the report."""
    figure: Figure
    """The figure."""
    task: str = ""
    """The task it belongs to, if it does."""
    perturbation: str = ""
    """The perturbation it belongs to, if it does."""

    @cached_property
    def png(self) -> bytes:
        """The figure as the content of a PNG file, drawn once for file and report."""
        return png_bytes(self.figure)

    @property
    def address(self) -> str:
        """The figure as a PNG within an address."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode()}"

    @property
    def width_in(self) -> float:
        """Width on the page [inch]."""
        return float(self.figure.get_size_inches()[0]) * 1.05


def render(template: str, package: str = _PACKAGE, **values: Any) -> str:
    """The text of a page.

    Args:
        template: Name of a template, which may extend `page.html.j2`.
        package: The package that holds it in its folder `templates`.
        values: Values that the template uses.
    """
    return _environment(package).get_template(template).render(**values)


@cache
def _environment(package: str) -> Environment:
    loaders = [PackageLoader(name) for name in dict.fromkeys((package, _PACKAGE))]
    environment = Environment(
        loader=ChoiceLoader(loaders),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "percent": percent, "plural": plural}
    style = Path(__file__).with_name("report.css").read_text("utf-8")
    environment.globals["style"] = Markup(style)  # noqa: S704  (our own file)
    return environment


def check_links(addresses: Mapping[str, str]) -> None:
    """Check links to files beside a page: title -> address.

    Raises:
        ValueError: An address leads elsewhere.
    """
    for address in addresses.values():
        if ":" in address.split("/")[0] or address.startswith("/"):
            raise ValueError(f"a report links to files beside it, not to {address!r}")


def number(value: float) -> str:
    """Three significant digits, without a power of ten where a person would not write one."""
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e3:
        text = f"{value:.3g}"
        return f"{value:.0f}" if "e" in text else text
    return f"{value:,.0f}" if 1e3 <= abs(value) < 1e6 else f"{value:.1e}"


def percent(share: float) -> str:
    """A share in percent, without the sign."""
    return f"{100 * share:.0f}"


def plural(count: int, word: str) -> str:
    """A number of things: `1 task`, `2 tasks`."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
