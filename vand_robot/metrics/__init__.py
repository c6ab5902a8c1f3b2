"""Metrics of reproduced behavior: pure functions of arrays, one module per kind of task."""
