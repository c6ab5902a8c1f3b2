"""Drivers that ship: our simulation, any Gymnasium environment, and two templates for robots."""
