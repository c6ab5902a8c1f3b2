"""The scan over time and the cells; private."""
