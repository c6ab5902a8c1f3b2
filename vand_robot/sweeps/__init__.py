"""Sweeps: many training runs and their evaluations, on one machine or a cluster, and one report.

A sweep file (`schema`) becomes trials (`plan`); a trial is the ordinary `train` and `evaluate` in a
folder of its own (`trial`). The scheduler (`scheduler`) starts them in a back end (`backends`),
starts them again where a process died, and writes each result to one file (`outcomes`); the report
compares the methods (`report`). The shards of one evaluation run in the same back ends
(`evaluation`).
"""

from vand_robot.sweeps.run import SweepOptions, run_sweep
from vand_robot.sweeps.schema import SearchConfig, SweepConfig, load_sweep

__all__ = ["SearchConfig", "SweepConfig", "SweepOptions", "load_sweep", "run_sweep"]
