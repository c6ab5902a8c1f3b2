"""Regularizers compared on real quasi-periodic recordings: `vand-robot experiments series`."""
