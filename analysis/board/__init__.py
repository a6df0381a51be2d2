"""The public board: kept runs, its pages, and results that others submit."""
