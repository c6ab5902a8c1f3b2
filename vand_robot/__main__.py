"""Run the command: `python -m vand_robot`."""

from vand_robot.cli.main import main

main()
