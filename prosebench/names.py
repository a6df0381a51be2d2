"""Names that records, files and tables share. Nothing heavy is imported here: whoever reads names loads no engine."""

PUBLISHED_KELVIN = 310.0
"""Temperature of the published protocol; it goes without saying in the name of a peptide."""

MOST_EVALUATIONS = 10**15
"""A second of molecular dynamics, or thirty years of a machine that takes a million frames a second."""

EXTERNAL = "external"
"""Method of cells whose frames were made by programs that are not run here: their costs are declared, not metered."""

FLOOR = "reference-draw"
"""Method that draws frames from the reference: its row is the floor of every distance."""

CEILING = "first-frame"
"""Row of one frame over and over: what a sampler scores that never leaves the frame it was put at."""


def name_at(sequence: str, temperature_kelvin: float) -> str:
    """Name of a peptide at a temperature in kelvin: ARIP at the published 310 K, ARIP-393K at another."""
    return sequence if temperature_kelvin == PUBLISHED_KELVIN else f"{sequence}-{temperature_kelvin:g}K"
