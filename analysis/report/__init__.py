"""The report of a run folder: one page that puts tables and figures together."""
