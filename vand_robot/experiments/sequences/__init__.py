"""Regularizers compared on synthetic periodic sequences: `vand-robot bench sequences`."""
