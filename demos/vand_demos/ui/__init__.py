"""What the teleoperation and the viewers show themselves with."""
