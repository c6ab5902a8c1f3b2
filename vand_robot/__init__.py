"""Small recurrent robot policies: training, evaluation and the `vand-robot` command."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("vand-robot")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0+unknown"
