"""Data sets to and from the formats of other projects: ours without loss, others' as they are.

A format that cannot hold something of ours (simulator states, parts of actions, the embedded world)
gets it beside what its own readers see, so that the way back gives the same arrays and texts.
"""

from vand_demos.interop.convert import FOLDERS, FORMATS, Conversion, export_dataset, import_dataset
from vand_demos.interop.deployment import RECORDING, import_recording
from vand_demos.interop.source import ImportOptions

__all__ = [
    "FOLDERS",
    "FORMATS",
    "RECORDING",
    "Conversion",
    "ImportOptions",
    "export_dataset",
    "import_dataset",
    "import_recording",
]
