"""Regularizers of the recurrent state."""
