"""Run a policy on a robot: `python -m vand_robot.runtime POLICY --driver DRIVER`."""

from vand_robot.runtime.command import main

if __name__ == "__main__":
    main()
