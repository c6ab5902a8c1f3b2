"""Compile the scan in C for a checkout: `python -m vand_robot.nn.kernel.native`."""

import sys

from vand_robot.nn.kernel.native.build import CompilerError, build

try:
    sys.stdout.write(f"{build()}\n")
except (CompilerError, OSError) as error:
    sys.exit(f"error: {error}")
