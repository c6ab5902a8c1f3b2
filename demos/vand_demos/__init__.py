"""Demonstrations: recorded durably, stored in one HDF5 file, checked wherever they are read."""

from vand_demos.episode import ACTION_MODES, ACTION_PARTS, DEVICES, Episode, EpisodeError
from vand_demos.experts import make_expert
from vand_demos.experts.demonstrate import demonstrate
from vand_demos.interop import ImportOptions, export_dataset, import_dataset
from vand_demos.record_env import EnvOptions, record_env
from vand_demos.recording import record
from vand_demos.storage.augment import augment
from vand_demos.storage.check import check_file
from vand_demos.storage.compatibility import require_compatible
from vand_demos.storage.describe import describe
from vand_demos.storage.editing import delete, filter_dataset, merge, select, split
from vand_demos.storage.reader import DemoDataset
from vand_demos.storage.recorder import Recorder, RepairReport, repair
from vand_demos.storage.selection import EpisodeFilter
from vand_demos.storage.writer import write_dataset

__all__ = [
    "ACTION_MODES",
    "ACTION_PARTS",
    "DEVICES",
    "DemoDataset",
    "EnvOptions",
    "Episode",
    "EpisodeError",
    "EpisodeFilter",
    "ImportOptions",
    "Recorder",
    "RepairReport",
    "augment",
    "check_file",
    "delete",
    "demonstrate",
    "describe",
    "export_dataset",
    "filter_dataset",
    "import_dataset",
    "make_expert",
    "merge",
    "record",
    "record_env",
    "repair",
    "require_compatible",
    "select",
    "split",
    "write_dataset",
]
