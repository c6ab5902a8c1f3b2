"""Policies, and how they are stored."""
