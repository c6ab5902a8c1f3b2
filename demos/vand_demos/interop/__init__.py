"""Data sets to and from the formats of other projects, without loss.

A format that cannot hold something of ours (simulator states, parts of actions, the embedded world)
gets it beside what its own readers see, so that the way back gives the same arrays and texts.
"""

from vand_demos.interop.convert import FORMATS, Conversion, export_dataset, import_dataset
from vand_demos.interop.deployment import RECORDING, import_recording

__all__ = [
    "FORMATS",
    "RECORDING",
    "Conversion",
    "export_dataset",
    "import_dataset",
    "import_recording",
]
