"""Pages in a browser: the server that only its own page may talk to, and the scene on it."""

LOOPBACK = "127.0.0.1"
"""Where servers listen unless told otherwise."""
