"""Results of a comparison, as both experiments on trials write them."""

import json
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

import vand_robot
from vand_demos.system.files import write_bytes

RESULTS, REPORT = "results.json", "report.html"
"""Files that a study writes into its folder."""


def versions() -> dict[str, str]:
    """What produced the results."""
    return {
        "vand-robot": vand_robot.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def write_results(
    out: Path, results: dict[str, Any], write_report: Callable[[Path, Mapping[str, Any]], None]
) -> dict[str, Any]:
    """Write `report.html` and `results.json`.

    Args:
        out: The study's folder.
        results: The results, each trial with its first motion.
        write_report: Writes the report from them.

    Returns:
        The content of `results.json`: without the motions, which are for the figures; one of each
        trial would be megabytes of text.

    Raises:
        VandError: The disk is full or fails.
    """
    write_report(out / REPORT, results)
    results["trials"] = [
        {key: value for key, value in outcome.items() if key != "first"}
        for outcome in results["trials"]
    ]
    write_bytes(out / RESULTS, (json.dumps(results, indent=1) + "\n").encode())
    return results
