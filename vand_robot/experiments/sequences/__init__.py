"""Regularizers compared on synthetic periodic sequences: `vand-robot experiments sequences`."""
