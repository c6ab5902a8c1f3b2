"""Demonstrations as batches of tensors."""
