"""Pages in a browser: the server that only its own page may talk to, and the scene on it."""
