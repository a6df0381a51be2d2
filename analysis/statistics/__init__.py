"""Estimates with intervals, paired comparisons, and tests of both on samplers with known answers."""
