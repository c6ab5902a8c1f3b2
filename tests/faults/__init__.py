"""Damaged inputs, and what commands answer to them."""
