"""What a cell can have come to, and which of that stands in a table."""

STATUSES = ("done", "partial", "unscored", "skipped", "failed", "waiting")
"""done; partial: fewer frames than asked for; unscored: no reference; skipped: the method cannot do this
cell; failed; waiting: not finished yet.
"""

SCORED = ("done", "partial")
"""Statuses of scores that stand in a table."""
