"""Metrics: one number of an ensemble against a reference."""
