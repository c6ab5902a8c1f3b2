"""Benchmarks: what things cost, measured against what one would use otherwise."""
