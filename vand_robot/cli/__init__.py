"""The `vand-robot` command: parsing and printing."""
