"""Windows and web pages, used by teleoperation and the viewers."""

LOOPBACK = "127.0.0.1"
"""Address at which servers listen unless told otherwise."""
