"""Importing the library changes nothing in the process; tuning the allocator is asked for."""

import subprocess
import sys

import vand_robot.nn

NOTHING_ALLOCATED = """
import torch
made = []
empty = torch.empty
torch.empty = lambda *a, **k: made.append(a) or empty(*a, **k)
import vand_robot.nn
assert not made, made
vand_robot.nn.tune_allocator()
assert made
"""


def test_import_allocates_nothing():
    subprocess.run([sys.executable, "-c", NOTHING_ALLOCATED], check=True)


def test_every_public_name_is_there():
    for name in vand_robot.nn.__all__:
        assert getattr(vand_robot.nn, name) is not None
